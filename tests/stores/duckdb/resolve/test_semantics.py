"""The semantics of resolving: one example per sentence; each reads without the code."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from videos import T, clips, derived, store_of, video
from worlds import catch_up, rows, statuses

from metaxy_dagster import constants as c
from metaxy_dagster.errors import FeatureError, FrameError, StoreError
from metaxy_dagster.features import (
    FeatureDep,
    FeatureSpec,
    FieldDep,
    FieldsMapping,
    FieldSpec,
    LineageRelationship,
)
from metaxy_dagster.stores import DuckDBMetadataStore

GROUPED = LineageRelationship.aggregation
EXPANDED = LineageRelationship.expansion


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "m.duckdb"


# New, stale, orphaned


def test_new_is_expected_but_not_stored_and_orphaned_stored_but_not_expected(path: Path) -> None:
    store = store_of(path, video(), derived())
    store.write("video", clips({1: "a", 2: "b"}))
    assert statuses(store.resolve_update("out")) == {"new": [1, 2]}
    catch_up(store, "out")
    assert statuses(store.resolve_update("out")) == {}
    store.write("video", clips({2: "b2", 3: "c"}), mode="replace")
    assert statuses(store.resolve_update("out")) == {"new": [3], "stale": [2], "orphaned": [1]}
    assert rows(store, "out") == [{"id": 1}, {"id": 2}]


def test_a_feature_that_was_never_written_is_an_empty_one(path: Path) -> None:
    store = store_of(path, video(), derived())
    assert statuses(store.resolve_update("out")) == {}
    assert not path.exists()
    assert (store.count("video"), rows(store, "video"), store.features()) == (0, [], [])
    assert store.data_version("video") == store.data_version("out")
    assert store.read("video").collect().to_native().num_rows == 0


def test_an_increment_of_an_empty_store_stays_empty(path: Path) -> None:
    store = store_of(path, video(), derived())
    increment = store.resolve_update("out")
    assert store.write("video", clips({1: "a", 2: "b"})).commit == 1
    assert statuses(increment) == {}
    assert statuses(store.resolve_update("out")) == {"new": [1, 2]}


def test_only_the_changed_field_reaches_its_dependants(path: Path) -> None:
    store = store_of(
        path,
        video(),
        derived("speech", fields=[FieldSpec("audio")]),
        derived("faces", fields=[FieldSpec("frames")]),
        derived("both", fields=[FieldSpec("other")]),
        derived("neither", FeatureDep("video", fields_mapping=FieldsMapping.none())),
    )
    store.write("video", clips({1: "a"}))
    for feature in ("speech", "faces", "both", "neither"):
        catch_up(store, feature)
    store.write("video", clips({1: "louder"}))
    stale = {f for f in ("speech", "faces", "both", "neither") if statuses(store.resolve_update(f))}
    assert stale == {"speech", "both"}


def test_a_staleness_predicate_makes_stored_samples_stale(path: Path) -> None:
    store = store_of(path, video(), derived())
    store.write("video", clips({1: "a", 2: "b"}))
    increment = store.resolve_update("out")
    store.write("out", T({"id": [1, 2], "score": [0.1, 0.9]}), increment=increment)
    assert statuses(store.resolve_update("out", stale_when="score < 0.5")) == {"stale": [1]}


def test_filters_narrow_an_increment(path: Path) -> None:
    store = store_of(path, video(), derived())
    store.write("video", clips({1: "a", 2: "b", 3: "c"}))
    assert statuses(store.resolve_update("out", filters="id >= 2")) == {"new": [2, 3]}
    assert statuses(store.resolve_update("out", filters="sound = 'a'")) == {"new": [1]}
    catch_up(store, "out")
    store.write("video", clips({1: "A", 2: "B", 4: "D", 5: "E"}))
    narrowed = store.resolve_update("out", filters="id = 2 OR id = 5")
    assert statuses(narrowed) == {"new": [5], "stale": [2]}


def test_filters_narrow_what_is_orphaned_too(path: Path) -> None:
    store = store_of(path, video(), derived())
    store.write("video", clips({1: "a", 2: "b"}))
    catch_up(store, "out")
    store.delete("video")
    assert statuses(store.resolve_update("out", filters="id >= 2")) == {"orphaned": [2]}


def test_the_increment_of_a_root_brings_the_columns_of_its_samples(path: Path) -> None:
    store = store_of(path, video())
    samples = clips({1: "a", 2: "b"})
    store.write("video", samples)
    increment = store.resolve_update("video", samples=clips({2: "B", 3: "c"}))
    for frame, expected in ((increment.new, (3, "c", "p")), (increment.stale, (2, "B", "p"))):
        table = frame.collect().to_native()
        assert table.column_names[:3] == ["id", "sound", "picture"]
        assert set(table.column_names[3:]) == {
            c.COL_PROVENANCE_BY_FIELD,
            c.COL_PROVENANCE,
            c.COL_FEATURE_VERSION,
        }
        assert table.select([0, 1, 2]).to_pylist() == [
            dict(zip(("id", "sound", "picture"), expected, strict=True))
        ]
    store.write("video", increment.pending)
    assert rows(store, "video", ["id", "sound"], filters="id >= 2") == [
        {"id": 2, "sound": "B"},
        {"id": 3, "sound": "c"},
    ]


def test_what_is_stored_may_be_the_samples_of_a_root(path: Path) -> None:
    """With its system columns; those of an older code version are refused."""
    store = store_of(path, video())
    store.write("video", clips({1: "a"}))
    stored = store.read("video").collect()
    assert statuses(store.resolve_update("video", samples=stored)) == {}
    with pytest.raises(FrameError, match="another version"):
        store_of(path, video(audio="2")).resolve_update("video", samples=stored)


# Code versions


def test_a_new_code_version_makes_stale_not_new_and_orphans_nothing(path: Path) -> None:
    last = derived("last", "out")
    store = store_of(path, video(), derived(), last)
    store.write("video", clips({1: "a"}))
    catch_up(store, "out")
    catch_up(store, "last")
    bumped = derived(fields=[FieldSpec("default", code_version="2")])
    store = store_of(path, video(), bumped, last)
    assert statuses(store.resolve_update("out")) == {"stale": [1]}
    # Downstream waits: its upstream sample still counts.
    waiting = statuses(store.resolve_update("last"))
    assert "orphaned" not in waiting
    assert "new" not in waiting
    catch_up(store, "out")
    assert statuses(store.resolve_update("last")) == {"stale": [1]}


def test_a_bump_of_an_unused_upstream_field_touches_nothing(path: Path) -> None:
    speech = derived("speech", fields=[FieldSpec("audio")])
    store = store_of(path, video(), speech)
    store.write("video", clips({1: "a"}))
    catch_up(store, "speech")
    store = store_of(path, video(frames="2"), speech)
    assert statuses(store.resolve_update("speech")) == {}
    store.write("video", clips({1: "a"}))
    assert statuses(store.resolve_update("speech")) == {}


def test_a_roots_own_code_version_makes_its_samples_stale(path: Path) -> None:
    samples = clips({1: "a"})
    store = store_of(path, video())
    store.write("video", samples)
    assert statuses(store.resolve_update("video", samples=samples)) == {}
    store = store_of(path, video(audio="2"))
    assert statuses(store.resolve_update("video", samples=samples)) == {"stale": [1]}


def test_a_field_without_parents_depends_on_its_code_version_alone(path: Path) -> None:
    def spec(code_version: str) -> FeatureSpec:
        return derived(fields=[FieldSpec("constant", code_version=code_version, deps=[])])

    store = store_of(path, video(), spec("1"))
    store.write("video", clips({1: "a"}))
    catch_up(store, "out")
    store.write("video", clips({1: "b"}, "q"))
    assert statuses(store.resolve_update("out")) == {}
    assert statuses(store_of(path, video(), spec("2")).resolve_update("out")) == {"stale": [1]}


def test_reverting_a_code_version_makes_stale_again(path: Path) -> None:
    """Not reinstated by default: the data it points to may have been overwritten."""
    one, two = (derived(fields=[FieldSpec("default", code_version=v)]) for v in "12")
    store = store_of(path, video(), one)
    store.write("video", clips({1: "a"}))
    catch_up(store, "out")
    catch_up(store_of(path, video(), two), "out")
    assert statuses(store_of(path, video(), one).resolve_update("out")) == {"stale": [1]}


def test_a_field_may_name_what_it_is_computed_from(path: Path) -> None:
    fields = [FieldSpec("mood", deps=[FieldDep("video", fields=["audio"])])]
    store = store_of(path, video(), derived(fields=fields))
    store.write("video", clips({1: "a"}, "p"))
    catch_up(store, "out")
    store.write("video", clips({1: "a"}, "q"))
    assert statuses(store.resolve_update("out")) == {}
    store.write("video", clips({1: "b"}, "q"))
    assert statuses(store.resolve_update("out")) == {"stale": [1]}


# Joins


def test_identity_needs_every_required_upstream(path: Path) -> None:
    label = FeatureSpec("label", id_columns=["id"])
    store = store_of(path, video(), label, derived("out", "video", "label"))
    store.write("video", clips({1: "a", 2: "b"}))
    store.write("label", T({"id": [2, 3], "name": ["x", "y"]}))
    assert statuses(store.resolve_update("out")) == {"new": [2]}
    frame = store.resolve_update("out").new.collect().to_native()
    assert frame.select(["id", "sound", "name"]).to_pylist() == [
        {"id": 2, "sound": "b", "name": "x"}
    ]


def test_an_absent_optional_upstream_differs_from_every_value(path: Path) -> None:
    label = FeatureSpec("label", id_columns=["id"])
    out = derived("out", "video", FeatureDep("label", optional=True))
    store = store_of(path, video(), label, out)
    store.write("video", clips({1: "a", 2: "b"}))
    catch_up(store, "out")
    store.write("label", T({"id": [1], "name": pa.nulls(1, pa.string())}))
    assert statuses(store.resolve_update("out")) == {"stale": [1]}
    catch_up(store, "out")
    store.delete("label")
    assert statuses(store.resolve_update("out")) == {"stale": [1]}


def test_all_optional_upstreams_are_joined_in_full(path: Path) -> None:
    label = FeatureSpec("label", id_columns=["id"])
    deps = [FeatureDep(key, optional=True) for key in ("video", "label")]
    store = store_of(path, video(), label, derived("out", *deps))
    store.write("video", clips({1: "a", 2: "b"}))
    assert statuses(store.resolve_update("out")) == {"new": [1, 2]}
    store.write("label", T({"id": [2, 3], "name": ["x", "y"]}))
    assert statuses(store.resolve_update("out")) == {"new": [1, 2, 3]}


def test_samples_are_compared_on_their_own_ids_with_a_coarser_upstream(path: Path) -> None:
    frame = FeatureSpec("frame", id_columns=["id", "n"])
    out = derived("out", "frame", "video", ids=["id", "n"])
    store = store_of(path, video(), frame, out)
    store.write("video", clips({1: "a", 2: "b"}))
    store.write("frame", T({"id": [1, 1, 2], "n": [0, 1, 0], "x": [1, 2, 3]}))
    assert statuses(store.resolve_update("out")) == {"new": [(1, 0), (1, 1), (2, 0)]}
    catch_up(store, "out")
    store.write("video", clips({1: "louder"}))
    increment = store.resolve_update("out")
    assert statuses(increment) == {"stale": [(1, 0), (1, 1)]}
    assert increment.upstream("video").collect()["id"].to_list() == [1]
    members = increment.upstream("frame").collect()
    assert sorted(members.select("id", "n").rows()) == [(1, 0), (1, 1)]
    store.write("frame", T({"id": [2], "n": [0], "x": [4]}))
    assert statuses(store.resolve_update("out")) == {"stale": [(1, 0), (1, 1), (2, 0)]}


def test_upstreams_may_meet_by_way_of_a_third(path: Path) -> None:
    """The first two share no column; the last one names a column of each."""
    ids = {"left": "ab", "right": "cd", "link": "bc"}
    specs = [FeatureSpec(key, id_columns=list(names)) for key, names in ids.items()]
    store = store_of(path, *specs, derived("out", *ids, ids=list("abcd")))
    store.write("left", T({"a": [1, 2], "b": [1, 2], "x": [0, 0]}))
    store.write("right", T({"c": [5, 6], "d": [7, 8], "y": [0, 0]}))
    store.write("link", T({"b": [1, 2, 9], "c": [6, 6, 5], "z": [0, 0, 0]}))
    assert statuses(store.resolve_update("out")) == {"new": [(1, 1, 6, 8), (2, 2, 6, 8)]}


def test_filters_of_a_dependency_decide_which_samples_are_expected(path: Path) -> None:
    out = derived("out", FeatureDep("video", filters="sound != 'mute'"))
    store = store_of(path, video(), out)
    store.write("video", clips({1: "a", 2: "mute"}))
    assert statuses(store.resolve_update("out")) == {"new": [1]}
    catch_up(store, "out")
    store.write("video", clips({1: "mute", 2: "b"}))
    assert statuses(store.resolve_update("out")) == {"new": [2], "orphaned": [1]}


def test_filters_and_select_use_the_names_after_renaming(path: Path) -> None:
    dep = FeatureDep(
        "video",
        rename={"id": "clip", "sound": "noise"},
        filters="noise = 'a' AND clip < 10",
        select=["noise"],
    )
    store = store_of(path, video(), derived("out", dep, ids=["clip"]))
    store.write("video", clips({1: "a", 2: "b", 11: "a"}))
    increment = store.resolve_update("out")
    assert statuses(increment) == {"new": [1]}
    names = [n for n in increment.new.collect_schema().names() if not n.startswith(c.PREFIX)]
    assert names == ["clip", "noise"]
    upstream = increment.upstream("video").collect().to_native()
    assert upstream.column("sound").to_pylist() == ["a"]


@pytest.mark.parametrize("filters", ["noise > 3", "noise = true", "clip = 'x'", "clip LIKE '1%'"])
def test_a_filter_of_a_dependency_must_suit_its_columns(path: Path, filters: str) -> None:
    """By their names here; DuckDB itself would take a text for a number, and the other way."""
    dep = FeatureDep("video", rename={"id": "clip", "sound": "noise"}, filters=filters)
    store = store_of(path, video(), derived("out", dep, ids=["clip"]))
    store.write("video", clips({1: "a"}))
    found = r"upstream 'video' compares '(noise|clip)' with a value of another kind"
    with pytest.raises(StoreError, match=found) as caught:
        store.resolve_update("out").counts  # noqa: B018
    assert caught.value.remedy


@pytest.mark.parametrize("bulky", [[0.5, 1.5], b"bytes", {"a": 1}])
def test_columns_of_large_values_come_with_the_others(path: Path, bulky: Any) -> None:
    """They are read when they are asked for, by a query of their own, under the same filters."""
    label = FeatureSpec("label", id_columns=["id"])
    out = derived("out", "video", FeatureDep("label", filters="name != 'z'"))
    store = store_of(path, video(), label, out)
    store.write("video", clips({1: "a", 2: "b", 3: "c"}))
    store.write("label", T({"id": [1, 2, 3], "name": ["x", "y", "z"], "large": [bulky] * 3}))
    increment = store.resolve_update("out")
    assert statuses(increment) == {"new": [1, 2]}
    frame = increment.new.collect().to_native().select(["id", "sound", "name", "large"])
    assert sorted(frame.to_pylist(), key=lambda row: row["id"]) == [
        {"id": 1, "sound": "a", "name": "x", "large": bulky},
        {"id": 2, "sound": "b", "name": "y", "large": bulky},
    ]


def test_two_upstreams_may_not_bring_one_column(path: Path) -> None:
    label = FeatureSpec("label", id_columns=["id"])
    store = store_of(path, video(), label, derived("out", "video", "label"))
    store.write("video", clips({1: "a"}))
    store.write("label", T({"id": [1], "Sound": ["x"]}))
    with pytest.raises(FeatureError, match="both bring column") as caught:
        store.resolve_update("out").new  # noqa: B018
    assert "rename" in caught.value.remedy
    renamed = derived("out", "video", FeatureDep("label", rename={"Sound": "label_sound"}))
    store = store_of(path, video(), label, renamed)
    frame = store.resolve_update("out").new.collect().to_native()
    assert frame.select(["sound", "label_sound"]).to_pylist() == [
        {"sound": "a", "label_sound": "x"}
    ]


def test_a_diamond_is_one_sample(path: Path) -> None:
    specs = [video(), derived("left"), derived("right"), derived("out", "left", "right")]
    store = store_of(path, *specs)
    store.write("video", clips({1: "a", 2: "b"}))
    for feature in ("left", "right", "out"):
        catch_up(store, feature)
    store.write("video", clips({1: "louder"}))
    assert statuses(store.resolve_update("out")) == {}
    catch_up(store, "left")
    assert statuses(store.resolve_update("out")) == {"stale": [1]}


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
