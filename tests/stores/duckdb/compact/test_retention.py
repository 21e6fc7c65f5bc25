"""Compaction at its edges: whatever the clock says, whoever died before it."""

from __future__ import annotations

import datetime as dt
import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa
import pytest
from worlds import changed_store, digest, image, rows, small_graph

from metaxy_dagster.errors import StoreError
from metaxy_dagster.stores import CompactionResult, DuckDBMetadataStore
from metaxy_dagster.stores.duckdb.compact import compaction

NOW = dt.timedelta()
WEEK = dt.timedelta(days=7)


@pytest.fixture
def store(tmp_path: Path) -> DuckDBMetadataStore:
    return changed_store(tmp_path)


def outside(store: DuckDBMetadataStore, sql: str, *values: object) -> list[Any]:
    with duckdb.connect(str(store.path)) as connection:
        connection.execute("SET TimeZone = 'UTC'")
        return connection.execute(sql, list(values)).fetchall()


@pytest.fixture(params=["Etc/GMT-14", "Etc/GMT+12"])
def elsewhere(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A machine far from Greenwich."""
    with monkeypatch.context() as patched:
        patched.setenv("TZ", request.param)
        time.tzset()
        yield
    time.tzset()


@pytest.mark.usefixtures("elsewhere")
def test_the_time_of_day_is_the_same_everywhere(store: DuckDBMetadataStore) -> None:
    late = dt.datetime.now(dt.UTC) - dt.timedelta(hours=3)
    outside(store, "UPDATE metaxy.commits SET committed_at = ? WHERE commit <= 3", late)
    hour = dt.timedelta(hours=1)
    assert store.compact(older_than=hour, dry_run=True).horizon == 3
    assert store.compact(older_than=hour).rows_removed == 1
    (row,) = outside(store, "SELECT * FROM metaxy.commits WHERE kind = 'compact'")
    assert row[:8] == (6, "image", "compact", 0, 0, 0, None, None)
    assert abs(dt.datetime.now(dt.UTC) - row[8]) < hour


# When the commits were made, how much must stay, and how many rows go.
TIMES: dict[str, tuple[dt.timedelta, dt.timedelta, int]] = {
    "all within the time": (dt.timedelta(days=-6), WEEK, 0),
    "all before it": (dt.timedelta(days=-8), WEEK, 3),
    "by a clock that is ahead": (dt.timedelta(days=1), WEEK, 0),
    "by a clock that is ahead, none must stay": (dt.timedelta(days=1), NOW, 3),
}


@pytest.mark.parametrize("name", TIMES)
def test_what_is_old_goes(name: str, store: DuckDBMetadataStore) -> None:
    made, older_than, removed = TIMES[name]
    moment = dt.datetime.now(dt.UTC) + made
    outside(store, "UPDATE metaxy.commits SET committed_at = ?", moment)
    assert store.compact(older_than=older_than).rows_removed == removed


def test_a_dry_run_tells_what_would_happen(store: DuckDBMetadataStore) -> None:
    told = store.compact(older_than=NOW, dry_run=True)
    done = store.compact(older_than=NOW)
    assert (told.commit, done.commit) == (0, 6)
    assert (told.removed, told.kept, told.horizon) == (done.removed, done.kept, done.horizon)
    assert told.commits_removed == done.commits_removed == 3
    assert told.bytes_before == told.bytes_after == done.bytes_before


def killed_writer(store: DuckDBMetadataStore) -> Path:
    """The log of a change that nobody wrote back yet."""
    with duckdb.connect(str(store.path)) as connection:
        connection.execute("PRAGMA disable_checkpoint_on_shutdown")
        connection.execute("UPDATE main.image SET path = 'logged' WHERE id = 2")
    log = Path(f"{store.path}.wal")
    assert log.is_file()
    return log


def test_a_dry_run_leaves_the_log_of_a_killed_writer_alone(store: DuckDBMetadataStore) -> None:
    log = killed_writer(store)
    before = (store.path.read_bytes(), log.read_bytes())
    assert store.compact(older_than=NOW, dry_run=True).rows_removed == 3
    assert (store.path.read_bytes(), log.read_bytes()) == before


@pytest.mark.parametrize("rewrite", [True, False])
def test_the_log_of_a_killed_writer_comes_along(rewrite: bool, store: DuckDBMetadataStore) -> None:
    log = killed_writer(store)
    assert store.compact(older_than=NOW, rewrite=rewrite).rows_removed == 3
    assert not log.exists()
    assert rows(store, "image", filters="id = 2")[0]["path"] == "logged"


def test_a_log_that_stays_is_no_reason_to_lose_it(
    store: DuckDBMetadataStore, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    copy = compaction._copy

    def with_log(connection: duckdb.DuckDBPyConnection, fresh: Path) -> None:
        copy(connection, fresh)
        fresh.with_name(f"{fresh.name}.wal").touch()

    with monkeypatch.context() as patched:
        patched.setattr(compaction, "_copy", with_log)
        assert store.compact(older_than=NOW).commit
    assert "its space was not given back" in caplog.text
    assert "log could not be written back" in caplog.text
    assert not list(store.path.parent.glob("*.compacting*"))
    assert len(rows(store, "image")) == 2
    store.compact()
    assert len(rows(store, "image")) == 2


def test_a_directory_that_cannot_be_flushed_is_no_failure(
    store: DuckDBMetadataStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened = os.open

    def refuse(path: Any, *args: Any, **options: Any) -> int:
        if Path(path).is_dir():
            raise PermissionError(path)
        return opened(path, *args, **options)

    monkeypatch.setattr(os, "open", refuse)
    assert store.compact(older_than=NOW).rows_removed == 3
    monkeypatch.undo()
    assert len(rows(store, "image")) == 2


def test_a_store_that_was_never_written_has_nothing_to_compact(tmp_path: Path) -> None:
    store = DuckDBMetadataStore(tmp_path / "m.duckdb", graph=small_graph())
    assert store.compact() == CompactionResult(0, 0, {}, {}, 0, 0, 0)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("options", [{}, {"rewrite": False}, {"dry_run": True}, {"before": 7}])
def test_a_file_that_was_begun_and_not_written_has_nothing_to_compact(
    options: dict[str, Any], tmp_path: Path
) -> None:
    store = DuckDBMetadataStore(tmp_path / "m.duckdb", graph=small_graph())
    with duckdb.connect(str(store.path)) as connection:
        connection.execute("CREATE SCHEMA metaxy")
    before, size = digest(store.path), store.path.stat().st_size
    assert store.compact(older_than=NOW, **options) == CompactionResult(0, 0, {}, {}, 0, size, size)
    assert digest(store.path) == before
    assert store.write("image", image(1, "x")).commit == 1


def test_rows_may_end_later_than_the_marks_before_them(store: DuckDBMetadataStore) -> None:
    """A moment after the last mark that went, and before the last row that did."""
    everything = store.resolve_update("score", keep_unchanged=True)
    store.write("score", pa.table({}), increment=everything, empty=[{"id": 1}])
    for score in (1.0, 2.0):
        everything = store.resolve_update("score", keep_unchanged=True)
        table = pa.table({"id": [1, 2], "score": [score] * 2})
        store.write("score", table, increment=everything)
    between = store.resolve_update("score", as_of=7)
    removed = store.compact(older_than=NOW).removed
    assert {str(key): n for key, n in removed.items()} == {"image": 3, "score": 5}
    with pytest.raises(StoreError, match="commit 8 or later"):
        between.delta  # noqa: B018 - it is what is refused


def test_refused_arguments_are_named(store: DuckDBMetadataStore) -> None:
    for name, value in {"older_than": 7, "keep_versions": -1, "before": 1.5}.items():
        with pytest.raises(StoreError, match=rf"^{name} is not") as caught:
            store.compact(**{name: value})
        assert str(caught.value.found).startswith(repr(value))
