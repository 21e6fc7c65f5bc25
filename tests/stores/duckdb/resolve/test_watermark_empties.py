"""What is known of samples that yielded nothing, since the last resolve."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pytest
from watermarks import (
    add_video,
    answer,
    change_frame,
    change_mark,
    change_video,
    found,
    graph,
    nothing,
    store_at,
)

from metaxy_dagster.stores import DuckDBMetadataStore, Increment


@pytest.fixture
def store(tmp_path: Path) -> DuckDBMetadataStore:
    return store_at(tmp_path)


def empty(store: DuckDBMetadataStore, increment: Increment, *ids: int) -> None:
    found = [{"id": one} for one in ids]
    store.write("crop", pa.table({}), increment=increment, empty=found)


@pytest.mark.parametrize("behind", [True, False])
def test_empty_samples_are_not_looked_at_again(
    store: DuckDBMetadataStore, narrowed: list[int | None], behind: bool
) -> None:
    increment = store.resolve_update("crop")
    store.write("crop", pa.table({"id": [1], "v": [1]}), increment=increment, empty=[{"id": 2}])
    assert found(store, "crop") == dict.fromkeys((3, 4, 5, 6), "new")
    assert narrowed == [4]
    if behind:
        change_video(store)
    empty(store, store.resolve_update("crop"), 3, 4)
    narrowed.clear()
    again = {2: "new"} if behind else {}
    assert found(store, "crop") == {**dict.fromkeys((5, 6), "new"), **again}
    assert narrowed == [len(again) + 2]


def test_what_others_did_to_empty_samples_is_not_lost(store: DuckDBMetadataStore) -> None:
    """A mark that somebody ends, or puts back, between a question and its answer."""
    older = store.resolve_update("crop")
    older.delta  # noqa: B018 - as of now
    change_video(store)
    increment = store.resolve_update("crop")
    store.write("crop", pa.table({"id": [5], "value": [1]}), increment=increment)
    empty(store, store.resolve_update("crop"), 1, 2, 3)
    add_video(store)
    increment = store.resolve_update("crop")
    assert {row["id"] for row in increment.delta.to_pylist()} == {4, 6, 7}
    store.delete("crop", filters="id = 1")
    empty(store, older, 2)
    answer(store, "crop", increment)
    assert found(store, "crop") == {1: "new", 2: "new"}


def test_what_others_did_to_empty_samples_before_an_answer_of_nothing_is_kept(
    store: DuckDBMetadataStore,
) -> None:
    increment = store.resolve_update("crop")
    store.write("crop", pa.table({"id": [5], "value": [1]}), increment=increment)
    empty(store, store.resolve_update("crop"), 1, 2, 3)
    add_video(store)
    increment = store.resolve_update("crop")
    assert {row["id"] for row in increment.delta.to_pylist()} == {4, 6, 7}
    store.delete("crop", filters="id = 1")
    empty(store, increment, 4)
    assert found(store, "crop") == dict.fromkeys((1, 6, 7), "new")


@pytest.mark.parametrize("marked", [True, False])
def test_empty_samples_count_among_those_that_are_known(
    store: DuckDBMetadataStore, narrowed: list[int | None], marked: bool
) -> None:
    half = DuckDBMetadataStore(store.path, graph=graph(), max_incremental_share=0.5)
    increment = half.resolve_update("crop", filters=None if marked else "id <= 2")
    frame = pa.table({"id": [1, 2], "v": [1, 1]})
    half.write("crop", frame, increment=increment, empty="rest" if marked else None)
    if not marked:
        half.delete("video", filters="id > 2")
        half.write("crop", pa.table({}), increment=half.resolve_update("crop"))
    half.write("video", pa.table({"id": [1, 2], "x": [8, 9]}))
    narrowed.clear()
    assert found(half, "crop") == {1: "stale", 2: "stale"}
    assert narrowed == [2 if marked else None]


def test_what_an_answer_finds_empty_is_not_taken_for_what_others_did(
    store: DuckDBMetadataStore, narrowed: list[int | None]
) -> None:
    increment = store.resolve_update("crop")
    store.write("crop", pa.table({"id": [1], "v": [1]}), increment=increment, empty=[{"id": 2}])
    store.delete("crop", filters="id = 1")
    empty(store, increment, 3)
    narrowed.clear()
    assert found(store, "crop") == dict.fromkeys((1, 4, 5, 6), "new")
    assert narrowed == [4]


def test_empty_samples_of_several_ids(store: DuckDBMetadataStore) -> None:
    for change, pending in ((nothing, 4), (change_frame, 1), (change_mark, 2), (nothing, 0)):
        change(store)
        increment = store.resolve_update("summed")
        assert (increment.counts.pending, increment.counts.orphaned) == (pending, 0)
        store.write("summed", pa.table({}), increment=increment, empty="rest")
