"""The format of a store's file: older ones are brought up to date, newer ones left alone."""

from __future__ import annotations

import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import duckdb
import pyarrow as pa
import pytest
from patience import patient
from places import ROOT, SUPPORT
from worlds import IMAGES, catch_up, digest, rows, small_graph, small_store, statuses

from metaxy_dagster.errors import StoreError
from metaxy_dagster.features import FeatureSpec
from metaxy_dagster.stores import DuckDBMetadataStore
from metaxy_dagster.stores.duckdb.file import layout, migration

FORMAT = layout.FORMAT_VERSION
DOCUMENT = ROOT / "docs" / "store-format.md"


@contextmanager
def raw(store: DuckDBMetadataStore) -> Iterator[duckdb.DuckDBPyConnection]:
    with duckdb.connect(str(store.path)) as connection:
        yield connection


def format_of(store: DuckDBMetadataStore) -> list[tuple[int]]:
    with raw(store) as connection:
        return connection.execute("SELECT version FROM metaxy.format").fetchall()


def shape(store: DuckDBMetadataStore) -> list[tuple[str, ...]]:
    """The columns of the features' tables."""
    with raw(store) as connection:
        return connection.execute(
            "SELECT schema_name, table_name, column_name, data_type FROM duckdb_columns()"
            " WHERE table_name IN ('image', 'score') AND schema_name <> 'pending' ORDER BY ALL"
        ).fetchall()


def found_out(store: DuckDBMetadataStore) -> tuple[int, int]:
    """How many watermarks there are, and how many tables of what they left unanswered."""
    with raw(store) as connection:
        kept = "metaxy.features WHERE fingerprint IS NOT NULL"
        if format_of(store) < [(3,)]:
            kept = "metaxy.watermarks"
        (marks,) = connection.execute(f"SELECT count(*) FROM {kept}").fetchall()  # noqa: S608
        (lists,) = connection.execute(
            "SELECT count(*) FROM duckdb_tables() WHERE schema_name = 'pending'"
        ).fetchall()
        return marks[0], lists[0]


def as_format_3(store: DuckDBMetadataStore) -> None:
    """Undo what format 4 changed: commits have numbers alone, each feature a history."""
    with raw(store) as connection:
        keys = "SELECT feature FROM metaxy.features WHERE fingerprint IS NOT NULL"
        for (name,) in connection.execute(keys).fetchall():
            connection.execute(
                f'CREATE TABLE IF NOT EXISTS pending."{name}" AS SELECT id FROM main.image LIMIT 0'  # noqa: S608
            )
        stored = connection.execute(
            "SELECT table_name FROM metaxy.features WHERE stored"
        ).fetchall()
        for (name,) in stored:
            connection.execute(
                f'CREATE TABLE IF NOT EXISTS history."{name}" AS SELECT *, NULL::BIGINT'  # noqa: S608
                " AS metaxy_ended, NULL::TIMESTAMPTZ AS metaxy_deleted_at"
                f' FROM main."{name}" LIMIT 0'
            )
        connection.execute(
            "ALTER TABLE metaxy.features DROP COLUMN token;"
            "ALTER TABLE metaxy.features DROP COLUMN types;"
            "ALTER TABLE metaxy.features DROP COLUMN had;"
            "ALTER TABLE metaxy.features DROP COLUMN archived;"
            "ALTER TABLE metaxy.commits DROP COLUMN token; UPDATE metaxy.format SET version = 3"
        )


def as_format_2(store: DuckDBMetadataStore) -> None:
    """Undo what format 3 changed: watermarks for themselves, newest commits to be looked up."""
    as_format_3(store)
    with raw(store) as connection:
        connection.execute(
            "CREATE TABLE metaxy.watermarks AS SELECT feature, fingerprint, upstream_commit,"
            " own_commit FROM metaxy.features WHERE fingerprint IS NOT NULL"
        )
        connection.execute(
            "CREATE TABLE metaxy.before AS SELECT feature, table_name, feature_version, spec"
            " FROM metaxy.features WHERE stored; DROP TABLE metaxy.features;"
            "ALTER TABLE metaxy.before RENAME TO features"
        )
        connection.execute("UPDATE metaxy.format SET version = 2")


def as_format_1(store: DuckDBMetadataStore) -> None:
    """Undo what format 2 changed: upstream versions beside the provenance, in both tables."""
    as_format_2(store)
    with raw(store) as connection:
        for name in ("image", "score"):
            for schema in ("main", "history"):
                table = f"{schema}.{name}"
                entries = '"image:caption" VARCHAR' if name == "score" else '"-" VARCHAR'
                connection.execute(
                    f"ALTER TABLE {table} ADD COLUMN metaxy_upstream STRUCT({entries})"
                )
        connection.execute("UPDATE metaxy.format SET version = 1")


OLDER = {1: as_format_1, 2: as_format_2, 3: as_format_3}


def read_in_a_block_that_writes(store: DuckDBMetadataStore) -> int:
    with store.connected("w"):
        return store.count("image")


READS = {
    "rows": lambda store: rows(store, "image"),
    "count": lambda store: store.count("image"),
    "schema": lambda store: store.schema("image"),
    "features": lambda store: store.features(),
    "counts": lambda store: store.resolve_update("score").counts,
    "session": lambda store: store.__enter__(),
}
WRITES = {
    "write": lambda store: store.write("plain", pa.table({"id": ["a"]})),
    "delete nothing": lambda store: store.delete("image", filters="id > 99"),
    "drop": lambda store: store.drop("plain"),
    "session": lambda store: store.open("w").__enter__(),
    "block": read_in_a_block_that_writes,
}


def test_every_format_is_documented_and_has_a_way_here() -> None:
    text = DOCUMENT.read_text()
    assert all(f"| {version} |" in text for version in range(1, FORMAT + 1))
    assert sorted(migration.STEPS) == list(range(1, FORMAT)) == sorted(OLDER)


@pytest.mark.parametrize("version", OLDER)
@pytest.mark.parametrize("name", READS)
def test_reading_an_older_file_tells_what_to_do_and_changes_nothing(
    name: str, version: int, tmp_path: Path
) -> None:
    store = small_store(tmp_path)
    OLDER[version](store)
    before = store.path.read_bytes()
    with pytest.raises(StoreError) as caught:
        READS[name](store)
    assert caught.value.found == f"store format {version}"
    assert 'with store.open("w")' in str(caught.value.remedy)
    assert store.path.read_bytes() == before
    with store.open("w"):
        pass
    READS[name](store)


@pytest.mark.parametrize("version", OLDER)
@pytest.mark.parametrize("name", WRITES)
def test_writing_brings_an_older_file_up_to_date(name: str, version: int, tmp_path: Path) -> None:
    store = small_store(tmp_path)
    store.write("image", pa.table({"id": [1], "path": ["z"], "height": [1], "caption": ["z"]}))
    catch_up(store, "score", score=1.0)
    wanted = {key: rows(store, key) for key in ("image", "score")}
    history = store.read("image", history=True).collect().to_native().num_rows
    before = shape(store)
    OLDER[version](store)
    assert (shape(store) == before) is (version > 1)
    assert found_out(store) == (1, 1)
    WRITES[name](store)
    assert format_of(store) == [(FORMAT,)]
    assert shape(store) == before
    assert found_out(store) == (0, 0)
    assert {key: rows(store, key) for key in ("image", "score")} == wanted
    assert store.read("image", history=True).collect().to_native().num_rows == history
    assert statuses(store.resolve_update("score")) == {}
    store.write("image", pa.table({"id": [2], "path": ["y"], "height": [1], "caption": ["y"]}))
    assert statuses(store.resolve_update("score")) == {"stale": [2]}


@pytest.mark.parametrize("version", OLDER)
@pytest.mark.parametrize("call", ["record", "retry"])
def test_failures_bring_an_older_file_up_to_date(call: str, version: int, tmp_path: Path) -> None:
    store = small_store(tmp_path)
    store.write("image", pa.table({"id": [1], "path": ["z"], "height": [1], "caption": ["z"]}))
    increment = store.resolve_update("score")
    store.record_failures("score", [{"id": 1}], "broken", increment=increment)
    copy = DuckDBMetadataStore(shutil.copy(store.path, tmp_path / "copy.duckdb"), graph=store.graph)
    # A question to the file itself would be of a history that had tokens already.
    increment = copy.resolve_update("score")
    OLDER[version](store)
    if call == "record":
        store.record_failures("score", [{"id": 1}], "broken", increment=increment)
    else:
        assert store.retry("score") == 1
    assert format_of(store) == [(FORMAT,)]
    assert store.failed("score").failed == (call == "record")
    assert statuses(store.resolve_update("score")) == {"stale": [1]}


def test_copies_of_an_older_file_get_the_same_tokens(tmp_path: Path) -> None:
    """What was resolved from one of them may be answered in the other: they are one history."""
    store = small_store(tmp_path)
    as_format_3(store)
    copy = store.path.read_bytes()
    with store.open("w"):
        pass
    increment = store.resolve_update("crop")
    store.path.write_bytes(copy)
    with store.open("w"):
        pass
    frame = pa.table({"id": [1, 2, 3], "k": [0, 0, 0]})
    assert store.write("crop", frame, increment=increment).new == 3
    with raw(store) as connection:
        sql = "SELECT count(DISTINCT token) FROM metaxy.commits WHERE token >= 0"
        assert connection.execute(sql).fetchall() == [(3,)]


@pytest.mark.parametrize("as_older", [as_format_2, as_format_3])
def test_what_was_known_of_features_is_known_after_older_formats(
    as_older: Callable[[DuckDBMetadataStore], None], tmp_path: Path
) -> None:
    """Dropped features, deletions and failures, and the numbers of commits that they had."""
    store = small_store(tmp_path)
    catch_up(store, "score", score=1.0)
    store.write("image", pa.table({"id": [1], "path": ["z"], "height": [1], "caption": ["z"]}))
    store.record_failures("score", [{"id": 1}], "broken", increment=store.resolve_update("score"))
    store.record_failures("crop", [{"id": 2}], "early", increment=store.resolve_update("crop"))
    store.delete("image", filters="id = 3")
    store.write("plain", pa.table({"id": ["a"]}))
    store.drop("plain")
    with raw(store) as connection:
        known = (
            "SELECT feature, table_name, feature_version, spec, stored, failed, newest, ended,"
            " erased FROM metaxy.features ORDER BY feature"
        )
        before = connection.execute(known).fetchall()
    as_older(store)
    with store.open("w"):
        pass
    with raw(store) as connection:
        assert connection.execute(known).fetchall() == before
    assert [str(key) for key in store.features()] == ["image", "score"]
    assert (store.failed("score").failed, store.failed("crop").failed) == (1, 1)
    assert store.write("plain", pa.table({"id": ["a"]})).commit == 7


@pytest.fixture
def two_steps_ahead(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """A release two formats further on, whose steps leave their mark in the file."""
    done: list[int] = []

    def step(version: int) -> migration.Step:
        def run(connection: duckdb.DuckDBPyConnection) -> None:
            done.append(version)
            connection.execute(f"CREATE TABLE metaxy_store.metaxy.step_{version} (x INTEGER)")

        return run

    steps = {**migration.STEPS, FORMAT: step(FORMAT), FORMAT + 1: step(FORMAT + 1)}
    monkeypatch.setattr(migration, "STEPS", steps)
    monkeypatch.setattr(layout, "FORMAT_VERSION", FORMAT + 2)
    return done


def test_steps_run_once_and_in_order(tmp_path: Path, two_steps_ahead: list[int]) -> None:
    store = small_store(tmp_path)
    with raw(store) as connection:
        connection.execute("UPDATE metaxy.format SET version = ?", [FORMAT])
    for _ in range(2):
        store.write("plain", pa.table({"id": ["a"]}))
    assert two_steps_ahead == [FORMAT, FORMAT + 1]
    assert format_of(store) == [(FORMAT + 2,)]
    assert rows(store, "image") == IMAGES


def test_a_step_that_fails_leaves_the_file_as_it_was(
    tmp_path: Path, two_steps_ahead: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(connection: duckdb.DuckDBPyConnection) -> None:
        connection.execute("SELECT * FROM metaxy_store.main.no_such_table")

    store = small_store(tmp_path)
    with raw(store) as connection:
        connection.execute("UPDATE metaxy.format SET version = ?", [FORMAT])
    before = digest(store.path)
    with monkeypatch.context() as patched:
        patched.setattr(migration, "STEPS", {**migration.STEPS, FORMAT + 1: fail})
        with pytest.raises(StoreError, match="no_such_table"):
            store.write("plain", pa.table({"id": ["a"]}))
    # The first step had run by then.
    assert two_steps_ahead == [FORMAT]
    assert digest(store.path) == before
    assert store.write("plain", pa.table({"id": ["a"]})).new == 1


@pytest.mark.parametrize(("version", "word"), [(0, "cannot bring"), (FORMAT + 1, "newer")])
def test_a_format_that_is_not_known_is_refused_and_left_alone(
    version: int, word: str, tmp_path: Path
) -> None:
    store = small_store(tmp_path)
    with raw(store) as connection:
        connection.execute("UPDATE metaxy.format SET version = ?", [version])
    before = store.path.read_bytes()
    for call in (*READS.values(), *WRITES.values()):
        with pytest.raises(StoreError, match=word) as caught:
            call(store)
        assert f"store format {version}" in str(caught.value)
        assert caught.value.remedy
    assert store.path.read_bytes() == before


KILLED = """
import os, signal, sys
from pathlib import Path
sys.path.insert(0, sys.argv[2])
from worlds import small_graph
from metaxy_dagster.stores import DuckDBMetadataStore
from metaxy_dagster.stores.duckdb.file import layout, migration

def step(connection):
    connection.execute("DROP TABLE metaxy_store.main.image")
    os.kill(os.getpid(), signal.SIGKILL)

migration.STEPS = {**migration.STEPS, layout.FORMAT_VERSION: step}
layout.FORMAT_VERSION += 1
store = DuckDBMetadataStore(Path(sys.argv[1]), graph=small_graph())
store.open("w").__enter__()
"""


def test_a_killed_migration_did_not_happen(tmp_path: Path) -> None:
    store = small_store(tmp_path)
    before = digest(store.path)
    done = subprocess.run(  # noqa: S603
        [sys.executable, "-c", KILLED, str(store.path), str(SUPPORT)],
        timeout=patient(120),
        check=False,
    )
    assert done.returncode == -signal.SIGKILL
    assert digest(store.path) == before
    again = DuckDBMetadataStore(store.path, graph=small_graph())
    assert rows(again, "image") == IMAGES


def test_a_process_that_begins_a_file_and_dies_leaves_an_empty_store(tmp_path: Path) -> None:
    """The tables were made, their format not yet noted."""
    store = small_store(tmp_path)
    with raw(store) as connection:
        connection.execute("DELETE FROM metaxy.format")
        connection.execute("DELETE FROM metaxy.features")
        connection.execute("DELETE FROM metaxy.commits")
        connection.execute("DROP TABLE main.image")
    assert (store.features(), store.count("image")) == ([], 0)
    assert store.write("image", pa.Table.from_pylist(IMAGES)).commit == 1
    assert format_of(store) == [(FORMAT,)]


def test_failures_before_the_first_write_are_known_after_format_2(tmp_path: Path) -> None:
    """By the names of their tables, as far as these tell a feature."""
    graph = small_graph()
    for key in ("crop/large", "Crop"):
        graph.add(FeatureSpec(key, id_columns=["id"], deps=["image"]))
    small_store(tmp_path)
    store = DuckDBMetadataStore(tmp_path / "m.duckdb", graph=graph, max_attempts=1)
    for key in ("crop/large", "Crop"):
        increment = store.resolve_update(key)
        store.record_failures(key, [{"id": 2}], "early", increment=increment)
    as_format_2(store)
    with store.open("w"):
        pass
    assert (store.failed("crop/large").failed, store.failed("Crop").failed) == (1, 1)
    assert statuses(store.resolve_update("crop/large")) == {"new": [1, 3]}
    assert [str(key) for key in store.features()] == ["image", "score"]
    with raw(store) as connection:
        known = connection.execute("SELECT feature FROM metaxy.features ORDER BY 1").fetchall()
    assert known == [("crop/large",), ("image",), ("score",)]
    catch_up(store, "crop/large", x=1)
    assert store.count("crop/large") == 2


@pytest.mark.parametrize("table", ["metaxy.features", "metaxy.commits"])
def test_a_file_that_lacks_a_table_of_its_format_is_no_empty_one(
    table: str, tmp_path: Path
) -> None:
    store = small_store(tmp_path)
    with raw(store) as connection:
        connection.execute(f"DROP TABLE {table}")
    before = digest(store.path)
    refused = [WRITES["write"], lambda one: one.compact()]
    if table == "metaxy.features":
        refused += [*READS.values(), *WRITES.values()]
    for call in refused:
        with pytest.raises(StoreError, match="does not exist"):
            call(store)
    assert digest(store.path) == before
