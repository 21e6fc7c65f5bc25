"""Each type comes back as it went in, by every way to load it; the documented table is this."""

from __future__ import annotations

import datetime as dt
import tempfile
from pathlib import Path
from typing import Any

import duckdb
import narwhals as nw
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from places import ROOT
from round_trips import (
    LOADERS,
    MOMENT,
    SIZES,
    SPAN,
    ZONE,
    ZONES_HAVE_NANOS,
    Column,
    columns,
    row,
    source_of,
    store_at,
)

from metaxy_dagster.errors import FrameError

COLUMNS = columns()
DOCUMENT = ROOT / "docs" / "types.md"
# The table is of these; others may call a type otherwise.
CURRENT = [(pl, "2"), (pd, "3"), (duckdb, "2")]


def name_of(column: Column) -> str:
    return f"{column.library} {column.kind}"


def check_same(found: Any, column: Column) -> None:
    was = column.data
    if column.library == "polars":
        assert (found.dtype, found.to_list()) == (was.dtype, was.to_list())
    elif column.library == "pandas":
        check_series(found, was)
    elif column.library == "pyarrow":
        assert (found.type, found.to_pylist()) == (was.type, was.to_pylist())
    else:
        assert str(found.types[0]) == column.kind
        value = duckdb.sql(f"SELECT ({was}::{column.kind})::VARCHAR").fetchall()
        assert found.select("x::VARCHAR").fetchall() == value


def check_series(found: pd.Series, was: pd.Series) -> None:
    zone = getattr(was.dtype, "tz", None)
    if isinstance(zone, dt.timezone) and zone is not dt.UTC:
        # Arrow may make an offset an object of another class.
        assert found.dt.tz.utcoffset(MOMENT) == zone.utcoffset(None)
        found = found.dt.tz_convert(zone)
    pd.testing.assert_series_equal(found, was, check_names=False)


@pytest.mark.parametrize("column", COLUMNS, ids=name_of)
def test_a_column_comes_back_as_it_went_in(tmp_path: Path, column: Column) -> None:
    store = store_at(tmp_path / "m.duckdb")
    line = row(column, store)
    kinds = {}
    for way, load in LOADERS[column.library].items():
        found = load(source_of(store))
        check_same(found, column)
        kinds[way] = getattr(found, "dtype", None) or getattr(found, "type", None)
        nothing = load(source_of(store, filters="id > 9"))
        if column.library != "duckdb":
            assert len(nothing) == 0
            assert (getattr(nothing, "dtype", None) or nothing.type) == kinds[way]
    # What was loaded, and what it was made of, is what is stored.
    names = ["id", "x"]
    for frame in (column.frame(), store.read_table("clip", columns=names)):
        assert store.write("clip", frame).written == 0
    assert store.write("clip", store.read("clip", columns=names)).written == 0
    # An increment hands it on.
    store.write("next", store.resolve_update("next").pending)
    assert store.count("next") == store.count("clip")
    assert all(kind == kinds[next(iter(kinds))] for kind in kinds.values())
    if all(module.__version__.startswith(major) for module, major in CURRENT):
        assert line in DOCUMENT.read_text().splitlines(), "make docs"


@settings(max_examples=25, deadline=None)
@given(st.data(), st.sampled_from(["polars", "pandas"]))
def test_random_frames_come_back(data: st.DataObject, library: str) -> None:
    known = [one for one in COLUMNS if one.library == library]
    chosen = data.draw(st.lists(st.sampled_from(known), min_size=1, max_size=4, unique_by=name_of))
    rows = data.draw(st.lists(st.integers(0, 1), max_size=5))
    make = {"polars": pl.DataFrame, "pandas": pd.DataFrame}[library]
    with tempfile.TemporaryDirectory() as directory:
        store = store_at(Path(directory) / "m.duckdb")
        taken = {
            f"x{n}": one.data.gather(rows)
            if library == "polars"
            else one.data.take(rows).reset_index(drop=True)
            for n, one in enumerate(chosen)
        }
        store.write("clip", make({"id": range(len(rows)), **taken}))
        assert store.write("clip", make({"id": range(len(rows)), **taken})).written == 0
        if not rows:
            return
        found = store.read("clip", columns=["id", *taken]).collect(library).to_native()
        for name, was in taken.items():
            if library == "polars":
                assert found.sort("id")[name].to_list() == was.to_list()
                assert found[name].dtype == was.dtype or was.null_count() == len(was)
            elif was.notna().any():
                one = found.sort_values("id")[name].reset_index(drop=True)
                check_series(one, was)


REFUSED = {
    "Python objects": pl.DataFrame({"id": [1], "x": pl.Series([object()], dtype=pl.Object)}),
    "lazy Python objects": pl.LazyFrame({"id": [1], "x": pl.Series([object()], dtype=pl.Object)}),
    "128 bits": pl.DataFrame({"id": [1], "x": pl.Series([1], dtype=pl.Int128)}),
    "complex": pd.DataFrame({"id": [1], "x": [1j]}),
    "mixed": pd.DataFrame({"id": [1, 2], "x": [1, "a"]}),
    "sparse": pd.DataFrame({"id": [1, 2], "x": pd.arrays.SparseArray([0, 1])}),
    "intervals as categories": pd.DataFrame({"id": [1, 2], "x": pd.cut([1, 2], 2)}),
    "digits below microseconds": pa.table({"id": [1], "x": pa.array([1001], pa.duration("ns"))}),
    "three hundred years": pa.table({"id": [1], "x": pa.array([2**62], pa.duration("us"))}),
    "60 digits": pa.table({"id": [1], "x": pa.array([10**50], pa.decimal256(60, 2))}),
    "a union": pa.table(
        {
            "id": [1],
            "x": pa.UnionArray.from_sparse(pa.array([0], pa.int8()), [pa.array([1])]),
        }
    ),
    "a time with an offset": duckdb.sql("SELECT 1 AS id, '10:00:00+02'::TIMETZ AS x"),
    "bits": duckdb.sql("SELECT 1 AS id, '101'::BIT AS x"),
}


if not ZONES_HAVE_NANOS:
    REFUSED["digits below microseconds in a zone"] = pa.table(
        {"id": [1], "x": pa.array([1001], pa.timestamp("ns", ZONE))}
    )


@pytest.mark.parametrize("frame", REFUSED.values(), ids=REFUSED.keys())
def test_what_cannot_be_kept_is_refused_with_the_way_out(tmp_path: Path, frame: Any) -> None:
    store = store_at(tmp_path / "m.duckdb")
    with pytest.raises(FrameError) as caught:
        store.write("clip", frame)
    assert "x" in str(caught.value)
    assert caught.value.remedy
    assert store.features() == []


VIEWS = {
    "text": (pa.string_view(), pa.string(), ["a", None]),
    "long text": (pa.string_view(), pa.string(), ["a" * 40, None]),
    "bytes": (pa.binary_view(), pa.binary(), [b"a", None]),
    "in lists": (pa.list_(pa.string_view()), pa.list_(pa.string()), [["a"], None]),
    "in structs": (
        pa.struct([("a", pa.list_(pa.string_view()))]),
        pa.struct([("a", pa.list_(pa.string()))]),
        [{"a": ["b"]}, None],
    ),
}


@pytest.mark.parametrize(("kind", "plain", "values"), VIEWS.values(), ids=VIEWS.keys())
def test_views_that_arrow_cast_crash_nobody(
    tmp_path: Path, kind: pa.DataType, plain: pa.DataType, values: list[Any]
) -> None:
    store = store_at(tmp_path / "m.duckdb")
    frame = pa.table({"id": [1, 2], "x": pa.array(values, plain).cast(kind)})
    assert store.write("clip", frame).written == 2
    found = store.read_table("clip", columns=["id", "x"])
    assert (found.schema.field("x").type, found["x"].to_pylist()) == (kind, values)
    assert store.write("clip", found).written == 0
    assert pl.DataFrame(found)["x"].to_list() == values
    with duckdb.connect() as connection:
        assert connection.from_arrow(found).fetchall() == [*zip([1, 2], values, strict=True)]


def sizes(*values: str, order: list[str] = SIZES) -> pl.DataFrame:
    frame = {"id": range(len(values)), "x": pl.Series(values, dtype=pl.Enum(order))}
    return pl.DataFrame(frame)


def test_an_order_counts_in_filters_and_sorts_and_grows(tmp_path: Path) -> None:
    store = store_at(tmp_path / "m.duckdb")
    store.write("clip", sizes("large", "small"))
    assert store.count("clip", filters="x > 'small'") == 1
    assert store.count("clip", filters="x = 'small' OR x <> 'huge'") == 2
    frame = store.read("clip", columns=["id", "x"])
    assert frame.sort("x").collect()["x"].to_list() == ["small", "large"]
    longer = ["tiny", *SIZES]
    assert store.write("clip", sizes("large", "small", order=longer)).unchanged == 2
    assert store.write("clip", sizes("large", "tiny", order=longer)).updated == 1
    kind = store.read("clip", columns=["x"]).collect("polars").to_native()["x"].dtype
    assert isinstance(kind, pl.Enum)
    assert kind.categories.to_list() == longer
    # Fewer of them, or text that is among them, is no other order.
    assert store.write("clip", sizes("large", order=["large"])).unchanged == 1
    assert store.write("clip", pl.DataFrame({"id": [0], "x": ["large"]})).unchanged == 1
    for other in (sizes("small", order=SIZES[::-1]), pl.DataFrame({"id": [0], "x": ["new"]})):
        with pytest.raises(FrameError, match="alter"):
            store.write("clip", other)


def test_the_first_zone_and_the_finest_unit_stay(tmp_path: Path) -> None:
    store, zones = store_at(tmp_path / "m.duckdb"), (ZONE, "Asia/Tokyo", "UTC")
    moment = dt.datetime(2024, 5, 1, 0, 30, tzinfo=dt.UTC)
    for unit, zone in zip(("ms", "us", "ns"), zones, strict=True):
        kind = pl.Datetime(unit, zone)
        frame = pl.DataFrame({"id": [1], "x": pl.Series([moment]).cast(kind)})
        assert store.write("clip", frame).written == (unit == "ms")
        found = store.read("clip", columns=["x"]).collect("polars").to_native()["x"]
        assert found.dtype.time_zone == ZONE
    for unit in ("s", "ms", "us"):
        more = pl.DataFrame({"id": [2], "x": pl.Series([moment]).cast(pl.Datetime("us", "UTC"))})
        store.write("clip", more)
        assert store.read_table("clip", columns=["x"]).schema.field("x").type.tz == ZONE, unit


def test_local_days_are_those_of_the_zone_also_in_lazy_frames(tmp_path: Path) -> None:
    half_past_midnight = pl.Series([dt.datetime(2024, 5, 1, 0, 30)])  # noqa: DTZ001
    local = half_past_midnight.dt.replace_time_zone(ZONE)
    store = store_at(tmp_path / "m.duckdb")
    store.write("clip", pl.DataFrame({"id": [1], "x": local}))
    day = dt.date(2024, 5, 1)
    lazy = store.read("clip").with_columns(day=nw.col("x").dt.date()).collect()
    assert lazy["day"].to_list() == [day]
    assert str(lazy.to_native().schema.field("metaxy_created_at").type) == "timestamp[us, tz=UTC]"
    assert store.read("clip").to_native().project("x::DATE").fetchall() == [(day,)]
    # A feature in another zone can be joined all the same.
    store.write("next", store.resolve_update("next").pending)
    plain = store.read("next", columns=["id"])
    for one, other in (
        (store.read("clip", columns=["id", "x"]), plain),
        (plain, store.read("clip")),
    ):
        joined = one.join(other, on="id").collect()
        assert joined.to_native().column("x").to_pylist()[0].date() == day


@pytest.mark.parametrize("library", ["polars", "pandas", "pyarrow"])
def test_a_column_in_utc_stays_so_beside_one_in_a_zone(tmp_path: Path, library: Any) -> None:
    moments = pl.Series([dt.datetime(2024, 5, 1, 23, tzinfo=dt.UTC)])
    store = store_at(tmp_path / "m.duckdb")
    zoned = {"x": moments.dt.convert_time_zone(ZONE), "y": moments}
    store.write("clip", pl.DataFrame({"id": [1], **zoned}))
    found = nw.from_native(store.read("clip").collect(library).to_native())
    assert [found[name].dtype.time_zone for name in "xy"] == [ZONE, "UTC"]  # type: ignore[attr-defined]  # of moments
    lazy = store.read("clip").with_columns(day=nw.col("y").dt.date()).collect()
    assert lazy["day"].to_list() == [dt.date(2024, 5, 1)]


def test_spans_compare_in_filters(tmp_path: Path) -> None:
    store = store_at(tmp_path / "m.duckdb")
    store.write("clip", pl.DataFrame({"id": [1, 2], "x": [SPAN, SPAN * 3]}))
    assert store.count("clip", filters="x > '00:10:00'") == 1
    assert store.delete("clip", filters="x < '00:10:00'").deleted == 1
