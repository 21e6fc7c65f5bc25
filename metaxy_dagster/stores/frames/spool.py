"""Rows that are needed piece by piece and may be more than fit into memory."""

from __future__ import annotations

import bisect
import contextlib
import tempfile
import threading
import weakref
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import IO

import pyarrow as pa

from metaxy_dagster.errors import StoreError

__all__ = ["IN_MEMORY", "Spool", "SpooledColumns"]

# Bytes of rows that stay in memory.
IN_MEMORY = 32 * 2**20


class Spool:
    """Arrow rows, the first in memory, many in a temporary file without a name.

    All are appended, then read: by position, or batch by batch and as often as wanted, also by
    DuckDB. The file vanishes with the spool, or with the process.

    Args:
        schema: of the rows.
        directory: where the file is made; by default, and where that is not allowed, the
            system's directory for temporary files.
        held: bytes that stay in memory; beyond them all rows go to the file.

    Example:
        >>> rows = pa.table({"id": [1, 2, 3, 4]})
        >>> spool = Spool(rows.schema)
        >>> spool.append(rows)
        >>> spool.num_rows, spool.slice(2, 2).column("id").to_pylist()
        (4, [3, 4])
    """

    def __init__(
        self, schema: pa.Schema, directory: Path | None = None, *, held: int | None = None
    ) -> None:
        self._schema = schema
        self._directory = directory
        self._limit = IN_MEMORY if held is None else held
        # The rows, as long as there is no file.
        self._held: list[pa.RecordBatch] = []
        self._bytes = 0
        self._file: IO[bytes] | None = None
        self._writer: pa.RecordBatchFileWriter | None = None
        # The position of each batch's first row, and behind them the number of rows.
        self._starts = [0]
        # A file has one position: DuckDB may scan the same rows in two threads.
        self._reading = threading.Lock()

    def __len__(self) -> int:
        """How many rows there are."""
        return self._starts[-1]

    @property
    def schema(self) -> pa.Schema:
        """Names and types of the columns."""
        return self._schema

    @property
    def column_names(self) -> list[str]:
        """The columns, in order."""
        return list(self._schema.names)

    @property
    def num_rows(self) -> int:
        """How many rows there are, by the name that a table has for it."""
        return len(self)

    @property
    def is_in_memory(self) -> bool:
        """Whether there is no file."""
        return self._file is None

    def append(self, rows: pa.Table) -> None:
        """Add rows behind the others; not after the first were read.

        Raises:
            StoreError: there is no room for them.
        """
        with _speaking():
            self._append(rows)

    def _append(self, rows: pa.Table) -> None:
        for batch in rows.to_batches():
            if not batch.num_rows:
                continue
            self._starts.append(self.num_rows + batch.num_rows)
            if self._writer is not None:
                self._writer.write_batch(batch)
                continue
            self._held.append(batch)
            self._bytes += batch.nbytes
            if self._bytes > self._limit:
                self._roll()

    def _roll(self) -> None:
        # Deleted when it is closed, which is when nothing needs this object any more.
        file = tempfile.TemporaryFile(dir=_usable(self._directory))  # noqa: SIM115 - it stays open
        weakref.finalize(self, file.close)
        writer = pa.ipc.new_file(pa.PythonFile(file, mode="w"), self._schema)
        for batch in self._held:
            writer.write_batch(batch)
        self._file, self._writer, self._held = file, writer, []

    def slice(self, start: int, number: int) -> pa.Table:
        """Read some rows.

        Args:
            start: position of the first row, from 0.
            number: how many; fewer are given at the end.
        """
        end = min(start + number, self.num_rows)
        found = []
        index = bisect.bisect_right(self._starts, start) - 1
        while start < end:
            first, last = self._starts[index], self._starts[index + 1]
            batch = self._batch(index)
            found.append(batch.slice(start - first, min(end, last) - start))
            start, index = last, index + 1
        return pa.Table.from_batches(found, schema=self._schema)

    def table(self) -> pa.Table:
        """All rows at once."""
        return self.slice(0, self.num_rows)

    def select(self, columns: Sequence[str]) -> pa.Table:
        """Some columns of all rows at once; no others are read from the file."""
        schema = pa.schema([self._schema.field(name) for name in columns])
        return pa.concat_tables([schema.empty_table(), *self.parts(columns)])

    def parts(self, columns: Sequence[str] | None = None) -> Iterator[pa.Table]:
        """All rows, a few at a time.

        Args:
            columns: only these, in this order; no others are read from the file.
        """
        if columns is None:
            yield from (pa.Table.from_batches([one]) for one in self._batches())
            return
        reader = None if self._file is None else self._opened(columns)
        for index in range(len(self._starts) - 1):
            batch = self._batch(index, reader)
            yield pa.Table.from_batches([batch]).select(list(columns))

    def reader(self, columns: Sequence[str] | None = None) -> pa.RecordBatchReader:
        """As :meth:`parts`, as Arrow's own stream."""
        if columns is None:
            return pa.RecordBatchReader.from_batches(self._schema, self._batches())
        schema = pa.schema([self._schema.field(name) for name in columns])
        batches: Iterable[pa.RecordBatch] = (
            batch for part in self.parts(columns) for batch in part.to_batches()
        )
        return pa.RecordBatchReader.from_batches(schema, batches)

    def __arrow_c_stream__(self, requested_schema: object = None) -> object:
        """A new stream of all rows, for engines that ask for one at each scan."""
        return self.reader().__arrow_c_stream__(requested_schema)

    def _batches(self) -> Iterator[pa.RecordBatch]:
        return (self._batch(index) for index in range(len(self._starts) - 1))

    def _batch(self, index: int, reader: pa.RecordBatchFileReader | None = None) -> pa.RecordBatch:
        if self._file is None:
            return self._held[index]
        with self._reading, _speaking():
            return (reader or self._whole).get_batch(index)

    @cached_property
    def _whole(self) -> pa.RecordBatchFileReader:
        return self._open(None)

    def _opened(self, columns: Sequence[str]) -> pa.RecordBatchFileReader:
        wanted = [self._schema.get_field_index(name) for name in columns]
        with self._reading, _speaking():
            return self._open(pa.ipc.IpcReadOptions(included_fields=wanted))

    def _open(self, options: pa.ipc.IpcReadOptions | None) -> pa.RecordBatchFileReader:
        if self._writer is not None:
            # Once: it would write its footer again, over the rows.
            self._writer.close()
            self._writer = None
        return pa.ipc.open_file(pa.PythonFile(self._file, mode="r"), options=options)


@dataclass(frozen=True)
class SpooledColumns:
    """Some columns of a spool, for engines that ask for a stream at each scan.

    Attributes:
        spool: all columns.
        columns: those that are given.
    """

    spool: Spool
    columns: tuple[str, ...]

    @property
    def num_rows(self) -> int:
        """How many rows there are."""
        return self.spool.num_rows

    @property
    def schema(self) -> pa.Schema:
        """The columns and their types."""
        return pa.schema([self.spool.schema.field(name) for name in self.columns])

    def __arrow_c_stream__(self, requested_schema: object = None) -> object:
        """A new stream of all rows."""
        return self.spool.reader(self.columns).__arrow_c_stream__(requested_schema)


@contextlib.contextmanager
def _speaking() -> Iterator[None]:
    """A disk that is full, or gone, in our words: the last rows are written when they are read."""
    try:
        yield
    except (OSError, MemoryError) as error:
        raise StoreError(
            "there is no room for rows that do not fit into memory",
            found=error,
            remedy="make room beside the store's file, or in the system's directory for "
            "temporary files (TMPDIR)",
        ) from error


def _usable(directory: Path | None) -> str | None:
    """The directory, if a file can be made in it."""
    if directory is not None:
        with contextlib.suppress(OSError), tempfile.TemporaryFile(dir=directory):
            return str(directory)
    return None
