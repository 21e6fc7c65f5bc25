"""How values of metadata keys are read: a reader refuses what is not allowed with ValueError."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from metaxy_dagster import constants as c
from metaxy_dagster.features.frozen import FrozenMapping
from metaxy_dagster.features.shares import is_share
from metaxy_dagster.keys.input_keys import InputKeys

__all__ = [
    "columns_by_dimension",
    "inputs",
    "share",
    "size",
    "stored_columns",
    "truth",
    "values",
]

_NOT_ALLOWED = "not allowed"


def share(value: object) -> float | None:
    """A number between 0 and 1."""
    if value is None:
        return None
    if not is_share(value):
        raise ValueError(_NOT_ALLOWED)
    return float(value)


def truth(value: object) -> object:
    """True or false, and nothing that merely looks like it."""
    _allow(value is None or isinstance(value, bool))
    return value


def size(value: object) -> object:
    """A whole number, at least 1."""
    _allow(isinstance(value, int) and not isinstance(value, bool) and value >= 1)
    return value


def inputs(value: object) -> InputKeys | None:
    """What of a run's configuration counts as an input; ``False`` for nothing."""
    if value is None or value is False:
        return None
    found = InputKeys.of(value)
    _allow(found is not None)
    return found


def stored_columns(value: object) -> str | tuple[str, ...] | None:
    """Names of columns, or ``"all"``."""
    if value is None or value == c.STORED_ALL:
        return value if value is None else c.STORED_ALL
    named = tuple(value) if isinstance(value, list | tuple) else (None,)
    _allow(all(isinstance(one, str) and one for one in named))
    return named


def columns_by_dimension(value: object) -> Mapping[str, str]:
    """A column, under ``""``; or the columns by the names of their dimensions."""
    if value is None:
        return FrozenMapping()
    columns = value if isinstance(value, Mapping) else {"": value}
    _allow(bool(columns) and all(isinstance(one, str) and one for one in columns.values()))
    return FrozenMapping(columns)


def values(value: object) -> Mapping[str, tuple[Any, ...]]:
    """The values by column, where a single one needs no list."""
    if value is None:
        return FrozenMapping()
    _allow(isinstance(value, Mapping))
    found: dict[str, tuple[Any, ...]] = {}
    for column, given in value.items():  # type: ignore[attr-defined] # it is a mapping
        several = tuple(given) if isinstance(given, list | tuple | set | frozenset) else (given,)
        _allow(isinstance(column, str) and bool(column) and bool(several))
        _allow(all(isinstance(one, str | int | float) for one in several))
        found[column] = several
    return FrozenMapping(found)


def _allow(allowed: bool) -> None:  # noqa: FBT001 - it reads as what it says
    if not allowed:
        raise ValueError(_NOT_ALLOWED)
