"""The data version that is kept with a feature is the one that hashing all of its rows gives."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import duckdb
import pyarrow as pa
import pytest

from metaxy_dagster.features import FeatureGraph, FeatureSpec
from metaxy_dagster.stores import DuckDBMetadataStore

MANY = 30_000


@pytest.fixture
def store(tmp_path: Path) -> DuckDBMetadataStore:
    graph = FeatureGraph()
    graph.add(FeatureSpec("image", id_columns=["id"]))
    graph.add(FeatureSpec("score", id_columns=["id"], deps=["image"]))
    made = DuckDBMetadataStore(tmp_path / "m.duckdb", graph=graph)
    made.write("image", images(range(10)))
    return made


def images(ids: range, x: int = 0, kind: pa.DataType | None = None) -> pa.Table:
    return pa.table({"id": pa.array(ids, kind or pa.int64()), "x": [i + x for i in ids]})


def kept(store: DuckDBMetadataStore, key: str = "image") -> int | None:
    """How many rows the version is known of that is kept with the feature."""
    with duckdb.connect(str(store.path)) as connection:
        ((rows,),) = connection.execute(
            "SELECT content_rows FROM metaxy.features WHERE feature = ?", [key]
        ).fetchall()
    return rows


Change = Callable[[DuckDBMetadataStore], object]
CHANGES: dict[str, tuple[Change, int | None]] = {
    "new rows": (lambda store: store.write("image", images(range(10, 15))), 15),
    "changed rows": (lambda store: store.write("image", images(range(3), x=7)), 10),
    "the same rows": (lambda store: store.write("image", images(range(10))), 10),
    "one changed row": (lambda store: store.write("image", images(range(1), x=7)), 10),
    "one deleted row": (lambda store: store.delete("image", filters="id = 4"), 9),
    "some of each": (lambda store: store.write("image", images(range(8, 12), x=1)), 12),
    "replaced": (lambda store: store.write("image", images(range(5), x=1), mode="replace"), 5),
    "deleted": (lambda store: store.delete("image", filters="id < 4"), 6),
    "all deleted": (lambda store: store.delete("image"), 0),
    "deleted for good": (lambda store: store.delete("image", filters="id < 4", soft=False), None),
    "many rows": (lambda store: store.write("image", images(range(MANY))), None),
    "many rows, versioned": (
        lambda store: store.write("image", images(range(MANY)), versioned=True),
        MANY,
    ),
    "many rows deleted": (
        lambda store: [
            store.write("image", images(range(MANY)), versioned=True),
            store.delete("image", filters="id > 4"),
        ],
        None,
    ),
    "versioned, after it was not known": (
        lambda store: [
            store.delete("image", filters="id = 0", soft=False),
            store.write("image", images(range(1, 3), x=5), versioned=True),
        ],
        9,
    ),
    "not known, and few rows": (
        lambda store: [
            store.delete("image", filters="id = 0", soft=False),
            store.write("image", images(range(1, 3), x=5)),
        ],
        None,
    ),
    "dropped and written again": (
        lambda store: [store.drop("image"), store.write("image", images(range(2)))],
        2,
    ),
    "ids of a wider type": (
        lambda store: [
            store.drop("image"),
            store.write("image", images(range(5), kind=pa.int32())),
            store.write("image", images(range(5, 8), kind=pa.int64())),
        ],
        None,
    ),
}


@pytest.mark.parametrize("name", CHANGES)
def test_it_is_that_of_all_rows(name: str, store: DuckDBMetadataStore) -> None:
    change, rows = CHANGES[name]
    change(store)
    version = store.data_version("image")
    assert version == store.data_version("image", filters="id IS NOT NULL")
    assert (store.summary("image").data_version, store.summary("image").rows) == (
        version,
        store.count("image"),
    )
    assert kept(store) == rows
    # And the next write goes on from there.
    store.write("image", images(range(1, 12), x=50))
    moved = store.data_version("image")
    assert moved != version
    assert moved == store.data_version("image", filters="id IS NOT NULL")


@pytest.mark.parametrize(
    ("known", "versioned", "rows"), [(True, False, 6), (False, False, None), (False, True, 5)]
)
def test_an_answer_without_rows_moves_it(
    store: DuckDBMetadataStore, *, known: bool, versioned: bool, rows: int | None
) -> None:
    """Here three samples are found empty, and one is orphaned."""
    store.write("score", images(range(10)), increment=store.resolve_update("score"))
    store.write("image", images(range(3), x=9))
    store.delete("image", filters="id = 9")
    if not known:
        store.delete("score", filters="id = 8", soft=False)
    store.write(
        "score",
        images(range(0)),
        increment=store.resolve_update("score"),
        empty=[{"id": i} for i in range(3)],
        delete_orphaned=True,
        versioned=versioned,
    )
    assert kept(store, "score") == rows
    assert store.data_version("score") == store.data_version("score", filters="id IS NOT NULL")


def test_some_rows_have_the_version_of_a_store_of_these_alone(store: DuckDBMetadataStore) -> None:
    some = store.data_version("image", filters="id < 4")
    assert some != store.data_version("image", filters="id < 5")
    store.delete("image", filters="id >= 4")
    assert store.data_version("image") == some


def test_a_session_has_the_version_of_its_state(store: DuckDBMetadataStore) -> None:
    before = store.data_version("image")
    with store:
        DuckDBMetadataStore(store.path, graph=store.graph).write("image", images(range(3), x=9))
        assert store.data_version("image") == before
        assert store.summary("image").data_version == before
    assert store.data_version("image") != before


def test_compacting_keeps_it(store: DuckDBMetadataStore) -> None:
    store.write("image", images(range(3), x=9))
    before = store.data_version("image")
    store.compact()
    assert (store.data_version("image"), kept(store)) == (before, 10)
