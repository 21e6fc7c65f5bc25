"""What a running step works on, for code that is called while its function runs."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Any

import dagster as dg

from metaxy_dagster.runtime import _compat
from metaxy_dagster.runtime._compat import Step
from metaxy_dagster.runtime.feature_asset import FeatureAsset
from metaxy_dagster.runtime.scope import Scope
from metaxy_dagster.stores import Increment, MetadataStore, WriteResult

__all__ = ["StepWork", "begin_work", "current_work", "work_of"]


@dataclass
class StepWork:
    """The increments of a step, from the loading of its inputs to the writing of its outputs.

    Attributes:
        step: the step.
        store: where its features are.
        outputs: the feature assets that it produces, each with its samples of this run.
        increments: what they were resolved to, by asset.
        max_deleted_share: how much a replace may delete.
        inputs: by parameter, how to load it for a part of the increment.
        written: what the batches that are done have changed.
    """

    step: Step
    store: MetadataStore
    outputs: Mapping[FeatureAsset, Scope]
    increments: Mapping[dg.AssetKey, Increment]
    max_deleted_share: float
    inputs: dict[str, Callable[[Increment], Any]] = field(default_factory=dict)
    written: list[WriteResult] = field(default_factory=list)


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


def _is_same(one: Step, other: Step) -> bool:
    return (one.run_id, one.attempt) == (other.run_id, other.attempt)
