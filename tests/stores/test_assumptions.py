"""What a store must not take for granted: clocks, turns, and what users do to a frame."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import narwhals as nw
import pyarrow as pa
import pytest
from worlds import catch_up, rows, small_store, statuses

from metaxy_dagster import constants as c
from metaxy_dagster.errors import FrameError
from metaxy_dagster.stores import DuckDBMetadataStore
from metaxy_dagster.stores.duckdb.write import writer

NOON = dt.datetime(2026, 1, 1, 12, tzinfo=dt.UTC)
CLOCKS: dict[str, Callable[[int], dt.datetime]] = {
    "stands still": lambda tick: NOON,
    "runs backwards": lambda tick: NOON - dt.timedelta(hours=tick),
    "jumps ahead and back": lambda tick: NOON + dt.timedelta(days=(-1) ** tick),
}


@pytest.fixture(params=CLOCKS)
def clock(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> list[dt.datetime]:
    """What the clock of every writer says from now on, and what it said so far."""
    said: list[dt.datetime] = []

    class Clock:
        @staticmethod
        def now(zone: dt.tzinfo) -> dt.datetime:
            said.append(CLOCKS[request.param](len(said)))
            return said[-1].astimezone(zone)

    monkeypatch.setattr(writer, "dt", SimpleNamespace(datetime=Clock, UTC=dt.UTC))
    return said


def image(number: int, path: str) -> pa.Table:
    return pa.table({"id": [number], "path": [path], "height": [1], "caption": ["x"]})


def test_writers_in_one_microsecond_come_one_after_the_other(
    tmp_path: Path, clock: list[dt.datetime]
) -> None:
    store = small_store(tmp_path)
    other = DuckDBMetadataStore(store.path, graph=store.graph)
    results = [
        writing.write("image", image(number, path))
        for path in ("first", "second", "third")
        for writing, number in ((store, 1), (other, 1), (store, 2), (other, 9))
    ]
    assert len(clock) > len(results)
    changed = [result.commit for result in results if result.commit]
    assert changed == sorted(set(changed))
    assert [row["path"] for row in rows(store, "image") if row["id"] != 3] == ["third"] * 3
    past = store.read("image", history=True, filters="id = 1").collect().to_native().to_pylist()
    assert [row["path"] for row in past] == ["a.png", "first", "second", "third"]
    assert statuses(store.resolve_update("score")) == {"new": [9], "stale": [1, 2]}
    catch_up(other, "score", score=1.0)
    assert statuses(store.resolve_update("score")) == {}


def test_a_frame_read_between_two_writes_of_one_microsecond_keeps_to_its_state(
    tmp_path: Path, clock: list[dt.datetime]
) -> None:
    store = small_store(tmp_path)
    frame = store.read("image", columns=["id", "path"])
    store.write("image", image(1, "later"))
    with store:
        store.with_graph(store.graph).write("image", image(1, "latest"))
        inside = rows(store, "image", ["path"], filters="id = 1")
    assert inside == [{"path": "later"}]
    seen = frame.filter(nw.col("id") == 1).collect().to_native().to_pylist()
    assert seen == [{"id": 1, "path": "a.png"}]


def test_an_identical_rewrite_moves_nothing_whatever_the_clock_says(
    tmp_path: Path, clock: list[dt.datetime]
) -> None:
    store = small_store(tmp_path)
    version, stamps = store.data_version("image"), times(store)
    again = store.read("image", columns=["id", "path", "height", "caption"]).collect()
    result = store.write("image", again)
    assert (result.commit, result.unchanged) == (0, 3)
    assert (store.data_version("image"), times(store)) == (version, stamps)


def times(store: DuckDBMetadataStore) -> list[dict[str, object]]:
    return rows(store, "image", ["id", c.COL_CREATED_AT, c.COL_UPDATED_AT])


DROPPED: dict[str, list[str]] = {
    "all of them": [c.COL_PROVENANCE_BY_FIELD, c.COL_PROVENANCE, c.COL_FEATURE_VERSION],
    "those of the fields": [c.COL_PROVENANCE_BY_FIELD],
}


@pytest.mark.parametrize("dropped", DROPPED)
def test_a_frame_without_its_provenance_needs_its_increment(tmp_path: Path, dropped: str) -> None:
    store = small_store(tmp_path)
    store.write("image", image(1, "moved"))
    increment = store.resolve_update("score")
    frame = increment.pending.drop(DROPPED[dropped]).select(nw.all(), score=nw.lit(1.0))
    frame = frame.drop("path", "height", "caption").collect().to_native()
    with pytest.raises(FrameError) as caught:
        store.write("score", frame)
    assert "increment=" in str(caught.value.remedy)
    assert statuses(store.resolve_update("score")) == {"stale": [1]}
    assert store.write("score", frame, increment=increment).updated == 1
    assert statuses(store.resolve_update("score")) == {}


@pytest.mark.parametrize("kept", [True, False], ids=["with provenance", "by increment"])
def test_a_frame_of_an_increment_that_has_moved_is_stale_again(tmp_path: Path, kept: bool) -> None:
    """It is stamped with what it was computed from, whoever wrote meanwhile."""
    store = small_store(tmp_path)
    other = DuckDBMetadataStore(store.path, graph=store.graph)
    store.write("image", image(1, "moved"))
    increment = store.resolve_update("score")
    frame = increment.pending.select(nw.all(), score=nw.lit(1.0))
    frame = frame.drop("path", "height", "caption").collect().to_native()
    other.write("image", image(1, "moved on"))
    catch_up(other, "score", score=2.0)
    assert statuses(store.resolve_update("score")) == {}
    if kept:
        store.write("score", frame)
    else:
        store.write("score", frame.select(["id", "score"]), increment=increment)
    assert statuses(other.resolve_update("score")) == {"stale": [1]}
    catch_up(other, "score", score=3.0)
    assert statuses(store.resolve_update("score")) == {}


def test_after_a_refused_write_the_same_block_can_write_again(tmp_path: Path) -> None:
    store = small_store(tmp_path)
    catch_up(store, "score", score=1.0)
    store.write("image", pa.table({"id": [1], "path": ["z"], "height": [1], "caption": ["z"]}))
    with store.connected("w"):
        increment = store.resolve_update("score")
        strangers = pa.table({"id": [1, 99], "score": [1.0, 2.0]})
        with pytest.raises(FrameError, match="did not ask for"):
            store.write("score", strangers, increment=increment)
        assert store.write("score", strangers.slice(0, 1), increment=increment).updated == 1
    assert statuses(store.resolve_update("score")) == {}
