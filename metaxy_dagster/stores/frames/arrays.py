"""Arrow arrays between what a library has and what an engine has, at any depth of a type."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeAlias

import duckdb
import pyarrow as pa
import pyarrow.compute as pc

__all__ = [
    "check_durations",
    "decoded",
    "dictionaries",
    "enumerated",
    "has_union",
    "in_order",
    "natural",
    "no_rows",
    "physical",
    "plain",
    "restored",
]

_Values: TypeAlias = Mapping[str, pa.Array]
_DECIMAL_DIGITS = 38
# In the metadata of a field: the categories of an enumeration of polars', each with its length.
_ENUM = b"_PL_ENUM_VALUES2"
_MICROSECOND = 1000
_LONGEST = 2**63 - 1
# One value of an interval of months, days and nanoseconds.
_INTERVAL = [("months", "<i4"), ("days", "<i4"), ("nanoseconds", "<i8")]
_DAY = 86_400 * 10**9


def natural(kind: pa.DataType) -> pa.DataType:
    """The type in which the engine gives back a column that was stored in some type.

    Example:
        >>> natural(pa.large_list(pa.string_view()))
        ListType(list<item: string>)
    """
    types = pa.types
    for applies, found in _NATURAL:
        if applies(kind):
            return found(kind)
    if types.is_dictionary(kind) or types.is_run_end_encoded(kind):
        return natural(kind.value_type)
    return _with_inner(kind, natural, lists=True)


def plain(kind: pa.DataType) -> pa.DataType:
    """A type without what a library other than pyarrow only has by accident: large and view."""
    types = pa.types
    if types.is_large_string(kind) or types.is_string_view(kind):
        return pa.string()
    if types.is_large_binary(kind) or types.is_binary_view(kind):
        return pa.binary()
    if types.is_dictionary(kind):
        return pa.dictionary(kind.index_type, plain(kind.value_type), kind.ordered)
    return _with_inner(kind, plain, lists=True)


def physical(kind: pa.DataType) -> pa.DataType:
    """The type in which an engine takes a column."""
    types = pa.types
    if isinstance(kind, pa.BaseExtensionType):
        known = kind.extension_name in _KNOWN_EXTENSIONS
        return kind if known else physical(kind.storage_type)
    if types.is_dictionary(kind) or types.is_run_end_encoded(kind):
        return physical(kind.value_type)
    for applies, found in _PHYSICAL:
        if applies(kind):
            return found(kind)
    return _with_inner(kind, physical)


def decoded(array: pa.Array) -> pa.Array:
    """An array without what a cast does not take off: run ends, and unknown extensions."""
    kind = array.type
    if isinstance(kind, pa.BaseExtensionType) and physical(kind) != kind:
        return decoded(array.storage)
    if pa.types.is_run_end_encoded(kind):
        return decoded(pc.run_end_decode(array))
    return decoded(array.dictionary_decode()) if pa.types.is_dictionary(kind) else array


def has_union(kind: pa.DataType) -> bool:
    """Whether a type is a union, or has one within."""
    inner = [kind.field(i).type for i in range(kind.num_fields)] if pa.types.is_nested(kind) else []
    return bool(pa.types.is_union(kind)) or any(map(has_union, inner))


def check_durations(column: pa.ChunkedArray) -> None:
    """Refuse durations that an engine cannot give back, which counts them in nanoseconds.

    Raises:
        ValueError: with the longest.
    """
    kind = column.type
    if not pa.types.is_duration(kind) or kind.unit == "ns" or not len(column):
        return
    ticks = {"s": 10**9, "ms": 10**6, "us": 1000}[kind.unit]
    ends = pc.min_max(column.cast(pa.int64())).as_py()
    longest = max((abs(one) for one in ends.values() if one is not None), default=0)
    if longest * ticks > _LONGEST:
        message = f"a duration of {longest} {kind.unit}, which is longer than 292 years"
        raise ValueError(message)


def in_order(field: pa.Field) -> pa.DataType:
    """The type of a field; an enumeration of polars' is in order, also where it does not say so.

    Example:
        >>> kind = pa.dictionary(pa.uint8(), pa.string())
        >>> in_order(pa.field("x", kind, metadata={"_PL_ENUM_VALUES2": "5;small5;large"})).ordered
        True
    """
    kind = field.type
    if _ENUM in (field.metadata or {}) and pa.types.is_dictionary(kind):
        return pa.dictionary(kind.index_type, kind.value_type, ordered=True)
    return kind


def no_rows(schema: pa.Schema) -> pa.RecordBatch:
    """Nothing, in exactly these types; of dictionaries ``pa.array`` may make others.

    Example:
        >>> no_rows(pa.schema({"x": pa.dictionary(pa.uint8(), pa.string())})).num_rows
        0
    """
    return pa.RecordBatch.from_arrays([pa.nulls(0, one.type) for one in schema], schema=schema)


def dictionaries(array: pa.Array, path: str = "") -> dict[str, pa.Array]:
    """The categories of all dictionaries within an array, in their order, by where they are."""
    types, kind = pa.types, array.type
    if isinstance(kind, pa.BaseExtensionType):
        return {}
    if types.is_dictionary(kind):
        return {path: array.dictionary.cast(plain(kind.value_type))}
    found: dict[str, pa.Array] = {}
    if types.is_struct(kind):
        for index in range(kind.num_fields):
            found |= dictionaries(array.field(index), f"{path}.{kind.field(index).name}")
    elif types.is_map(kind):
        found = dictionaries(array.keys, f"{path}<") | dictionaries(array.items, f"{path}>")
    elif _is_list(kind):
        found = dictionaries(array.values, f"{path}[]")
    return found


def restored(
    column: pa.ChunkedArray, kind: pa.DataType, values: Mapping[str, pa.Array]
) -> pa.ChunkedArray:
    """A column in another type of the same values.

    Args:
        column: as an engine gives it.
        kind: as it was; entries that structs got since stay as they are.
        values: the categories of dictionaries within.
    """
    if values and column.num_chunks > 1:
        # All in one, so that there is one list of categories.
        column = pa.chunked_array([column.combine_chunks()])
    chunks = [_restored(chunk, kind, values, "") for chunk in column.chunks]
    chunks = chunks or [_restored(pa.array([], column.type), kind, values, "")]
    return pa.chunked_array(chunks)


def enumerated(field: pa.Field, array: pa.Array) -> pa.Field:
    """A field whose note of an enumeration of polars' names all categories that there are.

    Polars takes values that the note does not name for missing ones, without a word.

    Args:
        field: with what its library says of it.
        array: what it is a field of.
    """
    metadata = field.metadata or {}
    if _ENUM not in metadata or not pa.types.is_dictionary(array.type):
        return field
    told, known = metadata[_ENUM], set()
    while told:
        length, _, rest = told.partition(b";")
        known.add(rest[: int(length)].decode())
        told = rest[int(length) :]
    more = [str(one) for one in array.dictionary.to_pylist() if one not in known]
    added = "".join(f"{len(one.encode())};{one}" for one in more)
    return field.with_metadata({**metadata, _ENUM: metadata[_ENUM] + added.encode()})


def _restored(array: pa.Array, kind: pa.DataType, values: _Values, path: str) -> pa.Array:
    if array.type == kind and not _has_inner(kind):
        return array
    for applies, made in _MADE:
        if applies(kind):
            return made(array, kind, values, path)
    return array.cast(kind)


def _as_run_ends(array: pa.Array, kind: Any, values: _Values, path: str) -> pa.Array:
    inner = _restored(array, kind.value_type, values, path)
    return pc.run_end_encode(inner, run_end_type=kind.run_end_type)


def _as_extension(array: pa.Array, kind: Any, values: _Values, path: str) -> pa.Array:
    if kind.extension_name == "arrow.uuid":
        return _as_uuids(array, kind)
    storage = _restored(array, kind.storage_type, values, path)
    return pa.ExtensionArray.from_storage(kind, storage)


def _as_map(array: pa.Array, kind: Any, values: _Values, path: str) -> pa.Array:
    keys = _restored(array.keys, kind.key_type, values, f"{path}<")
    items = _restored(array.items, kind.item_type, values, f"{path}>")
    return pa.MapArray.from_arrays(_offsets(array), keys, items, mask=_mask(array))


def _as_dictionary(array: pa.Array, kind: Any, values: _Values, path: str) -> pa.Array:
    categories = values.get(path)
    array = _restored(array, kind.value_type, {}, "")
    if categories is None:
        encoded = array.dictionary_encode()
        indices, categories = encoded.indices, encoded.dictionary
    else:
        categories = categories.cast(kind.value_type)
        present = pc.drop_null(pc.unique(array))
        missing = present.filter(pc.invert(pc.is_in(present, value_set=categories)))
        if len(missing):
            categories = pa.concat_arrays([categories, missing])
        indices = pc.index_in(array, value_set=categories)
    width = kind.index_type
    if len(categories) > 2 ** (width.bit_width - pa.types.is_signed_integer(width)):
        width = pa.int32()
    return pa.DictionaryArray.from_arrays(indices.cast(width), categories, ordered=kind.ordered)


def _as_uuids(array: pa.Array, kind: pa.DataType) -> pa.Array:
    if isinstance(array.type, pa.BaseExtensionType):
        return array
    packed = [
        None if one is None else bytes.fromhex(one.replace("-", "")) for one in array.to_pylist()
    ]
    return pa.ExtensionArray.from_storage(kind, pa.array(packed, pa.binary(16)))


def _as_views(array: pa.Array, kind: pa.DataType, *_: object) -> pa.Array:
    """Up to PyArrow 24 a cast leaves a buffer of short texts out, which crashes other libraries."""
    made = array.cast(kind)
    known, views, *texts = made.buffers()
    if all(one is not None for one in texts):
        return made
    return pa.Array.from_buffers(kind, len(made), [known, views], made.null_count, made.offset)


def _as_durations(array: pa.Array, kind: pa.DataType, *_: object) -> pa.Array:
    """From intervals, in which there are no months."""
    if pa.types.is_duration(array.type):
        return array.cast(kind)
    import numpy as np  # noqa: PLC0415 - comes with the engine; only needed here

    parts = np.frombuffer(array.buffers()[1] or b"", dtype=_INTERVAL)[
        array.offset : array.offset + len(array)
    ]
    micros = parts["days"].astype("int64") * (_DAY // _MICROSECOND)
    micros += parts["nanoseconds"] // _MICROSECOND
    mask = array.is_null().to_numpy(zero_copy_only=False)
    whole = pa.array(micros, pa.int64(), mask=mask).cast(pa.duration("us"))
    return whole.cast(kind)


def _as_structs(array: pa.StructArray, kind: pa.StructType, values: _Values, path: str) -> pa.Array:
    known = {kind.field(i).name: kind.field(i) for i in range(kind.num_fields)}
    fields, entries = [], []
    for index in range(array.type.num_fields):
        had = array.type.field(index)
        entry, was = array.field(index), known.get(had.name)
        if was is not None:
            entry = _restored(entry, was.type, values, f"{path}.{had.name}")
        field = (was or had).with_type(entry.type).with_name(had.name)
        fields.append(enumerated(field, entry))
        entries.append(entry)
    if not entries:
        return array
    return pa.StructArray.from_arrays(entries, fields=fields, mask=_mask(array))


def _as_lists(array: pa.Array, kind: pa.DataType, values: _Values, path: str) -> pa.Array:
    types, field = pa.types, kind.value_field
    inner = _restored(array.values, kind.value_type, values, f"{path}[]")
    field = enumerated(field.with_type(inner.type), inner)
    if types.is_fixed_size_list(array.type):
        size = array.type.list_size
        inner = inner.slice(array.offset * size, len(array) * size)
        made: pa.Array = pa.FixedSizeListArray.from_arrays(
            inner, type=pa.list_(field, size), mask=_mask(array)
        )
        return made if types.is_fixed_size_list(kind) else made.cast(_list_like(kind, field))
    made = pa.ListArray.from_arrays(_offsets(array), inner, pa.list_(field), mask=_mask(array))
    if types.is_list(kind) or types.is_fixed_size_list(kind):
        return made
    if types.is_list_view(kind):
        starts, sizes = made.offsets.slice(0, len(made)), pc.list_value_length(made)
        sizes = sizes.fill_null(0)
        return pa.ListViewArray.from_arrays(starts, sizes, inner, mask=_mask(array))
    return made.cast(_list_like(kind, field))


def _list_like(kind: pa.DataType, field: pa.Field) -> pa.DataType:
    types = pa.types
    if types.is_large_list(kind):
        return pa.large_list(field)
    if types.is_list_view(kind):
        return pa.list_view(field)
    if types.is_large_list_view(kind):
        return pa.large_list_view(field)
    return pa.list_(field)


def _offsets(array: Any) -> pa.Array:
    """Offsets into all values, without an offset of their own, which a mask would not stand."""
    found = array.offsets
    return pa.array(found.to_numpy(), found.type) if found.offset else found


def _mask(array: pa.Array) -> pa.Array | None:
    return array.is_null() if array.null_count else None


def _is_list(kind: pa.DataType) -> bool:
    types = pa.types
    tests = (types.is_list, types.is_large_list, types.is_fixed_size_list)
    views = (types.is_list_view, types.is_large_list_view)
    return any(bool(is_(kind)) for is_ in (*tests, *views))


def _has_inner(kind: pa.DataType) -> bool:
    return bool(pa.types.is_nested(kind) or pa.types.is_dictionary(kind))


def _with_inner(kind: pa.DataType, change: Any, *, lists: bool = False) -> pa.DataType:
    """A nested type with other types within; lists of all sorts as plain ones, if asked for."""
    types = pa.types
    if types.is_struct(kind):
        entries = [kind.field(index) for index in range(kind.num_fields)]
        return pa.struct([one.with_type(change(one.type)) for one in entries])
    if types.is_map(kind):
        return pa.map_(change(kind.key_type), change(kind.item_type))
    if types.is_fixed_size_list(kind):
        return pa.list_(kind.value_field.with_type(change(kind.value_type)), kind.list_size)
    if _is_list(kind):
        field = kind.value_field.with_type(change(kind.value_type))
        return pa.list_(field) if lists else _list_like(kind, field)
    return kind


_MADE: Sequence[tuple[Callable[[Any], bool], Callable[..., pa.Array]]] = (
    (lambda kind: isinstance(kind, pa.BaseExtensionType), _as_extension),
    (pa.types.is_dictionary, _as_dictionary),
    (pa.types.is_run_end_encoded, _as_run_ends),
    (pa.types.is_string_view, _as_views),
    (pa.types.is_binary_view, _as_views),
    (pa.types.is_duration, _as_durations),
    (pa.types.is_struct, _as_structs),
    (pa.types.is_map, _as_map),
    (_is_list, _as_lists),
)
_PHYSICAL: Sequence[tuple[Callable[[Any], bool], Callable[[Any], pa.DataType]]] = (
    (pa.types.is_float16, lambda _: pa.float32()),
    # What Arrow made by a cast may lack a buffer, see _as_views.
    (lambda kind: pa.types.is_string_view(kind) or pa.types.is_binary_view(kind), plain),
    (
        pa.types.is_decimal256,
        lambda kind: pa.decimal128(min(kind.precision, _DECIMAL_DIGITS), kind.scale),
    ),
    # Also because engines multiply what stands where there is no value.
    (pa.types.is_duration, lambda _: pa.duration("us")),
    (
        lambda kind: pa.types.is_timestamp(kind) and kind.tz is not None and kind.unit == "ns",
        lambda kind: pa.timestamp(_unit_with_zone(kind), kind.tz),
    ),
)
_KNOWN_EXTENSIONS = {"arrow.uuid", "arrow.json", "arrow.bool8", "arrow.opaque"}


def _of_extension(kind: pa.BaseExtensionType) -> pa.DataType:
    known = {"arrow.uuid": pa.string(), "arrow.json": pa.string(), "arrow.bool8": pa.bool_()}
    return known.get(kind.extension_name) or natural(kind.storage_type)


@functools.cache
def _zones_end_at_micros() -> bool:
    """DuckDB 1.5 has no moments in a zone that are finer, and cuts digits off without a word."""
    return duckdb.__version__.startswith("1.")


def _unit_with_zone(kind: pa.DataType) -> str:
    return "us" if _zones_end_at_micros() else _nanos_or_micros(kind)


def _nanos_or_micros(kind: pa.DataType) -> str:
    return "ns" if kind.unit == "ns" else "us"


_NATURAL: Sequence[tuple[Callable[[Any], bool], Callable[[Any], pa.DataType]]] = (
    (lambda kind: isinstance(kind, pa.BaseExtensionType), _of_extension),
    (lambda k: pa.types.is_large_string(k) or pa.types.is_string_view(k), lambda _: pa.string()),
    (pa.types.is_large_binary, lambda _: pa.binary()),
    (pa.types.is_binary_view, lambda _: pa.binary()),
    (pa.types.is_fixed_size_binary, lambda _: pa.binary()),
    (pa.types.is_duration, lambda _: pa.month_day_nano_interval()),
    (pa.types.is_date, lambda _: pa.date32()),
    (pa.types.is_float16, lambda _: pa.float32()),
    (
        lambda kind: pa.types.is_timestamp(kind) and kind.tz is not None,
        lambda kind: pa.timestamp(_unit_with_zone(kind), "UTC"),
    ),
    (pa.types.is_time, lambda kind: pa.time64(_nanos_or_micros(kind))),
    (
        pa.types.is_decimal,
        lambda kind: pa.decimal128(min(kind.precision, _DECIMAL_DIGITS), kind.scale),
    ),
)
