"""What a step is given of a feature."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import dagster as dg
import narwhals as nw

from metaxy_dagster.features import FeatureKey, FeaturePlan, Filter
from metaxy_dagster.runtime._compat import Step
from metaxy_dagster.runtime.feature_asset import FeatureAsset
from metaxy_dagster.runtime.increments import StepIncrements
from metaxy_dagster.runtime.scope import Scope
from metaxy_dagster.runtime.skipping import mark_idle
from metaxy_dagster.stores import Increment, MetadataStore

__all__ = ["column_kinds", "load_frame", "produced"]


def produced(step: Step | None) -> dict[FeatureAsset, Scope]:
    """The feature assets that a step is to produce, each with its samples of this run."""
    if step is None:
        return {}
    found: dict[FeatureAsset, Scope] = {}
    for output in step.outputs:
        asset = FeatureAsset.of(output.asset_key, output.metadata)
        if asset is not None:
            found[asset] = asset.scope(output.partition_keys, output.partitions_def)
    return found


def load_frame(
    store: MetadataStore,
    asset: FeatureAsset,
    partitions: Scope,
    *,
    step: Step | None,
    increments: StepIncrements,
) -> nw.LazyFrame[Any]:
    """The rows of a feature that the running step needs.

    Args:
        store: where the feature is.
        asset: the asset that is loaded.
        partitions: the samples of the partitions that the input is loaded for.
        step: the step that loads it; ``None`` outside of a run.
        increments: of the running steps.

    Returns:
        Its user columns: the rows that pending samples are computed from, if all that the step
        makes of the feature is incremental; else all of its rows.
    """
    outputs = produced(step)
    plans = {output: store.graph.plan(output.feature) for output in outputs}
    needed = [output for output in outputs if _depends(plans[output], asset.feature)]
    if step is None or not needed:
        return partitions.restrict(_whole(store, asset.feature))
    found = increments.resolved(step, lambda: _resolve(store, plans, outputs))
    if not all(output.increment for output in needed):
        return partitions.restrict(_as_of(found[needed[0].asset_key], asset.feature))
    frames = [found[output.asset_key].upstream(asset.feature) for output in needed]
    if all(output.increment for output in outputs) and not _pending(found):
        mark_idle(step)
    ids = store.graph[asset.feature].id_columns
    own = Scope.of_values(asset.contribution)
    return own.restrict(frames[0] if len(frames) == 1 else _union(frames, ids))


def column_kinds(store: MetadataStore, plan: FeaturePlan) -> Mapping[str, str]:
    """The types of the columns that a feature's samples can be chosen by, where they are known.

    Its own columns, and those of its upstreams by the names that they have in it.
    """
    kinds: dict[str, str] = {}
    for dep in plan.deps:
        for name, kind in store.schema(dep.upstream.key).items():
            kinds[dep.dep.name_here(name)] = kind
    return {**kinds, **store.schema(plan.key)}


def _depends(plan: FeaturePlan, feature: FeatureKey) -> bool:
    return any(dep.upstream.key == feature for dep in plan.deps)


def _pending(increments: Mapping[dg.AssetKey, Increment]) -> int:
    return sum(increment.counts.pending for increment in increments.values())


def _whole(store: MetadataStore, feature: FeatureKey) -> nw.LazyFrame[Any]:
    columns = list(store.schema(feature)) or list(store.graph[feature].id_columns)
    return store.read(feature, columns=columns)


def _as_of(increment: Increment, feature: FeatureKey) -> nw.LazyFrame[Any]:
    """All rows of an upstream, as of the moment at which the increment was resolved."""
    return increment.upstream(feature, all_rows=True)


def _resolve(
    store: MetadataStore,
    plans: Mapping[FeatureAsset, FeaturePlan],
    outputs: Mapping[FeatureAsset, Scope],
) -> dict[dg.AssetKey, Increment]:
    """The increments of everything that the step makes of other features, as of one moment."""
    derived = [output for output in outputs if not plans[output].is_root]
    found: dict[dg.AssetKey, Increment] = {}
    with store.open("r"):
        for output in derived:
            found[output.asset_key] = store.resolve_update(
                output.feature,
                filters=_filters(store, plans[output], outputs[output]),
                # Samples that need nothing are listed too where the step may return them: it
                # got all rows, or the pending rows of another of its features.
                keep_unchanged=len(derived) > 1 or not output.increment,
            )
    return found


def _filters(store: MetadataStore, plan: FeaturePlan, scope: Scope) -> tuple[Filter, ...]:
    """The scope as filters of a resolve; none where there is nothing yet that has columns."""
    if not scope:
        return ()
    kinds = column_kinds(store, plan)
    return scope.filters(kinds) if kinds else ()


def _union(frames: list[nw.LazyFrame[Any]], ids: tuple[str, ...]) -> nw.LazyFrame[Any]:
    """The rows that any of several increments needs, each once."""
    collected = [frame.collect(backend="pyarrow") for frame in frames]
    return nw.concat(collected).unique(subset=list(ids), maintain_order=True).lazy()
