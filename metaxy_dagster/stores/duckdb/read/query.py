"""Queries on their way to the file, and frames on their way back."""

from __future__ import annotations

import os
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import duckdb
import narwhals as nw
import pyarrow as pa

from metaxy_dagster.stores.duckdb.file.connection import DuckDBFile
from metaxy_dagster.stores.duckdb.read.frame import StoreFrame, Told, only_zone
from metaxy_dagster.stores.duckdb.sql.identifiers import columns as column_list
from metaxy_dagster.stores.duckdb.sql.identifiers import literal, quote
from metaxy_dagster.stores.duckdb.sql.registering import register
from metaxy_dagster.stores.frames.logical import Logical, restore

__all__ = ["Query", "fetch", "fetch_restored", "lazy", "nothing", "reader"]

_FRAMES = threading.local()
# Types that DuckDB does not take from Arrow by itself.
_UNTOLD = ("ENUM", "UUID", "HUGEINT", "JSON")


@dataclass(frozen=True)
class Query:
    """A SELECT with its bound values and the Arrow tables it reads beside the file.

    Attributes:
        sql: the text; user input never stands in it unquoted.
        values: named parameters, ``$name`` in the text.
        tables: Arrow tables that the text refers to by name.
        logical: what columns were before they were stored.
        kinds: DuckDB types of columns, where Arrow does not tell them.
        zone: in which local times are computed, where that is not UTC.
    """

    sql: str
    values: Mapping[str, object] = field(default_factory=dict)
    tables: Mapping[str, pa.Table] = field(default_factory=dict)
    logical: Mapping[str, Logical] = field(default_factory=dict)
    kinds: Mapping[str, str] = field(default_factory=dict)
    zone: str | None = None

    def told(self, logical: Mapping[str, Logical], types: Mapping[str, str]) -> Query:
        """The same, and what is known of the columns beside their Arrow types.

        Args:
            logical: what they were before they were stored.
            types: their DuckDB types.
        """
        kinds = {name: kind for name, kind in types.items() if kind.startswith(_UNTOLD)}
        return replace(self, logical=logical, kinds=kinds, zone=only_zone(logical, types))

    def select(self, columns: Sequence[str], limit: int | None = None) -> Query:
        """The same rows, fewer columns; only some of them, if there is a limit."""
        some = "" if limit is None else f" LIMIT {limit:d}"
        sql = f"SELECT {column_list(columns)} FROM ({self.sql}){some}"
        return Query(sql, self.values, self.tables)


def fetch_restored(connection: duckdb.DuckDBPyConnection, query: Query) -> pa.Table:
    """As :func:`fetch`, in the types that columns had before they were stored."""
    return restore(fetch(connection, query), query.logical)


def fetch(connection: duckdb.DuckDBPyConnection, query: Query) -> pa.Table:
    """Run a query and bring all of it into Arrow."""
    return _relation(connection, query).to_arrow_table()


def reader(connection: duckdb.DuckDBPyConnection, query: Query, rows: int) -> pa.RecordBatchReader:
    """Run a query and bring it into Arrow in batches of about so many rows."""
    return _relation(connection, query).to_arrow_reader(rows)


def _relation(connection: duckdb.DuckDBPyConnection, query: Query) -> duckdb.DuckDBPyRelation:
    for name, table in query.tables.items():
        register(connection, name, table)
    return connection.sql(query.sql, params=dict(query.values) or None)


def lazy(
    source: Any,
    file: DuckDBFile,
    constants: Mapping[str, str] | None = None,
    *,
    query: Query | None = None,
) -> nw.LazyFrame[Any]:
    """A lazy frame over Arrow data or a snapshot.

    All frames of a thread share one in-memory connection, so that they can be joined with each
    other, whatever store they come from.

    Args:
        source: what DuckDB reads.
        file: whose settings the connection has.
        constants: texts that stand in every row, as further columns.
        query: what is known of the columns beside their Arrow types.
    """
    logical = {} if query is None else query.logical
    zone = None if query is None else query.zone
    connection = _frames(file, zone)
    relation = connection.from_arrow(source)
    if query is not None and (kinds := query.kinds):
        relation = relation.project(
            ", ".join(
                f"{quote(n)}::{kinds[n]} AS {quote(n)}" if n in kinds else quote(n)
                for n in relation.columns
            )
        )
    if constants:
        added = (f"{literal(text)} AS {quote(name)}" for name, text in constants.items())
        relation = relation.project(", ".join(("*", *added)))
    if not isinstance(source, pa.Table):
        return StoreFrame.of(relation, Told(logical, zone, connection.from_arrow))

    def rows() -> pa.Table:
        table = source
        for name, text in (constants or {}).items():
            table = table.append_column(name, pa.repeat(text, table.num_rows))
        return restore(table, logical)

    return StoreFrame.of(relation, Told(logical, zone, connection.from_arrow), rows)


def nothing(types: Mapping[str, str], file: DuckDBFile) -> nw.LazyFrame[Any]:
    """A lazy frame without rows, of these columns and DuckDB types."""
    selected = ", ".join(f"NULL::{kind} AS {quote(name)}" for name, kind in types.items())
    return nw.from_native(_frames(file, None).sql(f"SELECT {selected} WHERE FALSE"))


def _frames(file: DuckDBFile, zone: str | None) -> duckdb.DuckDBPyConnection:
    """This thread's connection for frames, or that for frames of another zone than UTC."""
    pid, known = getattr(_FRAMES, "connections", (0, {}))
    connections: dict[str | None, duckdb.DuckDBPyConnection] = known
    if pid != os.getpid():
        # Not dropped in a forked child: ending them there would wait for its parent's threads.
        _FRAMES.abandoned = known
        connections = {}
        _FRAMES.connections = (os.getpid(), connections)
    if zone not in connections:
        connection = file.engine()
        # Users and narwhals name frames in SQL by their variables.
        connection.execute("SET python_enable_replacements = true")
        if zone is not None:
            try:
                connection.execute(f"SET TimeZone = {literal(_zone_name(zone))}")
            except duckdb.Error:
                # One that DuckDB does not know: moments are right, local days are those of UTC.
                connection.execute("SET TimeZone = 'UTC'")
        connections[zone] = connection
    return connections[zone]


def _zone_name(zone: str) -> str:
    """An offset such as +02:00 by the name that DuckDB has for it."""
    return f"GMT{zone}" if zone[:1] in "+-" else zone
