"""What the code of a unit's functions tells."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import dagster as dg

from metaxy_dagster.constants import COL_PROVENANCE_BY_FIELD
from metaxy_dagster.definitions import _compat

if TYPE_CHECKING:
    from metaxy_dagster.definitions._compat import NodeDefinition
    from metaxy_dagster.definitions.repository.collect import Unit

__all__ = ["ASKING", "gives_nothing", "needed_resources", "returns_rows", "sole_op", "words_of"]

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


def returns_rows(unit: Unit, output: dg.OutputDefinition | None) -> bool:
    """Whether the function behind an output returns a value for it, as far as its code tells.

    Results of Dagster without a value are none; they tell of what was made elsewhere.
    """
    if output is None or _compat.is_nothing(output) or unit.definition is None:
        return False
    functions = list(_compat.functions_of(unit.definition.node_def))
    if not functions:
        return True
    return not gives_nothing(unit) and not all(map(_compat.gives_results, functions))


def sole_op(node: NodeDefinition) -> dg.OpDefinition | None:
    """The op behind a node, through graphs that hold nothing else; None where there are more."""
    while isinstance(node, dg.GraphDefinition):
        if len(node.node_dict) != 1:
            return None
        node = next(iter(node.node_dict.values())).definition
    return node if isinstance(node, dg.OpDefinition) else None
