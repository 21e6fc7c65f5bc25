"""What a step is given of a feature."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import dagster as dg

from metaxy_dagster import constants as c
from metaxy_dagster.features import FeatureKey, FeaturePlan
from metaxy_dagster.features.columns import fold
from metaxy_dagster.runtime._compat import Step
from metaxy_dagster.runtime.assets.feature_asset import FeatureAsset
from metaxy_dagster.runtime.assets.upstream_assets import upstream_assets, windows_upstream
from metaxy_dagster.runtime.assets.upstream_partitions import Share, filters_of
from metaxy_dagster.runtime.loading.conversion import Source
from metaxy_dagster.runtime.partitions.scope import Scope
from metaxy_dagster.runtime.partitions.undecided import require_decided
from metaxy_dagster.runtime.pinning import pinned
from metaxy_dagster.runtime.work.current import StepWork, begin_work
from metaxy_dagster.runtime.work.increments import StepIncrements
from metaxy_dagster.runtime.work.limits import Limits
from metaxy_dagster.stores import Counts, Increment, MetadataStore, frames
from metaxy_dagster.stores.results import CommitMark
from metaxy_dagster.stores.scan import Scan

if TYPE_CHECKING:
    import narwhals as nw
    import pyarrow as pa

__all__ = [
    "Loaded",
    "Needed",
    "begun_at",
    "is_optional",
    "load_frame",
    "needed",
    "produced",
    "resolve",
    "resolve_shared",
]


def produced(step: Step | None) -> dict[FeatureAsset, Scope]:
    """The feature assets that a step is to produce, each with its samples of this run."""
    if step is None:
        return {}
    found: dict[FeatureAsset, Scope] = {}
    for output in step.outputs:
        asset = FeatureAsset.of(output.asset_key, output.metadata)
        if asset is not None:
            assets = None if output.partition_keys is None else step.assets
            also = windows_upstream(assets, output.asset_key)
            found[asset] = asset.scope(output.partition_keys, output.partitions_def, also)
    return found


@dataclass(frozen=True)
class Loaded:
    """A feature on its way to a parameter.

    Attributes:
        rows: its user columns: the rows that pending samples are computed from, if all that the
            step makes of the feature is incremental; else all of its rows.
        work: what the step works on, if the frame is one of its increment's.
        part: the rows that a part of the increment is computed from; ``None`` if the frame is
            not made of the pending samples of one feature.
    """

    rows: Source
    work: StepWork | None = None
    part: Callable[[Increment], Source] | None = None


@dataclass(frozen=True)
class Needed:
    """What a step needs of a feature that it loads.

    Attributes:
        work: what the step works on.
        increments: those of its outputs that are computed from the feature.
        all_rows: whether it takes all rows of the feature, and not those of pending samples.
        idle: whether nothing at all is pending, so that its body may be left out.
    """

    work: StepWork
    increments: tuple[tuple[FeatureAsset, Increment], ...]
    all_rows: bool
    idle: bool


def needed(
    store: MetadataStore,
    asset: FeatureAsset,
    *,
    step: Step | None,
    pinned: int | None,
    increments: StepIncrements,
    limits: Limits,
    batch_size: int | None = None,
) -> Needed | None:
    """What the running step needs of a feature; ``None`` if it computes nothing from it.

    Args:
        store: where the features are.
        asset: the asset that is loaded.
        step: the step that loads it; ``None`` outside of a run.
        pinned: the commit as of which; ``None`` for now.
        increments: of the running steps.
        limits: how much the step's outputs may delete when they replace.
        batch_size: how many samples the function takes at once; ``None`` for all of them.
    """
    outputs = produced(step)
    plans = {output: store.graph.plan(output.feature) for output in outputs}
    wanted = [output for output in outputs if _depends(plans[output], asset.feature)]
    if step is None or not wanted:
        return None
    begun = begun_at(store, step, outputs)
    found = increments.resolved(step, lambda: resolve(store, step, outputs, pinned=pinned))
    work = begin_work(StepWork(step, store, outputs, found, limits, begun))
    # What is pending of a feature that is made of others of the step alone may need any row.
    inside = [one for one in outputs if one.feature in begun and one not in wanted]
    inner = any(found[one.asset_key].counts.pending for one in inside)
    return Needed(
        work,
        tuple((output, found[output.asset_key]) for output in wanted),
        all_rows=inner or not all(output.increment for output in wanted),
        idle=all(output.increment for output in outputs) and not _pending(found, batch_size),
    )


def load_frame(
    asset: FeatureAsset, partitions: Scope, need: Needed | None, store: MetadataStore
) -> Loaded:
    """The rows of a feature that the running step needs.

    Args:
        asset: the asset that is loaded.
        partitions: the samples of the partitions that the input is loaded for.
        need: what the step needs of it.
        store: where the feature is.
    """
    if need is None:
        return Loaded(_whole(store, asset.feature, partitions))
    found = [increment for _, increment in need.increments]
    if need.all_rows:
        return Loaded(_upstream(found[0], asset.feature, partitions, all_rows=True), need.work)
    own = Scope.of_values(asset.keys.partition)

    def part(increment: Increment) -> Source:
        return _upstream(increment, asset.feature, own)

    if len(found) == 1:
        return Loaded(part(found[0]), need.work, part)
    parts = [part(increment) for increment in found]
    ids = store.graph[asset.feature].id_columns
    rows = Source.of(lambda: frames.union([one.table() for one in parts], ids))
    return Loaded(rows, need.work)


def begun_at(
    store: MetadataStore, step: Step, outputs: Mapping[FeatureAsset, Scope]
) -> dict[FeatureKey, dict[FeatureKey, CommitMark | None]]:
    """For each output that is computed from others of a step, what else it is computed from.

    Args:
        store: where the features are.
        step: the step; that of a graph asset looks at one commit throughout.
        outputs: the feature assets that it produces.

    Returns:
        By feature, its upstreams of other steps, each with its newest commit.
    """
    made = {output.feature for output in outputs}
    if step.shared is not None or len(made) == 1:
        return {}
    found: dict[FeatureKey, dict[FeatureKey, CommitMark | None]] = {}
    for feature in made:
        upstream = set(store.graph.upstream(feature))
        if upstream & made:
            outside = sorted(upstream - made)
            newest = store.newest_commits(outside)
            found[feature] = {key: newest.get(key) for key in outside}
    return found


def resolve_shared(store: MetadataStore, step: Step) -> dict[dg.AssetKey, Increment]:
    """What another process resolved for the steps of a graph asset; nothing if none did."""
    outputs = produced(step)
    if all(store.graph.plan(output.feature).is_root for output in outputs):
        return {}
    commit = pinned(store, step)
    return {} if commit is None else resolve(store, step, outputs, pinned=commit)


def is_optional(store: MetadataStore, step: Step | None, asset: FeatureAsset) -> bool:
    """Whether all that a step makes of a feature can do without it."""
    deps = [
        dep.dep.optional
        for output in produced(step)
        for dep in store.graph.plan(output.feature).deps
        if dep.upstream.key == asset.feature
    ]
    return bool(deps) and all(deps)


def _depends(plan: FeaturePlan, feature: FeatureKey) -> bool:
    return any(dep.upstream.key == feature for dep in plan.deps)


def _pending(increments: Mapping[dg.AssetKey, Increment], batch_size: int | None) -> int:
    """The samples to compute, counted from the list of them, which is needed anyway."""
    if batch_size is not None:
        return sum(increment.batches(batch_size).samples for increment in increments.values())
    return sum(Counts.of(increment.delta).pending for increment in increments.values())


def _whole(store: MetadataStore, feature: FeatureKey, scope: Scope) -> Source:
    """All rows of a feature that belong to a scope; to any, if it lacks the columns."""
    with store.connected():
        schema = store.schema(feature)
        columns = list(schema)
        if not columns:
            found = store.read(feature).collect_schema()
            columns = [name for name in found if name not in c.SYSTEM_COLUMNS]
        present = {fold(name) for name in schema}
        known = all(fold(name) in present for name in scope.columns)
        if known:
            require_decided(store, feature, scope)
        filters = scope.filters(schema) if known else ()
    return Source(
        lambda: store.read(feature, columns=columns, filters=filters),
        lambda: store.read_table(feature, columns=columns, filters=filters),
        lambda: store.scan(feature, columns=columns, filters=filters),
    )


def _upstream(
    increment: Increment, feature: FeatureKey, scope: Scope, *, all_rows: bool = False
) -> Source:
    """Rows of an upstream, as of the moment at which the increment was resolved."""

    def lazy() -> nw.LazyFrame[Any]:
        return scope.restrict(increment.upstream(feature, all_rows=all_rows))

    def scan() -> Scan | pa.Table:
        return increment.upstream_scan(feature, all_rows=all_rows)

    if scope:
        return replace(Source.of(lazy), scan=scan, within=scope.restrict)
    return Source(lazy, lambda: increment.upstream_table(feature, all_rows=all_rows), scan)


def resolve(
    store: MetadataStore,
    step: Step,
    outputs: Mapping[FeatureAsset, Scope],
    *,
    pinned: int | None,
    keep_unchanged: bool = False,
) -> dict[dg.AssetKey, Increment]:
    """The increments of everything that a step makes of other features, as of one moment.

    Args:
        store: where the features are.
        step: the step.
        outputs: the feature assets that it produces.
        pinned: the commit as of which; ``None`` for now.
        keep_unchanged: list samples that need nothing too, also of what takes increments.
    """
    plans = {output: store.graph.plan(output.feature) for output in outputs}
    derived = [output for output in outputs if not plans[output].is_root]
    found: dict[dg.AssetKey, Increment] = {}
    # While the store is held, nobody writes: all are as of the same commit.
    with store.connected():
        for output in derived:
            found[output.asset_key] = store.resolve_update(
                output.feature,
                filters=filters_of(store, plans[output], _share(step, output, outputs[output])),
                # Samples that need nothing are listed too where the step may return them: it
                # got all rows, or the pending rows of another of its features. Nothing is returned
                # of those whose data its function makes itself.
                keep_unchanged=keep_unchanged
                or (not output.keys.writes_itself and (len(derived) > 1 or not output.increment)),
                as_of=pinned,
            )
    return found


def _share(step: Step, asset: FeatureAsset, scope: Scope) -> Share:
    """What the run of a step is about, of one of its outputs."""
    keys = next(o.partition_keys for o in step.outputs if o.asset_key == asset.asset_key)
    if step.assets is None:
        return Share(asset, scope, partitioned=keys is not None)
    upstreams = upstream_assets(step.assets, asset.asset_key, keys)
    return Share(asset, scope, upstreams, partitioned=keys is not None)
