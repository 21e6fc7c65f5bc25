"""What is kept of samples that yielded nothing, through deletes, moments and other ids."""

from __future__ import annotations

from pathlib import Path
from typing import cast

import duckdb
import pyarrow as pa
import pytest
from empty_crops import compute, crops, found, graph, ids, named, outside, videos

from metaxy_dagster.errors import StoreError
from metaxy_dagster.features import (
    FeatureDep,
    FeatureGraph,
    FeatureKey,
    FeatureSpec,
)
from metaxy_dagster.stores import Counts, DuckDBMetadataStore
from metaxy_dagster.stores.duckdb.file.entries import Commits
from metaxy_dagster.stores.duckdb.resolve.empties import find_marks


@pytest.fixture(params=[100, 0], ids=["narrow", "full"])
def store(tmp_path: Path, request: pytest.FixtureRequest) -> DuckDBMetadataStore:
    """Four videos, and a store that looks at what changed alone, or at everything."""
    share = request.param
    made = DuckDBMetadataStore(tmp_path / "m.duckdb", graph=graph(), max_incremental_share=share)
    made.write("video", videos({1: 0, 2: 0, 3: 0, 4: 0}))
    return made


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
