"""From Arrow to polars and pandas: what their own conversions lose or refuse."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

import narwhals as nw
import pyarrow as pa
import pyarrow.compute as pc

from metaxy_dagster.late import pandas as pd
from metaxy_dagster.late import polars as pl
from metaxy_dagster.stores.frames import arrays, logical, nearest

__all__ = ["to_pandas", "to_polars"]

_EXACT = 2**53


def to_polars(table: pa.Table) -> Any:
    """A polars frame; of types that polars has not, the nearest one that it has.

    UUIDs and unions become text, intervals of months, days and nanoseconds structs of these, and
    values in run ends plain ones.
    """
    for index, field in enumerate(table.schema):
        near = nearest.near(field.type)
        if near != field.type:
            column = nearest.nearest(table.column(index))
            table = table.set_column(index, field.with_type(column.type), column)
    orders = {
        field.name: pl.Enum(column.chunk(0).dictionary.to_pylist())
        for field, column in zip(table.schema, table.columns, strict=True)
        if _is_order(field) and column.num_chunks
    }
    frame = pl.DataFrame(pl.from_arrow(table))
    return frame.with_columns(pl.col(name).cast(kind) for name, kind in orders.items())


def _is_order(field: pa.Field) -> bool:
    """Whether a column is text in an order that polars itself has not told of."""
    kind = field.type
    ordered = pa.types.is_dictionary(kind) and kind.ordered and not field.metadata
    return ordered and arrays.plain(kind.value_type) == pa.string()


def to_pandas(table: pa.Table) -> Any:
    """A pandas frame, in the dtypes that were noted."""
    hints = {f.name: (f.metadata or {}).get(logical.PANDAS) for f in table.schema}
    for index, field in enumerate(table.schema):
        if field.type == pa.time64("ns"):
            # Python's times end at microseconds; what has more digits is a span since midnight.
            column = nearest.times_of_python(table.column(index))
            table = table.set_column(index, field.with_type(column.type), column)
        column = nearest.signed(table.column(index))
        if column.type != table.schema.field(index).type:
            table = table.set_column(index, field.with_type(column.type), column)
    frame = table.replace_schema_metadata(None).to_pandas()
    hints |= {
        name: b"UInt64" if kind == pa.uint64() else b"Int64"
        for name, kind in _inexact(table)
        if hints[name] is None
    }
    # Their bytes alone are what some versions of Arrow tell.
    hints |= {
        field.name: b"list"
        for field in table.schema
        if getattr(field.type, "extension_name", None) == "arrow.uuid"
    }
    for name, hint in hints.items():
        if hint is not None:
            frame[name] = _hinted(table.column(name), frame[name], hint.decode())
    return frame


def _inexact(table: pa.Table) -> Iterator[tuple[str, pa.DataType]]:
    """Whole numbers with nulls, which pandas makes floats of, beyond those that are exact."""
    for field, column in zip(table.schema, table.columns, strict=True):
        if field.type in {pa.int64(), pa.uint64()} and column.null_count < len(column):
            ends = pc.min_max(column).as_py()
            if column.null_count and max(-ends["min"], ends["max"]) > _EXACT:
                yield field.name, field.type


def _hinted(column: pa.ChunkedArray, found: Any, hint: str) -> Any:
    if hint in {"list", "object"}:
        values = column.to_pylist() if hint == "list" else list(found)
        if hint == "object":
            values = [None if one is pd.NA or one != one else one for one in values]  # noqa: PLR0124 - NaN
        return pd.Series(values, index=found.index, dtype=object)
    # A dtype of a library that is not there, or that does not hold what came since.
    with contextlib.suppress(TypeError, ValueError, AttributeError):
        dtype = pd.api.types.pandas_dtype(hint)
        if hasattr(dtype, "__from_arrow__"):
            return pd.Series(dtype.__from_arrow__(column), index=found.index)
        return found.astype(dtype)
    return found


def length(frame: nw.LazyFrame[Any]) -> int:
    """How many rows a lazy frame has; none of them is fetched."""
    return int(frame.select(nw.len()).collect(backend="pyarrow").item())


def union(tables: list[pa.Table], ids: tuple[str, ...]) -> nw.LazyFrame[Any]:
    """The rows of several tables, each once."""
    frames = [nw.from_native(table, eager_only=True) for table in tables]
    rows: nw.DataFrame[Any] = nw.concat(frames).unique(subset=list(ids), maintain_order=True)
    return rows.lazy()
