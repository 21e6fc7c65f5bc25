"""Lazy frames that outlive the session that made them.

A snapshot knows the file, a query and the commit as of which it reads; it opens the file when it
is collected and closes it again. It poses as a pyarrow dataset, which is what lets DuckDB, and so
narwhals, hand down the columns and filters that are really needed. Import this module when a
frame is read, not before: pyarrow's datasets bring pandas along.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import duckdb
import pyarrow as pa
import pyarrow.dataset as pads

from metaxy_dagster.stores.duckdb.connection import DuckDBFile
from metaxy_dagster.stores.duckdb.query import Query, fetch

__all__ = ["Snapshot"]


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
