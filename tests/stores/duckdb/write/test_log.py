"""What the file says of each write, for people who open it with SQL (docs/store-format.md)."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa
import pytest

from metaxy_dagster.features import FeatureGraph, FeatureSpec
from metaxy_dagster.stores import DuckDBMetadataStore

NO_ROWS = pa.table({"id": pa.array([], pa.int64())})


def graph(code_version: str = "2") -> FeatureGraph:
    made = FeatureGraph()
    made.add(FeatureSpec("video", id_columns=["id"]))
    fields = {"default": code_version}
    made.add(FeatureSpec("crop", id_columns=["id"], deps=["video"], fields=fields))
    return made


@pytest.fixture
def store(tmp_path: Path) -> DuckDBMetadataStore:
    """Crops 1-4 of an older code version, of which 4 is orphaned; video 5 has no crop."""
    older = DuckDBMetadataStore(tmp_path / "m.duckdb", graph=graph("1"))
    older.write("video", pa.table({"id": [1, 2, 3, 4], "x": [0] * 4}))
    older.write("crop", crops(1, 2, 3, 4), increment=older.resolve_update("crop"))
    older.delete("video", filters="id = 4")
    older.write("video", pa.table({"id": [5], "x": [0]}))
    return DuckDBMetadataStore(tmp_path / "m.duckdb", graph=graph())


def crops(*ids: int) -> pa.Table:
    return pa.table({"id": list(ids), "y": [1] * len(ids)})


def answer(frame: pa.Table, **options: Any) -> Callable[[DuckDBMetadataStore], object]:
    """Answer the pending crops."""

    def do(store: DuckDBMetadataStore) -> object:
        increment = store.resolve_update("crop")
        return store.write("crop", frame, increment=increment, materialization_id="run", **options)

    return do


def asked(path: Path, query: str) -> list[tuple[Any, ...]]:
    with duckdb.connect(str(path), read_only=True) as connection:
        return connection.execute(query).fetchall()


NOW_US = "epoch_us(now())"
NOW, EMPTY = graph().feature_version("crop"), [{"id": 1}, {"id": 2}]
# What is done; then kind, new, updated, deleted, version and materialization id.
CASES: dict[str, tuple[Callable[[DuckDBMetadataStore], object], tuple[Any, ...] | None]] = {
    "rows": (answer(crops(1, 2, 5)), ("write", 1, 2, 0, NOW, "run")),
    "rows and orphans": (
        answer(crops(1, 2, 5), delete_orphaned=True),
        ("write", 1, 2, 1, NOW, "run"),
    ),
    "no rows": (answer(NO_ROWS), None),
    "no rows, and orphans": (
        answer(NO_ROWS, delete_orphaned=True),
        ("delete", 0, 0, 1, NOW, "run"),
    ),
    "rows and empty samples": (answer(crops(5), empty=EMPTY), ("empty", 1, 0, 2, NOW, "run")),
    "empty samples": (answer(NO_ROWS, empty=EMPTY), ("empty", 0, 0, 2, NOW, "run")),
    "empty samples and orphans": (
        answer(NO_ROWS, empty=EMPTY, delete_orphaned=True),
        ("empty", 0, 0, 3, NOW, "run"),
    ),
    "replaced": (
        answer(crops(1, 2), mode="replace", max_deleted_share=1.0),
        ("write", 0, 2, 2, NOW, "run"),
    ),
    "deleted": (
        lambda store: store.delete("crop", filters="id < 3"),
        ("delete", 0, 0, 2, NOW, None),
    ),
    "deleted with its history": (
        lambda store: store.delete("crop", filters="id < 3", soft=False),
        ("hard delete", 0, 0, 2, NOW, None),
    ),
    "dropped": (lambda store: store.drop("crop"), ("drop", 0, 0, 0, None, None)),
}


@pytest.mark.parametrize("name", CASES)
def test_each_write_is_one_row_of_the_log(name: str, store: DuckDBMetadataStore) -> None:
    do, expected = CASES[name]
    before = asked(store.path, "SELECT * FROM metaxy.commits")
    do(store)
    log = asked(store.path, "SELECT * FROM metaxy.commits ORDER BY commit")
    assert log[: len(before)] == before
    told = [(row[0], row[1], row[2:8]) for row in log[len(before) :]]
    assert told == ([] if expected is None else [(len(before) + 1, "crop", expected)])


@pytest.mark.parametrize("name", [name for name, (_, row) in CASES.items() if row is not None])
def test_a_feature_is_noted_as_it_was_when_it_was_last_written(
    name: str, store: DuckDBMetadataStore
) -> None:
    query = "SELECT feature_version, spec, newest FROM metaxy.features WHERE feature = 'crop'"
    commits = len(asked(store.path, "SELECT * FROM metaxy.commits"))
    CASES[name][0](store)
    [(version, spec, newest)] = asked(store.path, query)
    assert newest == commits + 1
    if name != "dropped":
        assert version == NOW
        assert FeatureSpec.model_validate_json(spec) == store.graph["crop"]


WHEN = {
    "log": "SELECT epoch_us(committed_at) FROM metaxy.commits ORDER BY commit DESC LIMIT 1",
    "created": "SELECT epoch_us(metaxy_created_at), metaxy_commit FROM crop",
    "updated": "SELECT epoch_us(metaxy_updated_at), metaxy_commit FROM crop",
    "deleted": "SELECT epoch_us(metaxy_deleted_at), metaxy_ended FROM history.crop",
}
HISTORIES = (
    "SELECT table_name FROM duckdb_tables() WHERE schema_name = 'history' AND table_name = 'crop'"
)


@pytest.mark.parametrize("name", [name for name, (_, row) in CASES.items() if row is not None])
def test_rows_say_when_they_were_written_and_deleted(name: str, store: DuckDBMetadataStore) -> None:
    do, row = CASES[name]
    _, new, updated, deleted, *_ = row or ()
    [(began, commit)] = asked(store.path, "SELECT epoch_us(now()), max(commit) FROM metaxy.commits")
    do(store)
    [(ended,)] = asked(store.path, "SELECT epoch_us(now())")
    [(committed,)] = asked(store.path, WHEN["log"])
    assert began < committed < ended
    if name == "dropped":
        return

    def times(which: str) -> list[bool | None]:
        """Of the rows of this commit: whether a time is within it, or there is none."""
        found = (time for time, by in asked(store.path, WHEN[which]) if by > commit)
        return sorted((time and began < time < ended for time in found), key=repr)

    kept = name != "deleted with its history"
    assert times("created") == [False] * updated + [True] * new
    assert times("updated") == [True] * (updated + new)
    if kept and updated + deleted:
        assert times("deleted") == [None] * updated + [True] * deleted
    else:
        # There is no table of ended rows without one.
        assert asked(store.path, HISTORIES) == []
