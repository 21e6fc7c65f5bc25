"""Results for assets that write through the store themselves, or only look at it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

import dagster as dg

from metaxy_dagster.errors import RunError
from metaxy_dagster.features import FeatureKey
from metaxy_dagster.keys import named_feature
from metaxy_dagster.runtime import _compat
from metaxy_dagster.runtime.assets.feature_asset import FeatureAsset
from metaxy_dagster.runtime.assets.unwritten import warn_of_upstreams
from metaxy_dagster.runtime.calling import run_of
from metaxy_dagster.runtime.events.report import (
    FeatureReport,
    StoreLike,
    opened_store,
    report_feature,
)

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
        specs: the assets to report; by default those that the step was asked for and that are
            features.

    Raises:
        RunError: an asset that is to be reported is tied to no feature; or an op that belongs to
            no asset does not say which.

    Example:
        >>> import metaxy_dagster as mxd, tempfile, pyarrow as pa
        >>> graph = mxd.FeatureGraph()
        >>> _ = graph.add(mxd.FeatureSpec("image", id_columns=["id"]))
        >>> store = mxd.DuckDBMetadataStore(f"{tempfile.mkdtemp()}/m.duckdb", graph=graph)
        >>> @dg.asset(metadata={"metaxy/feature": "image"})
        ... def image(context):
        ...     _ = store.write("image", pa.table({"id": [1, 2], "path": ["a", "b"]}))
        ...     yield from mxd.generate_materialize_results(context, store)
        >>> with dg.DagsterInstance.ephemeral() as instance:
        ...     result = dg.materialize([image], instance=instance)
        >>> result.asset_materializations_for_node("image")[0].metadata["dagster/row_count"].value
        2
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
        >>> import metaxy_dagster as mxd, tempfile, pyarrow as pa
        >>> graph = mxd.FeatureGraph()
        >>> _ = graph.add(mxd.FeatureSpec("image", id_columns=["id"]))
        >>> store = mxd.DuckDBMetadataStore(f"{tempfile.mkdtemp()}/m.duckdb", graph=graph)
        >>> _ = store.write("image", pa.table({"id": [1, 2], "path": ["a", "b"]}))
        >>> spec = dg.AssetSpec("image", metadata={"metaxy/feature": "image"})
        >>> (found,) = mxd.generate_observe_results(dg.build_op_context(), store, [spec])
        >>> found.metadata["dagster/row_count"]
        2
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
    operation = getattr(context, "op_execution_context", context)
    known = context.instance if written_in_run and run_of(context) is not None else None
    by_feature: dict[FeatureKey, list[dg.AssetSpec]] = {}
    for spec in _selected(context) if specs is None else specs:
        asset = FeatureAsset.required(spec.key, spec.metadata)
        by_feature.setdefault(asset.feature, []).append(spec)
    for key in opened.graph.topological_order(by_feature):
        warn_of_upstreams(opened, key, known, lambda: _compat.neighbours(operation), context.log)
        for spec in by_feature[key]:
            yield report_feature(context, opened, spec, written_in_run=written_in_run)


def _selected(context: Any) -> list[dg.AssetSpec]:
    """The assets that the step was asked for and that are features; all, if none of them is."""
    operation = getattr(context, "op_execution_context", context)
    if not _compat.belongs_to_assets(operation):
        raise RunError(
            "nothing says which features to report: this op belongs to no asset",
            found=f"op {operation.op_def.name!r}",
            allowed="the specs of the assets that it writes",
            remedy="pass specs=[...]",
        )
    keys = operation.selected_asset_keys
    asked = [spec for spec in operation.assets_def.specs if spec.key in keys]
    return [spec for spec in asked if named_feature(spec.metadata) is not None] or asked
