"""Ids whose type becomes finer: no two samples become one, and no group is touched by it."""

from __future__ import annotations

import datetime as dt
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from round_trips import ZONES_HAVE_NANOS
from worlds import catch_up, statuses

from metaxy_dagster.errors import FrameError, StoreError
from metaxy_dagster.features import FeatureDep, FeatureGraph, FeatureSpec, LineageRelationship
from metaxy_dagster.stores import DuckDBMetadataStore

DAY = dt.date(2024, 1, 1)
NOON = dt.datetime.fromisoformat("2024-01-01T12:00")
ZONED = pa.timestamp("ms", "UTC")


def moment(kind: pa.DataType, value: int) -> pa.Array:
    return pa.array([value], pa.int64()).cast(kind)


# What is stored, and what arrives later: another id, which the first type cannot tell apart.
FINER = {
    "a day, then a time of it": (pa.array([DAY]), pa.array([NOON], pa.timestamp("us"))),
    "a day, then a nanosecond": (pa.array([DAY]), moment(pa.timestamp("ns"), 1)),
    "milliseconds, then more": (
        moment(pa.timestamp("ms"), 5),
        moment(pa.timestamp("us"), 5001),
    ),
    "microseconds, then more": (
        moment(pa.timestamp("us"), 5),
        moment(pa.timestamp("ns"), 5001),
    ),
    "one digit, then two": (
        pa.array([Decimal("1.5")], pa.decimal128(5, 1)),
        pa.array([Decimal("1.51")], pa.decimal128(6, 2)),
    ),
    "moments before 1970": (
        moment(pa.timestamp("us"), -5),
        moment(pa.timestamp("ns"), -5001),
    ),
}
WITH_ZONE = (moment(ZONED, 5), moment(pa.timestamp("ns", "UTC"), 1))
# With DuckDB 1.5 they are refused.
BY_MEMBER = FINER | ({"moments with a zone": WITH_ZONE} if ZONES_HAVE_NANOS else {})


def store_at(path: Path, share: float) -> DuckDBMetadataStore:
    graph = FeatureGraph()
    graph.add(FeatureSpec("clip", id_columns=["id"]))
    graph.add(FeatureSpec("crop", id_columns=["id"], deps=["clip"]))
    parent = FeatureDep("clip", lineage=LineageRelationship.expansion())
    graph.add(FeatureSpec("child", id_columns=["id", "n"], deps=[parent]))
    graph.add(FeatureSpec("shot", id_columns=["day", "id"]))
    members = FeatureDep("shot", lineage=LineageRelationship.aggregation())
    graph.add(FeatureSpec("reel", id_columns=["day"], deps=[members]))
    return DuckDBMetadataStore(path, graph=graph, max_incremental_share=share)


def clips(ids: pa.Array) -> pa.Table:
    return pa.table({"id": ids, "path": ["p"] * len(ids)})


@pytest.mark.parametrize("share", [0, 100])
@pytest.mark.parametrize("feature", ["crop", "child"])
@pytest.mark.parametrize("name", FINER)
def test_finer_ids_of_an_upstream_are_other_samples(
    tmp_path: Path, name: str, feature: str, share: float
) -> None:
    store, (first, second) = store_at(tmp_path / "m.duckdb", share), FINER[name]
    store.write("clip", clips(first))
    more = {"n": 0} if feature == "child" else {}
    catch_up(store, feature, **more)
    store.write("clip", clips(second))
    assert store.resolve_update(feature).counts.new == 1
    catch_up(store, feature, **more)
    assert statuses(store.resolve_update(feature)) == {}
    assert store.count(feature) == 2


@pytest.mark.parametrize("name", FINER)
def test_finer_samples_that_are_given_are_other_ones(tmp_path: Path, name: str) -> None:
    store, (first, second) = store_at(tmp_path / "m.duckdb", 0), FINER[name]
    store.write("clip", clips(first))
    counts = store.resolve_update("clip", samples=clips(second)).counts
    assert (counts.new, counts.stale, counts.orphaned) == (1, 0, 1)


@pytest.mark.parametrize("share", [0, 100])
@pytest.mark.parametrize("name", BY_MEMBER)
def test_groups_stay_as_they_are_when_the_ids_of_members_become_finer(
    tmp_path: Path, name: str, share: float
) -> None:
    store, (first, second) = store_at(tmp_path / "m.duckdb", share), BY_MEMBER[name]
    store.write("shot", pa.table({"day": [1], "id": first}))
    catch_up(store, "reel")
    before = store.data_version("shot")
    store.write("shot", pa.table({"day": [2], "id": second}))
    assert statuses(store.resolve_update("reel")) == {"new": [2]}
    store.delete("shot", filters="day = 2")
    assert store.data_version("shot") == before


def test_moments_with_a_zone_that_are_finer_than_the_stored_ones_are_refused(
    tmp_path: Path,
) -> None:
    store, (first, second) = store_at(tmp_path / "m.duckdb", 0), WITH_ZONE
    store.write("clip", clips(first))
    catch_up(store, "crop")
    if not ZONES_HAVE_NANOS:
        with pytest.raises(FrameError, match="'id' holds values that cannot be kept"):
            store.write("clip", clips(second))
        return
    store.write("clip", clips(second))
    with pytest.raises(StoreError, match=r"store\.alter\('crop', columns={'id': 'TIMESTAMPTZ_NS'}"):
        store.resolve_update("crop").counts  # noqa: B018 - asks
    store.alter("crop", columns={"id": "TIMESTAMPTZ_NS"})
    catch_up(store, "crop")
    assert store.count("crop") == 2


# Ids of the increment, and the same values in a type in which they may mean another sample.
OTHERWISE: dict[str, tuple[pa.Array, pa.Array]] = {
    "a time for a day": (pa.array([DAY]), pa.array([NOON])),
    "local times for moments": (moment(ZONED, 5), moment(pa.timestamp("ms"), 5)),
    "moments for local times": (moment(pa.timestamp("ms"), 5), moment(ZONED, 5)),
}


def answer(store: DuckDBMetadataStore, how: str, ids: pa.Array) -> Any:
    increment, samples = store.resolve_update("crop"), pa.table({"id": ids})
    if how == "rows":
        return store.write("crop", samples, increment=increment)
    if how == "empty":
        return store.write("crop", samples.slice(0, 0), increment=increment, empty=samples)
    return store.record_failures("crop", samples, "broken", increment=increment)


@pytest.mark.parametrize("how", ["rows", "empty", "failed"])
@pytest.mark.parametrize("name", OTHERWISE)
def test_ids_that_may_mean_another_sample_answer_nothing(
    tmp_path: Path, name: str, how: str
) -> None:
    store, (asked, answered) = store_at(tmp_path / "m.duckdb", 0), OTHERWISE[name]
    store.write("clip", clips(asked))
    with pytest.raises(FrameError, match="increment"):
        answer(store, how, answered)
    assert store.resolve_update("crop").counts.new == 1


@pytest.mark.parametrize("name", [name for name in OTHERWISE if "local" in name])
def test_samples_with_a_zone_are_not_those_without(tmp_path: Path, name: str) -> None:
    store, (stored, given) = store_at(tmp_path / "m.duckdb", 0), OTHERWISE[name]
    store.write("clip", clips(stored))
    with pytest.raises(FrameError, match="zone"):
        store.resolve_update("clip", samples=clips(given)).counts  # noqa: B018 - asks
