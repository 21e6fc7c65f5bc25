"""Columns get another type on purpose, and keep their history."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import duckdb
import pyarrow as pa

from metaxy_dagster.errors import StoreError, shown
from metaxy_dagster.features import FeatureSpec
from metaxy_dagster.features.columns import fold
from metaxy_dagster.stores.duckdb.file.catalog import Catalog, remember
from metaxy_dagster.stores.duckdb.file.entries import save
from metaxy_dagster.stores.duckdb.file.layout import Table, number
from metaxy_dagster.stores.duckdb.sql.identifiers import quote, table_of
from metaxy_dagster.stores.duckdb.write.arrived import arrived_types
from metaxy_dagster.stores.duckdb.write.notes import altered
from metaxy_dagster.stores.frames.arrays import physical
from metaxy_dagster.stores.frames.checks import SHOWN
from metaxy_dagster.stores.frames.logical import Logical
from metaxy_dagster.stores.results import AlterResult

__all__ = ["alter"]


def alter(
    connection: duckdb.DuckDBPyConnection,
    spec: FeatureSpec,
    known: Catalog,
    columns: Mapping[str, Any],
    *,
    dry_run: bool,
) -> AlterResult:
    """Cast stored columns, in the history as well, all or none of them.

    Args:
        connection: one that may write, not in a transaction.
        spec: the feature.
        known: the catalog, with the feature.
        columns: the new type of each, as text of DuckDB's or as an Arrow type.
        dry_run: find out what would happen, and change nothing.

    Raises:
        StoreError: no such column or type, or values that the type cannot hold.
    """
    table = known.get(spec.key)
    if table is None:
        raise StoreError(
            "a feature that is not stored has no columns to alter",
            feature=str(spec.key),
            remedy="write it; the first rows decide on the types",
        )
    wanted = {
        _stored(table, name): _type(connection, table, name, kind) for name, kind in columns.items()
    }
    wanted = {name: kind for name, kind in wanted.items() if kind != table.types[name]}
    ids = {fold(name) for name in spec.id_columns}
    moved = {name: _check(connection, table, name, kind, ids) for name, kind in wanted.items()}
    kinds = {name: (table.types[name], kind) for name, kind in wanted.items()}
    arrow = {
        _stored(table, name): Logical(pa.field("x", kind))
        for name, kind in columns.items()
        if isinstance(kind, pa.DataType)
    }
    if (wanted or arrow) and not dry_run:
        connection.execute("BEGIN TRANSACTION")
        _cast(connection, table, wanted)
        entry = altered(known.entry(spec.key), kinds, arrow)
        if ids & set(map(fold, wanted)):
            # In another type, ids may hash to something else.
            entry = replace(entry, content=None)
        save(connection, spec.key, entry, known=True)
        connection.execute("COMMIT")
        remember(connection, known, spec.key, entry, known.commit)
    return AlterResult(spec.key, kinds, moved, dry_run=dry_run)


def _stored(table: Table, name: str) -> str:
    found = table.column_named(name)
    if found is None:
        raise StoreError(
            "a column is to be altered that the feature does not have",
            feature=str(table.key),
            found=name,
            allowed=list(table.columns),
            remedy="correct the name of the column",
        )
    return found


def _type(connection: duckdb.DuckDBPyConnection, table: Table, name: str, kind: Any) -> str:
    feature = str(table.key)
    if isinstance(kind, pa.DataType):
        taken = physical(kind)
        return arrived_types(pa.schema([(name, taken)]).empty_table(), feature)[name]
    try:
        return str(connection.sqltype(kind))
    except (duckdb.Error, TypeError) as error:
        raise StoreError(
            f"column {name!r} cannot get this type",
            feature=feature,
            found=f"{shown(kind)} ({str(error).splitlines()[0]})",
            allowed='a type of DuckDB as text, such as "BIGINT", "TIMESTAMPTZ" or '
            '"STRUCT(a BIGINT, b VARCHAR[])", or a pyarrow DataType',
            remedy="correct the type",
        ) from error


def _check(
    connection: duckdb.DuckDBPyConnection, table: Table, name: str, kind: str, ids: set[str]
) -> int:
    """How many stored values are other ones when they are cast back.

    Raises:
        StoreError: values that the type cannot hold, or ids that would be others.
    """
    column = quote(name)
    cast = f"TRY_CAST({column} AS {kind})"
    rows = " UNION ALL ".join(f"SELECT {column} FROM {one}" for one in table.tables)
    other = f"TRY_CAST({cast} AS {table.types[name]}) IS DISTINCT FROM {column}"
    refused = other if fold(name) in ids else f"{cast} IS NULL AND {column} IS NOT NULL"
    try:
        lost = connection.execute(
            f"SELECT {column}::VARCHAR, count(*) OVER () FROM ({rows}) WHERE {refused}"
            f" LIMIT {SHOWN}"
        ).fetchall()
    except duckdb.Error as error:
        raise StoreError(
            f"there is no way from the type of column {name!r} to this one",
            feature=str(table.key),
            found=f"{table.types[name]} to {kind}",
            remedy="store the column in the new type under another name",
        ) from error
    if lost:
        raise StoreError(
            f"column {name!r} holds values that the new type cannot hold"
            + (", and ids must stay what they are" if fold(name) in ids else ""),
            feature=str(table.key),
            found=f"{lost[0][1]} values, for example {[value for value, _ in lost]}",
            allowed=f"values that can be cast from {table.types[name]} to {kind}",
            remedy="correct or delete these samples (in the history: store.delete(..., "
            "soft=False) or compact()), or choose a type that holds them",
        )
    return number(connection, f"SELECT count(*) FROM {table_of(table.key)} WHERE {other}")


def _cast(connection: duckdb.DuckDBPyConnection, table: Table, wanted: Mapping[str, str]) -> None:
    for name, kind in wanted.items():
        for one in table.tables:
            connection.execute(
                f"ALTER TABLE {one} ALTER {quote(name)} TYPE {kind} USING {quote(name)}::{kind}"
            )
