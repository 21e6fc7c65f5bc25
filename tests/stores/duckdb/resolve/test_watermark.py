"""One example for each reason that a sample may have changed since the last resolve."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from watermarks import (
    add_label,
    add_video,
    answer,
    change_frame,
    change_mark,
    change_part,
    change_two_upstreams,
    change_video,
    delete_frames,
    delete_own,
    delete_video,
    erase_own,
    erase_video,
    found,
    graph,
    nothing,
    store_at,
    write_never,
)

from metaxy_dagster.features import FeatureGraph
from metaxy_dagster.stores import DuckDBMetadataStore


@pytest.fixture
def store(tmp_path: Path) -> DuckDBMetadataStore:
    return store_at(tmp_path)


CASES: list[tuple[str, Callable[[DuckDBMetadataStore], None], dict[Any, str]]] = [
    ("crop", nothing, {}),
    ("crop", change_video, {2: "stale"}),
    ("crop", add_video, {7: "new"}),
    ("crop", delete_video, {2: "orphaned"}),
    ("crop", erase_video, {2: "orphaned"}),
    ("crop", delete_own, {2: "new"}),
    ("crop", erase_own, {2: "new"}),
    ("tagged", change_video, {2: "stale"}),
    ("tagged", add_label, {5: "stale"}),
    ("fine", change_video, {(2, 1): "stale", (2, 2): "stale"}),
    ("fine", delete_video, {(2, 1): "orphaned", (2, 2): "orphaned"}),
    ("fine", change_frame, {(2, 1): "stale"}),
    ("fine", add_video, {(7, 1): "new", (7, 2): "new"}),
    ("group", change_frame, {2: "stale"}),
    ("group", delete_frames, {2: "orphaned"}),
    ("child", change_video, {2: "stale"}),
    ("child", delete_video, {2: "orphaned"}),
    ("child", add_video, {7: "new"}),
    ("tagged", change_two_upstreams, {2: "stale", 5: "stale"}),
    ("hopeful", change_video, {2: "stale"}),
    ("hopeful", write_never, {3: "stale"}),
]


# What one row of these touches cannot be told, so all is looked at.
UNTOLD: list[tuple[str, Callable[[DuckDBMetadataStore], None], dict[Any, str]]] = [
    ("spread", change_part, {(i, 2, 1): "stale" for i in range(1, 8)}),
    ("spread", change_frame, {(2, 1, 1): "stale"}),
    ("summed", change_mark, {(2, 1): "stale", (2, 2): "stale"}),
]


def mark_elsewhere(store: DuckDBMetadataStore) -> None:
    """Another writer finds the changed sample empty; it was stale, and needs nothing now."""
    change_video(store)
    elsewhere = DuckDBMetadataStore(store.path, graph=graph(), max_incremental_share=0)
    increment = elsewhere.resolve_update("crop")
    elsewhere.write("crop", pa.table({}), increment=increment, empty=[{"id": 2}])


def mark_and_change(store: DuckDBMetadataStore) -> None:
    mark_elsewhere(store)
    store.write("video", pa.table({"id": [2], "x": [100]}))


def mark_and_delete_own(store: DuckDBMetadataStore) -> None:
    mark_elsewhere(store)
    store.resolve_update("crop").delta  # noqa: B018 - somebody looks in between
    store.delete("crop", filters="id = 2")


def mark_and_erase_own(store: DuckDBMetadataStore) -> None:
    mark_elsewhere(store)
    store.delete("crop", filters="id = 2", soft=False)


def mark_and_delete_video(store: DuckDBMetadataStore) -> None:
    mark_elsewhere(store)
    delete_video(store)


def mark_an_older_state(store: DuckDBMetadataStore) -> None:
    change_video(store)
    increment = store.resolve_update("crop")
    increment.delta  # noqa: B018 - as of now
    store.write("video", pa.table({"id": [2], "x": [100]}))
    store.write("crop", pa.table({}), increment=increment, empty="rest")


def mark_by_an_older_answer(store: DuckDBMetadataStore) -> None:
    """Of which the watermark takes no note: somebody who resolved later knows more."""
    older = store.resolve_update("crop", keep_unchanged=True)
    older.delta  # noqa: B018 - as of now
    change_video(store)
    store.write("crop", pa.table({}), increment=store.resolve_update("crop"))
    store.write("crop", pa.table({}), increment=older, empty=[{"id": 1}])


def mark_children(store: DuckDBMetadataStore) -> None:
    change_video(store)
    increment = store.resolve_update("child")
    store.write("child", pa.table({}), increment=increment, empty="rest")


def mark_children_and_change(store: DuckDBMetadataStore) -> None:
    mark_children(store)
    store.write("video", pa.table({"id": [2], "x": [100]}))


CASES += [
    ("crop", mark_elsewhere, {}),
    ("crop", mark_and_change, {2: "new"}),
    ("crop", mark_and_delete_own, {2: "new"}),
    ("crop", mark_and_erase_own, {2: "new"}),
    ("crop", mark_and_delete_video, {}),
    ("crop", mark_an_older_state, {2: "new"}),
    ("crop", mark_by_an_older_answer, {2: "stale"}),
    ("child", mark_children, {}),
    ("child", mark_children_and_change, {2: "new"}),
]


@pytest.mark.parametrize(
    ("key", "change", "expected"), CASES, ids=[f"{k}-{c.__name__}" for k, c, _ in CASES]
)
def test_a_change_is_found(
    store: DuckDBMetadataStore,
    narrowed: list[int | None],
    key: str,
    change: Callable[[DuckDBMetadataStore], None],
    expected: dict[Any, str],
) -> None:
    answer(store, key, store.resolve_update(key))
    change(store)
    narrowed.clear()
    assert found(store, key) == expected
    erased = change in (erase_video, erase_own, mark_and_erase_own)
    assert bool(narrowed) is not erased, "erased rows leave no trace, so all must be looked at"
    if narrowed:
        assert narrowed[0] is not None
        assert narrowed[0] <= 2


@pytest.mark.parametrize(
    ("key", "change", "expected"), UNTOLD, ids=[f"{k}-{c.__name__}" for k, c, _ in UNTOLD]
)
def test_a_change_whose_reach_cannot_be_told_is_found(
    store: DuckDBMetadataStore,
    narrowed: list[int | None],
    key: str,
    change: Callable[[DuckDBMetadataStore], None],
    expected: dict[Any, str],
) -> None:
    answer(store, key, store.resolve_update(key))
    narrowed.clear()
    change(store)
    assert found(store, key) == expected
    assert narrowed == [None]


def test_all_reasons_at_once(store: DuckDBMetadataStore, narrowed: list[int | None]) -> None:
    increment = store.resolve_update("tagged")
    store.write("tagged", pa.table({"id": [1, 2, 3, 4, 5], "v": [1] * 5}), increment=increment)
    change_two_upstreams(store)
    store.delete("tagged", filters="id = 1")
    assert found(store, "tagged") == {1: "new", 2: "stale", 5: "stale", 6: "new"}
    assert narrowed[-1] == 4


def test_a_definition_that_changes_nothing_gets_its_own_watermark(
    store: DuckDBMetadataStore, narrowed: list[int | None]
) -> None:
    answer(store, "crop", store.resolve_update("crop"))
    other = store.with_graph(graph(filters="x > 0"))
    narrowed.clear()
    other.write("crop", pa.table({}), increment=other.resolve_update("crop"))
    assert narrowed == []
    assert found(other, "crop") == {}
    assert narrowed == [0]


def test_orphans_left_alone_stay_orphaned(
    store: DuckDBMetadataStore, narrowed: list[int | None]
) -> None:
    answer(store, "crop", store.resolve_update("crop"))
    delete_video(store)
    add_video(store)
    answer(store, "crop", store.resolve_update("crop"))
    assert found(store, "crop") == {2: "orphaned"}
    store.write("crop", pa.table({}), increment=store.resolve_update("crop"), delete_orphaned=True)
    narrowed.clear()
    assert found(store, "crop") == {}
    assert narrowed == [1], "what was known is known still"


@pytest.mark.parametrize(
    ("changed", "expected"),
    [
        (graph("2"), dict.fromkeys(range(1, 7), "stale")),
        (graph(filters="x > 2"), {1: "orphaned", 2: "orphaned"}),
        (graph(), {}),
    ],
    ids=["code version", "filters", "nothing"],
)
def test_another_definition_voids_the_watermark(
    store: DuckDBMetadataStore, changed: FeatureGraph, expected: dict[Any, str]
) -> None:
    answer(store, "crop", store.resolve_update("crop"))
    assert found(store.with_graph(changed), "crop") == expected


def test_a_dropped_and_rewritten_upstream_is_seen(store: DuckDBMetadataStore) -> None:
    answer(store, "crop", store.resolve_update("crop"))
    store.drop("video")
    store.write("video", pa.table({"id": [1, 2], "x": [1, 50]}))
    assert found(store, "crop") == {2: "stale", **dict.fromkeys((3, 4, 5, 6), "orphaned")}


def test_changes_that_need_nothing_are_looked_at_once(
    store: DuckDBMetadataStore, narrowed: list[int | None]
) -> None:
    """An increment of nothing, answered by nothing, still moves the watermark."""
    answer(store, "crop", store.resolve_update("crop"))
    store.write("video", pa.table({"id": [1], "x": [50]}))
    store.write("video", pa.table({"id": [1], "x": [1]}))
    narrowed.clear()
    increment = store.resolve_update("crop")
    assert (increment.counts.pending, narrowed) == (0, [1])
    store.write("crop", pa.table({}), increment=increment)
    assert found(store, "crop") == {}
    assert narrowed[-1] == 0


@pytest.mark.parametrize(("changed", "looked_at"), [(3, 3), (4, None)])
def test_too_many_candidates_take_the_full_resolve(
    tmp_path: Path, narrowed: list[int | None], changed: int, looked_at: int | None
) -> None:
    """Up to a share of the stored samples, here three tenths of ten."""
    narrow = DuckDBMetadataStore(tmp_path / "m.duckdb", graph=graph(), max_incremental_share=0.3)
    narrow.write("video", pa.table({"id": range(10), "x": range(10)}))
    answer(narrow, "crop", narrow.resolve_update("crop"))
    narrow.write("video", pa.table({"id": range(changed), "x": [99] * changed}))
    assert found(narrow, "crop") == dict.fromkeys(range(changed), "stale")
    assert narrowed == [looked_at]


@pytest.mark.parametrize(
    ("change", "expected"),
    [(change_video, {2: "stale"}), (delete_video, {2: "orphaned"}), (add_video, {7: "new"})],
)
def test_an_upstream_that_moved_right_after_the_question(
    store: DuckDBMetadataStore,
    change: Callable[[DuckDBMetadataStore], None],
    expected: dict[Any, str],
) -> None:
    """The very next commit after the one that was looked at is news."""
    increment = store.resolve_update("crop")
    change(store)
    answer(store, "crop", increment)
    assert found(store, "crop") == expected


def test_the_very_next_commit_of_the_feature_itself_is_news(store: DuckDBMetadataStore) -> None:
    answer(store, "crop", store.resolve_update("crop"))
    store.delete("crop", filters="id = 2")
    assert found(store, "crop") == {2: "new"}


def test_what_was_erased_before_the_question_is_no_news(
    store: DuckDBMetadataStore, narrowed: list[int | None]
) -> None:
    """Nor is it known any more how many samples are stored: they are counted."""
    answer(store, "crop", store.resolve_update("crop"))
    erase_video(store)
    erase_own(store)
    store.write("crop", pa.table({}), increment=store.resolve_update("crop"))
    store.write("video", pa.table({"id": [3], "x": [77]}))
    narrowed.clear()
    assert found(store, "crop") == {3: "stale"}
    assert narrowed == [1]
