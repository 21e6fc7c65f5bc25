"""Lazy frames that outlive the session that made them.

A snapshot knows the file, a query and the commit as of which it reads; it opens the file when it
is collected and closes it again. It poses as a pyarrow dataset, which is what lets DuckDB, and so
narwhals, hand down the columns and filters that are really needed.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import duckdb
import narwhals as nw
import pyarrow as pa
import pyarrow.dataset as pads

from metaxy_dagster.stores.duckdb.connection import DuckDBFile
from metaxy_dagster.stores.duckdb.identifiers import columns as column_list

__all__ = ["Query", "Snapshot", "fetch", "lazy"]

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


class Snapshot(pads.Dataset):  # type: ignore[misc]  # pyarrow ships no types
    """A query that runs when it is collected, with only the columns that are asked for."""

    def __init__(
        self,
        file: DuckDBFile,
        schema: pa.Schema,
        make_query: Callable[[duckdb.DuckDBPyConnection], Query],
    ) -> None:
        # The base class must not be initialised: it has no C++ dataset behind it here.
        self._file = file
        self._schema = schema
        self._make_query = make_query

    @property
    def schema(self) -> pa.Schema:
        """Names and types, known without running the query."""
        return self._schema

    def scanner(
        self,
        columns: Sequence[str] | None = None,
        filter: Any = None,  # noqa: A002 - pyarrow's name
        **_options: object,
    ) -> pads.Scanner:
        """Called by whoever collects: read the needed columns, then apply the filter."""
        wanted = list(columns) if columns else list(self._schema.names)
        read = list(wanted)
        if filter is not None:
            # An expression does not tell its columns; a name too many costs little.
            text = str(filter)
            read += [name for name in self._schema.names if name in text and name not in read]
        batches = self._read(read).to_reader()
        return pads.Scanner.from_batches(batches, columns=wanted, filter=filter)

    def _read(self, columns: Sequence[str]) -> pa.Table:
        schema = pa.schema([self._schema.field(name) for name in columns])
        with self._file.connect("r") as connection:
            return fetch(connection, self._make_query(connection).select(columns)).cast(schema)

    def lazy(self) -> nw.LazyFrame[Any]:
        """The snapshot as a narwhals frame."""
        return lazy(self)


def lazy(source: pa.Table | Snapshot) -> nw.LazyFrame[Any]:
    """A lazy frame over Arrow data or a snapshot.

    All frames of a thread share one in-memory connection, so that they can be joined with each
    other, whatever store they come from.
    """
    pid, connection = getattr(_FRAMES, "connection", (0, None))
    if connection is None or pid != os.getpid():
        connection = duckdb.connect(":memory:")
        _FRAMES.connection = (os.getpid(), connection)
    return nw.from_native(connection.from_arrow(source))
