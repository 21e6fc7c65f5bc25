"""Samples that were computed and yielded nothing: they need nothing until something changes."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

import duckdb
import pyarrow as pa
import pytest

from metaxy_dagster.errors import FrameError, StoreError
from metaxy_dagster.features import (
    FeatureDep,
    FeatureGraph,
    FeatureKey,
    FeatureSpec,
    LineageRelationship,
)
from metaxy_dagster.stores import Counts, DuckDBMetadataStore
from metaxy_dagster.stores.counts import STATUS
from metaxy_dagster.stores.duckdb.file.entries import Commits
from metaxy_dagster.stores.duckdb.resolve.empties import find_marks

NOTHING = Counts(0, 0, 0)
STATUSES = ("new", "stale", "orphaned", "unchanged", "quarantined")


def graph(version: str = "1") -> FeatureGraph:
    made = FeatureGraph()
    made.add(FeatureSpec("video", id_columns=["id"]))
    made.add(FeatureSpec("crop", id_columns=["id"], deps=["video"], fields={"default": version}))
    parent = FeatureDep("video", lineage=LineageRelationship.expansion())
    made.add(FeatureSpec("child", id_columns=["id", "n"], deps=[parent]))
    members = FeatureDep("child", lineage=LineageRelationship.aggregation(on=["id"]))
    made.add(FeatureSpec("group", id_columns=["id"], deps=[members]))
    made.add(FeatureSpec("after", id_columns=["id"], deps=["crop"]))
    made.add(FeatureSpec("pair", id_columns=["id", "n"], deps=["child"]))
    return made


def videos(rows: dict[Any, int], kind: pa.DataType | None = None) -> pa.Table:
    return pa.table({"id": pa.array(list(rows), kind or pa.int64()), "x": list(rows.values())})


def crops(*ids: Any) -> pa.Table:
    return pa.table({"id": pa.array(ids, pa.int64()), "value": [1] * len(ids)})


def named(*ids: Any) -> list[dict[str, Any]]:
    return [{"id": one} for one in ids]


@pytest.fixture(params=[100, 0], ids=["narrow", "full"])
def store(tmp_path: Path, request: pytest.FixtureRequest) -> DuckDBMetadataStore:
    """Four videos, and a store that looks at what changed alone, or at everything."""
    share = request.param
    made = DuckDBMetadataStore(tmp_path / "m.duckdb", graph=graph(), max_incremental_share=share)
    made.write("video", videos({1: 0, 2: 0, 3: 0, 4: 0}))
    return made


def found(store: DuckDBMetadataStore, key: str = "crop", **options: Any) -> dict[Any, str]:
    delta = store.resolve_update(key, **options).delta.to_pylist()
    statuses = {row["id"]: STATUSES[row[STATUS]] for row in delta}
    assert len(statuses) == len(delta), "each sample once"
    return statuses


def ids(store: DuckDBMetadataStore, key: str = "crop") -> list[Any]:
    return sorted(store.read_table(key, columns=["id"]).column("id").to_pylist())


def compute(store: DuckDBMetadataStore, *kept: int, key: str = "crop", empty: Any = "rest") -> Any:
    """Write rows of some samples; by default the others are empty."""
    return store.write(key, crops(*kept), increment=store.resolve_update(key), empty=empty)


def outside(store: DuckDBMetadataStore, sql: str) -> list[Any]:
    with duckdb.connect(str(store.path)) as connection:
        return connection.execute(sql).fetchall()


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


# Deletes


@pytest.mark.parametrize("soft", [True, False])
@pytest.mark.parametrize(
    ("filters", "again"),
    [(None, {1, 2, 3, 4}), ("id >= 3", {3, 4}), ("value = 1", {1}), ("ID = 2", {2})],
)
def test_a_delete_makes_it_pending_again(
    store: DuckDBMetadataStore, filters: str | None, again: set[int], soft: bool
) -> None:
    compute(store, 1)
    assert found(store) == {}
    result = store.delete("crop", filters=filters, soft=soft)
    assert result.deleted == (1 in again)
    assert result.commit
    assert found(store) == dict.fromkeys(again, "new")
    assert store.delete("crop", filters=filters, soft=soft).commit == 0


def test_a_soft_delete_keeps_the_past(store: DuckDBMetadataStore) -> None:
    past = compute(store, 1).commit
    store.delete("crop", filters="id = 3")
    assert found(store, as_of=past) == {}
    assert found(store, filters="id > 1") == {3: "new"}
    store.delete("crop", filters="id = 2", soft=False)
    assert found(store, as_of=past) == {2: "new"}


def test_a_feature_without_any_row(store: DuckDBMetadataStore) -> None:
    """A function that keeps nothing: there is no table, and still something is known."""
    result = compute(store)
    assert (result.commit > 0, result.empty, result.written) == (True, 4, 0)
    assert found(store) == {}
    assert store.schema("crop") == {}
    assert [str(key) for key in store.features()] == ["video"]
    assert ids(store) == []
    store.write("video", videos({5: 0}))
    assert found(store) == {5: "new"}
    assert store.delete("crop", filters="id = 1").commit
    assert store.delete("crop", filters="value = 1").commit == 0
    assert found(store) == {1: "new", 5: "new"}
    compute(store, 5)
    assert (found(store), ids(store)) == ({}, [5])


@pytest.mark.parametrize("kept", [(), (1,)])
def test_drop_forgets_it(store: DuckDBMetadataStore, kept: tuple[int, ...]) -> None:
    compute(store, *kept)
    store.drop("crop")
    assert outside(store, "SELECT * FROM duckdb_tables() WHERE schema_name = 'empty'") == []
    assert found(store) == dict.fromkeys((1, 2, 3, 4), "new")
    compute(store, 2, empty=named(3))
    assert found(store) == {1: "new", 4: "new"}
    store.drop("crop")
    assert store.delete("crop").commit == 0
    store.drop("crop")


# Moments


def test_each_moment_knows_its_own(store: DuckDBMetadataStore) -> None:
    before = store.pin("before")
    lazy = store.resolve_update("crop")
    with store:
        marked = store.with_graph(store.graph)
        compute(marked, 1)
        assert found(store) == dict.fromkeys((1, 2, 3, 4), "new")
    after = store.pin("after")
    store.write("video", videos({2: 9}))
    compute(store, 2)
    assert lazy.counts == Counts(4, 0, 0)
    assert found(store, as_of=before) == dict.fromkeys((1, 2, 3, 4), "new")
    assert found(store, as_of=after) == {}


def test_several_calls_on_one_connection(store: DuckDBMetadataStore) -> None:
    with store.connected("w"):
        assert found(store) == dict.fromkeys((1, 2, 3, 4), "new")
        compute(store, 1)
        assert found(store) == {}
        store.delete("crop")
        assert found(store) == dict.fromkeys((1, 2, 3, 4), "new")


# Ids of other types, files of other writers


def test_a_feature_of_which_all_is_empty_has_the_types_of_its_ids(
    store: DuckDBMetadataStore,
) -> None:
    """Also in frames of what depends on it."""
    assert store.read_table("crop").schema.field("id").type == pa.string()
    compute(store)
    assert store.read_table("crop").schema.field("id").type == pa.int64()
    upstream = store.resolve_update("after").upstream_table("crop", all_rows=True)
    assert upstream.schema.field("id").type == pa.int64()


def test_ids_of_a_wider_type(tmp_path: Path) -> None:
    made = DuckDBMetadataStore(tmp_path / "m.duckdb", graph=graph())
    made.write("video", videos({1: 0, 2: 0}, pa.int8()))
    compute(made)
    made.drop("video")
    made.write("video", videos({1: 0, 2: 0, 2**40: 0}))
    assert found(made) == {2**40: "new"}
    assert compute(made).empty == 1
    assert found(made) == {}
    made.drop("video")
    made.write("video", videos({"1": 0, "x": 0}, pa.string()))
    assert found(made) == {"x": "new"}, "the same id, the same content"
    compute(made, empty=named("x"))
    assert found(made) == {}
    made.drop("video")
    assert found(made) == {}
    made.write("video", videos({1: 0, 7: 0}))
    assert found(made) == {7: "new"}


def test_rows_count_more_than_a_mark_whoever_wrote_them(store: DuckDBMetadataStore) -> None:
    """A release that knows nothing of marks writes rows beside one."""
    compute(store, 1)
    everything = store.resolve_update("crop", keep_unchanged=True)
    store.write("crop", crops(2), increment=everything)
    outside(store, "UPDATE empty.crop SET metaxy_ended = NULL")
    assert found(store, keep_unchanged=True) == dict.fromkeys((1, 2, 3, 4), "unchanged")
    store.write("video", videos({2: 9}))
    assert found(store) == {2: "stale"}


def test_marks_follow_ids_that_are_migrated(store: DuckDBMetadataStore) -> None:
    compute(store)
    before = store.resolve_update("crop").counts
    changed, fields = FeatureGraph(), store.graph["crop"].fields
    changed.add(store.graph["video"])
    renamed = FeatureDep("video", rename={"id": "key"})
    changed.add(FeatureSpec("crop", id_columns=["key"], fields=fields, deps=[renamed]))
    later = store.with_graph(changed)
    with pytest.raises(StoreError, match="migrate_ids"):
        later.resolve_update("crop")
    assert later.migrate_ids("crop", rename={"id": "key"}).forgotten == 0
    assert later.resolve_update("crop").counts == before == Counts(0, 0, 0)
    later.write("video", videos({1: 9}))
    later.write("crop", pa.table({}), increment=later.resolve_update("crop"), empty=[{"key": 1}])
    assert later.resolve_update("crop").counts == Counts(0, 0, 0)


def test_features_without_any_are_not_looked_at() -> None:
    """What is known of a feature as a whole is enough: no question is put to this connection."""
    nobody = cast("duckdb.DuckDBPyConnection", None)
    assert find_marks(nobody, FeatureKey("crop"), ["id"], Commits()) is None
    assert find_marks(nobody, FeatureKey("crop"), ["id"], Commits(7, 5, 3)) is None


@pytest.mark.parametrize("kept", [(1,), ()])
def test_what_a_person_sees(store: DuckDBMetadataStore, kept: tuple[int, ...]) -> None:
    increment = store.resolve_update("crop")
    store.write("crop", crops(*kept), increment=increment, empty="rest", materialization_id="run 1")
    version = store.graph.feature_version("crop")
    assert outside(
        store,
        "SELECT id, metaxy_feature_version, metaxy_materialization_id, metaxy_commit,"
        " metaxy_ended, metaxy_created_at IS NOT NULL FROM empty.crop ORDER BY id",
    ) == [(i, version, "run 1", 2, None, True) for i in (1, 2, 3, 4) if i not in kept]


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
