"""What the permissions of the file and its directory forbid is a clear error; the rest works.

All calls are made by another process, which is nobody in particular: the root may do anything.
"""

from __future__ import annotations

import os
import shutil
import stat
import tempfile
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import duckdb
import pyarrow as pa
import pytest
from patience import SPAWN
from workers import attempt, become_nobody, hold, read_until, wait_for, write_many
from worlds import digest, small_store

from metaxy_dagster.stores import DuckDBMetadataStore

ROOT = os.geteuid() == 0
READS = {
    "read": "3",
    "count": "3",
    "features": "['image', 'score']",
    "schema": "{'id': 'BIGINT', 'path': 'VARCHAR', 'height': 'BIGINT', 'caption': 'VARCHAR'}",
    "resolve": "0",
    "failures": "0",
    "failed": "0",
    "session": "None",
}
WRITES = ("write", "delete", "drop", "retry", "write session")


@pytest.fixture(scope="module")
def nobody() -> Iterator[ProcessPoolExecutor]:
    with ProcessPoolExecutor(1, mp_context=SPAWN, initializer=become_nobody) as executor:
        yield executor


@pytest.fixture
def folder() -> Iterator[Path]:
    """A directory that other users can reach, as pytest's own are not."""
    path = Path(tempfile.mkdtemp())
    path.chmod(0o755)
    yield path
    for found in (path, *path.rglob("*")):
        if found.is_dir():
            found.chmod(0o755)
    shutil.rmtree(path)


@pytest.fixture
def store(folder: Path) -> DuckDBMetadataStore:
    (folder / "store").mkdir()
    return small_store(folder / "store")


def impatient(store: DuckDBMetadataStore) -> DuckDBMetadataStore:
    return DuckDBMetadataStore(store.path, graph=store.graph, lock_timeout=0.2)


def files(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def forbid(store: DuckDBMetadataStore, what: str) -> None:
    """Take the permission to write from everybody but the root."""
    if what == "no lock file":
        Path(f"{store.path}.lock").unlink()
    if what == "file":
        store.path.parent.chmod(0o777)
        store.path.chmod(0o444)
    else:
        store.path.chmod(0o644 if ROOT else 0o444)
        store.path.parent.chmod(0o555)


@pytest.mark.parametrize("what", ["directory", "no lock file", "file"])
def test_what_may_not_be_written_can_be_read(
    store: DuckDBMetadataStore, nobody: ProcessPoolExecutor, what: str
) -> None:
    forbid(store, what)
    before, names = digest(store.path), set(files(store.path.parent))
    version = store.data_version("image")
    answers = {one: nobody.submit(attempt, store, one).result() for one in READS}
    assert answers == {one: ("", right, "") for one, right in READS.items()}
    assert nobody.submit(attempt, store, "data version").result() == ("", version, "")
    for call in WRITES:
        kind, error, remedy = nobody.submit(attempt, store, call).result()
        assert (kind, call) == ("StoreError", call)
        assert "cannot be written" in error
        assert str(store.path) in error
        assert "permissions" in remedy
    assert digest(store.path) == before
    assert set(files(store.path.parent)) <= names | {"m.duckdb.lock"}


def test_a_file_that_may_not_be_read_is_a_clear_error(
    store: DuckDBMetadataStore, nobody: ProcessPoolExecutor
) -> None:
    store.path.chmod(0o600 if ROOT else 0o000)
    for call in READS:
        kind, error, remedy = nobody.submit(attempt, store, call).result()
        assert (kind, call) == ("StoreError", call)
        assert "Permission denied" in error
        assert remedy
    store.path.chmod(0o600)
    assert store.count("image") == 3


def test_a_directory_that_may_not_be_entered_is_a_clear_error(
    store: DuckDBMetadataStore, nobody: ProcessPoolExecutor
) -> None:
    store.path.parent.chmod(0o700 if ROOT else 0o000)
    for call in (*READS, *WRITES):
        kind, error, remedy = nobody.submit(attempt, store, call).result()
        assert (kind, call) == ("StoreError", call)
        assert str(store.path) in error
        assert "permissions" in remedy
    store.path.parent.chmod(0o755)
    assert store.count("image") == 3


def test_a_new_store_in_a_read_only_directory_is_refused(
    folder: Path, store: DuckDBMetadataStore, nobody: ProcessPoolExecutor
) -> None:
    folder.chmod(0o555)
    for path in (folder / "new.duckdb", folder / "deeper" / "new.duckdb"):
        made = DuckDBMetadataStore(path, graph=store.graph)
        kind, error, _ = nobody.submit(attempt, made, "write").result()
        assert (kind, str(path) in error) == ("StoreError", True)
        # Never written is empty, there as elsewhere.
        assert nobody.submit(attempt, made, "count").result() == ("", "0", "")
    assert [path.name for path in folder.iterdir()] == ["store"]


@pytest.mark.skipif(not ROOT, reason="only the root can let another user read its file")
def test_readers_without_the_lock_wait_for_a_writer_and_a_writer_for_them(
    store: DuckDBMetadataStore, nobody: ProcessPoolExecutor
) -> None:
    """A reader that may not write the directory has no lock; nothing fails for that."""
    store.path.parent.chmod(0o755)
    stop = store.path.parent.parent / "stop"
    reading = nobody.submit(read_until, store, stop)
    acknowledged, _, errors = write_many(store, 0, 12)
    stop.write_text("stop")
    assert (len(acknowledged), errors) == (12, [])
    looks, failed = reading.result()
    assert (looks > 0, failed) == (True, [])
    assert store.count("plain") == 12


@pytest.mark.skipif(not ROOT, reason="only the root can let another user read its file")
def test_a_busy_store_says_so_to_a_reader_without_the_lock(
    store: DuckDBMetadataStore, nobody: ProcessPoolExecutor, tmp_path: Path
) -> None:
    ready, go = tmp_path / "ready", tmp_path / "go"
    with ProcessPoolExecutor(1, mp_context=SPAWN) as other:
        job = other.submit(hold, store, "w", ready, go)
        holder = wait_for(ready)
        try:
            kind, error, remedy = nobody.submit(attempt, impatient(store), "read").result()
            assert kind == "StoreBusyError"
            assert f"process {holder}" in error
            assert "lock_timeout" in remedy
        finally:
            go.write_text("go")
        job.result()
    assert nobody.submit(attempt, impatient(store), "read").result() == ("", "3", "")


@pytest.mark.skipif(not ROOT, reason="only the root can become another user")
def test_users_who_may_write_the_file_share_its_lock(
    store: DuckDBMetadataStore, nobody: ProcessPoolExecutor
) -> None:
    store.path.parent.chmod(0o777)
    store.path.chmod(0o666)
    assert store.write("plain", pa.table({"id": ["mine"]})).new == 1
    lock = Path(f"{store.path}.lock")
    assert stat.S_IMODE(lock.stat().st_mode) == 0o666
    assert nobody.submit(attempt, store, "write").result() == ("", "1", "")
    assert store.count("plain") == 2


def test_what_a_killed_writer_left_is_read_in_a_read_only_directory(
    store: DuckDBMetadataStore, nobody: ProcessPoolExecutor
) -> None:
    """A log of changes that nobody may fold into the file is read with it."""
    with duckdb.connect(str(store.path)) as connection:
        connection.execute("PRAGMA disable_checkpoint_on_shutdown")
        connection.execute("DELETE FROM main.image WHERE id = 3")
    log = Path(f"{store.path}.wal")
    assert log.is_file()
    log.chmod(0o644)
    forbid(store, "directory")
    before = files(store.path.parent)
    assert nobody.submit(attempt, store, "count").result() == ("", "2", "")
    assert files(store.path.parent) == before
