"""``columns=``: some columns are stored, and versions are those of all of them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import polars as pl
import pyarrow as pa
import pytest

import metaxy_dagster as mxd
from metaxy_dagster.errors import FrameError, StoreError

Frames = Callable[[dict[str, list[Any]]], Any]
KINDS: dict[str, Frames] = {
    "arrow": pa.table,
    "polars": pl.DataFrame,
    "lazy": pl.LazyFrame,
    "reader": lambda columns: pa.table(columns).to_reader(),
}


@pytest.fixture
def store(tmp_path: Path) -> mxd.DuckDBMetadataStore:
    graph = mxd.FeatureGraph()
    fields = [mxd.FieldSpec("price", columns=["price"]), mxd.FieldSpec("name", columns=["name"])]
    graph.add(mxd.FeatureSpec("order", id_columns=["id"], fields=fields))
    graph.add(mxd.FeatureSpec("tax", id_columns=["id"], deps=["order"]))
    graph.add(
        mxd.FeatureSpec(
            "label",
            id_columns=["id"],
            deps=["order"],
            fields=[mxd.FieldSpec("label", deps=[mxd.FieldDep("order", fields=["name"])])],
        )
    )
    return mxd.DuckDBMetadataStore(tmp_path / "m.duckdb", graph=graph)


def orders(price: int = 1, name: str = "a") -> dict[str, list[Any]]:
    return {"id": [1, 2], "price": [price, 7], "name": [name, "z"], "day": ["mo", "tu"]}


@pytest.mark.parametrize("kind", KINDS)
def test_what_is_not_stored_is_told_apart(kind: str, store: mxd.DuckDBMetadataStore) -> None:
    make = KINDS[kind]
    assert store.write("order", make(orders()), columns=["DAY", "nothing"]).new == 2
    assert list(store.schema("order")) == ["id", "day"]
    assert store.write("order", make(orders()), columns=["day"]).commit == 0
    for derived in ("tax", "label"):
        increment = store.resolve_update(derived)
        rows = {"id": [1, 2], "value": [0, 0]}
        assert store.write(derived, make(rows), increment=increment, columns=[]).new == 2
        assert list(store.schema(derived)) == ["id"]
    assert store.write("order", make(orders(price=2)), columns=["day"]).updated == 1
    pending = {name: store.resolve_update(name).counts.pending for name in ("tax", "label")}
    assert pending == {"tax": 1, "label": 0}


def test_the_same_versions_as_where_all_is_stored(store: mxd.DuckDBMetadataStore) -> None:
    store.write("order", pa.table(orders()), columns=[])
    some = store.data_version("order")
    store.drop("order")
    store.write("order", pa.table(orders()))
    assert store.data_version("order") == some


def test_columns_that_are_stored_no_more_are_emptied(store: mxd.DuckDBMetadataStore) -> None:
    store.write("order", pa.table(orders()))
    one = pa.table(orders(name="b")).slice(0, 1)
    assert store.write("order", one, columns=["name"]).updated == 1
    found = store.read("order", columns=["id", "price", "name", "day"]).collect().rows(named=True)
    assert sorted(map(str, found)) == [
        "{'id': 1, 'price': None, 'name': 'b', 'day': None}",
        "{'id': 2, 'price': 7, 'name': 'z', 'day': 'tu'}",
    ]


def test_adopted_rows_keep_as_few_columns(store: mxd.DuckDBMetadataStore) -> None:
    assert store.adopt("order", pa.table(orders()), columns=["day"]).adopted == 2
    assert store.adopt("tax", pa.table({"id": [1, 2], "tax": [0.1, 0.2]}), columns=[]).adopted == 2
    assert (list(store.schema("order")), list(store.schema("tax"))) == (["id", "day"], ["id"])
    assert store.resolve_update("tax").counts.pending == 0
    assert store.write("order", pa.table(orders()), columns=["day"]).commit == 0


def test_a_closed_class_is_of_the_whole_frame(tmp_path: Path) -> None:
    graph = mxd.FeatureGraph()
    with graph.use():

        class Order(mxd.BaseFeature, spec=mxd.FeatureSpec("order", id_columns=["id"])):
            model_config = {"extra": "forbid"}  # noqa: RUF012 - pydantic's way
            id: int
            price: int

    store = mxd.DuckDBMetadataStore(tmp_path / "m.duckdb", graph=graph)
    result = store.write("order", pa.table({"id": [1], "price": [2]}), columns=[])
    assert (result.new, result.warnings) == (1, ())
    with pytest.raises(FrameError, match="which forbids others"):
        store.write("order", pa.table({"id": [2], "prize": [2]}), columns=[])


def test_what_is_refused(store: mxd.DuckDBMetadataStore) -> None:
    with pytest.raises(StoreError, match="list of names"):
        store.write("order", pa.table(orders()), columns="day")
    with pytest.raises(FrameError, match="the frame has \\['price'\\]"):
        store.write("order", pa.table({"price": [1]}), columns=["price"])
    with pytest.raises(FrameError, match="unique"):
        store.write("order", pa.table({**orders(), "id": [1, 1]}), columns=[])
    with pytest.raises(FrameError, match="made of columns that the frame lacks"):
        store.write("order", pa.table({"id": [1], "price": [1]}), columns=[])
    assert store.features() == []
