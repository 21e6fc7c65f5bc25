"""In which type a column is stored when a frame brings it in another one.

Numbers widen (an int column that met a null arrives as float) where no digit is lost, lists by
their elements, structs by the entries of both, dates become timestamps. What holds no value has no
type: it takes that of the other side. Everything else is a mistake that would corrupt the column,
and is refused.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import duckdb

from metaxy_dagster.errors import FrameError
from metaxy_dagster.stores.duckdb.file.layout import Table
from metaxy_dagster.stores.duckdb.sql.identifiers import quote
from metaxy_dagster.stores.duckdb.sql.registering import register
from metaxy_dagster.stores.duckdb.sql.widening import Path, Widening, has_value, storable

if TYPE_CHECKING:
    from metaxy_dagster.stores.duckdb.write.staged import Staged

__all__ = ["Agreed", "stored_types"]

_NULLS = {"NULL", '"NULL"'}
_ARRIVED = "metaxy_arrived"


@dataclass(frozen=True)
class Agreed:
    """In which type a column is stored, and how an arriving one comes to it.

    Attributes:
        kind: the stored type.
        via: a type by way of which it is cast.
        holds: whether the arriving column may hold values.
        fresh: whether the stored column held none, so that the arriving one decides.
    """

    kind: str
    via: str | None = None
    holds: bool = True
    fresh: bool = False

    def cast(self, column: str) -> str:
        """The SQL that gives the arriving column in the stored type."""
        if not self.holds:
            return f"NULL::{self.kind}"
        return _chained(column, self.via, self.kind)


def stored_types(
    connection: duckdb.DuckDBPyConnection,
    staged: Staged,
    found: Table | None,
    *,
    replace: bool,
) -> Mapping[str, Agreed]:
    """The type of each arriving column in the store; widens stored columns where that is safe.

    Args:
        connection: an open transaction.
        staged: the frame.
        found: what is stored; ``None`` for a new feature.
        replace: whether the frame is the whole state, and may lack stored columns.

    Raises:
        FrameError: a type conflict, stored columns are missing, or names that differ by case.
    """
    if found is None:
        return {name: _new(connection, kind) for name, kind in staged.types.items()}
    # Letters of any case count here: É for a stored é is told below, as what it is.
    arrived = {name.casefold() for name in staged.types}
    missing = [name for name in found.columns if name.casefold() not in arrived]
    if missing and not replace and staged.table.num_rows:
        raise FrameError(
            "the frame lacks columns that the stored samples have",
            feature=str(staged.plan.key),
            found=f"missing {missing}; the frame has {list(staged.types)}",
            allowed=list(found.columns),
            remedy="return these columns too (null where unknown); a frame that is the whole "
            "state may drop columns when it is written with mode='replace'",
        )
    types: dict[str, Agreed] = {}
    for name, kind in staged.types.items():
        stored = found.column_named(name)
        if stored is None:
            _check_case(name, staged, found)
            types[name] = _new(connection, kind)
        else:
            sides = _Sides(connection, staged, found, name, stored)
            types[name] = _agree(sides, found.types[stored], kind)
            if name in staged.logicals and stored not in found.logical and not types[name].fresh:
                types[name] = dataclasses.replace(types[name], fresh=sides.nothing_stored(()))
    return types


def _check_case(name: str, staged: Staged, found: Table) -> None:
    """Refuse É beside a stored é: DuckDB tells them apart, but people and other engines do not."""
    twin = next((one for one in found.columns if one.casefold() == name.casefold()), None)
    if twin is not None:
        raise FrameError(
            f"column {name!r} differs only by case from a stored one",
            feature=str(staged.plan.key),
            found=name,
            allowed=twin,
            remedy=f"name it {twin!r}",
        )


def _new(connection: duckdb.DuckDBPyConnection, kind: str) -> Agreed:
    return Agreed(storable(connection.sqltype(kind)), holds=kind not in _NULLS)


def _agree(sides: _Sides, stored: str, kind: str) -> Agreed:
    if kind in _NULLS:
        return Agreed(stored, holds=False)
    if kind == stored:
        return Agreed(stored)
    connection = sides.connection
    wider = Widening(connection, sides.nothing_stored, sides.nothing_arrives).of(stored, kind)
    if wider is not None:
        target = str(connection.sqltype(wider.kind))
        stored_via, arrived_via = (
            None if via == known else via
            for via, known in ((wider.stored, stored), (wider.arrived, kind))
        )
        lost = (
            wider.stored_may_lose and sides.loses(sides.tables, stored, stored_via, target)
        ) or (wider.arrived_may_lose and sides.arrived_loses(kind, arrived_via, target))
        if not lost:
            if target != stored:
                sides.alter(stored_via, target)
            fresh = target != stored and (stored == "VARCHAR" or wider.stored == "VARCHAR")
            return Agreed(target, arrived_via, fresh=fresh)
    name, key = sides.stored, str(sides.staged.plan.key)
    raise FrameError(
        f"column {name!r} arrives in a type that does not fit the stored one",
        feature=key,
        found=kind,
        allowed=stored,
        remedy=f"cast {name!r} before it is written; to change the type of a column for good, "
        f"store.alter({key!r}, columns={{{name!r}: ...}})",
    )


@dataclass(frozen=True)
class _Sides:
    """A stored column and the arriving one of its name."""

    connection: duckdb.DuckDBPyConnection
    staged: Staged
    found: Table
    name: str
    # The same name as it is spelt in the store.
    stored: str

    @property
    def tables(self) -> tuple[str, ...]:
        return self.found.tables

    def nothing_stored(self, path: Path) -> bool:
        return not any(self._has(table, path) for table in self.tables)

    def nothing_arrives(self, path: Path) -> bool:
        return not any(self._has(table, path) for table in self._arriving())

    def _has(self, table: str, path: Path) -> bool:
        condition = has_value(quote(self.name), path)
        found = self.connection.execute(f"SELECT 1 FROM {table} WHERE {condition} LIMIT 1")
        return bool(found.fetchall())

    def _arriving(self) -> Iterable[str]:
        for part in self.staged.parts(self.name):
            register(self.connection, _ARRIVED, part)
            yield _ARRIVED

    def loses(self, tables: Iterable[str], kind: str, via: str | None, wider: str) -> bool:
        """Whether some value does not come back from the wider type as it was.

        A float holds whole numbers exactly up to 2**53 only, the common type of two decimals may
        lack digits on either side of the point, and nanoseconds end in the year 2262.
        """
        column = quote(self.name)
        there = _tried(column, via, wider)
        # By way of microseconds: DuckDB has no way from nanoseconds to seconds.
        back = _tried(there, wider.replace("TIMESTAMP_NS", "TIMESTAMP"), via, kind)
        condition = f"{back} IS DISTINCT FROM {column}"
        sql = (f"SELECT 1 FROM {table} WHERE {condition} LIMIT 1" for table in tables)
        return any(self.connection.execute(one).fetchall() for one in sql)

    def arrived_loses(self, kind: str, via: str | None, wider: str) -> bool:
        """As :meth:`loses`, of the arriving column."""
        return self.loses(self._arriving(), kind, via, wider)

    def alter(self, via: str | None, wider: str) -> None:
        """Give the stored column another type."""
        column = quote(self.name)
        for table in self.tables:
            self.connection.execute(
                f"ALTER TABLE {table} ALTER {column} TYPE {wider}"
                f" USING {_chained(column, via, wider)}"
            )


def _chained(column: str, *kinds: str | None) -> str:
    return "::".join((column, *(kind for kind in kinds if kind is not None)))


def _tried(column: str, *kinds: str | None) -> str:
    for kind in kinds:
        column = column if kind is None else f"TRY_CAST({column} AS {kind})"
    return column
