"""In which type a column is stored when a frame brings it in another one.

Numbers widen (an int column that met a null arrives as float) where no digit is lost, lists by
their elements, dates become timestamps, a column that held nothing but nulls takes the type of its
first values. Everything else is a mistake that would corrupt the column, and is refused.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import TYPE_CHECKING

import duckdb

from metaxy_dagster.errors import FrameError
from metaxy_dagster.stores.duckdb.identifiers import history_table, quote, table_of
from metaxy_dagster.stores.duckdb.layout import Table

if TYPE_CHECKING:
    from metaxy_dagster.stores.duckdb.staging import Staged

__all__ = ["INTEGERS", "stored_types"]

INTEGERS = {
    *("TINYINT", "SMALLINT", "INTEGER", "BIGINT", "HUGEINT"),
    *("UTINYINT", "USMALLINT", "UINTEGER", "UBIGINT", "UHUGEINT"),
}
_FLOATS = {"FLOAT", "DOUBLE"}
_DATES = {"DATE", "TIMESTAMP", "TIMESTAMP_S", "TIMESTAMP_MS", "TIMESTAMP_NS"}
_NULLS = {"NULL", '"NULL"'}
# The type, and not the name of a struct's entry.
_NULL_WITHIN = re.compile(r'(?<!")"NULL"(?![" ])')
_ARRIVED = "metaxy_arrived"


def stored_types(
    connection: duckdb.DuckDBPyConnection,
    staged: Staged,
    found: Table | None,
    *,
    replace: bool,
) -> Mapping[str, str]:
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
        return {name: _storable(kind) for name, kind in staged.types.items()}
    # Letters of any case count here: É for a stored é is told below, as what it is.
    arrived = {name.casefold() for name in staged.types}
    missing = [name for name in found.columns if name.casefold() not in arrived]
    if missing and not replace:
        raise FrameError(
            "the frame lacks columns that the stored samples have",
            feature=str(staged.plan.key),
            found=f"missing {missing}; the frame has {list(staged.types)}",
            allowed=list(found.columns),
            remedy="return these columns too (null where unknown); a frame that is the whole "
            "state may drop columns when it is written with mode='replace'",
        )
    types: dict[str, str] = {}
    for name, kind in staged.types.items():
        stored = found.column_named(name)
        if stored is None:
            _check_case(name, staged, found)
            types[name] = _storable(kind)
        else:
            types[name] = _agree(connection, staged, stored, found.types[stored], kind)
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


def _storable(kind: str) -> str:
    """A column, or a list, of nothing but nulls gets a type that every reader knows."""
    return "VARCHAR" if kind in _NULLS else _NULL_WITHIN.sub("VARCHAR", kind)


def _agree(
    connection: duckdb.DuckDBPyConnection, staged: Staged, name: str, stored: str, kind: str
) -> str:
    if kind in _NULLS or _storable(kind) == stored:
        return stored
    key, column = staged.plan.key, quote(name)
    wider, values = _wider(connection, stored, kind), column
    if wider is not None and not _keeps_values(connection, staged, name, stored, wider):
        wider = None
    if wider is None and _is_empty(connection, staged, name, stored, kind):
        wider, values = _storable(kind), "NULL"
        if kind.endswith("[]"):
            values = f"CASE WHEN {column} IS NOT NULL THEN [] END"
    if wider is None:
        raise FrameError(
            f"column {name!r} arrives in a type that does not fit the stored one",
            feature=str(key),
            found=kind,
            allowed=stored,
            remedy=f"cast {name!r} before it is written; to change the type of a column for good, "
            "drop the feature and write it anew",
        )
    if wider != stored:
        for table in (table_of(key), history_table(key)):
            connection.execute(
                f"ALTER TABLE {table} ALTER {column} TYPE {wider} USING {values}::{wider}"
            )
    return wider


def _wider(connection: duckdb.DuckDBPyConnection, stored: str, kind: str) -> str | None:
    """The common type of two that may meet, ``None`` if they may not."""
    if stored.endswith("[]") and kind.endswith("[]"):
        wider = _wider(connection, stored.removesuffix("[]"), kind.removesuffix("[]"))
        return None if wider is None else f"{wider}[]"
    if kind in _NULLS:
        return stored
    both = {stored, kind}
    decimals = {t for t in both if t.startswith("DECIMAL")}
    if not (both <= INTEGERS | _FLOATS or both <= _DATES or both <= decimals):
        return None
    sql = f"SELECT typeof(CASE WHEN TRUE THEN NULL::{stored} ELSE NULL::{kind} END)"
    wider = str(connection.execute(sql).fetchall()[0][0])
    # No frame library has whole numbers of 128 bits, which a signed and an unsigned column
    # would need in common.
    return None if wider == "HUGEINT" else wider


def _keeps_values(
    connection: duckdb.DuckDBPyConnection, staged: Staged, name: str, stored: str, wider: str
) -> bool:
    """Whether all values are what they were, in the wider type.

    A float holds whole numbers exactly up to 2**53 only, the common type of two decimals may lack
    digits on either side of the point, and nanoseconds end in the year 2262.
    """
    key, arrived = staged.plan.key, staged.types[name]
    if _may_lose(stored, wider):
        for table in (table_of(key), history_table(key)):
            if _loses(connection, table, name, stored, wider):
                return False
    if _may_lose(arrived, wider):
        for part in staged.parts(name):
            connection.register(_ARRIVED, part)
            if _loses(connection, _ARRIVED, name, arrived, wider):
                return False
    return True


def _may_lose(kind: str, wider: str) -> bool:
    """Whether some value of a type may be another one in the wider type."""
    inner, outer = kind.rstrip("[]"), wider.rstrip("[]")
    is_safe = outer in INTEGERS or {inner, outer} <= _FLOATS
    return kind != wider and inner not in _NULLS and not is_safe


def _loses(
    connection: duckdb.DuckDBPyConnection, table: str, name: str, kind: str, wider: str
) -> bool:
    """Whether some value does not come back from the wider type as it was."""
    column = there = quote(name)
    # By way of microseconds: DuckDB has no way from nanoseconds to seconds.
    for step in (wider, wider.replace("TIMESTAMP_NS", "TIMESTAMP"), kind):
        there = f"TRY_CAST({there} AS {step})"
    sql = f"SELECT count(*) FROM {table} WHERE {there} IS DISTINCT FROM {column}"
    return bool(connection.execute(sql).fetchall()[0][0])


def _is_empty(
    connection: duckdb.DuckDBPyConnection, staged: Staged, name: str, stored: str, kind: str
) -> bool:
    """Whether neither table has a value in this column; to a list, an empty list is none."""
    value = quote(name)
    if stored.endswith("[]") and kind.endswith("[]"):
        value = f"CASE WHEN len({value}) > 0 THEN 1 END"
    for table in (table_of(staged.plan.key), history_table(staged.plan.key)):
        sql = f"SELECT count({value}) FROM {table}"
        if connection.execute(sql).fetchall()[0][0]:
            return False
    return True
