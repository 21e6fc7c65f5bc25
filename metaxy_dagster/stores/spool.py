"""Rows that are needed piece by piece and may be more than fit into memory."""

from __future__ import annotations

import bisect
import contextlib
import tempfile
import weakref
from collections.abc import Iterator
from functools import cached_property
from pathlib import Path

from metaxy_dagster.late import pyarrow as pa

__all__ = ["Spool"]

# What fits into this stays in memory.
_IN_MEMORY = 32 * 2**20


class Spool:
    """Arrow rows in a temporary file without a name: all are appended, then read by position.

    The file vanishes with the spool, or with the process.

    Args:
        schema: of the rows.
        directory: where the file is made; by default, and where that is not allowed, the
            system's directory for temporary files.

    Example:
        >>> rows = pa.table({"id": [1, 2, 3, 4]})
        >>> spool = Spool(rows.schema)
        >>> spool.append(rows)
        >>> len(spool), spool.rows(2, 2).column("id").to_pylist()
        (4, [3, 4])
    """

    def __init__(self, schema: pa.Schema, directory: Path | None = None) -> None:
        self._schema = schema
        # Deleted when it is closed, which is when nothing needs this object any more.
        self._file = tempfile.SpooledTemporaryFile(  # noqa: SIM115
            max_size=_IN_MEMORY, dir=_usable(directory)
        )
        weakref.finalize(self, self._file.close)
        self._writer = pa.ipc.new_file(pa.PythonFile(self._file, mode="w"), schema)
        # The position of each batch's first row, and behind them the number of rows.
        self._starts = [0]

    def __len__(self) -> int:
        """How many rows there are."""
        return self._starts[-1]

    def append(self, rows: pa.Table) -> None:
        """Add rows behind the others; not after the first were read."""
        for batch in rows.to_batches():
            if batch.num_rows:
                self._writer.write_batch(batch)
                self._starts.append(len(self) + batch.num_rows)

    @cached_property
    def _reader(self) -> pa.RecordBatchFileReader:
        self._writer.close()
        self._file.seek(0)
        return pa.ipc.open_file(pa.PythonFile(self._file, mode="r"))

    def rows(self, start: int, number: int) -> pa.Table:
        """Read some rows.

        Args:
            start: position of the first row, from 0.
            number: how many; fewer are given at the end.
        """
        end = min(start + number, len(self))
        found = []
        index = bisect.bisect_right(self._starts, start) - 1
        while start < end:
            first, last = self._starts[index], self._starts[index + 1]
            batch = self._reader.get_batch(index)
            found.append(batch.slice(start - first, min(end, last) - start))
            start, index = last, index + 1
        return pa.Table.from_batches(found, schema=self._schema)

    def parts(self) -> Iterator[pa.Table]:
        """All rows, a few at a time."""
        for start, end in zip(self._starts, self._starts[1:], strict=False):
            yield self.rows(start, end - start)


def _usable(directory: Path | None) -> str | None:
    """The directory, if a file can be made in it."""
    if directory is not None:
        with contextlib.suppress(OSError), tempfile.TemporaryFile(dir=directory):
            return str(directory)
    return None
