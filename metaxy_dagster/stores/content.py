"""Content versions: one hash per row and field, from the values themselves.

A legacy root asset recomputes its whole table; hashing what it returns tells which rows really
changed. The values are encoded here, in Python, and not by an engine, because engines print
floats and timestamps differently. Rules:

* integers of any width, and floats that are whole numbers, share one encoding, so that a column
  that turns from int to float because of one null does not change every row;
* ``-0.0`` equals ``0.0``; all NaN are equal; null differs from everything;
* text is UTF-8 as it is, without normalisation; timestamps count from the epoch, in UTC;
* lists and structs are encoded by their elements, in order.
"""

from __future__ import annotations

import datetime as dt
import decimal
import hashlib
import math
import struct
import uuid
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from metaxy_dagster.errors import FrameError

__all__ = ["content_versions"]

_NULL = b"-"
_EPOCH = dt.datetime(1970, 1, 1, tzinfo=dt.UTC)
_NANOSECONDS = {"s": 10**9, "ms": 10**6, "us": 10**3, "ns": 1}
# Floats above this are spaced wider than one, so "whole number" means nothing for them.
_MAX_WHOLE = 2.0**53


def content_versions(table: pa.Table, columns: Sequence[str]) -> pa.Array:
    """Hash the values of some columns, row by row.

    Args:
        table: N rows.
        columns: which of its columns count; their order does not matter.

    Returns:
        N strings of 32 hex digits.

    Raises:
        FrameError: a column has values that have no stable encoding.

    Example:
        >>> a = content_versions(pa.table({"x": [1, 2], "y": ["a", None]}), ["x", "y"])
        >>> b = content_versions(pa.table({"y": ["a", None], "x": [1.0, 2.0]}), ["y", "x"])
        >>> a.equals(b)
        True
    """
    parts: list[Iterable[bytes]] = []
    for name in sorted(columns):
        label = name.encode()
        prefix = b"%d:%s" % (len(label), label)
        parts.append(prefix + value for value in _encoded_column(table.column(name), name))
    if not parts:
        return pa.array([hashlib.md5(usedforsecurity=False).hexdigest()] * table.num_rows)
    rows = zip(*parts, strict=True)
    return pa.array(
        (hashlib.md5(b"".join(row), usedforsecurity=False).hexdigest() for row in rows),
        type=pa.string(),
    )


def _encoded_column(column: pa.ChunkedArray, name: str) -> Iterable[bytes]:
    kind = column.type
    if pa.types.is_timestamp(kind):
        return _encoded_timestamps(column, kind)
    fast = _numeric_list(column)
    if fast is not None:
        return fast
    try:
        return (_encode(value) for value in column.to_pylist())
    except (ValueError, OverflowError) as error:
        raise FrameError(
            f"column {name!r} has values that Python cannot represent",
            found=str(error),
            remedy="cast the column to a plain type before it is written",
        ) from error


def _encoded_timestamps(column: pa.ChunkedArray, kind: pa.TimestampType) -> Iterable[bytes]:
    factor = _NANOSECONDS[kind.unit]
    ticks = column.cast(pa.int64()).to_pylist()
    return (_NULL if tick is None else _tagged(b"t", b"%d" % (tick * factor)) for tick in ticks)


def _numeric_list(column: pa.ChunkedArray) -> list[bytes] | None:
    """Lists of numbers without nulls (pixels, embeddings): hash the packed values, not objects."""
    kind = column.type
    if not (pa.types.is_list(kind) or pa.types.is_large_list(kind)):
        return None
    if not (pa.types.is_floating(kind.value_type) or pa.types.is_integer(kind.value_type)):
        return None
    encoded: list[bytes] = []
    for chunk in column.chunks:
        values = chunk.flatten()
        if values.null_count:
            return None
        packed = _packed(values)
        if packed is None:
            return None
        lengths = pc.list_value_length(chunk).to_pylist()
        position = 0
        for length in lengths:
            if length is None:
                encoded.append(_NULL)
                continue
            encoded.append(_tagged(b"v", packed[position : position + 8 * length]))
            position += 8 * length
    return encoded


def _packed(values: pa.Array) -> memoryview | None:
    """Numbers as little-endian float64; ``None`` where an integer would lose digits."""
    if pa.types.is_integer(values.type) and len(values):
        low, high = (pc.min_max(values)[end].as_py() for end in ("min", "max"))
        if low < -_MAX_WHOLE or high > _MAX_WHOLE:
            return None
    # Adding zero turns -0.0 into 0.0; every NaN becomes the same one.
    numbers = pc.add(values.cast(pa.float64()), 0.0)
    numbers = pc.if_else(pc.is_nan(numbers), math.nan, numbers)
    array = numbers.to_numpy(zero_copy_only=False)
    return memoryview(array.astype("<f8", copy=False).tobytes())


def _tagged(tag: bytes, body: bytes | memoryview) -> bytes:
    return b"%b%d:" % (tag, len(body)) + body


def _encode_float(value: float) -> bytes:
    if math.isnan(value):
        return b"f3:nan"
    if value.is_integer() and abs(value) <= _MAX_WHOLE:
        return _encode_int(int(value))
    return _tagged(b"f", struct.pack("<d", value))


def _encode_int(value: int) -> bytes:
    return _tagged(b"i", b"%d" % value)


def _encode_decimal(value: decimal.Decimal) -> bytes:
    if value == value.to_integral_value():
        return _encode_int(int(value))
    return _tagged(b"n", str(value.normalize()).encode())


def _encode_datetime(value: dt.datetime) -> bytes:
    moment = value if value.tzinfo else value.replace(tzinfo=dt.UTC)
    return _tagged(b"t", b"%d" % ((moment - _EPOCH) // dt.timedelta(microseconds=1) * 1000))


def _encode_sequence(value: Sequence[Any]) -> bytes:
    # The same bytes as _numeric_list gives: a row's version must not depend on its neighbours.
    if all(_is_packable(item) for item in value):
        numbers = (math.nan if math.isnan(item) else item + 0.0 for item in value)
        return _tagged(b"v", struct.pack(f"<{len(value)}d", *numbers))
    return _tagged(b"l", b"".join(map(_encode, value)))


def _is_packable(item: object) -> bool:
    if isinstance(item, bool):
        return False
    return isinstance(item, float) or (isinstance(item, int) and abs(item) <= _MAX_WHOLE)


def _encode_mapping(value: Mapping[str, Any]) -> bytes:
    body = b"".join(_encode(key) + _encode(value[key]) for key in sorted(value, key=str))
    return _tagged(b"m", body)


_ENCODERS: Mapping[type, Callable[[Any], bytes]] = {
    bool: lambda value: b"b1:1" if value else b"b1:0",
    int: _encode_int,
    float: _encode_float,
    str: lambda value: _tagged(b"s", value.encode("utf-8", "surrogatepass")),
    bytes: lambda value: _tagged(b"y", value),
    decimal.Decimal: _encode_decimal,
    dt.datetime: _encode_datetime,
    dt.date: lambda value: _tagged(b"d", value.isoformat().encode()),
    dt.time: lambda value: _tagged(b"h", value.isoformat().encode()),
    dt.timedelta: lambda value: _tagged(b"u", b"%d" % (value // dt.timedelta(microseconds=1))),
    uuid.UUID: lambda value: _tagged(b"g", value.bytes),
    list: _encode_sequence,
    tuple: _encode_sequence,
    dict: _encode_mapping,
}


def _encode(value: Any) -> bytes:
    if value is None:
        return _NULL
    encoder = _ENCODERS.get(type(value))
    if encoder is None:
        # Subclasses, such as pandas.Timestamp, count as what they are.
        encoder = next((e for kind, e in _ENCODERS.items() if isinstance(value, kind)), None)
    if encoder is None:
        raise FrameError(
            "a value has no stable encoding",
            found=f"{type(value).__qualname__}",
            allowed="numbers, text, bytes, dates and times, and lists or structs of these",
            remedy="convert the column, or set metaxy_provenance_by_field yourself",
        )
    return encoder(value)
