"""What a feature adds to its file: one small table, and a history from the first row that ends."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable
from pathlib import Path

import duckdb
import pyarrow as pa
import pytest
from worlds import catch_up, rows, small_store, statuses

from metaxy_dagster.features import FeatureGraph, FeatureSpec
from metaxy_dagster.stores import DuckDBMetadataStore

KIB = 1024
NOW = dt.timedelta()


def asked(store: DuckDBMetadataStore, sql: str) -> list[tuple[object, ...]]:
    with duckdb.connect(str(store.path)) as connection:
        return connection.execute(sql).fetchall()


def histories(store: DuckDBMetadataStore) -> list[str]:
    sql = "SELECT table_name FROM duckdb_tables() WHERE schema_name = 'history' ORDER BY 1"
    return [str(name) for (name,) in asked(store, sql)]


def change(store: DuckDBMetadataStore) -> None:
    frame = {"id": [1], "path": ["changed"], "height": [1], "caption": ["changed"]}
    store.write("image", pa.table(frame))


def ready(folder: Path) -> DuckDBMetadataStore:
    """A store in which no row ever ended."""
    folder.mkdir(exist_ok=True)
    store = small_store(folder)
    catch_up(store, "score", score=1.0)
    return store


ENDS: dict[str, tuple[Callable[[DuckDBMetadataStore], object], list[str]]] = {
    "nothing": (lambda store: None, []),
    "a new row": (
        lambda store: store.write(
            "image", pa.table({"id": [9], "path": ["p"], "height": [1], "caption": ["c"]})
        ),
        [],
    ),
    "a changed row": (change, ["image"]),
    "a deleted row": (lambda store: store.delete("image", filters="id = 1"), ["image"]),
    "a row erased": (lambda store: store.delete("image", filters="id = 1", soft=False), []),
    "a row left out": (
        lambda store: store.write(
            "image",
            pa.table({"id": [1], "path": ["a"], "height": [1], "caption": ["a"]}),
            mode="replace",
            max_deleted_share=1.0,
        ),
        ["image"],
    ),
    "nothing that filters choose": (lambda store: store.delete("image", filters="id > 99"), []),
    "changed, then dropped": (lambda store: (change(store), store.drop("image")), []),
    "all history compacted": (lambda store: (change(store), store.compact(older_than=NOW)), []),
    "history in part compacted": (
        lambda store: (change(store), store.compact(older_than=NOW, keep_versions=1)),
        ["image"],
    ),
    "changed again after all": (
        lambda store: (
            change(store),
            store.compact(older_than=NOW),
            store.delete("image", filters="id = 2"),
        ),
        ["image"],
    ),
}


@pytest.mark.parametrize("name", ENDS)
def test_a_feature_has_a_history_from_the_first_row_that_ends(name: str, tmp_path: Path) -> None:
    do, expected = ENDS[name]
    store = ready(tmp_path)
    do(store)
    assert histories(store) == expected


def by_handle(store: DuckDBMetadataStore) -> object:
    """A frame of before is read as it was."""
    before = store.read("image", columns=["id", "path"])
    change(store)
    store.delete("image", filters="id = 2")
    return sorted(before.collect().rows())


def answered_meanwhile(store: DuckDBMetadataStore) -> object:
    change(store)
    increment = store.resolve_update("score")
    store.delete("score", filters="id = 3")
    store.write("score", pa.table({"id": [1], "score": [2.0]}), increment=increment)
    return statuses(store.resolve_update("score")), rows(store, "score", columns=["id", "score"])


READERS: dict[str, Callable[[DuckDBMetadataStore], object]] = {
    "history": lambda s: rows(s, "image", columns=["id", "path"], history=True),
    "as of before": by_handle,
    "counts": lambda s: s.resolve_update("score").counts,
    "news": lambda s: (change(s), statuses(s.resolve_update("score"))),
    "deleted upstream": lambda s: (
        s.delete("image", filters="id = 1").deleted,
        statuses(s.resolve_update("score")),
    ),
    "erased": lambda s: (
        s.delete("image", filters="id = 1", soft=False).deleted,
        rows(s, "image", columns=["id"], history=True),
    ),
    "answered while rows ended": answered_meanwhile,
    "altered": lambda s: (s.alter("image", columns={"height": "DOUBLE"}).changed, s.count("image")),
    "widened": lambda s: (
        s.write(
            "image", pa.table({"id": [1], "path": ["x"], "height": [0.5], "caption": ["c"]})
        ).updated,
        rows(s, "image", columns=["id", "height"], history=True),
    ),
    "more columns": lambda s: (
        s.write(
            "image",
            pa.table({"id": [1], "path": ["x"], "height": [1], "caption": ["c"], "more": [1]}),
        ).updated,
        rows(s, "image", columns=["id", "more"], history=True),
    ),
    "compacted": lambda s: (s.compact(older_than=NOW).removed, rows(s, "image", columns=["id"])),
    "dropped and written again": lambda s: (
        s.drop("image"),
        change(s),
        rows(s, "image", columns=["id"]),
    ),
    "summary": lambda s: s.summary("image").rows,
    "data version": lambda s: s.data_version("image"),
    "newest commit where": lambda s: (
        s.delete("image", filters="id = 3").deleted,
        [mark.number for mark in s.newest_commits(["image"], filters="id = 3").values()],
        [mark.number for mark in s.newest_commits(["image"], filters="id = 1").values()],
    ),
}


@pytest.mark.parametrize("name", READERS)
def test_no_history_reads_as_an_empty_one(name: str, tmp_path: Path) -> None:
    without, beside = ready(tmp_path / "without"), ready(tmp_path / "beside")
    for feature in ("image", "score"):
        asked(
            beside,
            f"CREATE TABLE history.{feature} AS SELECT *, NULL::BIGINT AS metaxy_ended,"  # noqa: S608
            f" NULL::TIMESTAMPTZ AS metaxy_deleted_at FROM {feature} LIMIT 0;"
            f" UPDATE metaxy.features SET archived = newest WHERE feature = '{feature}'",
        )
    assert (histories(without), histories(beside)) == ([], ["image", "score"])
    assert READERS[name](without) == READERS[name](beside)


def test_a_feature_is_one_table_of_64_kib(tmp_path: Path) -> None:
    sizes = {}
    for number in (10, 60):
        graph = FeatureGraph()
        specs = [FeatureSpec(f"f{n}", id_columns=["id"]) for n in range(number)]
        for spec in specs:
            graph.add(spec)
        store = DuckDBMetadataStore(tmp_path / f"{number}.duckdb", graph=graph)
        with store.connected("w"):
            for spec in specs:
                store.write(spec.key, pa.table({"id": range(50), "v": range(50)}))
        names = "SELECT count(*) FROM duckdb_tables() WHERE schema_name <> 'metaxy'"
        assert asked(store, names) == [(number,)]
        sizes[number] = store.path.stat().st_size
    assert (sizes[60] - sizes[10]) / 50 < 100 * KIB


def block_size(store: DuckDBMetadataStore) -> object:
    ((found,),) = asked(store, "SELECT block_size FROM pragma_database_size() LIMIT 1")
    return found


def test_a_file_keeps_its_blocks_until_it_is_written_anew(tmp_path: Path) -> None:
    store = ready(tmp_path / "made")
    assert block_size(store) == 64 * KIB
    other = tmp_path / "other.duckdb"
    with duckdb.connect(str(other), config={"default_block_size": 256 * KIB}) as connection:
        connection.execute(f"ATTACH '{store.path}' AS made; COPY FROM DATABASE made TO other")
    older = DuckDBMetadataStore(other, graph=store.graph)
    assert block_size(older) == 256 * KIB
    change(older)
    assert block_size(older) == 256 * KIB
    assert statuses(older.resolve_update("score")) == {"stale": [1]}
    before = rows(older, "image", history=True)
    older.compact()
    assert block_size(older) == 64 * KIB
    assert rows(older, "image", history=True) == before
