"""Which bodies are left out of runs in which nothing is pending."""

from __future__ import annotations

from typing import TYPE_CHECKING

from metaxy_dagster.constants import INPUT_INCREMENT, KEY_INPUT
from metaxy_dagster.definitions.draft.drafts import BODY
from metaxy_dagster.definitions.draft.findings import Fill
from metaxy_dagster.definitions.draft.functions import sole_op
from metaxy_dagster.definitions.draft.pending import incremental, why_not_pending
from metaxy_dagster.definitions.draft.rule import UnitRule
from metaxy_dagster.definitions.plan.plans import Change, Notice, NoticeKind
from metaxy_dagster.runtime.io.own_bodies import is_own_body
from metaxy_dagster.runtime.work.skipping import is_skipping, why_body_always_runs

if TYPE_CHECKING:
    from collections.abc import Iterator

    from metaxy_dagster.definitions.bindings.bindings import Bindings
    from metaxy_dagster.definitions.draft.drafts import UnitDraft

__all__ = ["skipping"]


@UnitRule
def skipping(bindings: Bindings, draft: UnitDraft) -> Iterator[Fill | Notice]:
    """Leave the body out while nothing is pending, where its results say that it may be.

    Nothing is said of what does not take increments, or is left out already.
    """
    unit = draft.unit
    if draft.own_body is not None and not draft.own_body.returns:
        return
    if not bindings.settings.enable_skipping or not draft.tied:
        return
    if not incremental(draft).asset.keys.takes_increment:
        return
    if not unit.materializable or unit.definition is None:
        return
    op = sole_op(unit.definition.node_def)
    if op is not None and (is_skipping(op) or is_own_body(op)):
        return
    why = why_not_pending(bindings, draft)
    if why is None:
        why = "it is a graph of several ops" if op is None else why_body_always_runs(op)
    if why is not None:
        message = f"its body also runs while nothing is pending: {why}"
        yield Notice(NoticeKind.BODY, message, unit.label)
        return
    draft.skips = True
    (asset,) = draft.assets
    value = "left out while nothing is pending"
    change = Change(BODY, value, f"{KEY_INPUT} is {INPUT_INCREMENT}")
    yield Fill(asset, None, None, (change,))
