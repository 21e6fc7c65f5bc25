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
