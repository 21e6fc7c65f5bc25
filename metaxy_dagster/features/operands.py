"""What a filter compares: columns, members of struct columns, and literals."""

from __future__ import annotations

import math
import re
import reprlib
import unicodedata
from dataclasses import dataclass
from datetime import UTC, date, datetime
from typing import Any, TypeAlias, cast

from metaxy_dagster.errors import FeatureError
from metaxy_dagster.features.text import check_encodable

__all__ = [
    "KEYWORDS",
    "MAX_CONDITIONS",
    "MAX_DEPTH",
    "Literal",
    "Member",
    "column_text",
    "literal_text",
    "plain",
    "plain_column",
    "root",
]

Literal: TypeAlias = str | int | float | bool | date | datetime

KEYWORDS = frozenset(("and", "between", "false", "in", "is", "like", "not", "null", "or", "true"))
# Enough for people, and far from Python's recursion limit for whoever walks the tree.
MAX_DEPTH = 50
# Databases take longer for each one more; IN (...) counts as one, however many values it lists.
MAX_CONDITIONS = 10_000
# Integers of 40 digits; no database has wider ones, and Python refuses to write the widest down.
_MAX_BITS = 133
_BARE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_ALLOWED = "text, finite numbers, true and false, dates and times"


@dataclass(frozen=True, slots=True)
class Member:
    """A member of a struct column, as ``meta.lang``; at any depth.

    Example:
        >>> str(Member(("meta", "lang")))
        'meta.lang'
    """

    path: tuple[str, ...]

    def __post_init__(self) -> None:
        object.__setattr__(self, "path", tuple(self.path))
        if not 1 < len(self.path) <= MAX_DEPTH:
            raise FeatureError(
                "a filter names no member of a column",
                found=f"a path of {len(self.path)} names",
                allowed=f"a column and at least one member, at most {MAX_DEPTH} names",
                remedy="write column.member",
            )
        for name in self.path:
            _check_name(name)

    def __str__(self) -> str:
        return ".".join(map(_identifier, self.path))


def root(column: str | Member) -> str:
    """The column itself, of a column or of a member of one."""
    return column if isinstance(column, str) else column.path[0]


def column_text(column: str | Member) -> str:
    """A column or member as a filter writes it."""
    return _identifier(column) if isinstance(column, str) else str(column)


def literal_text(value: Literal) -> str:
    """A literal as a filter writes it."""
    match value:
        case str():
            return "'" + value.replace("'", "''") + "'"
        case datetime():
            kind = "TIMESTAMP" if value.tzinfo is None else "TIMESTAMPTZ"
            return f"{kind} '{value.isoformat(sep=' ')}'"
        case date():
            return f"DATE '{value.isoformat()}'"
    return str(value).lower() if isinstance(value, bool) else repr(value)


def plain_column(column: object) -> str | Member:
    """Check a column that a filter names.

    Raises:
        FeatureError: it is neither the name of a column nor a member of one.
    """
    return column if isinstance(column, Member) else _check_name(column)


def plain(column: str | Member, value: object) -> Literal:
    """Check a literal, and bring it to the type of Python that stands for its kind.

    Raises:
        FeatureError: it is no literal.
    """
    if value is None:
        raise FeatureError(
            "a filter compares with NULL, which is never true",
            found=column_text(column),
            remedy=f"write {column_text(column)} IS NULL, or IS NOT NULL",
        )
    found = cast("Any", value)
    if type(value).__module__ == "numpy" and hasattr(value, "item"):
        found = found.item()
    match found:
        case bool():
            return bool(found)
        case str():
            # A member of an Enum is a text too, and would write down its name.
            return check_encodable(str.__str__(found), "text in a filter")
        case int() if found.bit_length() <= _MAX_BITS:
            return int(found)
        case float() if math.isfinite(found):
            return float(found)
        case date() if (moment := _moment(found)) is not None:
            return moment
    raise FeatureError(
        "a filter compares with something that is no literal",
        found=f"{reprlib.repr(found)} of type {type(found).__name__}"
        if not isinstance(found, int)
        else f"a number of {found.bit_length()} bits",
        allowed=_ALLOWED,
        remedy="convert the value; write dates as DATE '2026-01-31'",
    )


def _moment(value: date) -> date | None:
    """The date or time without what only its subclass knows; ``None`` where that would matter."""
    if not isinstance(value, datetime):
        return date(value.year, value.month, value.day)
    if getattr(value, "nanosecond", 0):
        return None
    try:
        moment = datetime.fromisoformat(value.isoformat())
        return moment if moment.tzinfo is None else moment.astimezone(UTC)
    except (ValueError, OverflowError):
        return None


def _identifier(name: str) -> str:
    if _BARE.fullmatch(name) and name.lower() not in KEYWORDS:
        return name
    return '"' + name.replace('"', '""') + '"'


def _is_control(character: str) -> bool:
    return unicodedata.category(character).startswith("C")


def _check_name(name: object) -> str:
    # A frame may bring any column that can be written down, odd spaces included.
    if isinstance(name, str) and name and not any(map(_is_control, name)):
        return name
    raise FeatureError(
        "a filter names no column",
        found=reprlib.repr(name),
        remedy="name a column of the upstream",
    )
