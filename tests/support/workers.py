"""What other processes do in the tests: module-level functions, so that they can be spawned."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa

from metaxy_dagster.errors import MetaxyError
from metaxy_dagster.stores import DuckDBMetadataStore

CRASH_ROWS = 2_000


def write_many(
    store: DuckDBMetadataStore, worker: int, writes: int
) -> tuple[list[str], list[int], list[str]]:
    """Write one sample at a time, read and resolve in between; what was acknowledged."""
    acknowledged, commits, errors = [], [], []
    for number in range(writes):
        one = f"{worker}-{number}"
        try:
            result = store.write("plain", pa.table({"id": [one], "x": [number]}))
            if result.new == 1:
                acknowledged.append(one)
                commits.append(result.commit)
            if number % 5 == worker % 5:
                read_once(store, one)
        except MetaxyError as error:
            errors.append(str(error))
    return acknowledged, commits, errors


def read_once(store: DuckDBMetadataStore, own: str) -> None:
    """A reader sees whole writes, its own among them, in a frame that is collected later."""
    frame = store.read("plain", columns=["id"])
    counted = store.count("plain")
    store.resolve_update("score").counts  # noqa: B018 - the look at the file is what is tried
    ids = frame.collect().to_native().column("id").to_pylist()
    if own not in ids or len(ids) > counted or len(ids) != len(set(ids)):
        message = f"{own} was written, but the reader saw {len(ids)} of {counted}"
        raise AssertionError(message)


def hold(store: DuckDBMetadataStore, mode: Any, ready: Path, go: Path) -> int:
    """Keep the store's lock until ``go`` is there."""
    with store.connected(mode):
        ready.write_text(str(os.getpid()))
        wait_for(go)
    return os.getpid()


def hold_raw(path: Path, ready: Path, go: Path) -> int:
    """Keep the file open as a program that knows nothing of the lock would."""
    with duckdb.connect(str(path)):
        ready.write_text(str(os.getpid()))
        wait_for(go)
    return os.getpid()


def wait_for(path: Path, seconds: float = 60, lines: int = 1) -> str:
    """The content of a file, once it is there and has so many lines."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if path.is_file() and len((text := path.read_text()).splitlines()) >= lines:
            return text
        time.sleep(0.01)
    raise TimeoutError(path)


def crash_table(generation: int) -> pa.Table:
    """Rows that all carry the same generation: a torn write would show two of them."""
    ids = range(CRASH_ROWS)
    return pa.table({"id": ids, "x": [generation] * CRASH_ROWS, "y": ["y" * 50] * CRASH_ROWS})


def write_until_killed(store: DuckDBMetadataStore, first: int, log: Path) -> None:
    """Write generation after generation; each one is logged when it was acknowledged."""
    with log.open("a", buffering=1) as acknowledged:
        acknowledged.write("ready\n")
        generation = first
        while True:
            store.write("plain", crash_table(generation))
            acknowledged.write(f"{generation}\n")
            generation += 1
