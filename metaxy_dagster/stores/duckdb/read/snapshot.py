"""Lazy frames that outlive the session that made them.

A snapshot knows the file, a query and the commit as of which it reads; it opens the file when it
is collected and closes it again. It poses as a pyarrow dataset, which is what lets DuckDB, and so
narwhals, hand down the columns and filters that are really needed. Import this module when a
frame is read, not before: pyarrow's datasets bring pandas along.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import duckdb
import pyarrow as pa
import pyarrow.dataset as pads

from metaxy_dagster.errors import StoreError, shown
from metaxy_dagster.stores.arguments import column_names, is_whole
from metaxy_dagster.stores.counts import STATUS
from metaxy_dagster.stores.duckdb.file.connection import DuckDBFile
from metaxy_dagster.stores.duckdb.read.query import Query, reader
from metaxy_dagster.stores.frames.lazy import BATCH_ROWS
from metaxy_dagster.stores.frames.logical import Logical, restore, restore_schema
from metaxy_dagster.stores.frames.samples import having
from metaxy_dagster.stores.frames.spool import Spool

__all__ = ["Listed", "Restored", "Snapshot"]

_READING = threading.Lock()


def _after_fork() -> None:
    """A thread that reads in the parent never ends in the child."""
    global _READING  # noqa: PLW0603
    _READING = threading.Lock()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)


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
        return _scanner(self._schema, columns, filter, lambda names: self._read(names).reader())

    def batches(
        self, columns: Sequence[str] | None = None, limit: int | None = None
    ) -> Iterator[pa.RecordBatch]:
        """Read some columns, at least one, of at most so many rows."""
        names = column_names(columns)
        missing = [name for name in names or () if name not in self._schema.names]
        if missing or not (limit is None or (is_whole(limit) and limit >= 0)):
            raise StoreError(
                "batches of a scan take columns that it has, and a number of rows",
                found=shown(missing or limit),
                allowed=list(self._schema.names) if missing else "0 or more; None for all",
                remedy="correct columns, or limit",
            )
        return iter(self._read(names or self._schema.names, limit).reader())

    def _read(self, columns: Sequence[str], limit: int | None = None) -> Spool:
        """Bring the rows out of the file, which is let go before anyone computes with them."""
        schema = pa.schema([self._schema.field(name) for name in columns])
        spool = Spool(schema, self._file.path.parent)
        # Engines ask in threads of their own, but a process can open a file but once.
        with _READING, self._file.connect("r") as connection:
            query = self._make_query(connection).select(columns, limit)
            for batch in reader(connection, query, BATCH_ROWS):
                spool.append(pa.Table.from_batches([batch.cast(schema)]))
        return spool


class Restored:
    """The rows of a snapshot, for engines that take Arrow as it is: as what they were."""

    def __init__(self, snapshot: Snapshot, logical: Mapping[str, Logical]) -> None:
        self._snapshot = snapshot
        self._logical = logical

    @property
    def schema(self) -> pa.Schema:
        """Names and types, known without reading."""
        return restore_schema(self._snapshot.schema, self._logical)

    def batches(
        self, columns: Sequence[str] | None = None, limit: int | None = None
    ) -> Iterator[pa.RecordBatch]:
        """Read some columns, at least one, of at most so many rows."""
        for batch in self._snapshot.batches(columns, limit):
            yield from restore(pa.Table.from_batches([batch]), self._logical).to_batches()


class Listed(pads.Dataset):  # type: ignore[misc]  # pyarrow ships no types
    """The rows of an increment that have certain statuses, from a file."""

    def __init__(self, rows: Spool, names: Sequence[str], statuses: Sequence[int]) -> None:
        # As in Snapshot.
        self._rows = rows
        self._names = names
        self._statuses = statuses

    @property
    def schema(self) -> pa.Schema:
        """Names and types of the columns."""
        return pa.schema([self._rows.schema.field(name) for name in self._names])

    def scanner(
        self,
        columns: Sequence[str] | None = None,
        filter: Any = None,  # noqa: A002 - pyarrow's name
        **_options: object,
    ) -> pads.Scanner:
        """Called by whoever collects."""
        return _scanner(self.schema, columns, filter, self._reader)

    def _reader(self, names: Sequence[str]) -> pa.RecordBatchReader:
        batches = (
            batch
            for part in self._rows.parts([*names, STATUS])
            for batch in having(part, self._statuses).select(list(names)).to_batches()
        )
        schema = pa.schema([self._rows.schema.field(name) for name in names])
        return pa.RecordBatchReader.from_batches(schema, batches)


def _scanner(
    schema: pa.Schema,
    columns: Sequence[str] | None,
    condition: Any,
    read: Callable[[Sequence[str]], pa.RecordBatchReader],
) -> pads.Scanner:
    """Read the needed columns, then apply the filter."""
    wanted = list(columns) if columns else list(schema.names)
    needed = list(wanted)
    if condition is not None:
        # An expression does not tell its columns; a name too many costs little.
        text = str(condition)
        needed += [name for name in schema.names if name in text and name not in needed]
    return pads.Scanner.from_batches(read(needed), columns=wanted, filter=condition)
