"""Content versions: one hash per row and field, from the values themselves.

A legacy root asset recomputes its whole table; hashing what it returns tells which rows really
changed. The values are encoded here, in Python, and not by an engine, because engines print
floats and timestamps differently. Rules:

* integers of any width, and floats that are whole numbers, share one encoding, so that a column
  that turns from int to float because of one null does not change every row;
* ``-0.0`` equals ``0.0``; all NaN are equal; null differs from everything;
* text is UTF-8 as it is, without normalisation; timestamps count from the epoch, in UTC;
* lists are encoded by their elements, in order; structs by their entries that are not null, so
  that an entry which only other rows have changes nothing.
"""

from __future__ import annotations

import datetime as dt
import decimal
import hashlib
import itertools
import math
import struct
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from metaxy_dagster.errors import FrameError

__all__ = ["content_versions"]

_NULL = b"-"
_HALF_WORD = 32
_NANOSECONDS = {"s": 10**9, "ms": 10**6, "us": 10**3, "ns": 1}
# Floats above this are spaced wider than one, so "whole number" means nothing for them.
_MAX_WHOLE = 2.0**53
# Of so many rows the values stand in memory as Python's own.
_AT_ONCE = 20_000


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
    starts = range(0, table.num_rows, _AT_ONCE) or (0,)
    pieces = [_content_versions(table.slice(start, _AT_ONCE), columns) for start in starts]
    return pa.concat_arrays(pieces)


def _content_versions(table: pa.Table, columns: Sequence[str]) -> pa.Array:
    parts: list[Iterable[bytes]] = []
    for name in sorted(columns):
        label = name.encode()
        prefix = b"%d:%s" % (len(label), label)
        parts.append(prefix + value for value in _encoded_column(table.column(name), name))
    if not parts:
        nothing = hashlib.md5(usedforsecurity=False).hexdigest()
        return pa.array([nothing] * table.num_rows, type=pa.string())
    rows = zip(*parts, strict=True)
    return pa.array(
        (hashlib.md5(b"".join(row), usedforsecurity=False).hexdigest() for row in rows),
        type=pa.string(),
    )


def _encoded_column(column: pa.ChunkedArray, name: str) -> Iterable[bytes]:
    try:
        return [value for chunk in column.chunks for value in _encoded_array(chunk)]
    except (ValueError, OverflowError, pa.ArrowException) as error:
        if isinstance(error, FrameError):
            raise
        raise FrameError(
            f"column {name!r} has values that Python cannot represent",
            found=str(error),
            remedy="cast the column to a plain type before it is written",
        ) from error


def _encoded_array(array: pa.Array) -> Iterable[bytes]:
    """One encoding per value. Nested values are encoded by their elements, from Arrow as well.

    Python's own dates and times end at microseconds: nanoseconds would be cut off unseen.
    """
    if isinstance(array.type, pa.BaseExtensionType):
        return _encoded_array(array.storage)
    for applies, encoded in _BY_TYPE:
        if applies(array.type):
            return encoded(array)
    return map(_encode, array.to_pylist())


def _encoded_ticks(array: pa.Array, tag: bytes) -> Iterable[bytes]:
    factor = _NANOSECONDS[array.type.unit]
    width = pa.int32() if array.type.bit_width == _HALF_WORD else pa.int64()
    ticks = array.cast(width).to_pylist()
    return (_NULL if tick is None else _tagged(tag, b"%d" % (tick * factor)) for tick in ticks)


def _encoded_structs(array: pa.StructArray, *, whole: bool = False) -> Iterable[bytes]:
    """Entries in the order of their names; the order that they come in is not content.

    Args:
        array: N structs.
        whole: entries that are null count too, as in the pairs of a map, which have no others.
    """
    kind = array.type
    order = sorted(range(kind.num_fields), key=lambda index: str(kind.field(index).name))
    labels = [_tagged(b"s", kind.field(index).name.encode()) for index in order]
    entries = [list(_encoded_array(array.field(index))) for index in order]
    for row, valid in enumerate(array.is_valid().to_pylist()):
        if valid:
            found = ((label, entry[row]) for label, entry in zip(labels, entries, strict=True))
            body = b"".join(label + value for label, value in found if whole or value != _NULL)
            yield _tagged(b"m", body)
        else:
            yield _NULL


def _encoded_lists(array: pa.Array) -> Iterable[bytes]:
    fast = _numeric_list(array)
    if fast is not None:
        return fast
    kind = array.type.value_type
    if pa.types.is_floating(kind) or pa.types.is_integer(kind):
        # The same bytes as _numeric_list gives: a version must not depend on the neighbours.
        return (_NULL if v is None else _encode_numbers(v) for v in array.to_pylist())
    # flatten() leaves out what null lists still hold.
    flat = iter(_encoded_array(array.flatten()))
    lengths = pc.list_value_length(array).to_pylist()
    return (_NULL if n is None else _joined([next(flat) for _ in range(n)]) for n in lengths)


def _encoded_maps(array: pa.MapArray) -> Iterable[bytes]:
    pairs = pa.StructArray.from_arrays([array.keys, array.items], names=["key", "value"])
    flat = list(_encoded_structs(pairs, whole=True))
    spans = itertools.pairwise(array.offsets.to_pylist())
    valid = array.is_valid().to_pylist()
    return (
        _joined(flat[start:stop]) if there else _NULL
        for (start, stop), there in zip(spans, valid, strict=True)
    )


def _joined(items: Sequence[bytes]) -> bytes:
    # An empty list is the same whatever type its elements would have.
    return _tagged(b"l", b"".join(items)) if items else _tagged(b"v", b"")


def _numeric_list(array: pa.Array) -> list[bytes] | None:
    """Lists of numbers without nulls (pixels, embeddings): hash the packed values, not objects."""
    kind = array.type.value_type
    if not (pa.types.is_floating(kind) or pa.types.is_integer(kind)):
        return None
    values = array.flatten()
    packed = None if values.null_count else _packed(values)
    if packed is None:
        return None
    encoded: list[bytes] = []
    position = 0
    for length in pc.list_value_length(array).to_pylist():
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


def _is_view(kind: pa.DataType) -> bool:
    return bool(pa.types.is_list_view(kind) or pa.types.is_large_list_view(kind))


def _as_list(array: pa.Array) -> Iterable[bytes]:
    return _encoded_lists(array.cast(pa.large_list(array.type.value_type)))


_BY_TYPE: Sequence[tuple[Callable[[pa.DataType], bool], Callable[[Any], Iterable[bytes]]]] = (
    (pa.types.is_timestamp, lambda array: _encoded_ticks(array, b"t")),
    (pa.types.is_duration, lambda array: _encoded_ticks(array, b"u")),
    (pa.types.is_time, lambda array: _encoded_ticks(array, b"h")),
    (pa.types.is_struct, _encoded_structs),
    (pa.types.is_map, _encoded_maps),
    (pa.types.is_list, _encoded_lists),
    (pa.types.is_large_list, _encoded_lists),
    (pa.types.is_fixed_size_list, _as_list),
    # Not by a cast, which empties them (pyarrow 26).
    (_is_view, _encoded_lists),
    (pa.types.is_dictionary, lambda array: _encoded_array(array.dictionary_decode())),
    (pa.types.is_run_end_encoded, lambda array: _encoded_array(pc.run_end_decode(array))),
)


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
    # Not normalize(): it rounds to 28 digits.
    return _tagged(b"n", format(value, "f").rstrip("0").encode())


def _encode_numbers(value: Sequence[Any]) -> bytes:
    if all(_is_packable(item) for item in value):
        numbers = (math.nan if math.isnan(item) else item + 0.0 for item in value)
        return _tagged(b"v", struct.pack(f"<{len(value)}d", *numbers))
    return _tagged(b"l", b"".join(map(_encode, value)))


def _is_packable(item: object) -> bool:
    return isinstance(item, float) or (isinstance(item, int) and abs(item) <= _MAX_WHOLE)


_ENCODERS: Mapping[type, Callable[[Any], bytes]] = {
    bool: lambda value: b"b1:1" if value else b"b1:0",
    int: _encode_int,
    float: _encode_float,
    str: lambda value: _tagged(b"s", value.encode()),
    bytes: lambda value: _tagged(b"y", value),
    decimal.Decimal: _encode_decimal,
    dt.date: lambda value: _tagged(b"d", value.isoformat().encode()),
    # Months, days and nanoseconds; what an interval of a calendar is made of.
    pa.MonthDayNano: lambda value: _tagged(b"k", b"%d,%d,%d" % tuple(value)),
}


def _encode(value: Any) -> bytes:
    if value is None:
        return _NULL
    encoder = _ENCODERS.get(type(value))
    if encoder is None:
        raise FrameError(
            "a value has no stable encoding",
            found=f"{type(value).__qualname__}",
            allowed="numbers, text, bytes, dates and times, and lists or structs of these",
            remedy="convert the column, or set metaxy_provenance_by_field yourself",
        )
    return encoder(value)
