"""Results for assets that write through the store themselves, or only look at it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

import dagster as dg

from metaxy_dagster.features import FeatureKey
from metaxy_dagster.runtime.feature_asset import FeatureAsset
from metaxy_dagster.runtime.report import FeatureReport, StoreLike, opened_store, report_feature

__all__ = ["generate_materialize_results", "generate_observe_results"]


def generate_materialize_results(
    context: dg.AssetExecutionContext | dg.OpExecutionContext,
    store: StoreLike,
    specs: Iterable[dg.AssetSpec] | None = None,
) -> Iterator[dg.MaterializeResult[Any]]:
    """Yield one result per asset of the running step, upstream features first.

    For assets that write to the store in their own code. Each result carries the row counts
    (of the run's partitions too), the schema, a preview, the versions and the data version of
    its feature.

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
    for found in _reports(context, store, specs, written_in_run=True):
        yield dg.MaterializeResult(
            asset_key=found.asset.asset_key,
            metadata=found.metadata,
            tags=found.tags,
            data_version=dg.DataVersion(found.data_version),
        )


def generate_observe_results(
    context: dg.AssetExecutionContext | dg.OpExecutionContext,
    store: StoreLike,
    specs: Iterable[dg.AssetSpec] | None = None,
) -> Iterator[dg.ObserveResult]:
    """Yield one observation per asset of the running step, upstream features first.

    For observable assets whose features are written elsewhere.

    Args:
        context: of the running observable asset.
        store: where the features are.
        specs: the assets to observe; by default those that the step was asked for.

    Raises:
        RunError: an asset that is to be observed is tied to no feature.

    Example:
        ```python
        @dg.multi_observable_source_asset(
            specs=[dg.AssetSpec("clusters", metadata={"metaxy/feature": "audio/clusters"})]
        )
        def outside(context: dg.AssetExecutionContext, store: dg.ResourceParam[mxd.MetadataStore]):
            yield from mxd.generate_observe_results(context, store)
        ```
    """
    for found in _reports(context, store, specs, written_in_run=False):
        yield dg.ObserveResult(
            asset_key=found.asset.asset_key,
            metadata=found.metadata,
            tags=found.tags,
            data_version=dg.DataVersion(found.data_version),
        )


def _reports(
    context: Any, store: StoreLike, specs: Iterable[dg.AssetSpec] | None, *, written_in_run: bool
) -> Iterator[FeatureReport]:
    opened = opened_store(store, context)
    by_feature: dict[FeatureKey, list[dg.AssetSpec]] = {}
    for spec in _selected(context) if specs is None else specs:
        asset = FeatureAsset.required(spec.key, spec.metadata)
        by_feature.setdefault(asset.feature, []).append(spec)
    for key in opened.graph.topological_order(by_feature):
        for spec in by_feature[key]:
            yield report_feature(context, opened, spec, written_in_run=written_in_run)


def _selected(context: Any) -> list[dg.AssetSpec]:
    keys = context.selected_asset_keys
    return [spec for spec in context.assets_def.specs if spec.key in keys]
