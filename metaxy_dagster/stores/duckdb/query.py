"""Queries on their way to the file, and frames on their way back."""

from __future__ import annotations

import os
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import duckdb
import narwhals as nw
import pyarrow as pa

from metaxy_dagster.stores.duckdb.connection import DuckDBFile
from metaxy_dagster.stores.duckdb.frame import StoreFrame
from metaxy_dagster.stores.duckdb.identifiers import columns as column_list
from metaxy_dagster.stores.duckdb.identifiers import literal, quote

__all__ = ["Query", "fetch", "lazy", "nothing", "reader"]

_FRAMES = threading.local()


@dataclass(frozen=True)
class Query:
    """A SELECT with its bound values and the Arrow tables it reads beside the file.

    Attributes:
        sql: the text; user input never stands in it unquoted.
        values: named parameters, ``$name`` in the text.
        tables: Arrow tables that the text refers to by name.
    """

    sql: str
    values: Mapping[str, object] = field(default_factory=dict)
    tables: Mapping[str, pa.Table] = field(default_factory=dict)

    def select(self, columns: Sequence[str], limit: int | None = None) -> Query:
        """The same rows, fewer columns; only some of them, if there is a limit."""
        some = "" if limit is None else f" LIMIT {limit:d}"
        sql = f"SELECT {column_list(columns)} FROM ({self.sql}){some}"
        return Query(sql, self.values, self.tables)


def fetch(connection: duckdb.DuckDBPyConnection, query: Query) -> pa.Table:
    """Run a query and bring all of it into Arrow."""
    return _relation(connection, query).to_arrow_table()


def reader(connection: duckdb.DuckDBPyConnection, query: Query, rows: int) -> pa.RecordBatchReader:
    """Run a query and bring it into Arrow in batches of about so many rows."""
    return _relation(connection, query).to_arrow_reader(rows)


def _relation(connection: duckdb.DuckDBPyConnection, query: Query) -> duckdb.DuckDBPyRelation:
    for name, table in query.tables.items():
        connection.register(name, table)
    return connection.sql(query.sql, params=dict(query.values) or None)


def lazy(
    source: Any, file: DuckDBFile, constants: Mapping[str, str] | None = None
) -> nw.LazyFrame[Any]:
    """A lazy frame over Arrow data or a snapshot.

    All frames of a thread share one in-memory connection, so that they can be joined with each
    other, whatever store they come from.

    Args:
        source: what DuckDB reads.
        file: whose settings the connection has.
        constants: texts that stand in every row, as further columns.
    """
    relation = _frames(file).from_arrow(source)
    if constants:
        added = (f"{literal(text)} AS {quote(name)}" for name, text in constants.items())
        relation = relation.project(", ".join(("*", *added)))
    if not isinstance(source, pa.Table):
        return StoreFrame.of(relation)

    def rows() -> pa.Table:
        table = source
        for name, text in (constants or {}).items():
            table = table.append_column(name, pa.repeat(text, table.num_rows))
        return table

    return StoreFrame.of(relation, rows)


def nothing(types: Mapping[str, str], file: DuckDBFile) -> nw.LazyFrame[Any]:
    """A lazy frame without rows, of these columns and DuckDB types."""
    selected = ", ".join(f"NULL::{kind} AS {quote(name)}" for name, kind in types.items())
    return nw.from_native(_frames(file).sql(f"SELECT {selected} WHERE FALSE"))


def _frames(file: DuckDBFile) -> duckdb.DuckDBPyConnection:
    """This thread's connection for frames."""
    pid, connection = getattr(_FRAMES, "connection", (0, None))
    if connection is None or pid != os.getpid():
        connection = file.engine()
        # Users and narwhals name frames in SQL by their variables.
        connection.execute("SET python_enable_replacements = true")
        _FRAMES.connection = (os.getpid(), connection)
    return connection
