"""Which bodies are called batch by batch, and in parts where they fail."""

from __future__ import annotations

from typing import TYPE_CHECKING

import dagster as dg

from metaxy_dagster.constants import KEY_BATCH_SIZE, KEY_ON_ERROR, ON_ERROR_QUARANTINE
from metaxy_dagster.definitions.draft.drafts import BODY
from metaxy_dagster.definitions.draft.findings import Fill
from metaxy_dagster.definitions.draft.pending import why_not_pending
from metaxy_dagster.definitions.draft.rule import UnitRule
from metaxy_dagster.definitions.plan.plans import Change
from metaxy_dagster.errors import DefinitionsError
from metaxy_dagster.runtime.io.batching import (
    ALL_AT_ONCE,
    op_batch_size,
    op_on_error,
    why_not_in_batches,
)
from metaxy_dagster.runtime.work.isolating import OnError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from metaxy_dagster.definitions.bindings.bindings import Bindings
    from metaxy_dagster.definitions.draft.drafts import TiedDraft, UnitDraft

__all__ = ["batching", "cannot_be_batched"]


@UnitRule
def batching(bindings: Bindings, draft: UnitDraft) -> Iterator[Fill | DefinitionsError]:
    """Have a body called for one batch after the other, and for parts of one that fails.

    Nothing is said of what no function computes, and of a function that takes batches of this
    size already.
    """
    unit = draft.unit
    for asset in draft.tied:
        keys = asset.asset.keys
        size = keys.samples_per_batch
        if not (size or keys.isolates) or not unit.materializable or unit.definition is None:
            continue
        on_error = None
        if keys.isolates:
            most = keys.max_failed_samples or bindings.settings.max_failed_samples
            on_error = OnError(keys.on_error, most)
        op = unit.definition.node_def
        why_not = why_not_pending(bindings, draft)
        if why_not is None:
            # The steps of a graph share one increment; none of them could write a part of it.
            why_not = why_not_in_batches(op) if isinstance(op, dg.OpDefinition) else "it is a graph"
        if why_not is None and keys.isolates and draft.own_body is not None:
            why_not = "it asks for its samples itself, so it cannot be given a part of them"
        present = None
        if isinstance(op, dg.OpDefinition) and (present := op_batch_size(op)) is not None:
            why_not = _differs(op, size, on_error) or why_not
        if why_not is not None:
            yield cannot_be_batched(asset, why_not)
        elif present is None:
            draft.batch_size, draft.on_error = size, on_error
            yield Fill(asset, None, None, tuple(_changes(size, on_error)))


def _differs(op: dg.OpDefinition, size: int | None, on_error: OnError | None) -> str | None:
    """How a function is called already, if that is another way."""
    present = op_batch_size(op)
    if present != (size or ALL_AT_ONCE):
        called = "of all samples" if present == ALL_AT_ONCE else f"of {present}"
        return f"its function is called in batches {called} already"
    if op_on_error(op) != on_error:
        return f"its function is called by another {KEY_ON_ERROR} already"
    return None


def _changes(size: int | None, on_error: OnError | None) -> Iterator[Change]:
    if size:
        called = "every sample" if size == 1 else f"every {size} samples"
        yield Change(BODY, f"called once for {called}", f"{KEY_BATCH_SIZE} is {size}")
    if on_error is not None:
        most = f"{on_error.max_samples} sample{'' if on_error.max_samples == 1 else 's'}"
        then = "" if on_error.mode == ON_ERROR_QUARANTINE else ", and the step fails"
        said = f"called for parts of what fails; {most} at most may be set aside{then}"
        yield Change(BODY, said, f"{KEY_ON_ERROR} is {on_error.mode}")


def cannot_be_batched(asset: TiedDraft, why: str) -> DefinitionsError:
    """The fault of an asset that asks for batches that it cannot have.

    Args:
        asset: the asset.
        why: what stands in the way.
    """
    keys = asset.asset.keys
    problem, remedy = "its function cannot be called in batches", "go through each_batch(...)"
    key = KEY_BATCH_SIZE
    if keys.isolates and not keys.samples_per_batch:
        problem, key = "its function cannot be called for parts of what fails", KEY_ON_ERROR
        remedy = "catch errors and call report_failures(...)"
    return DefinitionsError(
        problem,
        asset=asset.asset.name,
        feature=str(asset.feature),
        found=why,
        allowed="a function of its own that takes upstream features as arguments and returns one "
        "frame, which the feature IO manager writes",
        remedy=f'remove metadata "{key}", or {remedy} in the function',
    )
