"""What a running step works on, for code that is called while its function runs."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Any

import dagster as dg

from metaxy_dagster.errors import RunError
from metaxy_dagster.features import CoercibleToFeatureKey, FeatureKey
from metaxy_dagster.late import pyarrow as pa
from metaxy_dagster.runtime import _compat
from metaxy_dagster.runtime._compat import Step
from metaxy_dagster.runtime.assets.feature_asset import FeatureAsset
from metaxy_dagster.runtime.partitions.scope import Scope
from metaxy_dagster.runtime.work.limits import Limits
from metaxy_dagster.stores import Increment, MetadataStore, WriteResult
from metaxy_dagster.stores.results import CommitMark

__all__ = ["StepWork", "begin_work", "current_work", "increment_of", "work_of"]


@dataclass
class StepWork:
    """The increments of a step, from the loading of its inputs to the writing of its outputs.

    Attributes:
        step: the step.
        store: where its features are.
        outputs: the feature assets that it produces, each with its samples of this run.
        increments: what they were resolved to, by asset.
        limits: how much a replace may delete.
        begun: for each feature that is computed from others of the step, the newest commits of
            its other upstreams before it was looked up what is pending.
        inputs: by parameter, how to load it for a part of the increment.
        isolates: whether samples that cannot be computed are looked for.
        written: what the batches that are done, and reports of empty samples, have changed.
        recorded: assets whose function has made its data itself, which is recorded as done.
        doubtful: by asset, samples that may have been computed from other rows than those that
            the increment was resolved with; they are not recorded as computed.
        elsewhere: those of its assets whose rows another IO manager stores.
        emptied: by asset of these, samples that were reported to yield nothing.
        narrowed: whether inputs that are stored elsewhere hold pending samples alone.
        unrecorded: why what the step returns cannot be recorded; ``None`` if it can.
    """

    step: Step
    store: MetadataStore
    outputs: Mapping[FeatureAsset, Scope]
    increments: dict[dg.AssetKey, Increment]
    limits: Limits
    begun: Mapping[FeatureKey, Mapping[FeatureKey, CommitMark | None]] = field(default_factory=dict)
    inputs: dict[str, Callable[[Increment], Any]] = field(default_factory=dict)
    isolates: bool = False
    written: list[WriteResult] = field(default_factory=list)
    recorded: set[dg.AssetKey] = field(default_factory=set)
    doubtful: dict[dg.AssetKey, pa.Table] = field(default_factory=dict)
    elsewhere: frozenset[dg.AssetKey] = frozenset()
    emptied: dict[dg.AssetKey, pa.Table] = field(default_factory=dict)
    narrowed: bool = False
    unrecorded: str | None = None

    def doubt(self, asset_key: dg.AssetKey, samples: pa.Table) -> None:
        """Note samples that are not to be recorded."""
        before = self.doubtful.get(asset_key)
        self.doubtful[asset_key] = (
            samples if before is None else pa.concat_tables([before, samples])
        )


_WORK: ContextVar[StepWork | None] = ContextVar("metaxy_step_work", default=None)


def begin_work(work: StepWork) -> StepWork:
    """Note what the running step works on; again for its next inputs, which add to it."""
    found = work_of(work.step)
    if found is not None:
        return found
    _WORK.set(work)
    return work


def work_of(step: Step) -> StepWork | None:
    """What a step works on; ``None`` if no increment is its input."""
    found = _WORK.get()
    return found if found is not None and _is_same(found.step, step) else None


def current_work() -> StepWork | None:
    """What the step that runs this very call works on; ``None`` if no increment is its input."""
    step = None if _WORK.get() is None else _compat.current_step()
    return None if step is None else work_of(step)


def increment_of(work: StepWork, feature: CoercibleToFeatureKey | None, said: str) -> Increment:
    """The increment of a feature that a step computes; of its only one where none is named.

    Args:
        work: what the step works on.
        feature: the feature; ``None`` if the caller named none.
        said: what the caller says of samples, for the error, such as ``"failed"``.

    Raises:
        RunError: the step does not compute it, or computes several and none is named.
    """
    by_feature = {increment.feature: increment for increment in work.increments.values()}
    if feature is not None and FeatureKey(feature) in by_feature:
        return by_feature[FeatureKey(feature)]
    if feature is None and len(by_feature) == 1:
        return next(iter(by_feature.values()))
    raise RunError(
        f"nothing says for which feature the samples {said}"
        if feature is None
        else "the running step does not compute this feature from its inputs",
        found=None if feature is None else str(FeatureKey(feature)),
        allowed=sorted(map(str, by_feature)),
        remedy="pass feature=, one of these",
    )


def _is_same(one: Step, other: Step) -> bool:
    return (one.run_id, one.attempt) == (other.run_id, other.attempt)
