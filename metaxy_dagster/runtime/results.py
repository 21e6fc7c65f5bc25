"""Results for assets that write through the store themselves."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

import dagster as dg
import narwhals as nw

from metaxy_dagster import constants as c
from metaxy_dagster.features import FeatureKey
from metaxy_dagster.runtime.events import feature_metadata
from metaxy_dagster.runtime.feature_asset import FeatureAsset
from metaxy_dagster.runtime.output import located
from metaxy_dagster.runtime.resource import MetaxyStoreFromConfigResource
from metaxy_dagster.stores import MetadataStore

__all__ = ["generate_materialize_results"]


def generate_materialize_results(
    context: dg.AssetExecutionContext | dg.OpExecutionContext,
    store: MetadataStore | MetaxyStoreFromConfigResource,
    specs: Iterable[dg.AssetSpec] | None = None,
) -> Iterator[dg.MaterializeResult[Any]]:
    """Yield one result per asset of the running step, upstream features first.

    For assets that write to the store in their own code. Each result carries the row counts,
    the schema, a preview and the data version of its feature.

    Args:
        context: of the running asset or multi-asset.
        store: where the features were written.
        specs: the assets to report; by default those that the step was asked for.

    Raises:
        RunError: an asset that is to be reported is tied to no feature.

    Example:
        ```python
        @mxd.metaxify(feature="audio/clusters")
        @dg.asset
        def clusters(context: dg.AssetExecutionContext, store: dg.ResourceParam[mxd.MetadataStore]):
            increment = store.resolve_update("audio/clusters")
            store.write("audio/clusters", compute(increment.pending))
            yield from mxd.generate_materialize_results(context, store)
        ```
    """
    opened = store if isinstance(store, MetadataStore) else store.get_store(context.instance)
    wanted = _selected(context) if specs is None else list(specs)
    assets: dict[FeatureKey, list[FeatureAsset]] = {}
    for spec in wanted:
        asset = FeatureAsset.required(spec.key, spec.metadata)
        assets.setdefault(asset.feature, []).append(asset)
    for key in opened.graph.topological_order(assets):
        for asset in assets.get(key, ()):
            yield _result(context, opened, asset)


def _selected(context: Any) -> list[dg.AssetSpec]:
    execution = getattr(context, "asset_execution_context", context)
    keys = execution.selected_asset_keys
    return [spec for spec in execution.assets_def.specs if spec.key in keys]


def _result(context: Any, store: MetadataStore, asset: FeatureAsset) -> dg.MaterializeResult[Any]:
    with located(asset.asset_key):
        metadata = feature_metadata(store, asset.feature)
        written = nw.col(c.COL_MATERIALIZATION_ID) == context.run_id
        metadata[c.KEY_MATERIALIZED_IN_RUN] = store.count(asset.feature, filters=written)
        version = store.data_version(asset.feature)
    return dg.MaterializeResult(
        asset_key=asset.asset_key, metadata=metadata, data_version=dg.DataVersion(version)
    )
