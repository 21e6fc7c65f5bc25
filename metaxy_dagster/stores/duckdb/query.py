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
from metaxy_dagster.stores.duckdb.identifiers import columns as column_list

__all__ = ["Query", "fetch", "lazy"]

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

    def select(self, columns: Sequence[str]) -> Query:
        """The same rows, fewer columns."""
        sql = f"SELECT {column_list(columns)} FROM ({self.sql})"
        return Query(sql, self.values, self.tables)


def fetch(connection: duckdb.DuckDBPyConnection, query: Query) -> pa.Table:
    """Run a query and bring all of it into Arrow."""
    for name, table in query.tables.items():
        connection.register(name, table)
    relation = connection.sql(query.sql, params=dict(query.values) or None)
    return relation.to_arrow_table()


def lazy(source: Any, file: DuckDBFile) -> nw.LazyFrame[Any]:
    """A lazy frame over Arrow data or a snapshot.

    All frames of a thread share one in-memory connection, so that they can be joined with each
    other, whatever store they come from.
    """
    pid, connection = getattr(_FRAMES, "connection", (0, None))
    if connection is None or pid != os.getpid():
        connection = file.engine()
        _FRAMES.connection = (os.getpid(), connection)
    return nw.from_native(connection.from_arrow(source))
