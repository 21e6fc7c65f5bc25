"""What holds no value has no type: frames without rows, and columns of nothing but nulls."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
from videos import T, store_of
from worlds import rows

from metaxy_dagster.features import FeatureSpec
from metaxy_dagster.stores import DuckDBMetadataStore

STORED = {"id": 1, "name": "x", "amount": 1.5, "tags": {"a": [1]}, "at": pd.Timestamp(0)}
HEADER = ",".join(STORED) + "\n"
NAMES = {key: [] for key in STORED}
ROWLESS = {
    "the header of a csv, polars": pl.read_csv(io.StringIO(HEADER)),
    "the header of a csv, pandas": pd.read_csv(io.StringIO(HEADER)),
    "empty lists, polars": pl.DataFrame(NAMES),
    "empty lists, pandas": pd.DataFrame(NAMES),
    "floats, pandas": pd.DataFrame(NAMES, dtype=float),
    "what Arrow has and DuckDB has not": T(dict.fromkeys(STORED, pa.array([], pa.float16()))),
    "lists of lists": T(dict.fromkeys(STORED, pa.array([], pa.list_(pa.list_(pa.int8()))))),
    "lazy, polars": pl.LazyFrame(NAMES),
    "a reader": pa.RecordBatchReader.from_batches(T(NAMES).schema, []),
    "ids alone": pl.DataFrame({"id": []}),
    "other columns": pl.DataFrame({"id": [], "new": []}),
}


@pytest.fixture
def store(tmp_path: Path) -> DuckDBMetadataStore:
    orders = FeatureSpec("orders", id_columns=["id"])
    bills = FeatureSpec("bills", id_columns=["id"], deps=["orders"])
    return store_of(tmp_path / "m.duckdb", orders, bills)


def again(frame: Any) -> Any:
    """A reader can be read but once."""
    if isinstance(frame, pa.RecordBatchReader):
        return pa.RecordBatchReader.from_batches(frame.schema, [])
    return frame


@pytest.mark.parametrize("frame", ROWLESS.values(), ids=ROWLESS.keys())
def test_a_frame_without_rows_forces_no_type(store: DuckDBMetadataStore, frame: Any) -> None:
    # As the first write, it decides nothing.
    assert store.write("orders", again(frame)).commit == 0
    store.write("orders", pd.DataFrame([STORED]))
    before = store.schema("orders"), rows(store, "orders")
    result = store.write("orders", again(frame))
    assert (result.commit, result.new, result.updated, result.deleted) == (0, 0, 0, 0)
    assert (store.schema("orders"), rows(store, "orders")) == before
    assert store.write("orders", again(frame), mode="replace").deleted == 1
    assert store.schema("orders") == before[0]
    assert store.write("orders", pd.DataFrame([STORED])).new == 1
    increment = store.resolve_update("bills")
    store.write("bills", increment.pending)
    assert store.write("bills", again(frame), increment=store.resolve_update("bills")).commit == 0


@pytest.mark.parametrize(
    "nothing",
    [
        pa.nulls(1),
        *(pa.nulls(1, kind) for kind in (pa.string(), pa.int8(), pa.float64(), pa.binary())),
        *(pa.nulls(1, kind) for kind in (pa.timestamp("ns", "UTC"), pa.list_(pa.int8()))),
        pa.nulls(1, pa.struct([("a", pa.int8())])),
    ],
    ids=lambda column: str(column.type),
)
@pytest.mark.parametrize("value", list(STORED.values())[1:], ids=str)
def test_a_column_of_nulls_forces_no_type(
    store: DuckDBMetadataStore, nothing: pa.Array, value: Any
) -> None:
    """Before values are there, and afterwards."""
    for first, second in (([1], [2]), ([2], [1])):
        frames = {1: T({"id": [1], "x": nothing}), 2: T({"id": [2], "x": pa.array([value])})}
        store.write("orders", frames[first[0]])
        assert store.write("orders", frames[second[0]]).new == 1
        assert store.write("orders", frames[1]).unchanged == 1
        found = {row["id"]: row["x"] for row in rows(store, "orders")}
        assert found == {1: None, 2: value}
        store.drop("orders")
