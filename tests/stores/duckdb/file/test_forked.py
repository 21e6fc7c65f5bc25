"""A process that was forked while another thread had the store open goes on to use it."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from patience import patient
from places import SUPPORT

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")

# A thread has the store, in the mode that is given, while the process forks.
BEGIN = """
import os, sys, threading
from pathlib import Path
import pyarrow as pa
from metaxy_dagster.errors import StoreBusyError, StoreError
from metaxy_dagster.stores import DuckDBMetadataStore
from worlds import small_store

folder, mode = Path(sys.argv[1]), sys.argv[2]
store = small_store(folder)
frame = store.read("image", columns=["id"])
held, done = threading.Event(), threading.Event()

def hold():
    with store.connected(mode):
        held.set()
        done.wait()

def written(name, number=10):
    for i in range(number):
        assert store.write("plain", pa.table({"id": [f"{name} {i}"]})).new == 1

def begun(body):
    child = os.fork()
    if child:
        return child
    try:
        body()
        os._exit(0)
    except BaseException as error:
        print(repr(error), error, file=sys.stderr, flush=True)
        os._exit(1)

def ended(*children):
    return [os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) for child in children]

thread = threading.Thread(target=hold)
thread.start()
held.wait()
"""

TOGETHER = """
def use():
    assert store.count("image") == 3 == frame.collect().shape[0]
    threads = [threading.Thread(target=written, args=(f"{os.getpid()} {n}",)) for n in range(2)]
    [one.start() for one in threads]
    [one.join() for one in threads]
    # A process that is forked from this one, while a thread has the store once more.
    with store.connected("r"):
        child = begun(lambda: written(os.getpid()))
    assert ended(child) == [0]
    assert store.resolve_update("score").counts.pending == 0

children = [begun(use) for _ in range(2)]
done.set()
thread.join()
written("parent", 20)
assert ended(*children) == [0, 0]
assert store.count("plain") == 20 + 2 * 30
assert sorted(path.name for path in folder.iterdir()) == ["m.duckdb", "m.duckdb.lock"]
"""

WAITS = """
def use():
    other = DuckDBMetadataStore(store.path, graph=store.graph, lock_timeout=0.2)
    if mode == "r":
        assert other.count("image") == 3
    try:
        other.write("plain", pa.table({"id": ["x"]}))
    except StoreBusyError:
        return
    raise AssertionError("it did not wait for who has the store")

child = begun(use)
assert ended(child) == [0]
done.set()
thread.join()
assert store.count("plain") == 0
"""

KILLED = """
import signal
for number in range(4):
    told, tell = os.pipe()
    def use():
        for i in range(1000):
            written(f"{number} {i}", 1)
            os.write(tell, b".")
    child = begun(use)
    done.set()
    thread.join()
    seen = len(os.read(told, 1)) + len(os.read(told, 3))
    os.kill(child, signal.SIGKILL)
    ended(child)
    os.close(tell)
    while rest := os.read(told, 100):
        seen += len(rest)
    stored = store.count("plain", filters=f"id LIKE '{number} %'")
    assert stored in (seen, seen + 1), (stored, seen)
    written(f"parent {number}", 1)
"""

NO_WAY = """
def use():
    os.link = lambda *paths: (_ for _ in ()).throw(OSError(95, "Operation not supported"))
    try:
        store.count("plain")
    except StoreError as error:
        assert "spawn" in error.remedy
    else:
        raise AssertionError("it was found")

def compact():
    try:
        store.compact()
    except StoreError as error:
        assert "spawn" in error.remedy
    assert store.compact(rewrite=False).rows_removed == 0

children = [begun(use), begun(compact)]
done.set()
thread.join()
assert ended(*children) == [0, 0]
"""


@pytest.mark.parametrize("mode", ["r", "w"])
@pytest.mark.parametrize(
    "script",
    [TOGETHER, WAITS, KILLED, NO_WAY],
    ids=["used by all at once", "waits for its turn", "killed", "without another name"],
)
def test_a_store_that_was_held_at_a_fork(script: str, mode: str, tmp_path: Path) -> None:
    folders = [str(SUPPORT), *sys.path]
    done = subprocess.run(  # noqa: S603 - our own code
        [sys.executable, "-c", BEGIN + script, str(tmp_path), mode],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(folders)},
        capture_output=True,
        text=True,
        check=False,
        timeout=patient(240),
    )
    assert done.returncode == 0, done.stderr[-3000:]
