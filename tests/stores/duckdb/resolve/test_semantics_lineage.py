"""The semantics of resolving groups of samples, and children of one: an example per sentence."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from videos import T, clips, derived, store_of, video
from worlds import catch_up, rows, statuses

from metaxy_dagster import constants as c
from metaxy_dagster.features import (
    FeatureDep,
    FeatureSpec,
    LineageRelationship,
)
from metaxy_dagster.stores import DuckDBMetadataStore

GROUPED = LineageRelationship.aggregation

EXPANDED = LineageRelationship.expansion


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "m.duckdb"


# Aggregation and expansion


def members(path: Path) -> DuckDBMetadataStore:
    clip = FeatureSpec("clip", id_columns=["id"])
    day = derived("day", FeatureDep("clip", lineage=GROUPED(on=["date"])), ids=["date"])
    store = store_of(path, clip, day)
    store.write("clip", T({"id": [1, 2, 3], "date": ["mon", "mon", "tue"], "x": [1, 1, 1]}))
    return store


def test_an_aggregation_has_one_sample_per_group(path: Path) -> None:
    store = members(path)
    increment = store.resolve_update("day")
    assert statuses(increment) == {"new": ["mon", "tue"]}
    assert sorted(increment.upstream("clip").collect()["id"].to_list()) == [1, 2, 3]
    catch_up(store, "day")
    store.write("clip", T({"id": [2], "date": ["mon"], "x": [2]}))
    increment = store.resolve_update("day")
    assert statuses(increment) == {"stale": ["mon"]}
    assert sorted(increment.upstream("clip").collect()["id"].to_list()) == [1, 2]


@pytest.mark.parametrize(
    ("frame", "expected"),
    [
        ({"id": [4], "date": ["tue"], "x": [1]}, {"stale": ["tue"]}),
        ({"id": [3], "date": ["mon"], "x": [1]}, {"stale": ["mon"], "orphaned": ["tue"]}),
        ({"id": [3], "date": ["wed"], "x": [1]}, {"new": ["wed"], "orphaned": ["tue"]}),
        ({"id": [1, 2], "date": ["mon", "mon"], "x": [1, 1]}, {}),
    ],
)
def test_a_group_follows_its_members(path: Path, frame: Any, expected: Any) -> None:
    store = members(path)
    catch_up(store, "day")
    store.write("clip", T(frame))
    assert statuses(store.resolve_update("day")) == expected


def test_a_group_that_loses_a_member_is_stale(path: Path) -> None:
    store = members(path)
    catch_up(store, "day")
    store.delete("clip", filters="id = 1")
    assert statuses(store.resolve_update("day")) == {"stale": ["mon"]}
    store.delete("clip", filters="id = 3")
    assert statuses(store.resolve_update("day")) == {"stale": ["mon"], "orphaned": ["tue"]}


def test_filters_decide_which_members_a_group_has(path: Path) -> None:
    clip = FeatureSpec("clip", id_columns=["id"])
    dep = FeatureDep("clip", lineage=GROUPED(on=["date"]), filters="x > 0")
    store = store_of(path, clip, derived("day", dep, ids=["date"]))
    store.write("clip", T({"id": [1, 2, 3], "date": ["mon", "mon", "tue"], "x": [1, 0, 0]}))
    increment = store.resolve_update("day")
    assert statuses(increment) == {"new": ["mon"]}
    assert increment.upstream("clip").collect()["id"].to_list() == [1]
    catch_up(store, "day")
    store.write("clip", T({"id": [2], "date": ["mon"], "x": [-1]}))
    assert statuses(store.resolve_update("day")) == {}
    store.write("clip", T({"id": [2, 3], "date": ["mon", "tue"], "x": [1, 1]}))
    assert statuses(store.resolve_update("day")) == {"new": ["tue"], "stale": ["mon"]}


@pytest.mark.parametrize("on", [["date"], ["date", "place"]])
def test_a_member_without_a_group_belongs_to_none(path: Path, on: list[str]) -> None:
    clip = FeatureSpec("clip", id_columns=["id"])
    store = store_of(path, clip, derived("day", FeatureDep("clip", lineage=GROUPED(on=on)), ids=on))
    dates, places = ["mon", None, "tue", None], ["x", "x", None, None]
    store.write("clip", T({"id": [1, 2, 3, 4], "date": dates, "place": places}))
    expected: list[Any] = ["mon", "tue"] if on == ["date"] else [("mon", "x")]
    assert statuses(store.resolve_update("day")) == {"new": expected}
    catch_up(store, "day")
    assert statuses(store.resolve_update("day")) == {}


def children(path: Path) -> DuckDBMetadataStore:
    crop = derived("crop", FeatureDep("video", lineage=EXPANDED()), ids=["id", "k"])
    store = store_of(path, video(), crop)
    store.write("video", clips({1: "a", 2: "b"}))
    increment = store.resolve_update("crop")
    assert statuses(increment) == {"new": [1, 2]}
    store.write("crop", T({"id": [1, 1, 1, 2], "k": [0, 1, 2, 0]}), increment=increment)
    return store


def test_children_of_a_new_provenance_supersede_those_of_the_old(path: Path) -> None:
    store = children(path)
    assert statuses(store.resolve_update("crop")) == {}
    store.write("video", clips({1: "shorter"}))
    increment = store.resolve_update("crop")
    assert statuses(increment) == {"stale": [1]}
    result = store.write("crop", T({"id": [1], "k": [0]}), increment=increment)
    assert (result.updated, result.deleted) == (1, 2)
    assert rows(store, "crop") == [{"id": 1, "k": 0}, {"id": 2, "k": 0}]
    assert statuses(store.resolve_update("crop")) == {}


def test_children_of_one_parent_may_come_in_several_writes(path: Path) -> None:
    store = children(path)
    store.write("video", clips({1: "longer"}))
    increment = store.resolve_update("crop")
    store.write("crop", T({"id": [1], "k": [5]}), increment=increment)
    store.write("crop", T({"id": [1], "k": [6]}), increment=increment)
    assert rows(store, "crop", filters="id = 1") == [{"id": 1, "k": 5}, {"id": 1, "k": 6}]


@pytest.mark.parametrize("other", ["0" * 32, "f" * 32])
def test_a_parent_whose_children_differ_in_provenance_is_stale(path: Path, other: str) -> None:
    """A frame may carry several; only children under none of these are superseded."""
    store = children(path)
    (mine,) = {row[c.COL_PROVENANCE_BY_FIELD]["default"] for row in stored(store, "crop", 1)}
    provenance = [{"default": one} for one in (mine, other)]
    store.write("crop", T({"id": [1, 1], "k": [0, 7], c.COL_PROVENANCE_BY_FIELD: provenance}))
    assert [row["k"] for row in stored(store, "crop", 1)] == [0, 1, 2, 7]
    assert statuses(store.resolve_update("crop")) == {"stale": [1]}


def stored(store: DuckDBMetadataStore, feature: str, id_: int) -> list[dict[str, Any]]:
    found = store.read(feature, filters=f"id = {id_}").collect().to_native().to_pylist()
    return sorted(found, key=lambda row: row["k"])


def test_a_parent_is_stale_if_a_predicate_holds_for_one_of_its_children(path: Path) -> None:
    store = children(path)
    assert statuses(store.resolve_update("crop", stale_when="k = 2")) == {"stale": [1]}


def test_orphaned_children_go_with_their_parent(path: Path) -> None:
    store = children(path)
    store.delete("video", filters="id = 1")
    increment = store.resolve_update("crop")
    assert increment.counts.orphaned == 1
    assert increment.orphaned.collect().to_native().num_rows == 3
    empty = T({"id": pa.array([], pa.int64())})
    result = store.write("crop", empty, increment=increment, delete_orphaned=True)
    assert (result.new, result.updated, result.unchanged, result.deleted) == (0, 0, 0, 3)
    assert rows(store, "crop") == [{"id": 2, "k": 0}]
    # They stay in the history.
    assert store.read("crop", history=True).collect().to_native().num_rows == 4


def test_batches_cover_what_is_pending_once_and_never_split_a_parent(path: Path) -> None:
    store = children(path)
    store.write("video", clips(dict.fromkeys(range(1, 8), "new")))
    store.delete("video", filters="id = 7")
    increment = store.resolve_update("crop")
    parts = list(increment.batches(4))
    assert [part.counts.pending for part in parts] == [4, 2]
    seen = [i for part in parts for i in part.pending.collect()["id"].to_list()]
    assert sorted(seen) == [1, 2, 3, 4, 5, 6]
    for part in parts:
        ids = part.pending.collect()["id"].to_list()
        frame = T({"id": ids * 2, "k": [0] * len(ids) + [1] * len(ids)})
        store.write("crop", frame, increment=part)
    assert statuses(store.resolve_update("crop")) == {}
    assert store.count("crop") == 12
    with pytest.raises(ValueError, match="at least 1"):
        next(increment.batches(0))
