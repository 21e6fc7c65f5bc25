"""Content versions against a naive oracle: equal exactly where the values are equal.

The oracle turns each value, for itself, into something that Python compares; it knows nothing of
hashes, chunks or Arrow buffers.
"""

from __future__ import annotations

import decimal
import itertools
import math
from typing import Any

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from metaxy_dagster.errors import FrameError
from metaxy_dagster.stores.frames.content import content_versions
from metaxy_dagster.stores.frames.rows import to_arrow

EXAMPLES = settings(max_examples=150, deadline=None)
NANOSECONDS = {"s": 10**9, "ms": 10**6, "us": 10**3, "ns": 1}
EXACT = 2**53

# Numbers around the places where representations part, few enough to meet each other.
INTEGERS = st.sampled_from([0, 1, -1, 2, 255, EXACT - 1, EXACT, EXACT + 1, -EXACT - 1, 2**62])
FLOATS = st.sampled_from(
    [0.0, -0.0, 1.0, -1.0, 0.1, 0.5, 1e16, 1e-5, float(EXACT), 2.0**54, math.inf, -math.inf]
) | st.just(math.nan)
TICKS = st.sampled_from([0, 1, -1, 999, 1000, 1001, 10**6, 10**9, 86_399_000_000_000])
TEXTS = st.sampled_from(["", "a", "b", "ab", "1", "-", "1:a", "é", "e\u0301", "🐕", "a\0", "null"])
TEMPORAL = [
    *(pa.timestamp(unit) for unit in NANOSECONDS),
    pa.timestamp("us", "UTC"),
    pa.timestamp("ns", "Europe/Berlin"),
    pa.duration("us"),
    pa.duration("ns"),
    pa.time64("ns"),
    pa.time64("us"),
    pa.time32("s"),
]
SCALARS: list[tuple[pa.DataType, st.SearchStrategy[Any]]] = [
    (pa.int64(), INTEGERS),
    (pa.uint64(), INTEGERS.filter(lambda n: n >= 0)),
    (pa.int8(), st.integers(-3, 3)),
    (pa.float64(), FLOATS),
    (pa.float32(), st.sampled_from([0.0, -0.0, 1.0, 0.5, math.nan, math.inf])),
    (pa.bool_(), st.booleans()),
    (pa.string(), TEXTS),
    (pa.large_string(), TEXTS),
    (pa.string_view(), TEXTS),
    (pa.binary(), TEXTS.map(str.encode)),
    (pa.date32(), st.integers(-2, 2)),
    (
        pa.decimal128(38, 34),
        st.sampled_from(
            [
                *("0", "-0", "1", "1.5", "1.50", "0.1"),
                *("1.2345678901234567890123456789012345", "1.2345678901234567890123456789012346"),
            ]
        ).map(decimal.Decimal),
    ),
    *((kind, TICKS.filter(lambda tick: 0 <= tick < 80_000)) for kind in TEMPORAL),
]


def columns_of(depth: int = 2) -> st.SearchStrategy[tuple[pa.DataType, st.SearchStrategy[Any]]]:
    """A type and a strategy for its values; moments and dates as their ticks."""
    scalar = st.sampled_from(SCALARS)
    if not depth:
        return scalar
    inner = columns_of(depth - 1)
    lists = st.sampled_from([pa.list_, pa.large_list])
    return st.one_of(
        scalar,
        st.tuples(lists, inner).map(
            lambda pair: (
                pair[0](pair[1][0]),
                st.lists(st.none() | pair[1][1], max_size=3),
            )
        ),
        inner.map(
            lambda one: (
                pa.list_(one[0], 2),
                st.lists(st.none() | one[1], min_size=2, max_size=2),
            )
        ),
        st.tuples(inner, inner).map(
            lambda pair: (
                pa.struct([("b", pair[0][0]), ("a", pair[1][0])]),
                st.fixed_dictionaries({"b": st.none() | pair[0][1], "a": st.none() | pair[1][1]}),
            )
        ),
    )


@st.composite
def column(draw: st.DrawFn) -> tuple[pa.DataType, list[Any]]:
    kind, values = draw(columns_of())
    return kind, draw(st.lists(st.none() | values, min_size=1, max_size=8))


def physical(kind: pa.DataType) -> pa.DataType:
    """The type that holds the ticks of moments, at any depth."""
    types = pa.types
    if types.is_fixed_size_list(kind):
        return pa.list_(physical(kind.value_type), kind.list_size)
    if types.is_large_list(kind):
        return pa.large_list(physical(kind.value_type))
    if types.is_list(kind):
        return pa.list_(physical(kind.value_type))
    if types.is_struct(kind):
        return pa.struct([(f.name, physical(f.type)) for f in kind])
    if types.is_temporal(kind):
        return pa.int32() if kind.bit_width == 32 else pa.int64()
    return kind


def array(kind: pa.DataType, values: list[Any]) -> pa.Array:
    return pa.array(values, type=physical(kind)).cast(kind)


FAMILIES = (
    ("moment", pa.types.is_timestamp),
    ("span", pa.types.is_duration),
    ("time", pa.types.is_time),
)


def same(kind: pa.DataType, value: Any) -> Any:
    """The oracle: what two values must share to count as equal."""
    if value is None:
        found: Any = None
    elif pa.types.is_struct(kind):
        found = {f.name: same(f.type, value[f.name]) for f in kind}
    elif pa.types.is_nested(kind):
        found = [same(kind.value_type, item) for item in value]
    elif pa.types.is_date(kind):
        found = ("day", value)
    elif pa.types.is_temporal(kind):
        family = next(name for name, applies in FAMILIES if applies(kind))
        found = (family, value * NANOSECONDS[kind.unit])
    elif isinstance(value, (int, float, decimal.Decimal)) and not isinstance(value, bool):
        found = same_number(value)
    else:
        found = (type(value).__name__, value)
    return found


def same_number(value: float | decimal.Decimal) -> Any:
    """Whole numbers are one, whatever holds them, as long as a float can."""
    if math.isnan(value):
        return "nan"
    if isinstance(value, float):
        whole = math.isfinite(value) and value == int(value) and abs(value) <= EXACT
    else:
        whole = value == int(value)
    return ("number", int(value)) if whole else (type(value).__name__, value)


def hashes(*columns: Any, names: str = "xyz") -> list[str]:
    table = pa.table(dict(zip(names, columns, strict=False)))
    return content_versions(table, table.column_names).to_pylist()


@EXAMPLES
@given(column(), column())
@example((pa.timestamp("ns"), [1, 1000]), (pa.timestamp("us"), [0, 1]))
@example((pa.time64("ns"), [1, 1000]), (pa.time64("us"), [1, 1000]))
@example((pa.list_(pa.timestamp("ns")), [[1], [2]]), (pa.duration("ns"), [1, 2]))
@example((pa.list_(pa.int64()), [[], None, [1], [None]]), (pa.list_(pa.float64()), [[1.0], []]))
@example((pa.string(), ["1:a", None, ""]), (pa.binary(), [b"1:a", b""]))
def test_versions_are_equal_exactly_where_values_are(
    left: tuple[pa.DataType, list[Any]], right: tuple[pa.DataType, list[Any]]
) -> None:
    """Within a column and between two of different types."""
    found, wanted = [], []
    for kind, values in (left, right):
        found += hashes(array(kind, values))
        wanted += [same(kind, value) for value in values]
    for i, j in itertools.combinations(range(len(found)), 2):
        assert (found[i] == found[j]) == (wanted[i] == wanted[j]), (wanted[i], wanted[j])


@EXAMPLES
@given(column(), st.data())
def test_a_version_never_depends_on_its_neighbours(
    drawn: tuple[pa.DataType, list[Any]], data: st.DataObject
) -> None:
    """Not on other rows, on slices, or on where chunks end."""
    kind, values = drawn
    whole = hashes(array(kind, values))
    assert [hashes(array(kind, [value]))[0] for value in values] == whole
    cut = data.draw(st.integers(0, len(values)))
    sliced = array(kind, values)
    assert hashes(sliced.slice(cut)) == whole[cut:]
    assert hashes(sliced.slice(0, cut)) == whole[:cut]
    chunks = pa.chunked_array([sliced.slice(0, cut), sliced.slice(cut)], type=kind)
    assert hashes(chunks) == whole
    order = data.draw(st.permutations(range(len(values))))
    assert hashes(array(kind, [values[i] for i in order])) == [whole[i] for i in order]


@EXAMPLES
@given(st.data())
def test_columns_count_by_name_not_by_place(data: st.DataObject) -> None:
    size = data.draw(st.integers(1, 4))
    columns = {}
    for name in "xyz":
        kind, values = data.draw(columns_of(1))
        rows = data.draw(st.lists(st.none() | values, min_size=size, max_size=size))
        columns[name] = array(kind, rows)
    whole = content_versions(pa.table(columns), list(columns))
    for order in itertools.permutations(columns):
        table = pa.table({name: columns[name] for name in order})
        assert content_versions(table, order).equals(whole)
    swapped = pa.table({"x": columns["y"], "y": columns["x"], "z": columns["z"]})
    both = content_versions(swapped, ["x", "y", "z"]).to_pylist()
    for row in range(size):
        equal = hashes(columns["x"])[row] == hashes(columns["y"])[row]
        assert (both[row] == whole[row].as_py()) == equal


@EXAMPLES
@given(st.lists(st.none() | st.integers(-EXACT, EXACT), min_size=1), st.data())
def test_numbers_of_any_width_share_their_versions(
    values: list[int | None], data: st.DataObject
) -> None:
    """An int column that met a null, and came back as float, changes no row."""
    whole = hashes(pa.array(values, pa.int64()))
    assert hashes(pa.array(values, pa.int64()).cast(pa.float64())) == whole
    decimals = [None if v is None else decimal.Decimal(v) for v in values]
    assert hashes(pa.array(decimals, pa.decimal128(20, 3))) == whole
    nested = [None if v is None else [v] for v in values]
    listed = hashes(pa.array(nested, pa.list_(pa.int64())))
    assert hashes(pa.array(nested, pa.list_(pa.int64())).cast(pa.list_(pa.float64()))) == listed
    padding = data.draw(st.sampled_from([[None], [2**60], [1, None]]))
    assert hashes(pa.array([*nested, padding], pa.list_(pa.int64())))[:-1] == listed


ENCODINGS = {
    "dictionary": lambda a: a.dictionary_encode(),
    "run ends": lambda a: pa.RunEndEncodedArray.from_arrays(
        pa.array(range(1, len(a) + 1), pa.int32()), a
    ),
    "large": lambda a: a.cast(pa.large_string()),
    "view": lambda a: a.cast(pa.string_view()),
}


@pytest.mark.parametrize("name", ENCODINGS)
def test_encodings_of_text_do_not_count(name: str) -> None:
    plain = pa.array(["a", None, "", "é", "a"])
    assert hashes(ENCODINGS[name](plain)) == hashes(plain)


def test_list_views_maps_and_extensions() -> None:
    lists = [[1, 2], [], None, [None]]
    views = pa.array(lists, pa.list_view(pa.int64()))
    assert hashes(views) == hashes(pa.array(lists, pa.list_(pa.int64())))
    kind = pa.map_(pa.string(), pa.timestamp("ns"))
    maps = pa.array([[("a", 1)], [("a", 2)], [], None, [("a", 1)]], kind)
    first, second, empty, null, again = hashes(maps)
    assert first == again
    assert len({first, second, empty, null}) == 4
    assert hashes(maps.slice(1, 2)) == [second, empty]
    uuids = pa.array([b"0" * 16, None], pa.uuid())
    assert hashes(uuids) == hashes(pa.array([b"0" * 16, None], pa.binary()))
    spans = pa.array([pa.MonthDayNano([1, 2, 3]), pa.MonthDayNano([1, 2, 4]), None])
    assert len(set(hashes(spans))) == 3


SIMPLE = st.fixed_dictionaries(
    {
        "i": st.integers(-5, 5),
        "f": st.none() | st.floats(allow_nan=False, width=32),
        "n": st.none() | st.integers(-EXACT, EXACT),
        "b": st.booleans(),
        "t": st.none() | st.text(st.characters(codec="utf-8"), max_size=5),
        "m": st.datetimes(min_value=pd.Timestamp(1900, 1, 1), max_value=pd.Timestamp(2200, 1, 1)),
        "d": st.none() | st.dates(),
        "l": st.lists(st.floats(allow_nan=False), max_size=3),
        "w": st.none() | st.lists(st.sampled_from(["a", "é", ""]), max_size=2),
        "s": st.fixed_dictionaries({"p": st.none() | st.integers(0, 3), "q": st.just("q")}),
    }
)
SCHEMA = pa.schema(
    {
        "i": pa.int64(),
        "f": pa.float64(),
        "n": pa.int64(),
        "b": pa.bool_(),
        "t": pa.string(),
        "m": pa.timestamp("us"),
        "d": pa.date32(),
        "l": pa.list_(pa.float64()),
        "w": pa.list_(pa.string()),
        "s": pa.struct([("p", pa.int64()), ("q", pa.string())]),
    }
)
LIBRARIES = {
    "polars": pl.from_arrow,
    "polars, lazy": lambda table: pl.from_arrow(table).lazy(),
    "pandas": lambda table: table.to_pandas(),
    "pandas, arrow types": lambda table: table.to_pandas(types_mapper=pd.ArrowDtype),
    "pandas, from rows": lambda table: pd.DataFrame(table.to_pylist()).astype({"i": "float64"}),
}


@pytest.mark.parametrize("library", LIBRARIES)
@settings(max_examples=25, deadline=None)
@given(rows=st.lists(SIMPLE, min_size=1, max_size=5))
def test_libraries_agree(library: str, rows: list[dict[str, Any]]) -> None:
    table = pa.Table.from_pylist(rows, schema=SCHEMA)
    other = to_arrow(LIBRARIES[library](table), "f")
    for name in SCHEMA.names:
        wanted = content_versions(table, [name]).to_pylist()
        assert content_versions(other, [name]).to_pylist() == wanted, name
    everything = content_versions(table, SCHEMA.names)
    assert content_versions(other, SCHEMA.names).to_pylist() == everything.to_pylist()


def test_nan_is_a_value_and_null_is_none() -> None:
    """pandas alone cannot tell them apart."""
    one, nan, null = hashes(pa.array([1.0, math.nan, None]))
    assert len({one, nan, null}) == 3
    quiet, other = np.array([0x7FF8000000000000, 0x7FF8000000000001], "<u8").view("<f8")
    assert len(set(hashes(pa.array([quiet, other])))) == 1
    assert len(set(hashes(pa.array([[quiet], [other], [math.nan]])))) == 1
    # Beside a list that holds a null, each list is encoded for itself.
    assert len(set(hashes(pa.array([[quiet], [other], [math.nan], [None]]))[:3])) == 1
    assert hashes(to_arrow(pl.DataFrame({"x": [1.0, math.nan, None]}), "f")["x"]) == [
        one,
        nan,
        null,
    ]


GOLDEN = {
    "int": "1b3ecb336fed8d292b9eb2f83ffdcded",
    "float": "1226e917ceadb2cd91173ec2eb0657b0",
    "text": "7b02a109af853a6e9c9cf62cf0a53deb",
    "null": "0889afc2fc46c49b5697fbba4b137618",
    "moment": "706a1c64edeaf4eb73a0cc297e807e08",
    "list": "7e034ce9f04c13331ffc3f957a615d76",
    "texts": "5ff37630c2f0385ca302dbc5d89cee1f",
    "struct": "9b84b3af23cc7272a61ce6439a48e33f",
    "decimal": "898b0a80915bbeaf70719b3262ae3619",
    "nan": "16fd365f5d721367716bdb01728f87b3",
    "nans": "496367309120de83714be33419e28996",
    "gap": "6d267fbfccb0b6c938ae9d83d814bbb8",
    "map": "833d131d691165dd216e7e240bac2667",
    "bytes": "272d32acd2747d7e8b60de85d4ab71a7",
    "day": "71e5a531cbb3b6d88aad71c42dc0925f",
    "months": "07fc0803c338b37563b6aecaebf06b9b",
    "truth": "1f51c98f3955b36a448a8c4bfe1bcbed",
}
GOLDEN_ROW = "51e8cdecc9c2a11e3e08b7ae3778613e"


def test_versions_stay_what_they_are_from_release_to_release() -> None:
    """Whatever moves one of these makes every sample of every store stale."""
    columns = {
        "int": pa.array([1]),
        "float": pa.array([0.1]),
        "text": pa.array(["é"]),
        "null": pa.nulls(1),
        "moment": pa.array([1], pa.timestamp("us", "UTC")),
        "list": pa.array([[1.0, 2.5]]),
        "texts": pa.array([["a", None]]),
        "struct": pa.array([{"b": 1, "a": None}]),
        "decimal": pa.array([decimal.Decimal("1.50")]),
        "nan": pa.array([math.nan]),
        "nans": pa.array([[math.nan, 1.0]]),
        "gap": pa.array([[1.0, None]]),
        "map": pa.array([[("a", 1), ("b", None)]], pa.map_(pa.string(), pa.int64())),
        "bytes": pa.array([b"a"]),
        "day": pa.array([1], pa.date32()),
        "months": pa.array([pa.MonthDayNano([1, 2, 3])]),
        "truth": pa.array([True]),
    }
    assert {name: hashes(one)[0] for name, one in columns.items()} == GOLDEN
    assert content_versions(pa.table(columns), list(columns)).to_pylist() == [GOLDEN_ROW]


@pytest.mark.parametrize("text", ["1.5", "-0.1", "1e-10", "123456789.125"])
def test_decimals_of_any_scale_share_their_versions(text: str) -> None:
    value = decimal.Decimal(text)
    scales = (pa.decimal128(38, 10), pa.decimal128(38, 12), pa.decimal256(60, 30))
    assert len({hashes(pa.array([value], kind))[0] for kind in scales}) == 1


def test_columns_that_have_no_version_are_refused() -> None:
    with pytest.raises(FrameError) as caught:
        hashes(pa.array([2**30], pa.date32()))
    assert caught.value.remedy
    assert "'x'" in str(caught.value)


def test_a_table_without_columns_has_one_version() -> None:
    table = pa.table({"x": [1, 2]})
    assert len(set(content_versions(table, []).to_pylist())) == 1


@pytest.mark.parametrize("kind", [pa.null(), pa.int64(), pa.string()])
def test_a_table_without_rows_has_versions_of_the_same_type(kind: pa.DataType) -> None:
    table = pa.table({"x": pa.array([], kind)})
    assert content_versions(table, ["x"]).type == pa.string()
