"""Sessions, connections, disks, memory and processes that end in another way than they began."""

from __future__ import annotations

import asyncio
import contextvars
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import narwhals as nw
import pyarrow as pa
import pytest
from patience import patient
from places import SUPPORT
from worlds import small_graph, small_store

from metaxy_dagster.errors import MetaxyError, StoreError
from metaxy_dagster.stores import DuckDBMetadataStore, MetaxyConfig


@pytest.fixture
def store(tmp_path: Path) -> DuckDBMetadataStore:
    return small_store(tmp_path)


def plain(*ids: int) -> pa.Table:
    return pa.table({"id": list(ids)})


def reading(store: DuckDBMetadataStore) -> Iterator[int]:
    with store:
        yield store.count("plain")


def test_a_generator_ends_its_own_session(store: DuckDBMetadataStore) -> None:
    generator = reading(store)
    next(generator)
    with store.open("w"):
        generator.close()
        assert store.write("plain", plain(1)).new == 1


def test_generators_end_in_any_order(store: DuckDBMetadataStore) -> None:
    other = DuckDBMetadataStore(store.path, graph=store.graph)
    first, second = reading(store), reading(store)
    assert next(first) == 0
    other.write("plain", plain(1))
    assert next(second) == 1
    first.close()
    other.write("plain", plain(2))
    assert store.count("plain") == 1
    second.close()
    assert store.count("plain") == 2


def test_a_task_that_outlives_a_connection_opens_its_own(store: DuckDBMetadataStore) -> None:
    async def later(ended: asyncio.Event) -> int:
        await ended.wait()
        return store.write("plain", plain(1)).new

    async def run() -> int:
        ended = asyncio.Event()
        with store.connected("w"):
            task = asyncio.create_task(later(ended))
            await asyncio.sleep(0)
        ended.set()
        return await task

    assert asyncio.run(run()) == 1


def test_a_thread_may_use_a_connection_beside_the_one_that_opened_it(
    store: DuckDBMetadataStore,
) -> None:
    found: list[int] = []
    with store.connected("w"):
        context = contextvars.copy_context()
        threads = [
            threading.Thread(target=lambda: found.append(context.copy().run(store.count, "image")))
            for _ in range(4)
        ]
        for thread in threads:
            thread.start()
        store.write("plain", plain(1))
        for thread in threads:
            thread.join()
    assert found == [3, 3, 3, 3]


@pytest.mark.parametrize("how", ["deleted", "dropped"])
def test_a_frame_whose_rows_were_erased_says_so(how: str, store: DuckDBMetadataStore) -> None:
    store.write("plain", plain(1, 2))
    frame, other = store.read("plain"), store.read("image")
    if how == "deleted":
        store.delete("plain", filters="id = 1", soft=False)
    else:
        store.drop("plain")
    with pytest.raises(StoreError, match="erased for good") as caught:
        frame.collect()
    assert caught.value.remedy
    assert len(other.collect()) == 3
    assert store.read("plain").collect().shape[0] == (how == "deleted")


def test_memory_that_runs_out_is_told(tmp_path: Path) -> None:
    rows = 200_000
    settings = {"memory_limit": "10MB", "temp_directory": ""}
    big = DuckDBMetadataStore(tmp_path / "m.duckdb", graph=small_graph())
    big.write("plain", pa.table({"id": range(rows), "t": [f"{n:0100}" for n in range(rows)]}))
    said: list[object] = []

    def read() -> None:
        store = DuckDBMetadataStore(big.path, graph=small_graph(), settings=settings)
        try:
            store.read("plain").group_by("t").agg(nw.len()).collect()
        except MetaxyError as error:
            said.append(error.remedy)

    # A thread's frames share one connection, with the settings of the first.
    thread = threading.Thread(target=read)
    thread.start()
    thread.join()
    assert "memory_limit" in str(said)


FULL_DISK = """
import resource, signal, sys
import pyarrow as pa
from worlds import small_graph
from metaxy_dagster.errors import MetaxyError
from metaxy_dagster.stores import DuckDBMetadataStore

store = DuckDBMetadataStore(sys.argv[1], graph=small_graph())
store.write("plain", pa.table({"id": [0], "x": ["0"]}))
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (1_500_000, resource.RLIM_INFINITY))
stored, refused = 1, 0
for start in range(1, 200_000, 4_000):
    rows = range(start, start + 4_000)
    try:
        store.write("plain", pa.table({"id": rows, "x": [str(hash(str(n))) for n in rows]}))
        stored += 4_000
    except MetaxyError:
        refused += 1
    assert store.count("plain") == stored, (start, stored)
    if refused > 3:
        break
assert refused > 3
resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
assert store.count("plain") == stored
assert store.write("plain", pa.table({"id": [-1], "x": ["-1"]})).new == 1
print(stored)
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no limits and no fork")
def test_a_full_disk(tmp_path: Path) -> None:
    """What raised is not stored, and what is stored did not raise."""
    folders = [str(SUPPORT), *sys.path]
    done = subprocess.run(  # noqa: S603 - our own code
        [sys.executable, "-c", FULL_DISK, str(tmp_path / "m.duckdb")],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(folders)},
        capture_output=True,
        text=True,
        check=False,
        timeout=patient(200),
    )
    assert done.returncode == 0, done.stderr[-2000:]
    assert int(done.stdout) >= 1


CHANGING = [
    *("default_order", "DEFAULT_NULL_ORDER", "null_order", "integer_division", "TimeZone"),
    *("ieee_floating_point_ops", "Calendar", "preserve_insertion_order", "access_mode", "schema"),
    *("old_implicit_casting", "disabled_optimizers", "lock_configuration", "errors_as_json"),
    *("default_collation", "fsync_mode", "regex_match_operator_semantics", "no_such_setting"),
]


@pytest.mark.parametrize("name", CHANGING)
def test_settings_that_may_change_results_are_refused(name: str, tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="may change what is stored or read") as caught:
        DuckDBMetadataStore(tmp_path / "m", settings={name: "hunter2"})
    assert name in str(caught.value.found)
    assert "hunter2" not in str(caught.value)


SECRETS: list[dict[str, Any]] = [
    {"stores": {"a": {"config": {"path": "m", "max_attempts": "hunter2"}}}},
    {"stores": {"a": {"config": {"path": "m", "lock_timeout": "hunter2"}}}},
    {"stores": {"a": {"config": {"path": "m", "password": "hunter2"}}}},
    {"stores": {"a": {"config": {"path": "postgres://me:hunter2@host/db"}}}},
    {"stores": {"a": {"config": {"path": ["hunter2"]}}}},
    {"stores": {"a": {"config": {"path": "m", "settings": "hunter2"}}}},
    {"stores": {"a": {"config": {"path": "m", "settings": {"threads": "hunter2"}}}}},
    {"stores": {"a": {"type": "hunter2"}}},
    {"stores": {"a": {"type": "x://me:hunter2@host"}}},
    {"store": "hunter2", "stores": {"a": {}}},
]


@pytest.mark.parametrize("content", SECRETS, ids=str)
def test_a_secret_in_the_wrong_place_is_not_repeated(content: dict[str, Any]) -> None:
    config = MetaxyConfig.model_validate(content)
    with pytest.raises(MetaxyError) as caught:
        config.get_store().features()
    assert "hunter2" not in str(caught.value)
    assert caught.value.remedy
