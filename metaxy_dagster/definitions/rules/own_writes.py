"""Functions that write their feature themselves, as far as their code tells."""

from __future__ import annotations

from typing import TYPE_CHECKING

from metaxy_dagster.constants import KEY_INPUT, RESOURCE_STORE
from metaxy_dagster.definitions.draft.functions import ASKING, needed_resources, words_of
from metaxy_dagster.definitions.draft.rule import RepositoryRule
from metaxy_dagster.definitions.plan.plans import Notice, NoticeKind

if TYPE_CHECKING:
    from collections.abc import Iterator

    from metaxy_dagster.definitions.bindings.bindings import Bindings
    from metaxy_dagster.definitions.draft.draft import Draft
    from metaxy_dagster.definitions.draft.handling import Handling

__all__ = ["own_writes"]


@RepositoryRule
def own_writes(_: Bindings, draft: Draft) -> Iterator[Notice]:
    """Derived features whose functions give nothing back.

    A write without an increment is refused, but code that cannot be seen may bring one. A warning
    where no word of its function says that it asks for the increment, and where it takes pending
    samples, or the store and something to write.
    """
    for each in draft.handled:
        silent = each.handler is None or each.gives_nothing
        if each.settled or not silent or not each.upstreams or not each.plan.unit.materializable:
            continue
        if each.writes_itself:
            continue  # it is recorded
        message = _pending(each) if each.asset.keys.takes_increment else _all(each)
        if message is not None:
            yield Notice(NoticeKind.BODY, message, each.called)


def _pending(each: Handling) -> str | None:
    passed = each.handler is not None and not each.ours
    words = words_of(each.plan.unit)
    if passed or not each.sees_upstreams or words & ASKING or "report_empty" in words:
        return None
    return (
        "it is given the pending samples and returns nothing: they stay pending unless its "
        f"function writes them itself by {_written(each)}; without the increment a write is "
        f'refused. Or return the frame, or remove "{KEY_INPUT}" if it does not write its feature'
    )


def _all(each: Handling) -> str | None:
    words = words_of(each.plan.unit)
    if words & ASKING or RESOURCE_STORE not in needed_resources(each.plan.unit):
        return None
    if "write" not in words:
        return None
    return (
        "what its function writes itself is refused, unless it brings what it was computed "
        f"from: {_written(each)}; or return the frame"
    )


def _written(each: Handling) -> str:
    feature = str(each.planned.feature)
    return f"store.write(..., increment=store.resolve_update({feature!r}))"
