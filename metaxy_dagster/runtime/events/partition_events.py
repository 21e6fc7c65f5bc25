"""What each partition's event says where one run covers several partitions.

Dagster makes one event per partition from what the step said once. A number of the whole run
would stand in each of them, and plots by partition would show it as the partition's own.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import dagster as dg

from metaxy_dagster import constants as c
from metaxy_dagster.features import Compare
from metaxy_dagster.runtime.assets.feature_asset import FeatureAsset
from metaxy_dagster.stores import MetadataStore

__all__ = ["partition_metadata", "with_run_totals"]

_OF_THE_RUN = (
    c.KEY_NEW,
    c.KEY_STALE,
    c.KEY_ORPHANED,
    c.KEY_WRITTEN,
    c.KEY_UNCHANGED,
    c.KEY_DELETED,
    c.KEY_EMPTY,
    c.KEY_MATERIALIZED_IN_RUN,
    c.KEY_PARTITION_ROW_COUNT,
)


def partition_metadata(
    store: MetadataStore,
    asset: FeatureAsset,
    keys: Sequence[str] | None,
    definition: dg.PartitionsDefinition[Any] | None,
    *,
    also: Sequence[dg.TimeWindowPartitionsDefinition] = (),
    written: Mapping[str, int] | None = None,
) -> dict[str, dict[str, Any]]:
    """The numbers of each partition of a run; nothing unless there are several.

    Args:
        store: where the feature is.
        asset: the asset.
        keys: the partitions of the run.
        definition: the asset's partitions.
        also: as for :meth:`FeatureAsset.scope`.
        written: the run's id with the number of samples that it wrote in all of them; each
            partition's share is then counted too.
    """
    if keys is None or definition is None or not keys[1:]:
        return {}
    feature, found = asset.feature, dict[str, dict[str, Any]]()
    with store.connected():
        schema = store.schema(feature)
        for key in keys:
            filters = asset.scope([key], definition, also).filters(schema)
            rows = store.count(feature, filters=filters) if schema else 0
            found[key] = {c.KEY_PARTITION_ROW_COUNT: rows}
            for run_id, total in (written or {}).items():
                by_run = Compare(c.COL_MATERIALIZATION_ID, "=", run_id)
                share = store.count(feature, filters=(*filters, by_run)) if total and rows else 0
                found[key] |= {c.KEY_WRITTEN: share, c.KEY_MATERIALIZED_IN_RUN: share}
    return found


def with_run_totals(metadata: Mapping[str, Any], partitions: int) -> dict[str, Any]:
    """Metadata with the numbers of the whole run under one name that says so, and no plot.

    Args:
        metadata: of an event.
        partitions: how many partitions the run covers.
    """
    totals = {key.partition("/")[2]: metadata[key] for key in _OF_THE_RUN if key in metadata}
    totals["row_count"] = totals.pop("partition_row_count", None)
    kept = {key: value for key, value in metadata.items() if key not in _OF_THE_RUN}
    said = {name: value for name, value in totals.items() if value is not None}
    return {c.KEY_RUN_TOTALS: dg.MetadataValue.json({"partitions": partitions, **said}), **kept}
