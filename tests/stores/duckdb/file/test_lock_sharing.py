"""Who reads takes no more than a reader's part of the lock."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import narwhals as nw
import pytest
from filelock import ReadWriteLock
from worlds import small_store

from metaxy_dagster.errors import StoreBusyError
from metaxy_dagster.stores import DuckDBMetadataStore

ANY = nw.col("id") > 0
# No filter says it: narwhals itself filters the frame.
MORE = nw.col("id") * 2 > 0
CALLS: dict[str, Callable[[DuckDBMetadataStore], Any]] = {
    "read": lambda store: store.read("score").collect(),
    "read by an expression": lambda store: store.read("score", filters=ANY).collect(),
    "read by more than a filter": lambda store: store.read("score", filters=MORE).collect(),
    "history": lambda store: store.read("score", history=True).collect(),
    "scan": lambda store: list(store.scan("score").batches()),
    "table": lambda store: store.read_table("score"),
    "count": lambda store: store.count("score"),
    "count by an expression": lambda store: store.count("score", filters=ANY),
    "count by more than a filter": lambda store: store.count("score", filters=MORE),
    "data version": lambda store: store.data_version("score"),
    "summary": lambda store: store.summary("score"),
    "schema": lambda store: store.schema("score"),
    "features": lambda store: store.features(),
    "pinned": lambda store: store.pinned("name"),
    "failures": lambda store: store.failures("score").collect(),
    "failed": lambda store: store.failed("score"),
    "increment": lambda store: store.resolve_update("score").counts,
    "pending": lambda store: store.resolve_update("score").pending.collect(),
    "orphaned": lambda store: store.resolve_update("score").orphaned.collect(),
    "upstream": lambda store: store.resolve_update("score").upstream("image").collect(),
    "upstream table": lambda store: store.resolve_update("score").upstream_table("image"),
}


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[DuckDBMetadataStore]:
    """Somebody reads it."""
    made = small_store(tmp_path_factory.mktemp("read"))
    lock = ReadWriteLock(f"{made.path}.lock", is_singleton=False)
    with lock.read_lock():
        yield DuckDBMetadataStore(made.path, graph=made.graph, lock_timeout=0.2)
    lock.close()


@pytest.mark.parametrize("call", CALLS.values(), ids=CALLS)
def test_readers_do_not_wait_for_each_other(
    store: DuckDBMetadataStore, call: Callable[[DuckDBMetadataStore], Any]
) -> None:
    call(store)


def test_a_writer_waits_for_readers(store: DuckDBMetadataStore) -> None:
    with pytest.raises(StoreBusyError, match="while waiting to write"):
        store.delete("score")
