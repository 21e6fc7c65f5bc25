"""Whether a stored column holds what the annotation of a feature class says."""

from __future__ import annotations

import datetime as dt
import decimal
import types
import uuid
from collections.abc import Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from typing import Annotated, Any, Final, Literal, Union, get_args, get_origin

from pydantic import BaseModel

__all__ = ["fits"]

_WHOLE: Final = (
    *("TINYINT", "SMALLINT", "INTEGER", "BIGINT", "HUGEINT"),
    *("UTINYINT", "USMALLINT", "UINTEGER", "UBIGINT", "UHUGEINT"),
)
_NUMBERS: Final = (*_WHOLE, "FLOAT", "DOUBLE", "DECIMAL")
_TEXT: Final = ("VARCHAR", "ENUM", "UUID", "JSON")
# A subclass before what it is a subclass of: bool is an int, datetime is a date.
_STORED_AS: Final[Mapping[type, Sequence[str]]] = {
    bool: ("BOOLEAN",),
    int: (*_WHOLE, "DECIMAL"),
    float: _NUMBERS,
    decimal.Decimal: _NUMBERS,
    str: _TEXT,
    uuid.UUID: ("UUID", "VARCHAR", "BLOB"),
    bytes: ("BLOB", "BIT"),
    dt.datetime: ("TIMESTAMP",),
    dt.date: ("DATE",),
    dt.time: ("TIME",),
}
_LISTS: Final = (list, tuple, set, frozenset, Sequence, AbstractSet)


def fits(annotation: Any, kind: str) -> bool:
    """Whether a DuckDB type is one in which values of an annotation are stored.

    Numbers may be stored more widely or more narrowly than Python counts them. What an annotation
    does not tell clearly fits everything.

    Example:
        >>> fits(int, "UTINYINT"), fits(float | None, "BIGINT"), fits(str, "DOUBLE")
        (True, True, False)
        >>> fits(list[float], "DOUBLE[]"), fits(list[str], "VARCHAR"), fits(object, "VARCHAR")
        (True, False, True)
    """
    return any(_holds(each, kind) for each in _choices(annotation))


def _choices(annotation: Any) -> Iterator[Any]:
    """What an annotation allows, without ``None``."""
    origin, inner = get_origin(annotation), get_args(annotation)
    if origin is Annotated:
        yield from _choices(inner[0])
    elif origin in (Union, types.UnionType):
        for each in inner:
            yield from () if each is type(None) else _choices(each)
    elif origin is Literal:
        yield from {type(value) for value in inner if value is not None}
    else:
        yield annotation


def _holds(annotation: Any, kind: str) -> bool:
    wanted, inner = get_origin(annotation) or annotation, get_args(annotation)
    if not isinstance(wanted, type):
        return True
    is_list = kind.endswith("]")
    for known, stored in _STORED_AS.items():
        if issubclass(wanted, known):
            return kind.startswith(tuple(stored)) and not is_list
    if issubclass(wanted, (Mapping, BaseModel)):
        return kind.startswith(("STRUCT", "MAP", "JSON")) and not is_list
    if issubclass(wanted, _LISTS):
        element = inner[0] if inner and wanted is not tuple else object
        return is_list and fits(element, kind[: kind.rindex("[")])
    return True
