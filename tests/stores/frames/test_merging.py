"""Rows that were computed, among those that are held: columns and types are the function's."""

from __future__ import annotations

from typing import Any

import duckdb
import narwhals as nw
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
from pandas.testing import assert_frame_equal

from metaxy_dagster.stores import frames

HELD = {"id": [1, 2, 3], "score": [0.1, 0.2, 0.3]}
NEW = {"id": [2, 9], "score": [0.5, 0.9]}
# The first stays, the second is exchanged, the third goes, the last is new.
ORDER = pa.array([0, 3, 4], pa.int64())
WHOLE = {"id": [1, 2, 9], "score": [0.1, 0.5, 0.9]}
KINDS: dict[str, Any] = {
    "pandas": pd.DataFrame,
    "polars": pl.DataFrame,
    "polars lazy": pl.LazyFrame,
    "arrow": pa.table,
    "reader": lambda columns: pa.table(columns).to_reader(),
    "duckdb": lambda columns: duckdb.connect(":memory:").from_arrow(pa.table(columns)),
    "narwhals": lambda columns: nw.from_native(pl.DataFrame(columns)),
}


def rows(frame: Any) -> dict[str, list[Any]]:
    if isinstance(frame, pa.RecordBatchReader):
        return frame.read_all().to_pydict()
    found = nw.maybe_reset_index(nw.from_native(frame))
    table = found.collect("pyarrow") if isinstance(found, nw.LazyFrame) else found
    return table.to_arrow().to_pydict()


@pytest.mark.parametrize("held", ["pandas", "polars", "arrow", "polars lazy", "duckdb"])
@pytest.mark.parametrize("returned", KINDS)
def test_any_kind_into_any_other(held: str, returned: str) -> None:
    value = KINDS[returned](NEW)
    whole = frames.merged(frames.as_one_frame(KINDS[held](HELD), "f"), value, ORDER, "f")
    assert (type(whole), rows(whole)) == (type(value), WHOLE)


def merged(held: Any, new: Any, order: list[int]) -> Any:
    return frames.merged(held, new, pa.array(order, pa.int64()), "f")


def test_pandas_types_are_the_functions() -> None:
    held = pd.DataFrame(
        {"id": ["1", "2"], "gone": [1, 2], "kind": ["b", "a"], "at": ["2024-01-01", "2024-01-02"]}
    )
    new = pd.DataFrame(
        {
            "id": [2, 3],
            "kind": pd.Categorical(["c", "a"]),
            "at": pd.to_datetime(["2024-02-01", "2024-02-02"]),
            "more": [True, False],
        },
        index=[7, 8],
    )
    found = merged(held, new, [0, 2, 3])
    assert_frame_equal(
        found,
        pd.DataFrame(
            {
                "id": [1, 2, 3],
                "kind": pd.Categorical(["b", "c", "a"]),
                "at": pd.to_datetime(["2024-01-01", "2024-02-01", "2024-02-02"]),
                "more": pd.Series([None, True, False], dtype=object),
            }
        ),
        check_dtype=False,
    )
    assert (found["id"].dtype, found["at"].dtype) == (new["id"].dtype, new["at"].dtype)
    assert list(found["kind"].cat.categories) == ["a", "b", "c"]


def test_pandas_values_that_cannot_be_of_the_type_stay() -> None:
    held = pd.DataFrame({"id": [1, 2], "score": [0.5, None]})
    found = merged(held, pd.DataFrame({"id": [1], "score": [3]}), [2, 1])
    assert_frame_equal(found, pd.DataFrame({"id": [1, 2], "score": [3.0, None]}))


def test_a_pandas_index_that_says_something_stays() -> None:
    held = pd.DataFrame({"score": [1, 2]}, index=pd.Index(["a", "b"], name="id"))
    new = pd.DataFrame({"score": [5, 6]}, index=pd.Index(["b", "c"], name="id"))
    expected = pd.DataFrame({"score": [1, 5, 6]}, index=pd.Index(["a", "b", "c"], name="id"))
    assert_frame_equal(merged(held, new, [0, 2, 3]), expected)


def test_no_rows_are_of_the_types_that_are_held() -> None:
    held = pd.DataFrame({"id": [1, 2], "score": [0.5, 0.7]})
    found = merged(held, pd.DataFrame({"id": [], "score": []}), [1])
    assert_frame_equal(found, held.iloc[[1]].reset_index(drop=True))
    found = merged(pl.DataFrame(HELD), pl.DataFrame({"id": [], "score": []}), [0])
    assert found.equals(pl.DataFrame(HELD).head(1))


def test_polars_types_are_the_functions() -> None:
    held = pl.DataFrame({"id": [1, 2], "score": [1, 2], "gone": [0, 0]})
    new = pl.DataFrame({"id": [2], "score": [0.5], "more": ["x"]}, schema_overrides={"id": pl.Int8})
    found = merged(held, new, [0, 2])
    assert found.to_dict(as_series=False) == {
        "id": [1, 2],
        "score": [1.0, 0.5],
        "more": [None, "x"],
    }
    assert found.schema == new.schema
    # Nulls alone tell nothing of a type.
    found = merged(held, pl.DataFrame({"id": [2], "score": [None]}), [0, 2])
    assert found.schema == {"id": pl.Int64, "score": pl.Int64}


def test_parts_are_one_frame() -> None:
    parts = {
        "mo": pd.DataFrame({"id": [1], "kind": pd.Categorical(["a"])}),
        "tu": pd.DataFrame({"id": [2], "kind": pd.Categorical(["b"])}),
    }
    whole = frames.as_one_frame(parts, "f")
    expected = pd.DataFrame({"id": [1, 2], "kind": pd.Categorical(["a", "b"])})
    assert_frame_equal(whole, expected)
    lazy = frames.as_one_frame([pl.LazyFrame({"id": [1]}), pl.LazyFrame({"id": [2]})], "f")
    assert lazy.equals(pl.DataFrame({"id": [1, 2]}))


def test_rows_that_are_held_twice_are_there_once() -> None:
    stays = pa.array([True, False, False, True])
    at = pa.array([None, 1, 1, None], pa.int64())
    assert frames.merged_order(stays, at, 2).to_pylist() == [0, 5, 3, 4]
    nothing = pa.array([None] * 4, pa.int64())
    assert frames.merged_order(stays, nothing, 0).to_pylist() == [0, 3]
