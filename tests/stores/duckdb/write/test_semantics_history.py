"""The semantics of writing: orphans, deletes, history, snapshots and types."""

from __future__ import annotations

import datetime as dt
from pathlib import Path
from typing import Any

import duckdb
import narwhals as nw
import pyarrow as pa
import pytest
from videos import T, clips, derived, store_of, video
from worlds import catch_up, rows, statuses

from metaxy_dagster import constants as c
from metaxy_dagster.errors import FrameError
from metaxy_dagster.features import (
    FeatureSpec,
    LineageRelationship,
)

GROUPED = LineageRelationship.aggregation

EXPANDED = LineageRelationship.expansion


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "m.duckdb"


def test_orphans_stay_until_somebody_deletes_them(path: Path) -> None:
    store = store_of(path, video(), derived(), derived("last", "out"))
    store.write("video", clips({1: "a", 2: "b"}))
    catch_up(store, "out")
    catch_up(store, "last")
    store.delete("video", filters="id = 1")
    assert statuses(store.resolve_update("out")) == {"orphaned": [1]}
    assert statuses(store.resolve_update("last")) == {}
    catch_up(store, "out")
    assert rows(store, "out") == [{"id": 2}]
    assert statuses(store.resolve_update("last")) == {"orphaned": [1]}


def test_an_orphan_cannot_be_written(path: Path) -> None:
    store = store_of(path, video(), derived())
    store.write("video", clips({1: "a", 2: "b"}))
    catch_up(store, "out")
    store.write("video", clips({1: "A"}), mode="replace")
    increment = store.resolve_update("out")
    with pytest.raises(FrameError, match="did not ask for") as caught:
        store.write("out", T({"id": [1, 2]}), increment=increment)
    assert "2" in str(caught.value.found)
    assert statuses(store.resolve_update("out")) == {"stale": [1], "orphaned": [2]}


@pytest.mark.parametrize("soft", [True, False])
def test_a_delete_brings_no_older_state_back(path: Path, *, soft: bool) -> None:
    store = store_of(path, video())
    store.write("video", clips({1: "a", 2: "b"}))
    store.write("video", clips({1: "A"}))
    assert store.delete("video", filters="sound = 'A'", soft=soft).deleted == 1
    assert store.delete("video", filters="sound = 'a'", soft=soft).deleted == 0
    assert rows(store, "video", ["id"]) == [{"id": 2}]
    history = store.read("video", columns=["id", "sound"], history=True).collect().to_native()
    kept = {(row["id"], row["sound"]) for row in history.to_pylist()}
    assert kept == ({(1, "a"), (1, "A"), (2, "b")} if soft else {(2, "b")})


def test_a_deleted_sample_can_come_back(path: Path) -> None:
    store = store_of(path, video(), derived())
    store.write("video", clips({1: "a"}))
    catch_up(store, "out")
    store.delete("out")
    assert statuses(store.resolve_update("out")) == {"new": [1]}
    catch_up(store, "out")
    assert (statuses(store.resolve_update("out")), store.count("out")) == ({}, 1)


def test_history_tells_when_rows_ended_and_why(path: Path) -> None:
    store = store_of(path, video())
    store.write("video", clips({1: "a", 2: "b"}), materialization_id="run 1")
    store.write("video", clips({1: "A"}), materialization_id="run 2")
    store.delete("video", filters="id = 2")
    found = store.read("video", history=True).collect().to_native().to_pylist()
    told = {(r["sound"], r[c.COL_MATERIALIZATION_ID], r[c.COL_DELETED_AT] is None) for r in found}
    assert told == {("a", "run 1", True), ("A", "run 2", True), ("b", "run 1", False)}
    new, old = (next(r for r in found if r["sound"] == sound) for sound in ("A", "a"))
    assert new[c.COL_CREATED_AT] == old[c.COL_CREATED_AT] <= new[c.COL_UPDATED_AT]
    assert new[c.COL_CREATED_AT].utcoffset() == dt.timedelta(0)


def test_dropping_forgets_a_feature_and_its_history(path: Path) -> None:
    store = store_of(path, video(), derived())
    store.write("video", clips({1: "a"}))
    catch_up(store, "out")
    store.drop("video")
    store.drop("video")
    with duckdb.connect(str(path), read_only=True) as connection:
        commits = connection.sql("SELECT * FROM metaxy.commits ORDER BY commit").fetchall()
        assert commits[-1][1:6] == ("video", "drop", 0, 0, 0)
    assert [str(key) for key in store.features()] == ["out"]
    assert store.read("video", history=True).collect().to_native().num_rows == 0
    assert statuses(store.resolve_update("out")) == {"orphaned": [1]}
    store.write("video", clips({1: "a"}))
    assert statuses(store.resolve_update("out")) == {}


# Snapshots


def test_a_lazy_frame_shows_its_moment_whenever_it_is_collected(path: Path) -> None:
    store = store_of(path, video())
    store.write("video", clips({1: "a", 2: "b"}))
    with store:
        frame = store.read("video", columns=["id", "sound"])
        filtered = store.read("video").filter(nw.col("sound") == "b").select("id")
    store.write("video", clips({1: "A", 3: "b"}))
    store.delete("video", filters="id = 2")
    assert sorted(frame.collect().rows()) == [(1, "a"), (2, "b")]
    assert filtered.collect().rows() == [(2,)]
    assert sorted(store.read("video", columns=["id"]).collect().rows()) == [(1,), (3,)]


def test_a_moment_lies_between_what_came_before_and_what_came_after(path: Path) -> None:
    """A sample that was written twice before and twice after; all four are in the history."""
    store = store_of(path, video(), derived())
    frames = []
    for sound in "abcd":
        store.write("video", clips({1: sound}))
        frames.append(store.read("video", columns=["sound"]))
        store.write("out", T({"id": [1]}), increment=store.resolve_update("out"))
    assert [frame.collect().rows() for frame in frames] == [[(sound,)] for sound in "abcd"]


def test_a_session_reads_one_snapshot_throughout(path: Path) -> None:
    store = store_of(path, video(), derived())
    store.write("video", clips({1: "a"}))
    other = store_of(path, video(), derived())
    with store:
        before = store.data_version("video")
        other.write("video", clips({2: "b"}))
        assert (store.count("video"), store.data_version("video")) == (1, before)
        assert statuses(store.resolve_update("out")) == {"new": [1]}
    assert store.count("video") == 2


def test_an_increment_shows_its_moment_too(path: Path) -> None:
    store = store_of(path, video(), derived())
    store.write("video", clips({1: "a"}))
    increment = store.resolve_update("out")
    store.write("video", clips({1: "later", 2: "b"}))
    frame = increment.new.collect().to_native()
    assert frame.select(["id", "sound"]).to_pylist() == [{"id": 1, "sound": "a"}]
    assert increment.upstream("video").collect()["sound"].to_list() == ["a"]


# Types

MONDAY = dt.date(2026, 11, 23)


NIGHT = dt.datetime(2026, 11, 23, 22, 0)  # noqa: DTZ001 - a naive column


@pytest.mark.parametrize(
    ("first", "second", "stored", "kind"),
    [
        ([1], [2.5], [1.0, 2.5], "DOUBLE"),
        ([1.5], [2], [1.5, 2.0], "DOUBLE"),
        (pa.array([1], pa.int8()), [2**40], [1, 2**40], "BIGINT"),
        (pa.array([1.5], pa.float32()), [0.1], [1.5, 0.1], "DOUBLE"),
        (pa.nulls(1), ["a"], [None, "a"], "VARCHAR"),
        (pa.nulls(1), [4], [None, 4], "BIGINT"),
        (["a"], pa.nulls(1), ["a", None], "VARCHAR"),
        ([MONDAY], [NIGHT], [dt.datetime(2026, 11, 23), NIGHT], "TIMESTAMP"),  # noqa: DTZ001
        ([[1]], [[0.5]], [[1.0], [0.5]], "DOUBLE[]"),
        (pa.array([[]], pa.list_(pa.null())), [["a"]], [[], ["a"]], "VARCHAR[]"),
        (
            pa.array(["a"], pa.large_string()),
            pa.array(["b"], pa.string_view()),
            ["a", "b"],
            "VARCHAR",
        ),
    ],
)
def test_types_widen_where_nothing_is_lost(
    path: Path, first: Any, second: Any, stored: Any, kind: str
) -> None:
    store = store_of(path, FeatureSpec("clip", id_columns=["id"]))
    store.write("clip", T({"id": [1], "x": first}))
    before = store.data_version("clip")
    early = store.read("clip", columns=["x"])
    store.write("clip", T({"id": [2], "x": second}))
    assert [row["x"] for row in rows(store, "clip")] == stored
    assert store.schema("clip")["x"] == kind
    assert store.data_version("clip") != before
    assert early.collect().to_native().column("x").to_pylist() == pa.array(first).to_pylist()


@pytest.mark.parametrize(
    ("first", "second"),
    [
        (["a"], [1]),
        ([1], ["a"]),
        ([True], [1]),
        ([2**53 + 1], [0.5]),
        ([0.5], [2**53 + 1]),
        ([-1], pa.array([2**63], pa.uint64())),
        ([NIGHT], pa.array([0], pa.timestamp("us", "UTC"))),
        ([["a"]], [[1]]),
        ([b"a"], ["a"]),
    ],
)
def test_types_that_would_corrupt_a_column_are_refused(path: Path, first: Any, second: Any) -> None:
    store = store_of(path, FeatureSpec("clip", id_columns=["id"]))
    store.write("clip", T({"id": [1], "x": first}))
    before = rows(store, "clip"), store.schema("clip"), store.data_version("clip")
    with pytest.raises(FrameError, match="cast 'x'"):
        store.write("clip", T({"id": [2], "x": second}))
    assert (rows(store, "clip"), store.schema("clip"), store.data_version("clip")) == before


def test_columns_may_be_added_and_by_replace_dropped(path: Path) -> None:
    store = store_of(path, FeatureSpec("clip", id_columns=["id"]))
    store.write("clip", T({"id": [1], "x": [1]}))
    store.write("clip", T({"id": [2], "x": [2], "y": ["b"]}))
    assert rows(store, "clip") == [{"id": 1, "x": 1, "y": None}, {"id": 2, "x": 2, "y": "b"}]
    store.write("clip", T({"id": [1, 2], "y": ["a", "b"]}), mode="replace")
    assert [row["y"] for row in rows(store, "clip")] == ["a", "b"]
    assert [row["x"] for row in rows(store, "clip")] == [None, None]


def test_ids_of_another_width_are_the_same_ids(path: Path) -> None:
    store = store_of(path, video(), derived())
    small = clips({1: "a"}).cast(
        pa.schema({"id": pa.int16(), "sound": pa.string(), "picture": pa.string()})
    )
    store.write("video", small)
    catch_up(store, "out")
    assert store.write("video", clips({1: "a", 2**40: "b"})).unchanged == 1
    assert statuses(store.resolve_update("out")) == {"new": [2**40]}


@pytest.mark.parametrize(("theirs", "ours"), [([1, 2], ["1", "2"]), (["1", "2"], [1, 2])])
def test_ids_as_texts_and_as_numbers_are_the_same_ids(
    path: Path, theirs: list[Any], ours: list[Any]
) -> None:
    """Increments have them in the type in which they are stored."""
    store = store_of(path, FeatureSpec("clip", id_columns=["id"]), derived("out", "clip"))
    store.write("clip", T({"id": theirs, "x": [0, 0]}))
    store.write("out", T({"id": ours}), increment=store.resolve_update("out"))
    assert statuses(store.resolve_update("out")) == {}
    store.write("clip", T({"id": theirs[:1], "x": [1]}))
    assert statuses(store.resolve_update("out")) == {"stale": ours[:1]}
