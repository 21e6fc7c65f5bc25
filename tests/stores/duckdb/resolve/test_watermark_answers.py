"""What an answer to an increment leaves known, and what stays pending."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa
import pytest
from watermarks import answer, change_video, delete_video, found, graph, store_at

from metaxy_dagster.stores import Counts, DuckDBMetadataStore
from metaxy_dagster.stores.duckdb.resolve import watermark as watermark_module


@pytest.fixture
def store(tmp_path: Path) -> DuckDBMetadataStore:
    return store_at(tmp_path)


def test_what_others_did_before_an_answer_is_kept_by_the_next_answer(
    store: DuckDBMetadataStore,
) -> None:
    """Two questions are open, of which the younger is answered last."""
    answer(store, "crop", store.resolve_update("crop"))
    change_video(store)
    older = store.resolve_update("crop")
    assert older.counts.stale == 1
    store.write("video", pa.table({"id": [3], "x": [77]}))
    younger = store.resolve_update("crop")
    assert younger.counts.stale == 2
    store.delete("crop", filters="id = 5")
    answer(store, "crop", older)
    answer(store, "crop", younger)
    assert found(store, "crop") == {5: "new"}


def test_what_others_did_last_before_an_answer_of_nothing_is_kept(
    store: DuckDBMetadataStore,
) -> None:
    answer(store, "crop", store.resolve_update("crop"))
    delete_video(store)
    increment = store.resolve_update("crop")
    assert increment.counts.orphaned == 1
    store.delete("crop", filters="id = 5")
    nothing_returned = pa.table({"id": pa.array([], pa.int64())})
    store.write("crop", nothing_returned, increment=increment)
    assert found(store, "crop") == {2: "orphaned", 5: "new"}


def marks(store: DuckDBMetadataStore) -> list[tuple[int, int]]:
    with duckdb.connect(str(store.path)) as connection:
        return connection.execute(
            "SELECT upstream_commit, own_commit FROM metaxy.features WHERE fingerprint IS NOT NULL"
        ).fetchall()


def test_an_answer_of_nothing_to_a_question_of_nothing_writes_nothing(
    store: DuckDBMetadataStore,
) -> None:
    answer(store, "crop", store.resolve_update("crop"))
    before = marks(store)
    store.write("label", pa.table({"id": [9], "y": ["z"]}))
    store.write("crop", pa.table({}), increment=store.resolve_update("crop"))
    assert marks(store) == before
    change_video(store)
    store.write("video", pa.table({"id": [2], "x": [2]}))
    store.write("crop", pa.table({}), increment=store.resolve_update("crop"))
    assert marks(store) > before
    assert len(marks(store)) == len(before) == 1, "one row of the feature"
    before = marks(store)
    store.write("label", pa.table({"id": [10], "y": ["z"]}))
    store.write("crop", pa.table({}), increment=store.resolve_update("crop"))
    assert marks(store) == before


@pytest.mark.parametrize(("left", "noted"), [(2, True), (3, False)])
def test_so_many_open_samples_are_noted_and_no_more(
    store: DuckDBMetadataStore,
    narrowed: list[int | None],
    monkeypatch: pytest.MonkeyPatch,
    left: int,
    noted: bool,
) -> None:
    monkeypatch.setattr(watermark_module, "MAX_PENDING", 2)
    increment = store.resolve_update("crop")
    done = list(range(1, 7 - left))
    store.write("crop", pa.table({"id": done, "v": done}), increment=increment)
    narrowed.clear()
    assert found(store, "crop") == dict.fromkeys(range(7 - left, 7), "new")
    assert narrowed == ([left] if noted else [])


def test_open_samples_that_become_too_many_are_forgotten(
    store: DuckDBMetadataStore, narrowed: list[int | None], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(watermark_module, "MAX_PENDING", 2)
    increment = store.resolve_update("crop")
    store.write("crop", pa.table({"id": [1, 2, 3, 4], "v": [1] * 4}), increment=increment)
    store.delete("crop", filters="id <= 2")
    store.write("crop", pa.table({"id": [5], "v": [1]}), increment=increment)
    narrowed.clear()
    assert found(store, "crop") == dict.fromkeys((1, 2, 6), "new")
    assert narrowed == []


def test_unanswered_samples_stay_pending(
    store: DuckDBMetadataStore, narrowed: list[int | None]
) -> None:
    increment = store.resolve_update("crop")
    store.write("crop", pa.table({"id": [1, 2], "v": [1, 1]}), increment=increment)
    assert found(store, "crop") == dict.fromkeys((3, 4, 5, 6), "new")
    store.write("crop", pa.table({"id": [3], "v": [1]}), increment=increment)
    assert found(store, "crop") == dict.fromkeys((4, 5, 6), "new")
    assert narrowed[-1] == len((4, 5, 6)), "what was answered is not looked at again"


@pytest.mark.parametrize("more", [{}, {"empty": [{"id": 2}]}], ids=["rows", "and empty"])
def test_many_children_of_one_parent_do_not_answer_for_the_others(
    store: DuckDBMetadataStore, more: dict[str, Any]
) -> None:
    children = pa.table({"id": [1] * 6, "k": range(6)})
    increment = store.resolve_update("child")
    assert increment.open_count == children.num_rows
    store.write("child", children, increment=increment, **more)
    assert found(store, "child") == dict.fromkeys(range(3 if more else 2, 7), "new")


def test_what_others_did_between_two_batches_is_not_lost(store: DuckDBMetadataStore) -> None:
    first, second = store.resolve_update("crop").batches(3)
    answer(store, "crop", first)
    store.delete("crop", filters="id = 1")
    answer(store, "crop", second)
    assert found(store, "crop") == {1: "new"}


def test_batches_leave_the_rest_pending(store: DuckDBMetadataStore) -> None:
    first, *_ = store.resolve_update("crop").batches(4)
    answer(store, "crop", first)
    assert found(store, "crop") == {5: "new", 6: "new"}


def test_batches_of_samples_with_several_ids_are_noted_one_by_one(
    store: DuckDBMetadataStore, narrowed: list[int | None]
) -> None:
    batches = list(store.resolve_update("summed").batches(1))
    for batch, left in zip(batches, (3, 2, 1, 0), strict=True):
        answer(store, "summed", batch)
        narrowed.clear()
        assert len(found(store, "summed")) == left
        assert narrowed == [left]


def test_an_answer_to_an_older_question_is_news(store: DuckDBMetadataStore) -> None:
    old = store.resolve_update("crop")
    change_video(store)
    answer(store, "crop", store.resolve_update("crop"))
    assert found(store, "crop") == {}
    answer(store, "crop", old)
    assert found(store, "crop") == {2: "stale"}


def test_what_others_wrote_meanwhile_is_not_taken_for_known(
    store: DuckDBMetadataStore, narrowed: list[int | None]
) -> None:
    answer(store, "crop", store.resolve_update("crop"))
    change_video(store)
    increment = store.resolve_update("crop")
    assert increment.counts.stale == 1
    store.delete("crop", filters="id = 5")
    answer(store, "crop", increment)
    assert found(store, "crop") == {5: "new"}
    assert narrowed[-1] == 1, "not what was answered"


@pytest.mark.parametrize("deleted", [0, 1, 2])
def test_a_question_that_was_answered_whole_may_be_answered_again(
    store: DuckDBMetadataStore, narrowed: list[int | None], deleted: int
) -> None:
    """Also if somebody deletes samples in between."""
    increment = store.resolve_update("crop")
    answer(store, "crop", increment)
    if deleted:
        store.delete("crop", filters=f"id <= {deleted}")
    store.write("crop", pa.table({"id": [6], "value": [2]}), increment=increment)
    narrowed.clear()
    assert found(store, "crop") == dict.fromkeys(range(1, deleted + 1), "new")
    assert narrowed == [deleted]


def test_an_answer_for_a_sample_that_needed_none_stands_for_no_other(
    store: DuckDBMetadataStore,
) -> None:
    answer(store, "crop", store.resolve_update("crop"))
    change_video(store)
    increment = store.resolve_update("crop", keep_unchanged=True)
    store.write("crop", pa.table({"id": [1], "value": [2]}), increment=increment)
    assert found(store, "crop") == {2: "stale"}


def lists(store: DuckDBMetadataStore) -> list[str]:
    with duckdb.connect(str(store.path)) as connection:
        found = connection.execute(
            "SELECT table_name FROM duckdb_tables() WHERE schema_name = 'pending'"
        ).fetchall()
    return [name for (name,) in found]


@pytest.mark.parametrize("moved", [True, False])
def test_a_list_of_open_samples_is_kept_while_there_are_any(
    store: DuckDBMetadataStore, moved: bool
) -> None:
    increment = store.resolve_update("crop")
    store.write("crop", pa.table({"id": [1, 2], "value": [1, 1]}), increment=increment)
    assert lists(store) == ["crop"]
    if moved:
        change_video(store)
    answer(store, "crop", store.resolve_update("crop"))
    assert lists(store) == []


def test_an_answer_under_one_definition_is_none_under_another(store: DuckDBMetadataStore) -> None:
    newer = store.with_graph(graph("2"))
    increment, other = store.resolve_update("crop"), newer.resolve_update("crop")
    assert increment.counts.new == other.counts.new == 6
    answer(store, "crop", increment)
    newer.write("crop", pa.table({"id": [1], "value": [2]}), increment=other)
    assert found(newer, "crop") == dict.fromkeys(range(2, 7), "stale")


def test_an_answer_of_nothing_leaves_what_else_is_known_of_the_feature(
    store: DuckDBMetadataStore,
) -> None:
    def known() -> list[tuple[Any, ...]]:
        sql = "SELECT feature_version, spec, newest, content_rows, content_low, content_high"
        with duckdb.connect(str(store.path)) as connection:
            sql += " FROM metaxy.features WHERE feature = 'crop'"
            return connection.execute(sql).fetchall()

    answer(store, "crop", store.resolve_update("crop"))
    before, behind = known(), marks(store)
    assert None not in before[0]
    store.write("video", pa.table({"id": [2], "x": [99]}))
    store.write("crop", pa.table({}), increment=store.resolve_update("crop"))
    assert (known(), marks(store) > behind) == (before, True)


def test_quarantined_samples_keep_no_others_from_being_noted(
    store: DuckDBMetadataStore, narrowed: list[int | None]
) -> None:
    for _ in range(3):
        increment = store.resolve_update("crop")
        store.record_failures("crop", [{"id": 6}], "too dark", increment=increment)
    answer(store, "crop", store.resolve_update("crop"))
    narrowed.clear()
    assert store.resolve_update("crop").counts == Counts(0, 0, 0, quarantined=1)
    assert narrowed == [1]


def test_an_answer_to_a_question_to_another_file_is_none(
    store: DuckDBMetadataStore, tmp_path: Path
) -> None:
    """Its commits have other numbers: those here that were not looked at may be lower."""
    other = DuckDBMetadataStore(tmp_path / "other.duckdb", graph=graph(), max_incremental_share=100)
    ids = list(range(1, 7))
    other.write("video", pa.table({"id": ids, "x": ids}))
    answer(other, "crop", store.resolve_update("crop"))
    change_video(other)
    for value in range(9):
        other.write("label", pa.table({"id": [1], "y": [str(value)]}))
    assert found(other, "crop") == {2: "stale"}
