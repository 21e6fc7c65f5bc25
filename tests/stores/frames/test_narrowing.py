"""Frames of whatever library, reduced to some samples: rows, order, types and index stay."""

from __future__ import annotations

import datetime as dt
import uuid
from collections.abc import Callable
from typing import Any

import duckdb
import narwhals as nw
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
from pandas.testing import assert_frame_equal

from metaxy_dagster.errors import FrameError
from metaxy_dagster.stores import frames

COLUMNS = {"id": [3, 1, 2, 1], "name": ["c", "a", "b", "z"]}
WANTED = pa.table({"id": pa.array([1, 3, 9], pa.int64())})
KEPT = {"id": [3, 1, 1], "name": ["c", "a", "z"]}


def relation(columns: dict[str, list[Any]]) -> duckdb.DuckDBPyRelation:
    # On a connection of its own, which knows nothing of others.
    return duckdb.connect(":memory:").from_arrow(pa.table(columns))


KINDS: dict[str, Callable[[dict[str, list[Any]]], Any]] = {
    "pandas": pd.DataFrame,
    "polars": pl.DataFrame,
    "polars lazy": pl.LazyFrame,
    "arrow": pa.table,
    "reader": lambda columns: pa.table(columns).to_reader(),
    "duckdb": relation,
    "narwhals": lambda columns: nw.from_native(pa.table(columns)),
    "narwhals lazy": lambda columns: nw.from_native(pl.LazyFrame(columns)),
}


def rows(frame: Any) -> dict[str, list[Any]]:
    if isinstance(frame, pa.RecordBatchReader):
        return frame.read_all().to_pydict()
    found = nw.maybe_reset_index(nw.from_native(frame))
    table = found.collect("pyarrow") if isinstance(found, nw.LazyFrame) else found
    return table.to_arrow().to_pydict()


@pytest.mark.parametrize("kind", KINDS)
def test_the_rows_of_some_samples(kind: str) -> None:
    value = KINDS[kind](COLUMNS)
    found = frames.narrowed(value, WANTED, feature="f")
    assert type(found.value) is type(value)
    assert rows(found.value) == KEPT
    assert found.missing.to_pydict() == {"id": [9]}


@pytest.mark.parametrize("kind", KINDS)
def test_no_rows(kind: str) -> None:
    make = KINDS[kind]
    nothing = frames.narrowed(make(COLUMNS), WANTED.slice(0, 0), feature="f")
    assert rows(nothing.value) == {"id": [], "name": []}
    empty = make({"id": pa.array([], pa.int64()), "name": pa.array([], pa.string())})
    found = frames.narrowed(empty, WANTED, feature="f")
    assert (rows(found.value), found.missing.num_rows) == ({"id": [], "name": []}, 3)


@pytest.mark.parametrize("kind", KINDS)
def test_several_id_columns_of_which_some_are_constant(kind: str) -> None:
    wanted = pa.table({"id": [1, 2, 3], "name": ["a", "x", "c"], "day": ["mo", "mo", "tu"]})
    found = frames.narrowed(KINDS[kind](COLUMNS), wanted, feature="f", constants={"day": "mo"})
    assert rows(found.value) == {"id": [1], "name": ["a"]}
    assert sorted(found.missing.column("id").to_pylist()) == [2, 3]


@pytest.mark.parametrize("kind", KINDS)
def test_an_id_column_that_is_not_there(kind: str) -> None:
    with pytest.raises(FrameError, match="missing"):
        frames.narrowed(KINDS[kind]({"x": [1]}), WANTED, feature="f")


def test_pandas_keeps_index_dtypes_and_categories() -> None:
    frame = pd.DataFrame(
        {
            "id": pd.array([1, 2, 3], "Int64"),
            "kind": pd.Categorical(["a", "b", "a"], ["b", "a", "z"], ordered=True),
            "at": pd.to_datetime(["2024-01-01", "2024-01-02", None]),
            "any": [{"x": 1}, None, [1]],
        },
        index=pd.Index(["p", "q", "r"], name="place"),
    )
    found = frames.narrowed(frame, pa.table({"id": [3, 1]}), feature="f").value
    assert_frame_equal(found, frame.iloc[[0, 2]])
    assert frames.narrowed(frame, pa.table({"id": [1, 2, 3]}), feature="f").value is frame
    by_index = frame.set_index("id", append=True)
    found = frames.narrowed(by_index, pa.table({"id": [2]}), feature="f").value
    assert_frame_equal(found, by_index.iloc[[1]])


def test_a_subclass_of_pandas_stays_one() -> None:
    class Own(pd.DataFrame):
        @property
        def _constructor(self) -> Any:
            return Own

    assert type(frames.narrowed(Own({"id": [1, 2]}), WANTED, feature="f").value) is Own


def test_each_partition_is_narrowed() -> None:
    parts = {"mo": pd.DataFrame({"id": [1, 2]}), "tu": pd.DataFrame({"id": [1, 3]})}
    wanted = pa.table({"id": [1, 3, 7], "day": ["tu", "tu", "mo"]})
    by_key = {key: {"day": key} for key in parts}
    found = frames.narrowed(parts, wanted, feature="f", by_key=by_key)
    assert {key: list(part["id"]) for key, part in found.value.items()} == {"mo": [], "tu": [1, 3]}
    assert found.missing.to_pylist() == [{"id": 7, "day": "mo"}]
    listed = frames.narrowed([parts["mo"], parts["tu"]], WANTED, feature="f")
    assert [list(part["id"]) for part in listed.value] == [[1], [1, 3]]


DAY, MOMENT = dt.date(2024, 1, 2), dt.datetime(2024, 1, 2, 3, 4, 5)  # noqa: DTZ001 - as stored
SPELT: dict[str, tuple[Any, list[Any], list[bool]]] = {
    "int in text": (pa.array([7, 10]), ["7", "07", "10.0"], [True, False, False]),
    "text in int": (pa.array(["7", "010"]), [7, 10, 1], [True, False, False]),
    "narrow int": (pa.array([7], pa.int8()), [7, 300, 8], [True, False, False]),
    "int in float": (pa.array([7]), [7.0, float("nan"), 8.0], [True, False, False]),
    "day in text": (pa.array([DAY]), ["2024-01-02", "2024-01-03"], [True, False]),
    "day in moment": (pa.array([DAY]), [dt.datetime(2024, 1, 2), MOMENT], [True, False]),  # noqa: DTZ001 - as above
    "moment in text": (pa.array([MOMENT]), ["2024-01-02 03:04:05", "2024-01-02"], [True, False]),
    "large text": (pa.array(["a"], pa.large_string()), ["a", "b"], [True, False]),
    "uuid": (
        pa.array(["00000000-0000-0000-0000-000000000001"]),
        [uuid.UUID(int=1), uuid.UUID(int=2)],
        [True, False],
    ),
    "category": (pa.array(["a"]), pd.Categorical(["a", "b"]), [True, False]),
    "nothing": (pa.array([], pa.int64()), [1, 2], [False, False]),
    "null": (pa.array([1]), pd.array([1, None], "Int64"), [True, False]),
}


@pytest.mark.parametrize("case", SPELT)
def test_ids_in_another_spelling(case: str) -> None:
    wanted, values, expected = SPELT[case]
    frame = pd.DataFrame({"id": values, "place": range(len(values))})
    found = frames.narrowed(frame, pa.table({"id": wanted}), feature="f").value
    assert list(found["place"]) == [place for place, stays in enumerate(expected) if stays]


@pytest.mark.parametrize(
    ("value", "expected"),
    [(1, False), ("text", False), ({}, False), ({"a": 1}, False), (pd.Series([1]), False)],
)
def test_what_is_no_frame(value: object, *, expected: bool) -> None:
    assert frames.is_frame(value) is expected
