"""Crashes and damaged files: a write is there whole or not at all, nothing is damaged further.

``METAXY_TEST_KILLS`` sets how often a writing process is killed (200 for the full figure).
"""

from __future__ import annotations

import os
import random
import resource
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import duckdb
import pyarrow as pa
import pytest
from patience import child, patient
from places import SUPPORT
from workers import CRASH_ROWS, crash_table, wait_for, write_until_killed
from worlds import IMAGES, digest, rows, small_store, statuses

from metaxy_dagster.errors import StoreError
from metaxy_dagster.features import FeatureGraph, FeatureSpec
from metaxy_dagster.stores import DuckDBMetadataStore

KILLS = int(os.environ.get("METAXY_TEST_KILLS", "5"))


def crash_graph() -> FeatureGraph:
    graph = FeatureGraph()
    graph.add(FeatureSpec("plain", id_columns=["id"]))
    graph.add(FeatureSpec("after", id_columns=["id"], deps=["plain"]))
    return graph


def test_a_killed_write_is_there_whole_or_not_at_all(tmp_path: Path) -> None:
    """Killed at random points, over and over on one file, each time checked by a new process."""
    chance = random.Random(20261123)  # noqa: S311 - where to kill need not be secret
    store = DuckDBMetadataStore(
        tmp_path / "m.duckdb", graph=crash_graph(), lock_timeout=patient(30)
    )
    log = tmp_path / "acknowledged"
    generation, computed = 0, False
    for attempt in range(KILLS):
        log.unlink(missing_ok=True)
        with child(write_until_killed, store, generation + 1, log):
            # Every other child gets as far as a first acknowledgement, however slow the machine is.
            wait_for(log, lines=1 + attempt % 2)
            time.sleep(chance.uniform(0, 0.4))
        acknowledged = [int(line) for line in log.read_text().split()[1:]]
        table = store.read("plain").collect().to_native()
        found = set(table.column("x").to_pylist()) if table.num_rows else set()
        assert len(found) <= 1, f"attempt {attempt}: a torn write of {found}"
        if acknowledged or generation:
            assert table.num_rows == CRASH_ROWS
            # The last acknowledged one, or the one whose acknowledgement was cut off.
            last = acknowledged[-1] if acknowledged else generation
            (stored,) = found
            assert stored in {last, last + 1}, f"attempt {attempt}: lost {last}, found {stored}"
        if found:
            before, (generation,) = generation, found
            check_next_resolve(store, changed=generation != before, computed=computed)
            computed = True
    assert KILLS == 1 or generation > 0


def check_next_resolve(store: DuckDBMetadataStore, *, changed: bool, computed: bool) -> None:
    """What must be recomputed after the crash is exactly what changed."""
    increment = store.resolve_update("after")
    counts = increment.counts
    assert counts.new == (0 if computed else CRASH_ROWS)
    assert counts.stale == (CRASH_ROWS if computed and changed else 0)
    ids = increment.pending.collect().to_native().select(["id"])
    if ids.num_rows:
        store.write("after", ids, increment=increment)
    assert store.resolve_update("after").counts.pending == 0


def test_an_error_in_a_block_undoes_nothing_that_was_acknowledged(tmp_path: Path) -> None:
    store = small_store(tmp_path)
    with pytest.raises(RuntimeError, match="stop"):
        write_and_stop(store)
    assert rows(store, "image", filters="id = 1")[0]["path"] == "x"


def write_and_stop(store: DuckDBMetadataStore) -> None:
    with store.connected("w"):
        store.write("image", pa.table({"id": [1], "path": ["x"], "height": [1], "caption": ["x"]}))
        raise RuntimeError("stop")


DISK_FULL = """
import resource, signal, sys
from pathlib import Path
import pyarrow as pa
sys.path.insert(0, sys.argv[2])
from worlds import small_graph
from metaxy_dagster.errors import StoreError
from metaxy_dagster.stores import DuckDBMetadataStore

store = DuckDBMetadataStore(Path(sys.argv[1]), graph=small_graph())
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
limit = Path(sys.argv[1]).stat().st_size + 4096
resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
size = 200_000
try:
    store.write("plain", pa.table({"id": range(size), "x": [str(i) * 9 for i in range(size)]}))
except StoreError as error:
    print("refused", error.remedy)
"""


@pytest.mark.skipif(not hasattr(resource, "RLIMIT_FSIZE"), reason="no limit on file sizes here")
def test_a_full_disk_is_an_error_and_damages_nothing(tmp_path: Path) -> None:
    store = small_store(tmp_path)
    before = digest(store.path)
    done = subprocess.run(  # noqa: S603
        [sys.executable, "-c", DISK_FULL, str(store.path), str(SUPPORT)],
        capture_output=True,
        text=True,
        timeout=patient(120),
        check=False,
    )
    assert done.stdout.startswith("refused"), done.stderr
    assert digest(store.path) == before
    assert store.write("plain", pa.table({"id": [1]})).new == 1


def truncate(share: float) -> Callable[[Path], None]:
    def damage(path: Path) -> None:
        content = path.read_bytes()
        path.write_bytes(content[: int(len(content) * share)])

    return damage


def newer(path: Path) -> None:
    with duckdb.connect(str(path)) as connection:
        connection.execute("UPDATE metaxy.format SET version = 99")


DAMAGES: dict[str, Callable[[Path], object]] = {
    "garbage": lambda path: path.write_bytes(b"this is no database, " * 1_000),
    "another format": lambda path: path.write_bytes(b"SQLite format 3\0" + b"\0" * 4096),
    "truncated to a tenth": truncate(0.1),
    "truncated to the header": lambda path: path.write_bytes(path.read_bytes()[:100]),
    "header overwritten": lambda path: path.write_bytes(b"\xff" * 8192 + path.read_bytes()[8192:]),
    "empty": lambda path: path.write_bytes(b""),
    "another DuckDB version": lambda path: path.write_bytes(
        path.read_bytes()[:12] + (9_999).to_bytes(8, "little") + path.read_bytes()[20:]
    ),
    "newer store format": newer,
}


@pytest.mark.parametrize("name", DAMAGES)
def test_a_damaged_file_is_a_clear_error_and_left_alone(name: str, tmp_path: Path) -> None:
    store = small_store(tmp_path)
    DAMAGES[name](store.path)
    before = store.path.read_bytes()
    frame = pa.table({"id": [1]})
    for call in (
        lambda: rows(store, "image"),
        lambda: store.count("image"),
        lambda: store.data_version("image"),
        lambda: store.schema("image"),
        store.features,
        lambda: store.resolve_update("score").counts,
        lambda: store.write("plain", frame),
        lambda: store.delete("image"),
        lambda: store.drop("image"),
        lambda: store.open("w").__enter__(),
        store.__enter__,
    ):
        with pytest.raises(StoreError) as caught:
            call()
        assert caught.value.remedy
        assert str(store.path) in str(caught.value) or "store format 99" in str(caught.value)
    assert store.path.read_bytes() == before


@pytest.mark.parametrize("share", [0.3, 0.5, 0.7, 0.9, 0.999])
def test_what_is_read_from_a_truncated_file_is_right_or_refused(
    share: float, tmp_path: Path
) -> None:
    """DuckDB notices that the end is missing when it comes to read it."""
    store = small_store(tmp_path)
    truncate(share)(store.path)
    before = store.path.read_bytes()
    reads: list[tuple[Callable[[], object], object]] = [
        (lambda: rows(store, "image"), IMAGES),
        (lambda: store.count("image"), 3),
        (lambda: statuses(store.resolve_update("score")), {}),
    ]
    for read, right in reads:
        try:
            assert read() == right
        except StoreError as error:
            assert error.remedy  # noqa: PT017 - either outcome will do
        except duckdb.Error as error:
            # A lazy frame is collected by narwhals: the store's error arrives as DuckDB's text.
            assert "StoreError" in str(error)  # noqa: PT017
    assert store.path.read_bytes() == before


def test_a_removed_file_is_a_new_store_and_old_frames_say_so(tmp_path: Path) -> None:
    store = small_store(tmp_path)
    store.path.unlink()
    assert (store.count("image"), store.features()) == (0, [])
    assert statuses(store.resolve_update("score")) == {}
    assert store.write("plain", pa.table({"id": [1]})).commit == 1


def test_the_clock_orders_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Commits do: a clock that runs backwards, or stands still, changes no outcome."""
    store = small_store(tmp_path)
    moments = iter(["2020-01-01 00:00:00+00", "1980-01-01 00:00:00+00"])
    image = {"path": ["z"], "height": [1], "caption": ["z"]}
    for number in (1, 2):
        store.write("image", pa.table({"id": [number], **image}))
        with duckdb.connect(str(store.path)) as connection:
            moment = next(moments)
            connection.execute("UPDATE main.image SET metaxy_updated_at = ?", [moment])
            connection.execute("UPDATE metaxy.commits SET committed_at = ?", [moment])
        assert statuses(store.resolve_update("score")) == {"stale": list(range(1, number + 1))}


def test_a_kill_leaves_no_lock(tmp_path: Path) -> None:
    store = small_store(tmp_path)
    log = tmp_path / "log"
    with child(write_until_killed, store, 1, log):
        wait_for(log)
    quick = DuckDBMetadataStore(store.path, graph=store.graph, lock_timeout=0.5)
    assert quick.write("plain", crash_table(7)).commit > 0
