"""How often calls open the file: each time, DuckDB reads what all features in it look like."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from worlds import catch_up, small_store

from metaxy_dagster.stores import DuckDBMetadataStore
from metaxy_dagster.stores.counts import Counts
from metaxy_dagster.stores.duckdb.file.connection import DuckDBFile

IMAGE = {"id": [1], "path": ["changed"], "height": [1], "caption": ["changed"]}


def change(store: DuckDBMetadataStore) -> None:
    store.write("image", pa.table(IMAGE))


def counted(store: DuckDBMetadataStore) -> Counts:
    return store.resolve_update("score").counts


OPENINGS: dict[str, tuple[Callable[[DuckDBMetadataStore], object], int]] = {
    "resolve nothing": (counted, 1),
    "resolve nothing of some": (lambda s: s.resolve_update("score", filters="id = 1").counts, 1),
    "resolve nothing twice": (lambda s: (counted(s), counted(s)), 2),
    "resolve a change": (lambda s: (change(s), counted(s)), 3),
    "resolve what looks stale": (
        lambda s: s.resolve_update("score", stale_when="id = 1").counts,
        2,
    ),
    "write": (change, 1),
    "schema": (lambda s: s.schema("image"), 1),
    "count": (lambda s: s.count("image", filters="id = 1"), 1),
    "read at once": (lambda s: s.read_table("image"), 1),
    "read": (lambda s: s.read("image").collect(), 2),
    "summary": (lambda s: s.summary("image"), 1),
    "data version": (lambda s: s.data_version("image", filters="id = 1"), 1),
}


@pytest.fixture
def opened(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    found: list[str] = []
    attach = DuckDBFile._attach

    def counting(file: DuckDBFile, connection: Any, mode: Any) -> None:
        found.append(mode)
        attach(file, connection, mode)

    monkeypatch.setattr(DuckDBFile, "_attach", counting)
    return found


@pytest.mark.parametrize("name", OPENINGS)
def test_the_file_is_opened_as_rarely_as_can_be(
    name: str, tmp_path: Path, opened: list[str]
) -> None:
    do, times = OPENINGS[name]
    store = small_store(tmp_path)
    catch_up(store, "score", score=1.0)
    opened.clear()
    do(store)
    assert len(opened) == times, opened


def test_what_was_known_when_it_was_resolved_holds_for_that_moment(tmp_path: Path) -> None:
    store = small_store(tmp_path)
    catch_up(store, "score", score=1.0)
    before = store.resolve_update("score")
    change(store)
    after = store.resolve_update("score")
    assert before.counts == Counts(0, 0, 0)
    assert before.delta.num_rows == 0
    assert after.counts == Counts(0, 1, 0)
    with store:
        store_before = store.resolve_update("score")
    assert store_before.counts == after.counts
