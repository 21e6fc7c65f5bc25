"""Types of columns: how far they widen, and that no value is another one afterwards."""

from __future__ import annotations

import datetime as dt
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from videos import T, store_of
from worlds import rows

from metaxy_dagster.errors import FrameError
from metaxy_dagster.features import FeatureSpec
from metaxy_dagster.stores import DuckDBMetadataStore

EXACT = 2**53
LAST_DAY = dt.date(9999, 12, 31)
INT32, FLOAT32, NANOS = pa.int32(), pa.float32(), pa.timestamp("ns")
NO_TEXTS = pa.array([[]], pa.list_(pa.string()))


def decimals(text: str, digits: int, scale: int) -> pa.Array:
    return pa.array([Decimal(text)], pa.decimal128(digits, scale))


@pytest.fixture
def store(tmp_path: Path) -> DuckDBMetadataStore:
    return store_of(tmp_path / "m.duckdb", FeatureSpec("clip", id_columns=["id"]))


def values(store: DuckDBMetadataStore) -> list[Any]:
    return [row["x"] for row in rows(store, "clip")]


@pytest.mark.parametrize(
    ("first", "second", "kind"),
    [
        ([EXACT], [0.5], "DOUBLE"),
        ([-EXACT], [0.5], "DOUBLE"),
        ([0.5], [EXACT], "DOUBLE"),
        ([0.5], [-EXACT], "DOUBLE"),
        ([0.5], pa.nulls(1, pa.int64()), "DOUBLE"),
        (pa.array([2**24], INT32), pa.array([0.5], FLOAT32), "FLOAT"),
        (pa.array([0.5], FLOAT32), pa.array([-(2**24)], INT32), "FLOAT"),
        (pa.array([0.5], FLOAT32), [0.1], "DOUBLE"),
        ([0.1], pa.array([0.5], FLOAT32), "DOUBLE"),
        (pa.array([1], pa.uint8()), pa.array([-1], pa.int8()), "SMALLINT"),
        ([[[1]]], [[[0.5]]], "DOUBLE[][]"),
        ([["a"]], pa.array([[]], pa.list_(pa.null())), "VARCHAR[]"),
        ([["a"]], pa.array([[None]], pa.list_(pa.null())), "VARCHAR[]"),
        (NO_TEXTS, [[1]], "BIGINT[]"),
        (NO_TEXTS, [[{"a": 1}]], "STRUCT(a BIGINT)[]"),
        (pa.nulls(1, pa.list_(pa.string())), [[1]], "BIGINT[]"),
        (pa.nulls(1, pa.string()), [[]], "VARCHAR[]"),
        (pa.array([1], pa.timestamp("s")), pa.array([1], NANOS), "TIMESTAMP_NS"),
        (pa.array([1], NANOS), [dt.date(2026, 1, 1)], "TIMESTAMP_NS"),
        ([dt.date(2026, 1, 1)], pa.array([1], NANOS), "TIMESTAMP_NS"),
        (decimals("1.5", 5, 1), decimals("0.12", 9, 2), "DECIMAL(9,2)"),
        (decimals("0.12", 9, 2), decimals("1.5", 5, 1), "DECIMAL(9,2)"),
    ],
)
def test_a_type_widens_as_far_as_no_value_changes(
    store: DuckDBMetadataStore, first: Any, second: Any, kind: str
) -> None:
    store.write("clip", T({"id": [1], "x": first}))
    assert store.write("clip", T({"id": [2], "x": second})).new == 1
    assert store.schema("clip")["x"] == kind
    found = [column.to_pylist()[0] for column in (pa.array(first), pa.array(second))]
    days = [dt.datetime.combine(v, dt.time()) if type(v) is dt.date else v for v in found]
    assert values(store) == days


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ([-EXACT - 1], [0.5]),
        ([0.5], [-EXACT - 1]),
        ([[EXACT + 1]], [[0.5]]),
        ([[[0.5]]], [[[EXACT + 1]]]),
        ([[-1]], pa.array([[2**63]], pa.list_(pa.uint64()))),
        (pa.array([2**24 + 1], INT32), pa.array([0.5], FLOAT32)),
        (pa.array([0.5], FLOAT32), pa.array([2**24 + 1], INT32)),
        (decimals("1e30", 38, 0), decimals("0.1", 38, 10)),
        (decimals("0.1", 38, 10), decimals("1e30", 38, 0)),
        ([LAST_DAY], pa.array([1], NANOS)),
        (pa.array([1], NANOS), [LAST_DAY]),
        (NO_TEXTS, [1]),
        ([1], [[1]]),
        ([[1]], [["a"]]),
        (decimals("1.5", 5, 1), [1]),
    ],
)
def test_a_type_in_which_a_value_would_be_another_is_refused(
    store: DuckDBMetadataStore, first: Any, second: Any
) -> None:
    store.write("clip", T({"id": [1], "x": first}))
    before = rows(store, "clip"), store.schema("clip")
    with pytest.raises(FrameError, match="cast 'x'"):
        store.write("clip", T({"id": [2], "x": second}))
    assert (rows(store, "clip"), store.schema("clip")) == before


@pytest.mark.parametrize(
    ("first", "second", "third"),
    [([EXACT + 1], [1], [0.5]), (["a"], pa.nulls(1, pa.string()), [1])],
)
def test_values_of_the_past_count_as_well(
    store: DuckDBMetadataStore, first: Any, second: Any, third: Any
) -> None:
    store.write("clip", T({"id": [1], "x": first}))
    store.write("clip", T({"id": [1], "x": second}))
    with pytest.raises(FrameError, match="cast 'x'"):
        store.write("clip", T({"id": [1], "x": third}))
    history = store.read("clip", columns=["x"], history=True).collect().to_native()
    assert history.column("x").to_pylist().count(first[0]) == 1


def test_a_frame_may_lack_columns_only_where_it_is_the_whole_state(
    store: DuckDBMetadataStore,
) -> None:
    store.write("clip", T({"id": [1], "x": [1], "Größe": [1]}))
    with pytest.raises(FrameError, match="lacks columns") as caught:
        store.write("clip", T({"id": [2], "x": [2]}))
    assert "missing ['Größe']" in str(caught.value.found)
    with pytest.raises(FrameError, match="only by case") as caught:
        store.write("clip", T({"id": [2], "x": [2], "GRÖSSE": [2]}))
    assert (caught.value.found, caught.value.allowed) == ("GRÖSSE", "Größe")
    store.write("clip", T({"id": [2], "X": [2], "Größe": [2]}))
    assert store.write("clip", T({"id": [2], "y": [2]}), mode="replace").updated == 1
    assert list(store.schema("clip"))[:4] == ["id", "x", "Größe", "y"]


@pytest.mark.parametrize(
    ("value", "kind"),
    [
        (None, "VARCHAR"),
        ({"a": None}, "STRUCT(a VARCHAR)"),
        ({"a": [None], "b": None}, "STRUCT(a VARCHAR[], b VARCHAR)"),
        ({"NULL": 1, 'a"NULL" b': None}, 'STRUCT("NULL" BIGINT, "a""NULL"" b" VARCHAR)'),
    ],
)
def test_what_is_null_within_a_value_is_stored_as_text(
    store: DuckDBMetadataStore, value: Any, kind: str
) -> None:
    store.write("clip", T({"id": [1], "x": [value]}))
    assert store.write("clip", T({"id": [1, 2], "x": [value] * 2})).unchanged == 1
    assert store.schema("clip")["x"] == kind
    assert values(store) == [value] * 2
