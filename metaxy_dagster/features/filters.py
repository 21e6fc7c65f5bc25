"""Filters on an upstream's samples: the parsed form, from which a store writes its own query.

Two filters are equal when their canonical texts are: ``x = 1`` and ``x = 1.0`` are two filters.
"""

from __future__ import annotations

import abc
import math
import re
import unicodedata
from dataclasses import dataclass, field
from typing import Any, TypeAlias

from pydantic import GetCoreSchemaHandler, GetJsonSchemaHandler
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import core_schema

from metaxy_dagster.errors import FeatureError
from metaxy_dagster.features.text import check_encodable

__all__ = [
    "And",
    "Between",
    "Compare",
    "Filter",
    "In",
    "IsNull",
    "Like",
    "Literal",
    "Not",
    "Or",
]

Literal: TypeAlias = str | int | float | bool

OPERATORS = ("=", "!=", "<", "<=", ">", ">=")
KEYWORDS = frozenset(("and", "between", "false", "in", "is", "like", "not", "null", "or", "true"))
# Enough for people, and far from Python's recursion limit for whoever walks the tree.
MAX_DEPTH = 50
_BARE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")


class Filter(abc.ABC):
    """A condition on the columns of an upstream's samples; build one with ``parse_filter``.

    ``str(filter)`` is its canonical text, which parses back to an equal filter.
    """

    __slots__ = ()

    @property
    @abc.abstractmethod
    def columns(self) -> frozenset[str]:
        """The columns that the condition names."""

    @property
    def depth(self) -> int:
        """How many levels of AND, OR and NOT it has."""
        return 0

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Filter):
            return NotImplemented
        return type(self) is type(other) and str(self) == str(other)

    def __hash__(self) -> int:
        return hash(str(self))

    @staticmethod
    def coerce(value: object) -> Filter:
        """Read a filter from its text; a filter stays as it is.

        Raises:
            FeatureError: it is neither.

        Example:
            >>> Filter.coerce("height > 720")
            Compare(column='height', op='>', value=720)
        """
        from metaxy_dagster.features.filter_parser import parse_filter  # noqa: PLC0415 - a cycle

        return value if isinstance(value, Filter) else parse_filter(value)

    @classmethod
    def __get_pydantic_core_schema__(
        cls, source: Any, handler: GetCoreSchemaHandler
    ) -> core_schema.CoreSchema:
        """As a pydantic field: validated from text or a filter, dumped as canonical text."""
        return core_schema.no_info_plain_validator_function(
            cls.coerce,
            serialization=core_schema.plain_serializer_function_ser_schema(
                str, return_schema=core_schema.str_schema()
            ),
        )

    @classmethod
    def __get_pydantic_json_schema__(
        cls, schema: core_schema.CoreSchema, handler: GetJsonSchemaHandler
    ) -> JsonSchemaValue:
        """In a JSON schema: a string."""
        return {"type": "string"}


class _OnColumn(Filter):
    """A condition on one column."""

    __slots__ = ()
    column: str

    @property
    def columns(self) -> frozenset[str]:
        return frozenset((self.column,))


@dataclass(frozen=True, slots=True, eq=False)
class Compare(_OnColumn):
    """``column op value``, with one of ``=``, ``!=``, ``<``, ``<=``, ``>`` and ``>=``."""

    column: str
    op: str
    value: Literal

    def __post_init__(self) -> None:
        if self.op not in OPERATORS:
            raise FeatureError(
                "unknown operator in a filter",
                found=repr(self.op),
                allowed=" ".join(OPERATORS),
                remedy="use one of these",
            )
        _check_values(self.column, self.value)

    def __str__(self) -> str:
        return f"{_identifier(self.column)} {self.op} {_literal(self.value)}"


@dataclass(frozen=True, slots=True, eq=False)
class In(_OnColumn):
    """``column [NOT] IN (values)``."""

    column: str
    values: tuple[Literal, ...]
    negated: bool = False

    def __post_init__(self) -> None:
        object.__setattr__(self, "values", tuple(self.values))
        if not self.values:
            raise FeatureError(
                "IN with an empty list in a filter",
                found=f"{self.column} IN ()",
                remedy="list at least one value",
            )
        _check_values(self.column, *self.values)

    def __str__(self) -> str:
        values = ", ".join(map(_literal, self.values))
        return f"{_identifier(self.column)} {_not(self.negated)}IN ({values})"


@dataclass(frozen=True, slots=True, eq=False)
class IsNull(_OnColumn):
    """``column IS [NOT] NULL``."""

    column: str
    negated: bool = False

    def __post_init__(self) -> None:
        _check_values(self.column)

    def __str__(self) -> str:
        return f"{_identifier(self.column)} IS {_not(self.negated)}NULL"


@dataclass(frozen=True, slots=True, eq=False)
class Like(_OnColumn):
    """``column [NOT] LIKE pattern``, where ``%`` is any text and ``_`` any character."""

    column: str
    pattern: str
    negated: bool = False

    def __post_init__(self) -> None:
        _check_values(self.column, self.pattern)
        if not isinstance(self.pattern, str):
            raise FeatureError(
                "LIKE takes text in a filter",
                found=repr(self.pattern),
                remedy="quote the pattern: 'a%'",
            )

    def __str__(self) -> str:
        return f"{_identifier(self.column)} {_not(self.negated)}LIKE {_literal(self.pattern)}"


@dataclass(frozen=True, slots=True, eq=False)
class Between(_OnColumn):
    """``column [NOT] BETWEEN low AND high``, both ends included."""

    column: str
    low: Literal
    high: Literal
    negated: bool = False

    def __post_init__(self) -> None:
        _check_values(self.column, self.low, self.high)

    def __str__(self) -> str:
        ends = f"{_literal(self.low)} AND {_literal(self.high)}"
        return f"{_identifier(self.column)} {_not(self.negated)}BETWEEN {ends}"


class _Parts(Filter):
    """Several conditions."""

    __slots__ = ()
    parts: tuple[Filter, ...]
    depth: int

    def _settle(self, word: str) -> None:
        """Check the parts and note the depth."""
        parts = tuple(self.parts)
        if len(parts) < 2 or not all(isinstance(part, Filter) for part in parts):  # noqa: PLR2004
            raise FeatureError(
                f"{word} takes two filters or more",
                found=repr(self.parts),
                remedy=f"leave {word} out, or add filters",
            )
        object.__setattr__(self, "parts", parts)
        object.__setattr__(self, "depth", _depth(parts))

    @property
    def columns(self) -> frozenset[str]:
        return frozenset().union(*(part.columns for part in self.parts))


@dataclass(frozen=True, slots=True, eq=False)
class And(_Parts):
    """All parts hold."""

    parts: tuple[Filter, ...]
    depth: int = field(init=False, repr=False)

    def __post_init__(self) -> None:
        self._settle("AND")

    def __str__(self) -> str:
        return " AND ".join(_nested(part, And, Or) for part in self.parts)


@dataclass(frozen=True, slots=True, eq=False)
class Or(_Parts):
    """At least one part holds."""

    parts: tuple[Filter, ...]
    depth: int = field(init=False, repr=False)

    def __post_init__(self) -> None:
        self._settle("OR")

    def __str__(self) -> str:
        return " OR ".join(_nested(part, Or) for part in self.parts)


@dataclass(frozen=True, slots=True, eq=False)
class Not(Filter):
    """The part does not hold."""

    part: Filter
    depth: int = field(init=False, repr=False)

    def __post_init__(self) -> None:
        if not isinstance(self.part, Filter):
            raise FeatureError("NOT takes a filter", found=repr(self.part), remedy="give one")
        object.__setattr__(self, "depth", _depth((self.part,)))

    @property
    def columns(self) -> frozenset[str]:
        """The columns that the part names."""
        return self.part.columns

    def __str__(self) -> str:
        return f"NOT {_nested(self.part, And, Or)}"


def _depth(parts: tuple[Filter, ...]) -> int:
    depth = 1 + max(part.depth for part in parts)
    if depth > MAX_DEPTH:
        raise FeatureError(
            "a filter is nested too deeply",
            found=f"{depth} levels",
            allowed=f"{MAX_DEPTH} levels of AND, OR and NOT",
            remedy="write it flatter, for instance with IN (...)",
        )
    return depth


def _nested(part: Filter, *bracketed: type[Filter]) -> str:
    return f"({part})" if isinstance(part, bracketed) else str(part)


def _not(negated: bool) -> str:  # noqa: FBT001 - a flag of the node
    return "NOT " if negated else ""


def _identifier(name: str) -> str:
    if _BARE.fullmatch(name) and name.lower() not in KEYWORDS:
        return name
    return '"' + name.replace('"', '""') + '"'


def _literal(value: Literal) -> str:
    if isinstance(value, str):
        return "'" + value.replace("'", "''") + "'"
    return str(value).lower() if isinstance(value, bool) else repr(value)


def _is_control(character: str) -> bool:
    return unicodedata.category(character).startswith("C")


def _check_values(column: object, *values: object) -> None:
    # A frame may bring any column that can be written down, odd spaces included.
    if not isinstance(column, str) or not column or any(map(_is_control, column)):
        raise FeatureError(
            "a filter names no column",
            found=repr(column),
            remedy="name a column of the upstream",
        )
    for value in values:
        if value is None:
            raise FeatureError(
                "a filter compares with NULL, which is never true",
                found=column,
                remedy=f"write {_identifier(column)} IS NULL, or IS NOT NULL",
            )
        if not isinstance(value, Literal) or (
            isinstance(value, float) and not math.isfinite(value)
        ):
            raise FeatureError(
                "a filter compares with something that is no literal",
                found=f"{value!r} of type {type(value).__name__}",
                allowed="text, finite numbers, true and false",
                remedy="convert the value; write dates as text: '2026-01-31'",
            )
        if isinstance(value, str):
            check_encodable(value, "text in a filter")
