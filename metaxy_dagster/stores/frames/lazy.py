"""Lazy frames, batch by batch, from the engine that each belongs to.

Whatever an engine raises comes out as it is. Batches of one frame may differ in the type of a
column where the engine does not know it beforehand.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any, Protocol, runtime_checkable

import duckdb
import narwhals as nw
import pyarrow as pa

from metaxy_dagster.errors import FrameError
from metaxy_dagster.late import polars as pl
from metaxy_dagster.stores.frames import arrays
from metaxy_dagster.stores.frames.noting import KIND

__all__ = ["BATCH_ROWS", "Batched", "batches"]

# Divides DuckDB's groups of rows; of 768 numbers a row, a batch is 120 MB.
BATCH_ROWS = 20_480
_POLARS_SINCE = (1, 38)
# Types of DuckDB of which Arrow keeps the values alone, and others of which it does not.
_UNTOLD = ("ENUM", "UUID", "HUGEINT", "JSON")
_LOST = {"BIT", "TIME WITH TIME ZONE", "UHUGEINT"}


@runtime_checkable
class Batched(Protocol):
    """A lazy frame that knows how to give its rows in batches."""

    def batches(self, rows: int) -> Iterator[pa.RecordBatch]:
        """All rows, about so many at a time; one batch without rows if there are none."""
        ...


def batches(frame: object) -> Iterator[pa.RecordBatch] | None:
    """The rows of a lazy frame, a few at a time; ``None`` if it can only be had at once.

    Args:
        frame: of narwhals, polars or DuckDB, or a pyarrow ``RecordBatchReader``.

    Returns:
        Batches, at least one, which has the columns also where there are no rows.

    Example:
        >>> import duckdb
        >>> found = batches(duckdb.sql("SELECT range AS id FROM range(3)"))
        >>> sum(batch.num_rows for batch in found)
        3
        >>> batches(pa.table({"id": [1]})) is None
        True
    """
    # The first check because a pandas frame has its columns as attributes, whatever their names.
    if isinstance(frame, nw.LazyFrame) and isinstance(frame, Batched):
        return frame.batches(BATCH_ROWS)
    if isinstance(frame, pa.RecordBatchReader):
        return _of_reader(frame)
    native = frame if isinstance(frame, duckdb.DuckDBPyRelation) else _native(frame)
    if isinstance(native, duckdb.DuckDBPyRelation):
        return _of_relation(native)
    if type(native).__module__.partition(".")[0] == "polars":
        return _of_polars(native)
    return None


def _native(frame: object) -> Any:
    """What is behind a lazy frame; ``None`` behind anything else."""
    narwhal = nw.from_native(frame, pass_through=True)
    return narwhal.to_native() if isinstance(narwhal, nw.LazyFrame) else None


def _of_reader(reader: pa.RecordBatchReader) -> Iterator[pa.RecordBatch]:
    yield arrays.no_rows(reader.schema)
    yield from reader


def _of_relation(relation: duckdb.DuckDBPyRelation) -> Iterator[pa.RecordBatch]:
    # Not before it is asked for: this begins the query.
    yield from told(relation, relation.to_arrow_reader(BATCH_ROWS))


def told(
    relation: duckdb.DuckDBPyRelation, reader: pa.RecordBatchReader
) -> Iterator[pa.RecordBatch]:
    """The batches of a relation, with what Arrow does not know of their types.

    Args:
        relation: of DuckDB.
        reader: of its rows.

    Raises:
        FrameError: values that do not come out of DuckDB as what they are.
    """
    kinds = dict(zip(relation.columns, map(str, relation.types), strict=True))
    lost = {name: kind for name, kind in kinds.items() if kind in _LOST}
    if lost:
        raise FrameError(
            "columns have types that do not come out of DuckDB as what they are",
            found=lost,
            remedy="cast them, for example to VARCHAR",
        )
    fields = [
        field.with_metadata({KIND: kinds[field.name].encode()})
        if kinds[field.name].startswith(_UNTOLD)
        else field
        for field in reader.schema
    ]
    schema = pa.schema(fields)
    for batch in _of_reader(reader):
        columns = [_ordered(one) for one in batch.columns]
        typed = [f.with_type(one.type) for f, one in zip(schema, columns, strict=True)]
        yield pa.RecordBatch.from_arrays(columns, schema=pa.schema(typed))


def _ordered(array: pa.Array) -> pa.Array:
    """Enumerations of DuckDB are in order."""
    if not pa.types.is_dictionary(array.type):
        return array
    return pa.DictionaryArray.from_arrays(array.indices, array.dictionary, ordered=True)


def _of_polars(frame: pl.LazyFrame) -> Iterator[pa.RecordBatch] | None:
    """Batches of the streaming engine; ``None`` where polars has none that can be relied on.

    Up to 1.37 it has none, or ends them early without a word where the user's code raises.
    """
    if tuple(int(part) for part in pl.__version__.split(".")[:2]) < _POLARS_SINCE:
        return None
    return _of_parts(frame, frame.collect_batches(chunk_size=BATCH_ROWS, lazy=True))


def _of_parts(frame: pl.LazyFrame, parts: Iterable[pl.DataFrame]) -> Iterator[pa.RecordBatch]:
    found = False
    for part in parts:
        for batch in part.to_arrow().to_batches(BATCH_ROWS):
            found = True
            yield batch
    if not found:
        empty = pl.DataFrame(schema=frame.collect_schema()).to_arrow()
        yield arrays.no_rows(empty.schema)
