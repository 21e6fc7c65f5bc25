"""The nearest types of those that polars and pandas have, where they have not what Arrow has."""

from __future__ import annotations

import pyarrow as pa

from metaxy_dagster.stores.frames.arrays import decoded, natural

__all__ = ["near", "nearest", "signed", "times_of_python"]

# An interval of months, days and nanoseconds as a struct.
_PARTS = [("months", pa.int32()), ("days", pa.int32()), ("nanoseconds", pa.int64())]


def near(kind: pa.DataType) -> pa.DataType | None:
    """The nearest type of those that polars has; ``None`` for unions, which become text."""
    types = pa.types
    if isinstance(kind, pa.BaseExtensionType):
        return pa.string() if kind.extension_name == "arrow.uuid" else near(natural(kind))
    if types.is_interval(kind):
        return pa.struct(_PARTS)
    if types.is_union(kind):
        return None
    if types.is_run_end_encoded(kind):
        return near(kind.value_type)
    if types.is_decimal256(kind) or types.is_list_view(kind) or types.is_large_list_view(kind):
        return natural(kind)
    return kind


def nearest(column: pa.ChunkedArray) -> pa.ChunkedArray:
    """A column in its nearest type."""
    kind = column.type
    if pa.types.is_interval(kind):
        names = [name for name, _ in _PARTS]
        rows = [
            None if one is None else dict(zip(names, one, strict=True))
            for one in column.to_pylist()
        ]
        return pa.chunked_array([pa.array(rows, pa.struct(_PARTS))])
    if pa.types.is_union(kind):
        return pa.chunked_array([[None if v is None else str(v) for v in column.to_pylist()]])
    if isinstance(kind, pa.BaseExtensionType) and kind.extension_name == "arrow.uuid":
        texts = [None if one is None else str(one) for one in column.to_pylist()]
        return pa.chunked_array([pa.array(texts, pa.string())])
    chunks = [decoded(_storage(chunk)).cast(near(kind)) for chunk in column.chunks]
    return pa.chunked_array(chunks, near(kind))


def signed(column: pa.ChunkedArray) -> pa.ChunkedArray:
    """A column whose categories pandas can count; not all versions of Arrow tell it without signs.

    Example:
        >>> kind = pa.dictionary(pa.uint8(), pa.string())
        >>> signed(pa.chunked_array([pa.array(["a"]).cast(kind)])).type.index_type
        DataType(int16)
    """
    kind = column.type
    if not pa.types.is_dictionary(kind) or pa.types.is_signed_integer(kind.index_type):
        return column
    width = {8: pa.int16(), 16: pa.int32()}.get(kind.index_type.bit_width, pa.int64())
    made = pa.dictionary(width, kind.value_type, kind.ordered)
    chunks = [
        pa.DictionaryArray.from_arrays(
            one.indices.cast(width), one.dictionary, ordered=kind.ordered
        )
        for one in column.chunks
    ]
    return pa.chunked_array(chunks, made)


def times_of_python(column: pa.ChunkedArray) -> pa.ChunkedArray:
    """Times of day in microseconds, or, where that loses digits, as durations."""
    try:
        return column.cast(pa.time64("us"))
    except pa.ArrowInvalid:
        return column.cast(pa.int64()).cast(pa.duration("ns"))


def _storage(array: pa.Array) -> pa.Array:
    return array.storage if isinstance(array.type, pa.BaseExtensionType) else array
