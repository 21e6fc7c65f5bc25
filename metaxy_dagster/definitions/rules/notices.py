"""Warnings that concern the repository as a whole."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from metaxy_dagster.definitions import _compat
from metaxy_dagster.definitions.plan.plans import Notice, NoticeKind
from metaxy_dagster.definitions.rules.hardcoded import hardcoded_keys

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from metaxy_dagster.definitions.bindings.unit_context import UnitContext
    from metaxy_dagster.definitions.plan.plans import DefinitionPlan

__all__ = ["general_notices"]

#: Beyond this depth Dagster itself becomes slow, and at some thousands it recurses too deep.
LONG_CHAIN: Final = 500
#: So many names are enough to know which assets are meant.
_NAMES: Final = 3


def general_notices(
    context: UnitContext, definitions: Sequence[DefinitionPlan], longest_chain: int
) -> list[Notice]:
    """What a person should know before applying the plan.

    Args:
        context: what the plan was made from.
        definitions: the planned units.
        longest_chain: the number of steps on the longest path of deps.

    Returns:
        The warnings, always in the same order.
    """
    return [
        *(notice for each in context.filled.values() for notice in each.notices),
        *_code_versions(context),
        *_rerouted(context, definitions),
        *_long_chain(longest_chain),
        *hardcoded_keys(context.scan, context.renames),
    ]


def _code_versions(context: UnitContext) -> Iterator[Notice]:
    stamped = [key for key, each in context.filled.items() if "code_version" in each.attributes]
    if not stamped:
        return
    names = ", ".join(key.to_user_string() for key in stamped[:_NAMES])
    more = ", …" if len(stamped) > _NAMES else ""
    watching = sum(
        _compat.watches_code_versions(context.scan.assets[key].spec.automation_condition)
        for key in stamped
    )
    fires = f", and conditions on code versions fire for {watching} of them" if watching else ""
    yield Notice(
        NoticeKind.CODE_VERSION,
        f"{len(stamped)} assets ({names}{more}) get a code version: what was materialized before "
        f"is shown as stale once{fires}; inject_code_version=False leaves them alone",
    )


def _rerouted(context: UnitContext, definitions: Sequence[DefinitionPlan]) -> Iterator[Notice]:
    if _compat.DEFAULT_IO_MANAGER_KEY not in (context.scan.fields["resources"] or {}):
        return
    count = sum(
        change.what == "io_manager_key"
        for each in definitions
        for asset in each.assets
        for change in asset.changes
    )
    if count:
        yield Notice(
            NoticeKind.IO_MANAGER,
            f"{count} assets no longer use the repository's own io_manager; "
            'io_routing="respect_default" leaves them there',
        )


def _long_chain(longest_chain: int) -> Iterator[Notice]:
    if longest_chain > LONG_CHAIN:
        yield Notice(
            NoticeKind.LONG_CHAIN,
            f"the longest chain of deps has {longest_chain} assets: Dagster is slow on chains of "
            "some hundreds and fails on chains of some thousands",
        )
