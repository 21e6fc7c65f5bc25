"""Several processes on one file: no acknowledged write is lost, none fails for a lock.

``METAXY_TEST_WRITES`` sets how many samples each of the eight processes writes (50 for the full
figure); the default keeps the suite short.
"""

from __future__ import annotations

import os
import pickle
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from pathlib import Path

import duckdb
import pyarrow as pa
import pytest
from patience import SPAWN, child, patient
from places import SUPPORT
from workers import hold, hold_raw, wait_for, write_many
from worlds import rows, small_graph, small_store

from metaxy_dagster.errors import StoreBusyError
from metaxy_dagster.stores import DuckDBMetadataStore

PROCESSES = 8
WRITES = int(os.environ.get("METAXY_TEST_WRITES", "3"))


@pytest.fixture
def store(tmp_path: Path) -> DuckDBMetadataStore:
    return small_store(tmp_path)


@pytest.fixture
def other() -> Iterator[ProcessPoolExecutor]:
    with ProcessPoolExecutor(1, mp_context=SPAWN) as executor:
        yield executor


def impatient(store: DuckDBMetadataStore) -> DuckDBMetadataStore:
    return DuckDBMetadataStore(store.path, graph=store.graph, lock_timeout=0.2)


def test_no_acknowledged_write_is_lost_between_processes(tmp_path: Path) -> None:
    store = DuckDBMetadataStore(
        tmp_path / "m.duckdb", graph=small_graph(), lock_timeout=patient(300)
    )
    with ProcessPoolExecutor(PROCESSES, mp_context=SPAWN) as executor:
        jobs = [executor.submit(write_many, store, i, WRITES) for i in range(PROCESSES)]
        found = [job.result() for job in jobs]
    errors = [error for _, _, failed in found for error in failed]
    assert not errors, errors
    acknowledged = sorted(one for ids, _, _ in found for one in ids)
    assert len(acknowledged) == PROCESSES * WRITES
    assert sorted(row["id"] for row in rows(store, "plain")) == acknowledged
    commits = sorted(commit for _, numbers, _ in found for commit in numbers)
    assert commits == list(range(1, PROCESSES * WRITES + 1))


def test_no_acknowledged_write_is_lost_between_threads(store: DuckDBMetadataStore) -> None:
    with ThreadPoolExecutor(4) as executor:
        found = list(executor.map(write_many, [store] * 4, range(4), [5] * 4))
    assert [errors for _, _, errors in found] == [[]] * 4
    assert store.count("plain") == sum(len(ids) for ids, _, _ in found) == 20


@pytest.mark.parametrize(
    ("mode", "doing"), [("w", "written by process"), ("r", "being read by other")]
)
def test_a_store_that_stays_busy_names_who_holds_it(
    store: DuckDBMetadataStore, other: ProcessPoolExecutor, tmp_path: Path, mode: str, doing: str
) -> None:
    ready, go = tmp_path / "ready", tmp_path / "go"
    job = other.submit(hold, store, mode, ready, go)
    holder = wait_for(ready)
    try:
        with pytest.raises(StoreBusyError) as caught:
            impatient(store).write("plain", pa.table({"id": ["a"]}))
        assert doing in str(caught.value.found)
        assert (holder in str(caught.value.found)) is (mode == "w")
        assert "waiting to write" in str(caught.value)
        assert "lock_timeout" in str(caught.value.remedy)
        if mode == "r":
            assert impatient(store).count("image") == 3
        else:
            with pytest.raises(StoreBusyError, match="waiting to read"):
                impatient(store).count("image")
    finally:
        go.write_text("go")
    job.result()
    assert impatient(store).write("plain", pa.table({"id": ["a"]})).new == 1


def test_a_note_that_cannot_be_left_is_no_failure(store: DuckDBMetadataStore) -> None:
    """Who writes is noted for those who wait; the lock is another file."""
    Path(f"{store.path}.lock.holder").mkdir()
    assert store.write("plain", pa.table({"id": ["a"]})).new == 1
    assert store.count("plain") == 1


def test_a_program_that_ignores_the_lock_is_named(
    store: DuckDBMetadataStore, other: ProcessPoolExecutor, tmp_path: Path
) -> None:
    ready, go = tmp_path / "ready", tmp_path / "go"
    job = other.submit(hold_raw, store.path, ready, go)
    holder = wait_for(ready)
    try:
        for call in (
            lambda one: one.count("image"),
            lambda one: one.write("plain", pa.table({"id": ["a"]})),
        ):
            with pytest.raises(StoreBusyError) as caught:
                call(impatient(store))
            assert holder in str(caught.value.found)
            assert "lock_timeout" in str(caught.value.remedy)
        # One that is patient gets its turn when that program lets go.
        with ThreadPoolExecutor(1) as waiter:
            patient = waiter.submit(store.write, "plain", pa.table({"id": ["a"]}))
            go.write_text("go")
            assert patient.result().new == 1
    finally:
        go.write_text("go")
    job.result()
    assert store.count("image") == 3


def test_a_connection_of_this_process_is_no_riddle(store: DuckDBMetadataStore) -> None:
    """DuckDB lets one process open a file twice to read only; else the error tells why not."""
    with duckdb.connect(str(store.path), read_only=True):
        assert store.count("image") == 3
    with duckdb.connect(str(store.path)), pytest.raises(StoreBusyError) as caught:
        store.write("plain", pa.table({"id": ["a"]}))
    assert "this process" in str(caught.value)
    assert caught.value.remedy
    assert store.write("plain", pa.table({"id": ["a"]})).new == 1


def test_a_killed_holder_holds_nothing(store: DuckDBMetadataStore, tmp_path: Path) -> None:
    ready = tmp_path / "ready"
    with child(hold, store, "w", ready, tmp_path / "never"):
        wait_for(ready)
    assert impatient(store).write("plain", pa.table({"id": ["a"]})).new == 1


def test_nothing_is_held_while_user_code_runs(
    store: DuckDBMetadataStore, other: ProcessPoolExecutor
) -> None:
    """Sessions, increments and lazy frames keep no lock: others write meanwhile."""
    waiting = impatient(store)
    with store.open("w"), store:
        frame = store.read("image", columns=["id"])
        increment = store.resolve_update("score", keep_unchanged=True)
        acknowledged, _, errors = other.submit(write_many, waiting, 0, 3).result()
    assert (len(acknowledged), errors) == (3, [])
    assert frame.collect().to_native().num_rows == 3
    assert increment.counts.pending == 0


FORK = """
import os, sys
from pathlib import Path
import pyarrow as pa
sys.path.insert(0, sys.argv[2])
from worlds import small_store

store = small_store(Path(sys.argv[1]))
frame = store.read("image", columns=["id"])
children = []
for number in range(3):
    pid = os.fork()
    if pid == 0:
        ok = store.write("plain", pa.table({"id": [f"child {number}"]})).new == 1
        ok = ok and store.count("image") == 3 == frame.collect().to_native().num_rows
        os._exit(0 if ok else 1)
    children.append(pid)
store.write("plain", pa.table({"id": ["parent"]}))
codes = [os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) for pid in children]
store.write("plain", pa.table({"id": ["parent again"]}))
print(codes, store.count("plain"))
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")
def test_a_store_survives_a_fork(tmp_path: Path) -> None:
    done = subprocess.run(  # noqa: S603
        [sys.executable, "-c", FORK, str(tmp_path), str(SUPPORT)],
        capture_output=True,
        text=True,
        timeout=patient(120),
        check=False,
    )
    assert done.stdout.strip() == "[0, 0, 0] 5", done.stderr


def test_a_store_can_be_pickled(store: DuckDBMetadataStore) -> None:
    with store.open("w"):
        copy = pickle.loads(pickle.dumps(store))  # noqa: S301
    assert (copy.path, copy.display()) == (store.path, store.display())
    assert rows(copy, "image") == rows(store, "image")
    assert copy.graph.feature_version("score") == store.graph.feature_version("score")
    assert copy.write("plain", pa.table({"id": ["a"]})).new == 1
