"""Filters on an upstream's samples: the parsed form, from which a store writes its own query.

Two filters are equal when their canonical texts are: ``x = 1`` and ``x = 1.0`` are two filters.
"""

from __future__ import annotations

import abc
import reprlib
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from pydantic import GetCoreSchemaHandler, GetJsonSchemaHandler
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import core_schema

from metaxy_dagster.errors import FeatureError
from metaxy_dagster.features.operands import (
    MAX_CONDITIONS,
    MAX_DEPTH,
    Literal,
    Member,
    column_text,
    literal_text,
    plain,
    plain_column,
    root,
)

__all__ = [
    "And",
    "Between",
    "Compare",
    "Filter",
    "In",
    "IsNull",
    "Like",
    "Literal",
    "Member",
    "Not",
    "Or",
]

OPERATORS = ("=", "!=", "<", "<=", ">", ">=")


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

    @property
    def size(self) -> int:
        """How many conditions it is made of."""
        return 1

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Filter):
            return NotImplemented
        return type(self) is type(other) and str(self) == str(other)

    def __hash__(self) -> int:
        return hash(str(self))

    @classmethod
    def __get_pydantic_core_schema__(
        cls, source: Any, handler: GetCoreSchemaHandler
    ) -> core_schema.CoreSchema:
        """As a pydantic field: a filter, dumped as canonical text."""
        return core_schema.is_instance_schema(
            cls,
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
    """A condition on one column, or on a member of a struct column."""

    __slots__ = ()
    column: str | Member

    @property
    def columns(self) -> frozenset[str]:
        return frozenset((root(self.column),))

    def _settle(self, *names: str) -> None:
        """Check the column and the literals in these attributes."""
        plain_column(self.column)
        for one in names:
            object.__setattr__(self, one, plain(self.column, getattr(self, one)))


@dataclass(frozen=True, slots=True, eq=False)
class Compare(_OnColumn):
    """``column op value``, with one of ``=``, ``!=``, ``<``, ``<=``, ``>`` and ``>=``."""

    column: str | Member
    op: str
    value: Literal

    def __post_init__(self) -> None:
        if self.op not in OPERATORS:
            raise FeatureError(
                "unknown operator in a filter",
                found=reprlib.repr(self.op),
                allowed=" ".join(OPERATORS),
                remedy="use one of these",
            )
        self._settle("value")

    def __str__(self) -> str:
        return f"{column_text(self.column)} {self.op} {literal_text(self.value)}"


@dataclass(frozen=True, slots=True, eq=False)
class In(_OnColumn):
    """``column [NOT] IN (values)``."""

    column: str | Member
    values: tuple[Literal, ...]
    negated: bool = False

    def __post_init__(self) -> None:
        self._settle()
        given: object = self.values
        listed = isinstance(given, Iterable) and not isinstance(given, str | bytes)
        values = tuple(plain(self.column, value) for value in self.values) if listed else ()
        if not values:
            raise FeatureError(
                "IN with an empty list in a filter" if listed else "IN without a list in a filter",
                found=f"{column_text(self.column)} IN ({'' if listed else reprlib.repr(given)})",
                remedy="list at least one value",
            )
        object.__setattr__(self, "values", values)

    def __str__(self) -> str:
        values = ", ".join(map(literal_text, self.values))
        return f"{column_text(self.column)} {_not(negated=self.negated)}IN ({values})"


@dataclass(frozen=True, slots=True, eq=False)
class IsNull(_OnColumn):
    """``column IS [NOT] NULL``."""

    column: str | Member
    negated: bool = False

    def __post_init__(self) -> None:
        self._settle()

    def __str__(self) -> str:
        return f"{column_text(self.column)} IS {_not(negated=self.negated)}NULL"


@dataclass(frozen=True, slots=True, eq=False)
class Like(_OnColumn):
    """``column [NOT] LIKE pattern``, where ``%`` is any text and ``_`` any character.

    Attributes:
        column: which column.
        pattern: the pattern.
        negated: whether it must not match.
        any_case: ``ILIKE``: A is a.
        escape: a character before which ``%`` and ``_`` stand for themselves.
    """

    column: str | Member
    pattern: str
    negated: bool = False
    any_case: bool = False
    escape: str | None = None

    def __post_init__(self) -> None:
        if not isinstance(self.pattern, str):
            raise FeatureError(
                "LIKE takes text in a filter",
                found=reprlib.repr(self.pattern),
                remedy="quote the pattern: 'a%'",
            )
        self._settle("pattern")
        if self.escape is not None:
            _check_escape(self.escape, self.pattern)

    def __str__(self) -> str:
        word = _not(negated=self.negated) + ("ILIKE" if self.any_case else "LIKE")
        text = f"{column_text(self.column)} {word} {literal_text(self.pattern)}"
        return text if self.escape is None else f"{text} ESCAPE {literal_text(self.escape)}"


@dataclass(frozen=True, slots=True, eq=False)
class Between(_OnColumn):
    """``column [NOT] BETWEEN low AND high``, both ends included."""

    column: str | Member
    low: Literal
    high: Literal
    negated: bool = False

    def __post_init__(self) -> None:
        self._settle("low", "high")

    def __str__(self) -> str:
        ends = f"{literal_text(self.low)} AND {literal_text(self.high)}"
        return f"{column_text(self.column)} {_not(negated=self.negated)}BETWEEN {ends}"


class _Parts(Filter):
    """Several conditions."""

    __slots__ = ()
    parts: tuple[Filter, ...]
    depth: int
    size: int

    def _settle(self, word: str) -> None:
        """Check the parts and note the depth."""
        given: object = self.parts
        parts = tuple(given) if isinstance(given, Iterable) else ()
        if not parts[1:] or not all(isinstance(part, Filter) for part in parts):
            raise FeatureError(
                f"{word} takes two filters or more",
                found=reprlib.repr(self.parts),
                remedy=f"leave {word} out, or add filters",
            )
        object.__setattr__(self, "parts", parts)
        object.__setattr__(self, "depth", _depth(parts))
        object.__setattr__(self, "size", _size(parts))

    @property
    def columns(self) -> frozenset[str]:
        return frozenset().union(*(part.columns for part in self.parts))


@dataclass(frozen=True, slots=True, eq=False)
class And(_Parts):
    """All parts hold."""

    parts: tuple[Filter, ...]
    depth: int = field(init=False, repr=False)
    size: int = field(init=False, repr=False)

    def __post_init__(self) -> None:
        self._settle("AND")

    def __str__(self) -> str:
        return " AND ".join(_nested(part, And, Or) for part in self.parts)


@dataclass(frozen=True, slots=True, eq=False)
class Or(_Parts):
    """At least one part holds."""

    parts: tuple[Filter, ...]
    depth: int = field(init=False, repr=False)
    size: int = field(init=False, repr=False)

    def __post_init__(self) -> None:
        self._settle("OR")

    def __str__(self) -> str:
        return " OR ".join(_nested(part, Or) for part in self.parts)


@dataclass(frozen=True, slots=True, eq=False)
class Not(Filter):
    """The part does not hold."""

    part: Filter
    depth: int = field(init=False, repr=False)
    size: int = field(init=False, repr=False)

    def __post_init__(self) -> None:
        if not isinstance(self.part, Filter):
            raise FeatureError(
                "NOT takes a filter", found=reprlib.repr(self.part), remedy="give one"
            )
        object.__setattr__(self, "depth", _depth((self.part,)))
        object.__setattr__(self, "size", self.part.size)

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


def _size(parts: tuple[Filter, ...]) -> int:
    size = sum(part.size for part in parts)
    if size > MAX_CONDITIONS:
        raise FeatureError(
            "a filter is too long",
            found=f"{size} conditions",
            allowed=f"{MAX_CONDITIONS} conditions",
            remedy="write it shorter, for instance with IN (...)",
        )
    return size


def _not(*, negated: bool) -> str:
    return "NOT " if negated else ""


def _check_escape(sign: object, pattern: str) -> None:
    if not isinstance(sign, str) or len(sign) != 1 or not sign.isascii() or not sign.isprintable():
        raise FeatureError(
            "ESCAPE takes one character in a filter",
            found=reprlib.repr(sign),
            remedy="write ESCAPE '!'",
        )
    # Doubled it stands for itself, so only an odd number of them at the end escapes nothing.
    if (len(pattern) - len(pattern.rstrip(sign))) % 2:
        raise FeatureError(
            "a pattern ends with its escape character in a filter",
            found=reprlib.repr(pattern),
            remedy="write the character twice, or leave it out",
        )
