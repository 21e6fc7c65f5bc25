"""Derived features whose functions see no upstream."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

import dagster as dg

from metaxy_dagster.constants import RESOURCE_STORE
from metaxy_dagster.definitions.draft.functions import ASKING, needed_resources, words_of
from metaxy_dagster.definitions.draft.rule import RepositoryRule
from metaxy_dagster.definitions.plan.plans import Notice, NoticeKind

if TYPE_CHECKING:
    from collections.abc import Iterator

    from metaxy_dagster.definitions.bindings.bindings import Bindings
    from metaxy_dagster.definitions.draft.draft import Draft
    from metaxy_dagster.errors import MetaxyError

__all__ = ["provenance"]


@partial(RepositoryRule, of_assets=True)
def provenance(bindings: Bindings, draft: Draft) -> Iterator[MetaxyError | Notice]:
    """Nobody knows what their rows are made of.

    A fault where no run can succeed; a warning where that depends on code that cannot be seen.
    """
    for each in draft.handled:
        unit, mine = each.plan.unit, each.upstreams
        if each.settled or each.asset.keys.takes_increment or not each.ours or each.gives_nothing:
            continue
        if not mine or each.sees_upstreams or each.has_own_body:
            continue
        names = ", ".join(sorted(map(str, mine)))
        needed = needed_resources(unit) - {bindings.settings.io_manager_key}
        remedy = (
            "take the upstream assets as arguments; or take the resource "
            f'"{RESOURCE_STORE}" and return what store.resolve_update(...) gave, with its '
            'provenance columns; or set "metaxy/deps": [] if it is computed from none of them'
        )
        node = unit.definition.node_def if unit.definition is not None else None
        if RESOURCE_STORE in needed or words_of(unit) & ASKING:
            continue
        if needed or isinstance(node, dg.GraphDefinition):
            message = (
                f"none of its arguments is an upstream feature ({names}): unless it asks the store "
                f"what is pending, what it returns is refused; {remedy}"
            )
            yield Notice(NoticeKind.BODY, message, each.called)
            continue
        yield each.fault(
            f"its feature is computed from {names}, but none of its arguments is: the provenance "
            "of what it returns would be unknown",
            found=each.taken,
            allowed=f"an argument for an asset of {names}",
            remedy=remedy,
        )
