"""Samples that were computed and yielded nothing: they need nothing until something changes."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from empty_crops import NOTHING, compute, crops, found, graph, ids, named, outside, videos

from metaxy_dagster.errors import FrameError
from metaxy_dagster.stores import Counts, DuckDBMetadataStore


@pytest.fixture(params=[100, 0], ids=["narrow", "full"])
def store(tmp_path: Path, request: pytest.FixtureRequest) -> DuckDBMetadataStore:
    """Four videos, and a store that looks at what changed alone, or at everything."""
    share = request.param
    made = DuckDBMetadataStore(tmp_path / "m.duckdb", graph=graph(), max_incremental_share=share)
    made.write("video", videos({1: 0, 2: 0, 3: 0, 4: 0}))
    return made


# What it means


def test_what_yielded_nothing_is_not_computed_again(store: DuckDBMetadataStore) -> None:
    result = compute(store, 1, 2, empty=named(3))
    assert (result.new, result.empty) == (2, 1)
    assert found(store) == {4: "new"}
    assert found(store, keep_unchanged=True) == {
        1: "unchanged",
        2: "unchanged",
        3: "unchanged",
        4: "new",
    }
    assert compute(store).empty == 1
    assert store.resolve_update("crop").counts == NOTHING
    # Downstream sees what is stored.
    assert found(store, "after") == {1: "new", 2: "new"}
    assert ids(store) == [1, 2]


@pytest.mark.parametrize("rows", [0, 2])
def test_a_change_makes_it_new_again(store: DuckDBMetadataStore, rows: int) -> None:
    compute(store, *range(1, rows + 1))
    store.write("video", videos({4: 9}))
    assert found(store) == {4: "new"}
    # As it was before, it is known to yield nothing.
    store.write("video", videos({4: 0}))
    assert found(store) == {}
    store.write("video", videos({4: 9}))
    assert compute(store).empty == 1
    assert found(store) == {}
    store.write("video", videos({4: 0}))
    assert found(store) == {4: "new"}, "the last answer counts"


@pytest.mark.parametrize("rows", [0, 2])
def test_a_new_code_version_makes_it_new_again(store: DuckDBMetadataStore, rows: int) -> None:
    compute(store, *range(1, rows + 1))
    later = store.with_graph(graph("2"))
    stale = dict.fromkeys(range(1, rows + 1), "stale")
    assert found(later) == {**stale, **dict.fromkeys(range(rows + 1, 5), "new")}
    assert found(store) == {}


def test_upstream_that_goes_and_comes_back(store: DuckDBMetadataStore) -> None:
    compute(store, 1)
    store.delete("video", filters="id > 2")
    assert found(store, keep_unchanged=True) == {1: "unchanged", 2: "unchanged"}
    store.write("video", videos({3: 0, 4: 1}))
    assert found(store) == {4: "new"}


def test_rows_that_are_written_later_end_it(store: DuckDBMetadataStore) -> None:
    """By whatever way; a sample whose rows are deleted then is new."""
    compute(store, 1)
    everything = store.resolve_update("crop", keep_unchanged=True)
    assert store.write("crop", crops(2, 3), increment=everything).new == 2
    assert found(store) == {}
    store.delete("crop", filters="value = 1")
    assert found(store) == {1: "new", 2: "new", 3: "new"}


def test_stored_rows_of_an_empty_sample_go(store: DuckDBMetadataStore) -> None:
    compute(store, 1, 2, 3, 4)
    store.write("video", videos({1: 9, 2: 9}))
    result = compute(store, 1)
    assert (result.updated, result.deleted, result.empty) == (1, 1, 1)
    assert ids(store) == [1, 3, 4]
    history = store.read("crop", history=True).collect(backend="pyarrow").to_native().to_pylist()
    assert [row["id"] for row in history if row["metaxy_deleted_at"]] == [2]
    assert found(store) == {}
    # And where the frame has no rows at all.
    store.write("video", videos({3: 9}))
    result = compute(store)
    assert (result.deleted, result.empty, ids(store)) == (1, 1, [1, 4])


def test_children_of_an_empty_parent_go(store: DuckDBMetadataStore) -> None:
    rows = [{"id": i, "n": n} for i in (1, 2) for n in (0, 1)]
    frame = pa.Table.from_pylist(rows)
    increment = store.resolve_update("child")
    result = store.write("child", frame, increment=increment, empty="rest")
    assert (result.new, result.empty) == (4, 2)
    assert found(store, "child") == {}
    store.write("video", videos({1: 9, 2: 9, 3: 9}))
    result = store.write(
        "child",
        pa.table({"id": [1, 3], "n": [0, 0]}),
        increment=store.resolve_update("child"),
        empty=named(2),
    )
    assert (result.new, result.updated, result.deleted, result.empty) == (1, 1, 3, 1)
    assert ids(store, "child") == [1, 3]
    assert found(store, "child", keep_unchanged=True) == dict.fromkeys((1, 2, 3, 4), "unchanged")


def test_an_empty_group(store: DuckDBMetadataStore) -> None:
    frame = pa.table({"id": [1, 1, 2], "n": [0, 1, 0]})
    store.write("child", frame, increment=store.resolve_update("child"), empty="rest")
    compute(store, 1, key="group")
    assert found(store, "group") == {}
    store.write("video", videos({2: 5}))
    again = store.resolve_update("child")
    store.write("child", pa.table({"id": [2, 2], "n": [0, 1]}), increment=again)
    assert found(store, "group") == {2: "new"}
    store.delete("child", filters="id = 2")
    assert found(store, "group", keep_unchanged=True) == {1: "unchanged"}


def test_an_answer_to_an_older_state_is_not_one_to_the_newer(store: DuckDBMetadataStore) -> None:
    increment = store.resolve_update("crop")
    store.write("video", videos({2: 9}))
    store.write("crop", crops(1), increment=increment, empty="rest")
    assert found(store) == {2: "new"}


def test_the_same_answer_twice_changes_nothing(store: DuckDBMetadataStore) -> None:
    increment = store.resolve_update("crop")
    first = store.write("crop", crops(1), increment=increment, empty=named(2, 3))
    again = store.write("crop", crops(1), increment=increment, empty=named(2, 3))
    assert (first.commit > 0, again.commit, again.empty) == (True, 0, 0)
    again = store.write("crop", crops(1), increment=increment, empty=named(2, 3, 4))
    assert (again.commit, again.unchanged, again.empty) == (first.commit + 1, 1, 1)
    assert found(store) == {}


def test_a_mark_that_still_holds_is_left_alone(store: DuckDBMetadataStore) -> None:
    increment = store.resolve_update("crop")
    for run, samples in (("run 1", named(2)), ("run 2", named(2, 3))):
        result = store.write(
            "crop", crops(), increment=increment, empty=samples, materialization_id=run
        )
        assert result.empty == 1
    marks = "SELECT id, metaxy_materialization_id, metaxy_ended FROM empty.crop ORDER BY id"
    assert outside(store, marks) == [(2, "run 1", None), (3, "run 2", None)]


def test_samples_of_several_ids(store: DuckDBMetadataStore) -> None:
    children = {"id": [1, 1, 2], "n": [1, 2, 1], "x": [0, 0, 0]}
    store.write("child", pa.table(children), increment=store.resolve_update("child"))
    increment = store.resolve_update("pair")
    store.write("pair", pa.table({"id": [2], "n": [1]}), increment=increment, empty="rest")
    assert store.resolve_update("pair").counts == NOTHING
    store.delete("pair", filters="n = 2")
    pending = store.resolve_update("pair").new.collect().to_native()
    assert pending.select(["id", "n"]).to_pylist() == [{"id": 1, "n": 2}]


def test_stale_when_is_about_stored_rows(store: DuckDBMetadataStore) -> None:
    compute(store, 1)
    assert found(store, stale_when="value = 1") == {1: "stale"}
    assert found(store, stale_when="id > 0") == {1: "stale"}


def test_filters_choose_what_is_looked_at(store: DuckDBMetadataStore) -> None:
    part = store.resolve_update("crop", filters="id <= 2")
    assert store.write("crop", crops(), increment=part, empty="rest").empty == 2
    assert found(store) == {3: "new", 4: "new"}
    assert found(store, filters="id < 4", keep_unchanged=True) == {
        1: "unchanged",
        2: "unchanged",
        3: "new",
    }


# The rest


def test_the_rest_leaves_out_what_was_reported_as_failed(store: DuckDBMetadataStore) -> None:
    batches = list(store.resolve_update("crop").batches(2))
    store.record_failures("crop", named(1), "torn", increment=batches[0])
    store.record_failures("crop", named(4), "torn", increment=batches[1])
    for batch in batches:
        store.write("crop", crops(), increment=batch, empty="rest")
    assert found(store) == {1: "new", 4: "new"}
    # A failure of an earlier increment is made good by this one.
    assert compute(store).empty == 2
    assert found(store) == {}
    assert store.failed("crop").failed == 0


def test_the_rest_takes_back_nothing_that_was_written_since(store: DuckDBMetadataStore) -> None:
    compute(store, 4)
    store.write("video", videos({1: 5, 2: 5, 3: 5, 4: 5}))
    increment = store.resolve_update("crop")
    first, *_ = increment.batches(1)
    store.write("crop", crops(1), increment=first)
    store.write("video", videos({2: 7, 3: 7}))
    compute(store, 2, empty=named(3))
    result = store.write("crop", crops(), increment=increment, empty="rest")
    assert (result.empty, result.deleted) == (1, 1), "sample 4"
    assert (ids(store), found(store)) == ([1, 2], {})


def test_the_rest_of_an_increment_of_another_store(
    store: DuckDBMetadataStore, tmp_path: Path
) -> None:
    other = DuckDBMetadataStore(tmp_path / "other.duckdb", graph=graph())
    other.write("video", videos({1: 0, 2: 0}))
    for number in range(5):
        other.write("video", videos({9: number}))
    compute(other, 2, empty=None)
    increment = store.resolve_update("crop", filters="id < 3")
    other.write("crop", crops(1), increment=increment, empty="rest")
    assert found(other) == {9: "new"}
    assert ids(other) == [1], "its commits have other numbers: nothing tells what came first"


def test_quarantined_samples_are_not_the_rest(tmp_path: Path) -> None:
    made = DuckDBMetadataStore(tmp_path / "m.duckdb", graph=graph(), max_attempts=1)
    made.write("video", videos({1: 0, 2: 0}))
    made.record_failures("crop", named(1), "torn", increment=made.resolve_update("crop"))
    assert compute(made).empty == 1
    assert made.resolve_update("crop").counts == Counts(0, 0, 0, quarantined=1)
    # Named, it is: somebody knows better.
    assert compute(made, empty=named(1)).empty == 1
    assert made.resolve_update("crop").counts == NOTHING
    assert made.failed("crop").failed == 0


# What is refused


def attempts() -> dict[str, tuple[Callable[[DuckDBMetadataStore], Any], str]]:
    def crop(store: DuckDBMetadataStore, empty: Any, frame: Any = None) -> Any:
        made = crops(1) if frame is None else frame
        return store.write("crop", made, increment=store.resolve_update("crop"), empty=empty)

    def root(store: DuckDBMetadataStore) -> Any:
        return store.write("video", videos({7: 0}), empty="rest")

    def alone(store: DuckDBMetadataStore) -> Any:
        frame = store.resolve_update("crop").pending.collect().to_native()
        return store.write("crop", frame, empty="rest")

    def orphan(store: DuckDBMetadataStore) -> Any:
        compute(store, 1, 2, 3, 4)
        store.delete("video", filters="id = 3")
        return crop(store, named(3), crops())

    return {
        "a root": (root, "feature without upstreams"),
        "no increment": (alone, "no increment"),
        "another word": (lambda s: crop(s, "all"), "'all'"),
        "no frame": (lambda s: crop(s, 7), "int"),
        "other columns": (
            lambda s: crop(s, [{"key": 2}]),
            r"empty samples are named(.|\n)*missing \['id'\]",
        ),
        "a stranger": (lambda s: crop(s, named(2, 99)), r"1 samples, for example \[\(99,\)\]"),
        "an orphan": (orphan, r"1 samples, for example \[\(3,\)\]"),
        "nothing": (lambda s: crop(s, [{"id": None}]), r"1 samples"),
        "of the frame": (lambda s: crop(s, named(2, 1)), r"1 samples, for example \[\(1,\)\]"),
        "text": (lambda s: crop(s, named("x")), "another type|id: string"),
    }


@pytest.mark.parametrize("kind", attempts())
def test_refused(store: DuckDBMetadataStore, kind: str) -> None:
    attempt, said = attempts()[kind]
    with pytest.raises(FrameError, match=said) as caught:
        attempt(store)
    assert caught.value.remedy
    assert caught.value.feature == ("video" if kind == "a root" else "crop")
    expected = {4: "new", 1: "new", 2: "new", 3: "new"}
    assert found(store) == ({3: "orphaned"} if kind == "an orphan" else expected)


def test_nothing_said_is_nothing_done(store: DuckDBMetadataStore) -> None:
    for empty in (None, [], crops()):
        result = compute(store, empty=empty)
        assert (result.commit, result.empty) == (0, 0)
    assert found(store) == dict.fromkeys((1, 2, 3, 4), "new")
    assert outside(store, "SELECT * FROM duckdb_tables() WHERE schema_name = 'empty'") == []


def test_a_feature_that_only_ever_was_empty_has_ids_of_their_own_type(
    store: DuckDBMetadataStore,
) -> None:
    """Nothing is stored of it, and still it can be joined with what is."""
    store.write("crop", pa.table({}), increment=store.resolve_update("crop"), empty="rest")
    frame = store.read("crop").collect().to_native()
    assert (frame.num_rows, frame.schema.field("id").type) == (0, pa.int64())
