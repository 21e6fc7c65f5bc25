"""What other processes do in the tests: module-level functions, so that they can be spawned."""

from __future__ import annotations

import datetime as dt
import os
import time
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa
from patience import patient

from metaxy_dagster.constants import COL_STATUS
from metaxy_dagster.errors import MetaxyError
from metaxy_dagster.stores import DuckDBMetadataStore, Increment
from metaxy_dagster.stores.counts import NEW, ORPHANED, STALE

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


NOBODY = 65534


def become_nobody() -> None:
    """For a process of its own: go on as a user whom permissions bind, if this is the root.

    What the tests call is imported first, since it may lie where only the root may read.
    """
    import pyarrow.dataset  # noqa: F401, PLC0415
    import worlds  # noqa: F401, PLC0415

    import metaxy_dagster.stores.duckdb.read.snapshot  # noqa: F401, PLC0415

    if os.geteuid() == 0:
        os.setgroups([])
        os.setgid(NOBODY)
        os.setuid(NOBODY)


def attempt(store: DuckDBMetadataStore, what: str) -> tuple[str, str, str]:
    """Call the store by name: ("", the result, "") or (error's type, what was found, remedy)."""
    calls = {
        "read": lambda: store.read("image", columns=["id"]).collect().to_native().num_rows,
        "count": lambda: store.count("image"),
        "features": lambda: [str(key) for key in store.features()],
        "schema": lambda: store.schema("image"),
        "data version": lambda: store.data_version("image"),
        "resolve": lambda: store.resolve_update("score").counts.pending,
        "failures": lambda: store.failures("score").collect().to_native().num_rows,
        "failed": lambda: store.failed("score").failed,
        "session": lambda: store.__enter__() and store.__exit__(),
        "write": lambda: store.write("plain", pa.table({"id": ["a"]})).new,
        "delete": lambda: store.delete("image").deleted,
        "retry": lambda: store.retry("score"),
        "drop": lambda: store.drop("image"),
        "write session": lambda: store.open("w").__enter__() and None,
    }
    try:
        return "", str(calls[what]()), ""
    except MetaxyError as error:
        return type(error).__name__, str(error), str(error.remedy)


def read_until(store: DuckDBMetadataStore, stop: Path) -> tuple[int, list[str]]:
    """Read over and over; how often, and what was wrong."""
    looks, failed, seen = 0, [], 0
    while not stop.exists():
        kind, answer, _ = attempt(store, "read")
        failed += [answer] if kind else []
        counted = store.count("plain")
        failed += ["went back"] if counted < seen else []
        looks, seen = looks + 1, counted
    return looks, failed


def hold_raw(path: Path, ready: Path, go: Path) -> int:
    """Keep the file open as a program that knows nothing of the lock would."""
    with duckdb.connect(str(path)):
        ready.write_text(str(os.getpid()))
        wait_for(go)
    return os.getpid()


def wait_for(path: Path, seconds: float = 60, lines: int = 1) -> str:
    """The content of a file, once it is there and has so many lines."""
    deadline = time.monotonic() + patient(seconds)
    while time.monotonic() < deadline:
        if path.is_file() and len((text := path.read_text()).splitlines()) >= lines:
            return text
        time.sleep(0.01)
    raise TimeoutError(path)


# Increments that this process took and has not answered yet.
_TAKEN: dict[int, Increment] = {}


def asked_by(increment: Increment) -> tuple[set[Any], list[Any]]:
    """The samples of an increment: pending ones and orphaned ones."""
    names = increment.sample_columns
    rows = increment.delta.to_pylist()
    samples = [(tuple(row[n] for n in names), row[COL_STATUS]) for row in rows]
    pending = {sample for sample, status in samples if status in (NEW, STALE)}
    return pending, [sample for sample, status in samples if status == ORPHANED]


def take(store: DuckDBMetadataStore, key: str) -> tuple[int, tuple[str, ...], set[Any], list[Any]]:
    """Resolve here and keep the increment; its number, sample columns and samples."""
    increment = store.resolve_update(key)
    number = max(_TAKEN, default=0) + 1
    _TAKEN[number] = increment
    return number, increment.sample_columns, *asked_by(increment)


def answer_taken(
    store: DuckDBMetadataStore, number: int, frame: pa.Table, options: dict[str, Any]
) -> None:
    """Write the answer to an increment that was taken here."""
    increment = _TAKEN[number]
    store.write(increment.feature, frame, increment=increment, **options)


def call(
    store: DuckDBMetadataStore, name: str, args: tuple[Any, ...], options: dict[str, Any]
) -> Any:
    """Call a method of a store here."""
    return getattr(store, name)(*args, **options)


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


def compact_until_killed(store: DuckDBMetadataStore, log: Path) -> None:
    """Write 3,000 rows and compact, over and over; each write is noted when it is acknowledged."""
    frame = store.read("plain").collect().to_native()
    number = frame.column("x")[0].as_py() if frame.num_rows else 0
    while True:
        number += 1
        store.write("plain", pa.table({"id": range(3_000), "x": [number] * 3_000}))
        with log.open("a") as lines:
            lines.write(f"{number}\n")
        store.compact(older_than=dt.timedelta())
