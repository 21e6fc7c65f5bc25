"""Functions that write their feature themselves, as far as their code tells."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from metaxy_dagster.constants import (
    COL_PROVENANCE_BY_FIELD,
    KEY_INPUT,
    RESOURCE_STORE,
)
from metaxy_dagster.definitions import _compat
from metaxy_dagster.definitions.plan.plans import Notice, NoticeKind

if TYPE_CHECKING:
    from collections.abc import Iterator

    from metaxy_dagster.definitions.bindings.bindings import Bindings
    from metaxy_dagster.definitions.plan.plans import AssetPlan, DefinitionPlan
    from metaxy_dagster.definitions.repository.collect import Unit

__all__ = ["ASKING", "gives_nothing", "needed_resources", "own_write", "words_of"]

#: Words in the code of a function that asks a store by itself what its rows are computed from.
ASKING: Final = frozenset({"resolve_update", COL_PROVENANCE_BY_FIELD})


def own_write(bindings: Bindings, plan: DefinitionPlan, each: AssetPlan) -> Iterator[Notice]:
    """What to say of a derived feature whose function gives nothing back.

    A write without an increment is refused, but code that cannot be seen may bring one.

    Args:
        bindings: the repository and its features.
        plan: the unit.
        each: the asset, for which nothing is returned.

    Yields:
        A warning where no word of its function says that it asks for the increment, and where it
        takes pending samples, or the store and something to write.
    """
    words = words_of(plan.unit)
    if not plan.unit.materializable or not bindings.upstreams[each.key] or words & ASKING:
        return
    written = f"store.write(..., increment=store.resolve_update({str(each.feature)!r}))"
    if bindings.scan.assets[each.key].keys.takes_increment:
        if "report_empty" in words:
            return
        message = (
            "it is given the pending samples and returns nothing: they stay pending unless its "
            f"function writes them itself by {written}; without the increment a write is refused. "
            f'Or return the frame, or remove "{KEY_INPUT}" if it does not write its feature'
        )
    elif RESOURCE_STORE in needed_resources(plan.unit) and "write" in words:
        message = (
            "what its function writes itself is refused, unless it brings what it was computed "
            f"from: {written}; or return the frame"
        )
    else:
        return
    yield Notice(NoticeKind.BODY, message, each.key.to_user_string())


def words_of(unit: Unit) -> frozenset[str]:
    """The names and texts in the own code of a unit's functions."""
    if unit.definition is None or not unit.executable:
        return frozenset()
    functions = _compat.functions_of(unit.definition.node_def)
    return frozenset(word for each in functions for word in _compat.words_of(each))


def needed_resources(unit: Unit) -> frozenset[str]:
    """The resources that a unit's ops take."""
    if unit.definition is None or not unit.executable:
        return frozenset()
    return frozenset(_compat.needed_resources(unit.definition.node_def))


def gives_nothing(unit: Unit) -> bool:
    """Whether the function behind an asset returns no value, annotated or not."""
    if unit.definition is None or not unit.executable:
        return True
    functions = list(_compat.functions_of(unit.definition.node_def))
    return not functions or all(_compat.gives_nothing(function) for function in functions)
