"""All ways to read a feature give the same: with filters, in a session, in any thread."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import narwhals as nw
import pyarrow as pa
import pytest
from worlds import Typed

from metaxy_dagster.features import FeatureGraph, FeatureSpec
from metaxy_dagster.stores import DuckDBMetadataStore
from metaxy_dagster.stores.failures import FailureResult


@pytest.fixture
def store(tmp_path: Path) -> DuckDBMetadataStore:
    """Images 1-7, of which the first was written twice; 8 was deleted."""
    graph = FeatureGraph()
    graph.add(FeatureSpec("image", id_columns=["id"]))
    graph.add(FeatureSpec("other", id_columns=["id"]))
    graph.add(FeatureSpec("score", id_columns=["id"], deps=["image"]))
    graph.add(Typed)
    made = DuckDBMetadataStore(tmp_path / "m.duckdb", graph=graph, max_attempts=2)
    made.write("image", images(*range(1, 9), x=0))
    made.write("image", images(1, x=1))
    made.delete("image", filters="id = 8")
    return made


def images(*ids: int, x: int) -> pa.Table:
    return pa.table({"id": pa.array(ids, pa.int64()), "x": [i % 3 + x for i in ids]})


def in_thread(call: Callable[[], Any]) -> Any:
    """In one that has read nothing before."""
    with ThreadPoolExecutor(1) as pool:
        return pool.submit(call).result()


def by_read(store: DuckDBMetadataStore, **options: Any) -> pa.Table:
    return store.read("image", **options).collect("pyarrow").to_native()


def by_scan(store: DuckDBMetadataStore, **options: Any) -> pa.Table:
    return pa.Table.from_batches(store.scan("image", **options).batches())


def by_table(store: DuckDBMetadataStore, **options: Any) -> pa.Table:
    return store.read_table("image", **options)


WAYS = {"read": by_read, "scan": by_scan, "table": by_table}
each_way = pytest.mark.parametrize("way", WAYS.values(), ids=WAYS)
# Of the images with an id below 4, or with an x of 2.
FILTERS: dict[str, tuple[Any, list[int]]] = {
    "none": (None, [1, 2, 3, 4, 5, 6, 7]),
    "text": ("id < 4", [1, 2, 3]),
    "several": (["id < 4", "x = 2"], [1, 2]),
    "an expression": (nw.col("id") < 4, [1, 2, 3]),
    "an expression of two": ((nw.col("id") < 4) & (nw.col("x") == 2), [1, 2]),
    "one that holds for none": (nw.col("id") > 8, []),
}


# Expressions are for lazy frames.
FILTERED = [
    (way, name)
    for way in WAYS
    for name, (filters, _) in FILTERS.items()
    if way == "read" or not isinstance(filters, nw.Expr)
]


@pytest.mark.parametrize(("way", "name"), FILTERED)
@pytest.mark.parametrize("columns", [None, ["x", "id"], ["id"]], ids=str)
def test_filters_choose_rows_and_columns_are_those_asked_for(
    store: DuckDBMetadataStore, way: str, name: str, columns: list[str] | None
) -> None:
    filters, ids = FILTERS[name]
    found = in_thread(lambda: WAYS[way](store, filters=filters, columns=columns))
    assert sorted(found.column("id").to_pylist()) == ids
    if columns is None:
        assert found.schema == store.read_table("image").schema
    else:
        assert found.column_names == columns


@pytest.mark.parametrize("name", FILTERS)
def test_counts_are_of_what_is_read(store: DuckDBMetadataStore, name: str) -> None:
    filters, ids = FILTERS[name]
    assert in_thread(lambda: store.count("image", filters=filters)) == len(ids)


@pytest.mark.parametrize("filters", ["id = 1", nw.col("id") == 1], ids=["text", "expression"])
@pytest.mark.parametrize("columns", [None, ["id", "x"]])
def test_history_is_filtered_too(
    store: DuckDBMetadataStore, filters: Any, columns: list[str] | None
) -> None:
    found = by_read(store, filters=filters, columns=columns, history=True)
    assert found.select(["id", "x"]).to_pylist() == [{"id": 1, "x": 1}, {"id": 1, "x": 2}]
    assert by_read(store, filters=filters).num_rows == 1


CHANGES: dict[str, tuple[Callable[[DuckDBMetadataStore], Any], int]] = {
    "one new, one changed": (lambda store: store.write("image", images(2, 9, x=5)), 1),
    "one deleted": (lambda store: store.delete("image", filters="id = 2"), -1),
}


@each_way
@pytest.mark.parametrize(("change", "more"), CHANGES.values(), ids=CHANGES)
def test_a_session_has_the_rows_of_its_moment(
    store: DuckDBMetadataStore,
    way: Callable[..., pa.Table],
    change: Callable[[DuckDBMetadataStore], Any],
    more: int,
) -> None:
    before = way(store).sort_by("id")
    with store:
        change(DuckDBMetadataStore(store.path, graph=store.graph))
        assert way(store).sort_by("id") == before
        assert store.count("image") == before.num_rows
    assert way(store).num_rows == before.num_rows + more


def test_columns_that_a_class_declares_are_there_before_the_first_row(
    store: DuckDBMetadataStore,
) -> None:
    declared = store.read("typed").collect("pyarrow").to_native().schema
    assert declared.field("size").type == pa.int64()
    assert store.read_table("typed").schema == declared
    assert store.scan("typed").schema == declared


@pytest.mark.parametrize("filters", ["id < 4", "id > 8"])
def test_the_version_of_a_part_is_that_of_a_store_that_holds_no_more(
    store: DuckDBMetadataStore, tmp_path: Path, filters: str
) -> None:
    part = DuckDBMetadataStore(tmp_path / "part.duckdb", graph=store.graph)
    part.write("image", store.read_table("image", filters=filters, columns=["id", "x"]))
    version = store.data_version("image", filters=filters)
    assert version == part.data_version("image") != store.data_version("image")
    found = store.summary("image", filters=filters)
    assert (found.data_version, found.chosen, found.rows) == (version, part.count("image"), 7)


def test_all_that_holds_nothing_has_one_version(store: DuckDBMetadataStore) -> None:
    store.delete("image")
    assert store.data_version("image") == store.data_version("other")
    assert store.summary("other").data_version == store.data_version("other")


def test_a_summary_shows_five_rows_unless_told(store: DuckDBMetadataStore) -> None:
    shown = store.summary("image").preview
    assert shown is not None
    assert shown.column("id").to_pylist() == [1, 2, 3, 4, 5]
    more = store.summary("image", preview=7).preview
    assert more is not None
    assert more.num_rows == 7


def test_a_summary_tells_which_samples_are_left_out(store: DuckDBMetadataStore) -> None:
    for failing in ([{"id": 1}, {"id": 2}], [{"id": 1}]):
        increment = store.resolve_update("score")
        store.record_failures("score", failing, "torn", increment=increment)
    assert store.summary("score").failed == FailureResult(store.graph["score"].key, 2, 1)
