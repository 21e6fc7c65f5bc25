"""Lazy frames that fail in the words of the store, whatever was done with them before."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Callable, Iterator
from typing import Any, Final

import duckdb
import narwhals as nw
import pyarrow as pa

from metaxy_dagster.errors import StoreBusyError, StoreError
from metaxy_dagster.stores.duckdb.faults import out_of_memory

__all__ = ["StoreFrame"]

_KINDS: Final = {kind.__name__: kind for kind in (StoreError, StoreBusyError)}
_OURS: Final = re.compile(rf"\b({'|'.join(_KINDS)}): (.*)", re.DOTALL)
# With DuckDB 1.5 the text goes on with where in our code it was raised.
_PLACE: Final = re.compile(r"\n\s*\nAt:\n.*", re.DOTALL)
# Where rows are put that memory does not hold.
_FULL: Final = re.compile(r"Out of Memory|No space left|File too large")
_PART: Final = re.compile(r"^  (found|allowed|to fix): ", re.MULTILINE)


class StoreFrame(nw.LazyFrame[Any]):
    """A lazy frame whose reading may fail, and then raises what the store raised.

    Narwhals makes a frame of the same class of all that is done with one.
    """

    # The rows, if they are in memory and nothing was done with the frame yet.
    _rows: Callable[[], pa.Table] | None = None

    @classmethod
    def of(
        cls, relation: duckdb.DuckDBPyRelation, rows: Callable[[], pa.Table] | None = None
    ) -> StoreFrame:
        """A lazy frame over a relation.

        Args:
            relation: what is read when the frame is collected.
            rows: gives the same rows in Arrow, if they are there anyway; saves a copy of them.
        """
        frame: nw.LazyFrame[Any] = nw.from_native(relation)
        made = cls(frame._compliant_frame, level="lazy")  # noqa: SLF001 - no public way
        made._rows = rows
        return made

    def collect(self, backend: Any = None, **kwargs: Any) -> nw.DataFrame[Any]:
        """As of every lazy frame.

        Raises:
            StoreError: the store cannot be read now.
        """
        if self._rows is not None and not kwargs and backend in (None, "pyarrow", pa):
            return nw.from_native(self._rows(), eager_only=True)
        with _ours():
            return super().collect(backend, **kwargs)

    def batches(self, rows: int) -> Iterator[pa.RecordBatch]:
        """The rows, about so many at a time; one batch without rows first.

        Raises:
            StoreError: the store cannot be read now.
        """
        with _ours():
            found = self.to_native().to_arrow_reader(rows)
            yield pa.RecordBatch.from_pylist([], schema=found.schema)
            yield from found


@contextlib.contextmanager
def _ours() -> Iterator[None]:
    """What the store raised while it was read, and memory and disks that are full, in our words.

    Faults of what was done with the frame stay what they are.
    """
    try:
        yield
    except (duckdb.Error, pa.ArrowException, MemoryError) as error:
        if match := _OURS.search(str(error)):
            raise _repeated(*match.groups()) from error
        if isinstance(error, duckdb.OutOfMemoryException | MemoryError) or _FULL.search(str(error)):
            raise out_of_memory(error) from error
        raise


def _repeated(kind: str, text: str) -> StoreError:
    """An error of the store from its text, which is all that DuckDB keeps of it.

    DuckDB may ask for the rows in a thread of its own, so it cannot be remembered on the way.
    """
    problem, *rest = _PART.split(_PLACE.sub("", text))
    parts = dict(zip(rest[::2], (one.rstrip("\n") for one in rest[1::2]), strict=True))
    return _KINDS[kind](
        problem.rstrip("\n"),
        found=parts.get("found"),
        allowed=parts.get("allowed"),
        remedy=parts.get("to fix"),
    )
