"""Compaction: less history, the same answers; a killed one leaves the old file or the new one.

``METAXY_TEST_KILLS`` sets how often a compacting process is killed. The state machine of
``test_oracle.py`` compacts between random writes, too.
"""

from __future__ import annotations

import datetime as dt
import os
import random
import shutil
import time
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa
import pytest
from patience import SPAWN, child, patient
from workers import compact_until_killed, wait_for, write_many
from worlds import changed_store, digest, image, rows, small_graph, small_store, statuses

from metaxy_dagster.errors import StoreError
from metaxy_dagster.stores import DuckDBMetadataStore

NOW = dt.timedelta()
KILLS = int(os.environ.get("METAXY_TEST_KILLS", "5"))


@pytest.fixture
def store(tmp_path: Path) -> DuckDBMetadataStore:
    return changed_store(tmp_path)


def outside(store: DuckDBMetadataStore, sql: str) -> list[Any]:
    with duckdb.connect(str(store.path)) as connection:
        return connection.execute(sql).fetchall()


def test_only_history_goes(store: DuckDBMetadataStore) -> None:
    before, version = rows(store, "image"), store.data_version("image")
    result = store.compact(older_than=NOW)
    assert {str(key): n for key, n in result.removed.items()} == {"image": 3}
    assert (result.rows_removed, sum(result.kept.values()), result.horizon) == (3, 0, 5)
    assert rows(store, "image") == before
    assert store.data_version("image") == version
    assert rows(store, "image", history=True) == before
    again = store.compact(older_than=NOW)
    assert (again.rows_removed, again.commit) == (0, 0)


def empty_scores(store: DuckDBMetadataStore) -> None:
    """Samples 1 and 2 yield nothing, and then 1 does again, computed from something else."""
    for number, path in enumerate("pq"):
        found = [{"id": 1}, {"id": 2}][: 2 - number]
        everything = store.resolve_update("score", keep_unchanged=True)
        store.write("score", pa.table({}), increment=everything, empty=found)
        store.write("image", image(1, path))


def test_ended_marks_of_empty_samples_go(store: DuckDBMetadataStore) -> None:
    empty_scores(store)
    store.drop("image")
    store.write("image", image(2, "z"))
    before = statuses(store.resolve_update("score", keep_unchanged=True))
    result = store.compact(older_than=NOW)
    removed = {str(key): n for key, n in result.removed.items()}
    assert removed == {"score": 3}, "the rows of two samples, and a mark"
    assert sum(result.kept.values()) == 0
    assert outside(store, "SELECT count(*) FROM empty.score") == [(2,)]
    assert statuses(store.resolve_update("score", keep_unchanged=True)) == before
    again = store.compact(older_than=NOW)
    assert (again.rows_removed, again.commit) == (0, 0)
    assert outside(store, "SELECT count(*) FROM empty.score") == [(2,)]
    store.delete("score")
    store.compact(older_than=NOW)
    assert outside(store, "SELECT count(*) FROM empty.score") == [(0,)]
    assert store.compact(older_than=NOW).rows_removed == 0


def test_a_moment_whose_marks_were_compacted_away_is_refused(store: DuckDBMetadataStore) -> None:
    increment = store.resolve_update("score")
    empty_scores(store)
    early = store.resolve_update("score")
    pinned = store.pin("marked")
    empty_scores(store)
    store.compact(older_than=NOW, before=pinned)
    assert early.counts.new == 1, "as of the pin"
    with pytest.raises(StoreError, match="compacted away"):
        increment.delta  # noqa: B018 - it is what is refused
    kept = store.compact(older_than=NOW, dry_run=True)
    assert {str(key): n for key, n in kept.kept.items() if n} == {"image": 2, "score": 2}


def test_marks_may_end_later_than_the_rows_before_them(store: DuckDBMetadataStore) -> None:
    everything = store.resolve_update("score", keep_unchanged=True)
    store.write("score", pa.table({}), increment=everything, empty=[{"id": 1}, {"id": 2}])
    between = store.resolve_update("score")
    store.delete("score", filters="id = 1")
    store.compact(older_than=NOW)
    with pytest.raises(StoreError, match="compacted away"):
        between.delta  # noqa: B018 - it is what is refused


def test_the_list_of_commits_still_tells_of_marks(store: DuckDBMetadataStore) -> None:
    """Commits go, but not the one that says that there are marks."""
    empty_scores(store)
    for path in "ab":
        store.write(
            "score", pa.table({"id": [1], "score": [0.0]}), increment=store.resolve_update("score")
        )
        store.write("image", image(1, path))
    before = statuses(store.resolve_update("score", keep_unchanged=True))
    assert store.compact(older_than=NOW).commits_removed
    assert statuses(store.resolve_update("score", keep_unchanged=True)) == before
    store.drop("score")
    store.compact(older_than=NOW)
    assert store.resolve_update("score").counts.new == 2


def test_within_the_horizon_nothing_goes(store: DuckDBMetadataStore) -> None:
    before = digest(store.path)
    assert store.compact(rewrite=False).rows_removed == 0
    assert store.compact(older_than=NOW, dry_run=True).rows_removed == 3
    assert digest(store.path) == before


@pytest.mark.parametrize(("before", "removed"), [(0, 0), (2, 0), (3, 1), (4, 2), (5, 3), (99, 3)])
def test_what_ended_later_is_kept(store: DuckDBMetadataStore, before: int, removed: int) -> None:
    assert store.compact(older_than=NOW, before=before).rows_removed == removed
    for commit in range(before, 6):
        store.resolve_update("score", as_of=commit).delta  # noqa: B018 - that it can be read


@pytest.mark.parametrize(("versions", "removed"), [(1, 1), (2, 0), (3, 0)])
def test_versions_of_a_sample_are_kept(
    store: DuckDBMetadataStore, versions: int, removed: int
) -> None:
    result = store.compact(older_than=NOW, keep_versions=versions)
    assert result.rows_removed == removed
    kept = [row["path"] for row in rows(store, "image", history=True) if row["id"] == 1]
    assert sorted(kept) == sorted(["a.png", "x", "y"][-1 - versions :])


def test_the_time_of_commits_decides(store: DuckDBMetadataStore) -> None:
    """Of commits that were made over days, those before the horizon's go."""
    for commit in range(1, 6):
        moment = dt.datetime.now(dt.UTC) - dt.timedelta(days=6 - commit)
        outside(
            store,
            f"UPDATE metaxy.commits SET committed_at = '{moment}' WHERE commit = {commit}",  # noqa: S608
        )
    # Commit 4 is two days old: what it ended was still to be seen three days ago.
    assert store.compact(older_than=dt.timedelta(days=2, hours=1), dry_run=True).horizon == 3
    assert store.compact(older_than=dt.timedelta(days=2, hours=1)).rows_removed == 1


def test_frames_of_the_past_are_right_or_refused(store: DuckDBMetadataStore) -> None:
    old = store.read("image", columns=["id", "path"])
    unchanged = store.read("score", columns=["id"])
    increment = store.resolve_update("score")
    commit = store.pin("now")
    store.write("image", image(1, "z"))
    result = store.compact(older_than=NOW)
    assert result.rows_removed == 3, "the pin keeps what was valid when it was made"
    kept = sorted(map(tuple, (row.values() for row in old.collect().to_native().to_pylist())))
    assert kept == [(1, "y"), (2, "b.png")]
    assert statuses(increment) == {"stale": [1], "orphaned": [3]}
    outside(store, "DROP TABLE metaxy.pins")
    late, listed = store.resolve_update("score", as_of=commit), store.read("image")
    assert store.compact(older_than=NOW).rows_removed == 1
    for refused in (lambda: late.delta, lambda: late.counts, old.collect):
        with pytest.raises((StoreError, duckdb.Error), match="compacted away") as caught:
            refused()
        assert "resolve again" in str(caught.value)
    assert unchanged.collect().to_native().num_rows == 3
    assert listed.collect().to_native().num_rows == 2


def test_an_older_compaction_is_not_forgotten(store: DuckDBMetadataStore) -> None:
    """One that kept versions may have removed later rows than the one after it."""
    increment = store.resolve_update("score", as_of=5)
    for path in "pq":
        store.write("image", image(1, path))
    assert store.compact(older_than=NOW, keep_versions=1).rows_removed == 3
    assert store.compact(older_than=NOW, before=5).rows_removed == 1
    with pytest.raises(StoreError, match="commit 6 or later"):
        increment.delta  # noqa: B018 - that it raises


def test_no_number_is_used_twice(store: DuckDBMetadataStore) -> None:
    result = store.compact(older_than=NOW)
    assert (result.commit, result.commits_removed) == (6, 3)
    assert outside(store, "SELECT commit, feature, kind FROM metaxy.commits ORDER BY 1") == [
        (2, "score", "write"),
        (5, "image", "delete"),
        (6, "image", "compact"),
    ]
    assert store.write("image", image(9, "n")).commit == 7
    store.drop("image")
    store.drop("score")
    store.compact(older_than=NOW)
    assert store.write("plain", pa.table({"id": [1]})).commit > 8


def test_a_change_before_is_seen_after(store: DuckDBMetadataStore) -> None:
    """What a watermark would look for in the history is gone: it must not be trusted."""
    assert outside(store, "SELECT count(fingerprint) FROM metaxy.features") == [(1,)]
    always = DuckDBMetadataStore(store.path, graph=small_graph(), max_incremental_share=1e9)
    store.compact(older_than=NOW)
    assert statuses(always.resolve_update("score")) == {"stale": [1], "orphaned": [3]}


def test_an_answer_after_it_leaves_nothing_out(store: DuckDBMetadataStore) -> None:
    """An increment from before, written after: what others deleted meanwhile is news."""
    always = DuckDBMetadataStore(store.path, graph=small_graph(), max_incremental_share=1e9)
    increment = always.resolve_update("score")
    assert statuses(increment) == {"stale": [1], "orphaned": [3]}
    always.delete("score", filters="id = 2")
    always.delete("image", filters="id = 1")
    always.compact(older_than=NOW)
    always.write("score", pa.table({"id": [1], "score": [1.0]}), increment=increment)
    assert statuses(always.resolve_update("score")) == {"new": [2], "orphaned": [1, 3]}


def test_the_file_is_smaller_and_its_permissions_stay(tmp_path: Path) -> None:
    store = DuckDBMetadataStore(tmp_path / "m.duckdb", graph=small_graph())
    for number in range(12):
        paths = [f"{number}/{id_}" for id_ in range(5_000)]
        store.write("plain", pa.table({"id": range(5_000), "path": paths}))
    store.path.chmod(0o640)
    before, shown = store.path.stat().st_size, rows(store, "plain")
    result = store.compact(older_than=NOW)
    after = store.path.stat()
    assert (result.bytes_before, result.bytes_after) == (before, after.st_size)
    assert result.bytes_freed > before / 2
    assert after.st_mode & 0o777 == 0o640
    assert rows(store, "plain") == shown
    assert {path.name for path in tmp_path.iterdir()} <= {"m.duckdb", "m.duckdb.lock"}


def test_a_link_stays_a_link(store: DuckDBMetadataStore, tmp_path: Path) -> None:
    link = tmp_path / "links" / "m.duckdb"
    link.parent.mkdir()
    link.symlink_to(store.path)
    linked = DuckDBMetadataStore(link, graph=small_graph())
    assert linked.compact(older_than=NOW).rows_removed == 3
    assert link.is_symlink()
    assert len(rows(store, "image")) == 2


def test_all_tables_come_along(store: DuckDBMetadataStore) -> None:
    increment = store.resolve_update("score")
    store.record_failures("score", [{"id": 1}], "broken", increment=increment)
    store.pin("run")
    before = digest(store.path)
    inode = store.path.stat().st_ino
    store.compact()
    assert store.path.stat().st_ino != inode
    assert digest(store.path) == before


def test_an_older_storage_version_stays(tmp_path: Path) -> None:
    """A file that an older DuckDB made can still be read by it."""
    path = tmp_path / "m.duckdb"
    with duckdb.connect() as connection:
        connection.execute(f"ATTACH '{path}' AS old (TYPE duckdb, STORAGE_VERSION 'v1.0.0')")
    store = small_store(tmp_path)
    store.write("image", image(1, "x"))
    store.compact(older_than=NOW)
    with duckdb.connect() as connection:
        connection.execute(f"ATTACH '{path}' AS old (TYPE duckdb, READ_ONLY)")
        (row,) = connection.execute(
            "SELECT tags['storage_version'] FROM duckdb_databases() WHERE database_name = 'old'"
        ).fetchall()
    assert row[0].startswith("v1.0.0")


def test_an_empty_store_stays_one(tmp_path: Path) -> None:
    store = DuckDBMetadataStore(tmp_path / "m.duckdb", graph=small_graph())
    assert store.compact().bytes_after == 0
    assert not list(tmp_path.iterdir())


BAD: dict[str, dict[str, Any]] = {
    "negative time": {"older_than": dt.timedelta(-1)},
    "days as a number": {"older_than": 7},
    "versions": {"keep_versions": -1},
    "versions as text": {"keep_versions": "2"},
    "commit": {"before": -1},
    "commit as truth": {"before": True},
}


@pytest.mark.parametrize("name", BAD)
def test_bad_arguments_are_refused(name: str, refusing: DuckDBMetadataStore) -> None:
    with pytest.raises(StoreError) as caught:
        refusing.compact(**BAD[name])
    assert caught.value.remedy


def test_what_cannot_be_replaced_stays(
    store: DuckDBMetadataStore, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Rows that are removed stay removed, so that is no error; with none to remove it is one."""

    def refuse(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "replace", refuse)
    assert store.compact(older_than=NOW).rows_removed > 0
    assert "No space left" in caplog.text
    assert "its space was not given back" in caplog.text
    with pytest.raises(StoreError, match="No space left"):
        store.compact(older_than=NOW)
    monkeypatch.undo()
    assert len(rows(store, "image")) == 2
    assert store.write("plain", pa.table({"id": [1]})).new == 1
    assert not list(store.path.parent.glob("*.compacting*"))


def test_a_killed_compaction_leaves_the_old_file_or_the_new_one(tmp_path: Path) -> None:
    chance = random.Random(20261124)  # noqa: S311 - when to kill need not be secret
    store = DuckDBMetadataStore(
        tmp_path / "m.duckdb", graph=small_graph(), lock_timeout=patient(30)
    )
    log = tmp_path / "log"
    for attempt in range(KILLS):
        log.unlink(missing_ok=True)
        with child(compact_until_killed, store, log):
            wait_for(log, lines=1 + attempt % 3)
            time.sleep(chance.uniform(0, 0.2))
        acknowledged = int(log.read_text().split()[-1])
        table = store.read("plain", columns=["id", "x"]).collect().to_native()
        (found,) = set(table.column("x").to_pylist())
        assert table.num_rows == 3_000
        assert found in {acknowledged, acknowledged + 1}
        before = store.data_version("plain")
        store.compact(older_than=NOW)
        assert store.data_version("plain") == before
    assert not list(tmp_path.glob("*.compacting*"))


def test_a_log_that_a_killed_writer_did_not_finish_is_cleared_away(tmp_path: Path) -> None:
    store = DuckDBMetadataStore(tmp_path / "m.duckdb", graph=small_graph())
    store.write("plain", pa.table({"id": ["a", "b"], "x": [0, 1]}))
    log, whole = tmp_path / "m.duckdb.wal", tmp_path / "whole"
    with duckdb.connect() as connection:
        connection.execute(f"ATTACH '{store.path}' AS s")
        connection.execute("CREATE TABLE s.main.never_committed (i INTEGER)")
        shutil.copy(log, whole)
        shutil.copy(store.path, tmp_path / "file")
    (tmp_path / "file").replace(store.path)
    log.write_bytes(whole.read_bytes()[:-10])
    before = store.data_version("plain")
    store.compact(older_than=NOW)
    assert store.data_version("plain") == before
    assert len(rows(store, "plain")) == 2
    assert not log.exists()


def test_readers_and_writers_wait(tmp_path: Path) -> None:
    """Two processes write and read while a third compacts: nothing is lost, nobody fails."""
    store = DuckDBMetadataStore(
        tmp_path / "m.duckdb", graph=small_graph(), lock_timeout=patient(60)
    )
    store.write("plain", pa.table({"id": ["first"], "x": [0]}))
    with ProcessPoolExecutor(2, mp_context=SPAWN) as pool:
        work = [pool.submit(write_many, store, worker, 12) for worker in range(2)]
        for _ in range(20):
            store.compact()
            time.sleep(0.1)  # one that never pauses leaves the lock to nobody else
    done = [one.result() for one in work]
    assert [errors for _, _, errors in done] == [[], []]
    stored = {row["id"] for row in rows(store, "plain", columns=["id"])}
    assert stored == {"first", *(name for names, _, _ in done for name in names)}


def test_inside_a_block_that_shares_a_connection(store: DuckDBMetadataStore) -> None:
    with store.connected("w"):
        store.write("image", image(2, "s"))
        assert store.compact(older_than=NOW).rows_removed == 4
        assert store.count("image") == 2
        store.write("image", image(2, "t"))
    assert rows(store, "image", filters="id = 2")[0]["path"] == "t"
    with store.connected("r"), pytest.raises(StoreError, match="only reads"):
        store.compact()
