"""What the code of a unit's functions tells."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from metaxy_dagster.constants import COL_PROVENANCE_BY_FIELD
from metaxy_dagster.definitions import _compat

if TYPE_CHECKING:
    from metaxy_dagster.definitions.repository.collect import Unit

__all__ = ["ASKING", "gives_nothing", "needed_resources", "words_of"]

#: Words in the code of a function that asks a store by itself what its rows are computed from.
ASKING: Final = frozenset({"resolve_update", COL_PROVENANCE_BY_FIELD})


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
