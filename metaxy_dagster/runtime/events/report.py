"""What is known of an asset's feature now: for events that no IO manager makes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import dagster as dg

from metaxy_dagster import constants as c
from metaxy_dagster.features import Compare, Filter
from metaxy_dagster.runtime import _compat
from metaxy_dagster.runtime.assets.feature_asset import FeatureAsset
from metaxy_dagster.runtime.assets.upstream_assets import windows_upstream
from metaxy_dagster.runtime.calling import run_of
from metaxy_dagster.runtime.events.event_metadata import VersionedBy, feature_state, version_tags
from metaxy_dagster.runtime.events.partition_events import partition_metadata, with_run_totals
from metaxy_dagster.runtime.located import located
from metaxy_dagster.runtime.partitions.undecided import require_decided
from metaxy_dagster.runtime.resource import MetaxyStoreFromConfigResource
from metaxy_dagster.stores import MetadataStore

__all__ = ["FeatureReport", "StoreLike", "opened_store", "partition_keys", "report_feature"]

StoreLike = MetadataStore | MetaxyStoreFromConfigResource


@dataclass(frozen=True)
class FeatureReport:
    """What one event says.

    Attributes:
        asset: the asset.
        metadata: row counts, schema, a preview and where the feature is.
        tags: the feature's versions.
        data_version: of the samples that the event is about.
        filters: which samples these are; none for all.
    """

    asset: FeatureAsset
    metadata: dict[str, Any]
    tags: dict[str, str]
    data_version: str
    filters: tuple[Filter, ...]


def opened_store(store: StoreLike, context: Any) -> MetadataStore:
    """The store, also where the resource that makes it was handed over."""
    return store if isinstance(store, MetadataStore) else store.get_store(context.instance)


def report_feature(
    context: Any,
    store: MetadataStore,
    spec: dg.AssetSpec,
    *,
    keys: Sequence[str] | None = None,
    written_in_run: bool = False,
    versioned_by: VersionedBy = "content",
) -> FeatureReport:
    """Look at an asset's samples in some partitions.

    In a run over several partitions, the event of each is also given the numbers of its own.

    Args:
        context: of the running asset or op.
        store: where the feature is.
        spec: the asset, with its metadata.
        keys: the partitions; by default those of the run, if the asset is partitioned.
        written_in_run: also count the samples that this run has written.
        versioned_by: what the data version is made of, as for :func:`feature_state`.

    Raises:
        RunError: the asset is tied to no feature, or is partitioned by no column.
    """
    spec, assets = _as_defined(context, spec), _compat.assets_of(context)
    asset, definition = FeatureAsset.required(spec.key, spec.metadata), spec.partitions_def
    if keys is None and definition is not None:
        keys = partition_keys(context)
    with located(spec.key), store.connected():
        also = windows_upstream(None if keys is None else assets, spec.key)
        scope = asset.scope(keys, definition, also)
        require_decided(store, asset.feature, scope)
        state = feature_state(
            store,
            asset.feature,
            scope,
            versioned_by=versioned_by,
            preview=asset.keys.preview is not False,
        )
        metadata, by_run = dict(state.metadata), dict[str, int]()
        run_id = run_of(context) if written_in_run else None
        if run_id is not None:
            written = Compare(c.COL_MATERIALIZATION_ID, "=", run_id)
            total = store.count(asset.feature, filters=(*state.filters, written))
            metadata[c.KEY_MATERIALIZED_IN_RUN] = total
            by_run = {run_id: total}
        tags = version_tags(store.graph, asset.feature)
        apart = partition_metadata(store, asset, keys, definition, also=also, written=by_run)
    if apart and _compat.add_partition_metadata(None, spec.key, apart):
        metadata = with_run_totals(metadata, len(apart))
    return FeatureReport(asset, metadata, tags, state.data_version, state.filters)


def _as_defined(context: Any, spec: dg.AssetSpec) -> dg.AssetSpec:
    """A spec of the user's own, with the partitions of the running asset of that key.

    On a decorator, partitions are said once for all of its assets, and often their columns, too.
    """
    operation = getattr(context, "op_execution_context", context)
    if spec.partitions_def is not None or not _compat.belongs_to_assets(operation):
        return spec
    found = operation.assets_def.specs_by_key.get(spec.key)
    if found is None or found.partitions_def is None:
        return spec
    by_column = {c.KEY_PARTITION_BY, c.KEY_PARTITION} & set(found.metadata)
    known = {key: found.metadata[key] for key in sorted(by_column)}
    return spec.replace_attributes(
        partitions_def=found.partitions_def, metadata={**known, **spec.metadata}
    )


def partition_keys(context: Any) -> Sequence[str] | None:
    """The partitions of a run, in an asset or in a plain op; ``None`` where it has none."""
    operation = getattr(context, "op_execution_context", context)
    if not operation.has_partition_key and not operation.has_partition_key_range:
        return None
    if operation.has_partition_key:
        return [operation.partition_key]
    return list(context.partition_keys)
