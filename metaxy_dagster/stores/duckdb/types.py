"""In which type a column is stored when a frame brings it in another one.

Numbers widen (an int column that met a null arrives as float) where no digit is lost, lists by
their elements, dates become timestamps, a column that held nothing but nulls takes the type of its
first values. Everything else is a mistake that would corrupt the column, and is refused.
"""

from __future__ import annotations

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
    return "VARCHAR" if kind in _NULLS else kind.replace('"NULL"', "VARCHAR")


def _agree(
    connection: duckdb.DuckDBPyConnection, staged: Staged, name: str, stored: str, kind: str
) -> str:
    if kind == stored or kind in _NULLS:
        return stored
    key = staged.plan.key
    wider = _wider(connection, stored, kind, is_id=name in staged.plan.spec.id_columns)
    if wider is not None and not _keeps_values(connection, staged, name, stored, wider):
        wider = None
    if wider is None and _is_empty(connection, staged, name, stored):
        wider = _storable(kind)
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
            connection.execute(f"ALTER TABLE {table} ALTER {quote(name)} TYPE {wider}")
    return wider


def _wider(
    connection: duckdb.DuckDBPyConnection, stored: str, kind: str, *, is_id: bool
) -> str | None:
    """The common type of two that may meet, ``None`` if they may not."""
    if stored.endswith("[]") and kind.endswith("[]"):
        inner, found = stored.removesuffix("[]"), kind.removesuffix("[]")
        wider = _wider(connection, inner, found, is_id=is_id)
        return None if wider is None else f"{wider}[]"
    if stored == kind or stored in _NULLS or kind in _NULLS:
        return kind if stored in _NULLS else stored
    both = {stored, kind}
    numbers = INTEGERS if is_id else INTEGERS | _FLOATS
    decimals = {t for t in both if t.startswith("DECIMAL")}
    if not (both <= numbers or both <= _DATES or both <= decimals):
        return None
    sql = f"SELECT typeof(CASE WHEN TRUE THEN NULL::{stored} ELSE NULL::{kind} END)"
    return str(connection.execute(sql).fetchall()[0][0])


def _keeps_values(
    connection: duckdb.DuckDBPyConnection, staged: Staged, name: str, stored: str, wider: str
) -> bool:
    """Whether whole numbers survive: a float holds them exactly up to 2**53 only.

    No frame library has whole numbers of 128 bits, which a signed and an unsigned column would
    need in common.
    """
    arrived = staged.types[name]
    if wider == "HUGEINT" and "HUGEINT" not in {stored, arrived}:
        return False
    if wider not in _FLOATS:
        return True
    largest = 2**53 if wider == "DOUBLE" else 2**24
    column = quote(name)
    if stored in INTEGERS:
        for table in (table_of(staged.plan.key), history_table(staged.plan.key)):
            sql = (
                f"SELECT count(*) FROM {table} WHERE {column} NOT BETWEEN -{largest} AND {largest}"
            )
            if connection.execute(sql).fetchall()[0][0]:
                return False
    if arrived in INTEGERS:
        import pyarrow.compute as pc  # noqa: PLC0415 - slow to import

        for part in staged.parts(name):
            ends = pc.min_max(part.column(name)).as_py()
            if any(end is not None and abs(end) > largest for end in ends.values()):
                return False
    return True


def _is_empty(
    connection: duckdb.DuckDBPyConnection, staged: Staged, name: str, stored: str
) -> bool:
    """Whether neither table has a value in this column; an empty list is none."""
    value = f"CASE WHEN len({quote(name)}) > 0 THEN 1 END" if stored.endswith("[]") else quote(name)
    for table in (table_of(staged.plan.key), history_table(staged.plan.key)):
        sql = f"SELECT count({value}) FROM {table}"
        if connection.execute(sql).fetchall()[0][0]:
            return False
    return True
