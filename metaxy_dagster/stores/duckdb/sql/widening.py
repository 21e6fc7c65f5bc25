"""The type that holds the values of two others: numbers, moments, and structs that grow.

Types are DuckDB's own objects, so that names with quotes, and types within types, need no parser.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import duckdb

from metaxy_dagster.features.columns import fold
from metaxy_dagster.stores.duckdb.sql.identifiers import literal, quote

__all__ = [
    "INTEGERS",
    "Path",
    "Widening",
    "Wider",
    "family_of",
    "has_value",
    "may_lose",
    "storable",
]

# How to come from a column to a part of it: names of entries, and "[]", "key" and "value".
Step: TypeAlias = tuple[str, str]
Path: TypeAlias = tuple[Step, ...]
# A type of DuckDB; its stubs name the class otherwise in 1.5 and in 2.0.
Kind: TypeAlias = Any
# Whether one of the two sides has no value at a place.
IsEmpty: TypeAlias = Callable[[Path], bool]

INTEGERS = {
    *("TINYINT", "SMALLINT", "INTEGER", "BIGINT", "HUGEINT"),
    *("UTINYINT", "USMALLINT", "UINTEGER", "UBIGINT", "UHUGEINT"),
}
_FLOATS = {"FLOAT", "DOUBLE"}
_DATES = {"DATE", "TIMESTAMP", "TIMESTAMP_S", "TIMESTAMP_MS", "TIMESTAMP_NS"}
# Between these there is no common type of DuckDB's; the first holds the second.
_FINER = (("TIMESTAMPTZ_NS", "TIMESTAMP WITH TIME ZONE"), ("TIME_NS", "TIME"))
_HUGE = {"HUGEINT", "UHUGEINT"}
_NULLS = {"NULL", '"NULL"'}
_TEXT = "VARCHAR"
# Types whose values have a text of their own.
_WRITTEN = ("ENUM", "UUID", "JSON", "BIT", "TIME WITH TIME ZONE")


@dataclass(frozen=True)
class Wider:
    """A common type of two, and the types by way of which each of them is cast to it.

    Attributes:
        kind: the type of both.
        stored: as what is stored, but with text where it holds no value and has another type.
        arrived: the same of what arrives.
        stored_may_lose: whether a stored value may be another one in the common type.
        arrived_may_lose: the same of an arriving one.
    """

    kind: str
    stored: str
    arrived: str
    stored_may_lose: bool = False
    arrived_may_lose: bool = False

    @classmethod
    def made_of(cls, parts: Sequence[Wider], kind: str, stored: str, arrived: str) -> Wider:
        """The common type of two that have parts."""
        stored_may_lose = any(one.stored_may_lose for one in parts)
        arrived_may_lose = any(one.arrived_may_lose for one in parts)
        return cls(kind, stored, arrived, stored_may_lose, arrived_may_lose)


@dataclass(frozen=True)
class Widening:
    """Finds the common type of what is stored and what arrives.

    Attributes:
        connection: any.
        nothing_stored: whether the stored column has no value at a place.
        nothing_arrives: the same of the arriving one.
    """

    connection: duckdb.DuckDBPyConnection
    nothing_stored: IsEmpty
    nothing_arrives: IsEmpty

    def of(self, stored: str, arrived: str) -> Wider | None:
        """The common type; ``None`` if they may not meet."""
        return self._of(self.connection.sqltype(stored), self.connection.sqltype(arrived), ())

    def _of(self, stored: Kind, arrived: Kind, path: Path) -> Wider | None:
        kinds = {stored.id, arrived.id}
        if str(arrived) in _NULLS:
            return Wider(storable(stored), str(stored), str(arrived))
        if kinds == {"struct"} and stored.children and arrived.children:
            return self._of_structs(stored, arrived, path)
        if kinds == {"map"}:
            return self._of_maps(stored, arrived, path)
        if kinds <= {"list", "array"}:
            return self._of_lists(stored, arrived, path)
        return self._of_values(stored, arrived, path)

    def _of_values(self, stored: Kind, arrived: Kind, path: Path) -> Wider | None:
        here, there = str(stored), str(arrived)
        if here == there:
            return Wider(storable(stored), here, there)
        wider = _common(self.connection, here, there)
        if wider is not None and not (may_lose(here, wider) or may_lose(there, wider)):
            return Wider(wider, here, there)
        # What has no value, or none but empty structs, has no type either.
        structs = stored.id == arrived.id == "struct"
        if (structs and not arrived.children) or self.nothing_arrives(path):
            return Wider(storable(stored), here, _TEXT)
        if structs or self.nothing_stored(path):
            return Wider(storable(arrived), _TEXT, there)
        if wider is None:
            return None
        return Wider(wider, here, there, may_lose(here, wider), may_lose(there, wider))

    def _of_structs(self, stored: Kind, arrived: Kind, path: Path) -> Wider | None:
        """All entries of both, in stored order; what is not there is null."""
        others = {fold(name): (name, kind) for name, kind in arrived.children}
        entries: list[str] = []
        here: list[str] = []
        there: list[str] = []
        parts: list[Wider] = []
        for name, kind in stored.children:
            label = quote(name)
            if fold(name) not in others:
                entries.append(f"{label} {storable(kind)}")
                here.append(f"{label} {kind}")
                continue
            spelt, other = others.pop(fold(name))
            found = self._of(kind, other, (*path, ("entry", name)))
            if found is None:
                return None
            parts.append(found)
            entries.append(f"{label} {found.kind}")
            here.append(f"{label} {found.stored}")
            there.append(f"{quote(spelt)} {found.arrived}")
        for name, kind in others.values():
            entries.append(f"{quote(name)} {storable(kind)}")
            there.append(f"{quote(name)} {kind}")
        kinds = (f"STRUCT({', '.join(one)})" for one in (entries, here, there))
        return Wider.made_of(parts, *kinds)

    def _of_maps(self, stored: Kind, arrived: Kind, path: Path) -> Wider | None:
        found = []
        for (step, kind), (_, other) in zip(stored.children, arrived.children, strict=True):
            one = self._of(kind, other, (*path, ("map", step)))
            if one is None:
                return None
            found.append(one)
        keys, values = found
        pairs = zip(
            (keys.kind, keys.stored, keys.arrived),
            (values.kind, values.stored, values.arrived),
            strict=True,
        )
        return Wider.made_of(found, *(f"MAP({key}, {value})" for key, value in pairs))

    def _of_lists(self, stored: Kind, arrived: Kind, path: Path) -> Wider | None:
        """Arrays of one length stay arrays; beside anything else they become lists."""
        (_, inner), *size = stored.children
        (_, other), *length = arrived.children
        found = self._of(inner, other, (*path, ("list", "")))
        if found is None:
            return None
        ends = [f"[{one[0][1] if one else ''}]" for one in (size, length)]
        end = ends[0] if ends[0] == ends[1] else "[]"
        kinds = (f"{found.kind}{end}", f"{found.stored}{ends[0]}", f"{found.arrived}{ends[1]}")
        return Wider.made_of([found], *kinds)


def family_of(kind: str) -> str | None:
    """What a type has in common with others that compare with it as they are.

    DuckDB compares two of one family in the wider one, so that no value becomes another.

    Example:
        >>> family_of("DATE") == family_of("TIMESTAMP_NS"), family_of("VARCHAR")
        (True, None)
    """
    if kind in INTEGERS:
        return "INTEGER"
    if kind in _DATES:
        return "TIMESTAMP"
    return "DECIMAL" if kind.startswith("DECIMAL") else None


def storable(kind: Kind) -> str:
    """The type with text where it says nothing but null, which every reader knows."""
    if str(kind) in _NULLS:
        return _TEXT
    if kind.id == "struct" and kind.children:
        return f"STRUCT({', '.join(f'{quote(n)} {storable(k)}' for n, k in kind.children)})"
    if kind.id in {"list", "array"}:
        (_, inner), *size = kind.children
        return f"{storable(inner)}[{size[0][1] if size else ''}]"
    if kind.id == "map":
        return f"MAP({', '.join(storable(inner) for _, inner in kind.children)})"
    return str(kind)


def may_lose(kind: str, wider: str) -> bool:
    """Whether some value of a type may be another one in the wider type."""
    is_safe = (
        wider in INTEGERS
        or (wider == _TEXT and kind.startswith(_WRITTEN))
        or {kind, wider} <= _FLOATS
        or (wider, kind) in _FINER
    )
    return not (kind == wider or kind in _NULLS or is_safe)


def has_value(expression: str, path: Path, depth: int = 0) -> str:
    """A condition: whether an expression, or a part of it, has a value anywhere.

    Example:
        >>> has_value("x", (("entry", "a"),))
        "struct_extract(x, 'a') IS NOT NULL"
    """
    if not path:
        return f"{expression} IS NOT NULL"
    (step, name), *rest = path
    if step == "entry":
        return has_value(f"struct_extract({expression}, {literal(name)})", tuple(rest), depth)
    items = f"map_{name}s({expression})" if step == "map" else expression
    one = f"metaxy_{depth}"
    inner = has_value(one, tuple(rest), depth + 1)
    return f"coalesce(len(list_filter({items}, lambda {one}: {inner})) > 0, FALSE)"


def _longer(connection: duckdb.DuckDBPyConnection, stored: str, arrived: str) -> str | None:
    """The one of two orders that has all values of the other, in the same order."""
    kinds: list[Kind] = [connection.sqltype(one) for one in (stored, arrived)]
    first, second = (kind.children[0][1] for kind in kinds)
    if [one for one in first if one in set(second)] == list(second):
        return stored
    return arrived if [one for one in second if one in set(first)] == list(first) else None


def _common(connection: duckdb.DuckDBPyConnection, stored: str, arrived: str) -> str | None:
    """The common type of two that hold single values, ``None`` if they may not meet."""
    both = {stored, arrived}
    if _TEXT in both:
        # What is written as text stays what it is, as long as it can be read as that.
        other = stored if arrived == _TEXT else arrived
        return stored if other.startswith(_WRITTEN) else None
    if stored.startswith("ENUM") and arrived.startswith("ENUM"):
        return _longer(connection, stored, arrived)
    for pair in _FINER:
        if both == set(pair):
            return pair[0]
    decimals = {one for one in both if one.startswith("DECIMAL")}
    if both <= decimals | _HUGE and decimals and both & _HUGE:
        # DuckDB's own whole numbers of 128 bits, which arrive as decimals from anywhere else.
        return stored
    if not (both <= INTEGERS | _FLOATS or both <= _DATES or both <= decimals):
        return None
    sql = f"SELECT typeof(CASE WHEN TRUE THEN NULL::{stored} ELSE NULL::{arrived} END)"
    wider = str(connection.execute(sql).fetchall()[0][0])
    # No frame library has whole numbers of 128 bits, which a signed and an unsigned column
    # would need in common.
    return None if wider in _HUGE and not both & _HUGE else wider
