"""What a write, or a delete, says that it did."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from metaxy_dagster.features import FeatureGraph, FeatureKey, FeatureSpec
from metaxy_dagster.stores import DuckDBMetadataStore, WriteResult

NO_ROWS = pa.table({"id": pa.array([], pa.int64())})


@pytest.fixture
def store(tmp_path: Path) -> DuckDBMetadataStore:
    """Five videos, of which crops 1-4 are stored, and 4 is orphaned: six commits."""
    graph = FeatureGraph()
    graph.add(FeatureSpec("video", id_columns=["id"]))
    graph.add(FeatureSpec("crop", id_columns=["id"], deps=["video"]))
    graph.add(FeatureSpec("never", id_columns=["id"]))
    graph.add(FeatureSpec("nothing", id_columns=["id"], deps=["video"]))
    made = DuckDBMetadataStore(tmp_path / "m.duckdb", graph=graph)
    made.write("video", videos(1, 2, 3, 4))
    made.write("crop", crops(1, 2, 3, 4), increment=made.resolve_update("crop"))
    made.write("nothing", NO_ROWS, increment=made.resolve_update("nothing"), empty=[{"id": 1}])
    made.delete("video", filters="id = 4")
    made.write("video", videos(5))
    made.write("video", videos(1, x=7))
    return made


def videos(*ids: int, x: int = 0) -> pa.Table:
    return pa.table({"id": pa.array(ids, pa.int64()), "x": [x] * len(ids)})


def crops(*ids: int) -> pa.Table:
    return pa.table({"id": pa.array(ids, pa.int64()), "y": [1] * len(ids)})


def answer(frame: pa.Table, key: str = "crop", **options: Any) -> Callable[..., WriteResult]:
    def do(store: DuckDBMetadataStore) -> WriteResult:
        increment = store.resolve_update(key, keep_unchanged=True)
        return store.write(key, frame, increment=increment, **options)

    return do


def written(key: str, frame: pa.Table, **options: Any) -> Callable[..., WriteResult]:
    return lambda store: store.write(key, frame, **options)


def deleted(key: str, filters: str, *, soft: bool = True) -> Callable[..., WriteResult]:
    return lambda store: store.delete(key, filters=filters, soft=soft)


EMPTY = [{"id": 5}]
# Feature, commit, new, updated, unchanged, deleted, empty.
CASES: dict[str, tuple[Callable[..., WriteResult], tuple[str, int, int, int, int, int, int]]] = {
    "first rows": (written("never", videos(1, 2)), ("never", 7, 2, 0, 0, 0, 0)),
    "first rows, none": (written("never", videos()), ("never", 0, 0, 0, 0, 0, 0)),
    "first rows and empty samples": (
        answer(crops(2, 3), "nothing", empty=EMPTY),
        ("nothing", 7, 2, 0, 0, 0, 1),
    ),
    "some of each": (answer(crops(1, 2, 3, 5)), ("crop", 7, 1, 1, 2, 0, 0)),
    "all at once": (
        answer(crops(1, 2, 3), delete_orphaned=True, empty=EMPTY),
        ("crop", 7, 0, 1, 2, 1, 1),
    ),
    "the same rows": (written("video", videos(2, 3)), ("video", 0, 0, 0, 2, 0, 0)),
    "no rows": (written("video", videos()), ("video", 0, 0, 0, 0, 0, 0)),
    "replaced": (written("video", videos(2, 9), mode="replace"), ("video", 7, 1, 0, 1, 3, 0)),
    "replaced by none": (written("video", videos(), mode="replace"), ("video", 7, 0, 0, 0, 4, 0)),
    "nothing of an increment": (answer(NO_ROWS), ("crop", 0, 0, 0, 0, 0, 0)),
    "orphans alone": (answer(NO_ROWS, delete_orphaned=True), ("crop", 7, 0, 0, 0, 1, 0)),
    "empty samples alone": (
        answer(NO_ROWS, empty=[{"id": 1}, {"id": 5}]),
        ("crop", 7, 0, 0, 0, 1, 2),
    ),
    "deleted": (deleted("crop", "id < 3"), ("crop", 7, 0, 0, 0, 2, 0)),
    "deleted for good": (deleted("crop", "id < 3", soft=False), ("crop", 7, 0, 0, 0, 2, 0)),
    "deleted, none": (deleted("crop", "id > 7"), ("crop", 0, 0, 0, 0, 0, 0)),
    "deleted for good, none": (
        deleted("crop", "id > 7", soft=False),
        ("crop", 0, 0, 0, 0, 0, 0),
    ),
    "deleted where nothing is stored": (deleted("never", "id = 1"), ("never", 0, 0, 0, 0, 0, 0)),
    "marks deleted": (deleted("nothing", "id = 1"), ("nothing", 7, 0, 0, 0, 0, 0)),
    "marks deleted for good": (
        deleted("nothing", "id = 1", soft=False),
        ("nothing", 7, 0, 0, 0, 0, 0),
    ),
    "marks deleted, none": (deleted("nothing", "id = 2"), ("nothing", 0, 0, 0, 0, 0, 0)),
}


@pytest.mark.parametrize("name", CASES)
def test_a_result_tells_what_was_done(name: str, store: DuckDBMetadataStore) -> None:
    do, (key, *numbers) = CASES[name]
    assert do(store) == WriteResult(FeatureKey(key), *numbers)
    # The number of the next commit shows whether there was one.
    assert store.write("never", videos(77)).commit == (numbers[0] or 6) + 1
