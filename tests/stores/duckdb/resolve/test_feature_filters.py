"""Resolving with filters for single features: which upstream rows, and which stored samples."""

from __future__ import annotations

from pathlib import Path

import polars as pl
import pytest

import metaxy_dagster as mxd

GRAPH = mxd.FeatureGraph()
for _spec in (
    mxd.FeatureSpec("event", id_columns=["id", "spot"]),
    mxd.FeatureSpec("place", id_columns=["spot"]),
    mxd.FeatureSpec(
        "visit",
        id_columns=["id", "spot"],
        deps=[
            mxd.FeatureDep("event", rename={"hour": "at"}),
            mxd.FeatureDep("place", rename={"hour": "opened"}),
        ],
    ),
    mxd.FeatureSpec(
        "hourly",
        id_columns=["hour"],
        deps=[mxd.FeatureDep("event", lineage=mxd.LineageRelationship.aggregation(on=["hour"]))],
    ),
):
    GRAPH.add(_spec)

EVENTS = pl.DataFrame(
    {"id": [1, 2, 3, 4], "spot": ["a", "a", "b", "b"], "hour": [7, 8, 7, 8], "lux": [1, 2, 3, 4]}
)
PLACES = pl.DataFrame({"spot": ["a", "b"], "hour": [1, 2]})


@pytest.fixture
def store(tmp_path: Path) -> mxd.DuckDBMetadataStore:
    made = mxd.DuckDBMetadataStore(tmp_path / "m.duckdb", graph=GRAPH)
    made.write("event", EVENTS)
    made.write("place", PLACES)
    return made


def ids(frame) -> list[int]:
    return sorted(frame.collect("polars").to_native()["id"].to_list())


#: Filters and the ids that are new under them, while nothing is stored.
NEW = {
    "none": ({}, [1, 2, 3, 4]),
    "empty": ({"event": ()}, [1, 2, 3, 4]),
    "one upstream, in its own words": ({"event": "hour = 7"}, [1, 3]),
    "another upstream": ({"place": "hour = 2"}, [3, 4]),
    "both, by the same column of either": ({"event": "hour = 7", "place": "hour = 2"}, [3]),
    "several filters": ({"event": ["hour = 7", "lux > 1"]}, [3]),
    "a spec as the key": ({GRAPH["event"]: "hour = 8"}, [2, 4]),
    "the feature itself, of which nothing is stored": ({"visit": "at = 7"}, [1, 2, 3, 4]),
}


@pytest.mark.parametrize("case", NEW)
def test_samples_are_expected_of_the_rows_that_are_chosen(store, case):
    filters, expected = NEW[case]
    found = store.resolve_update("visit", filters=filters)
    assert found.counts == mxd.Counts(len(expected), 0, 0)
    assert ids(found.pending) == expected
    rows = ids(found.upstream("event", all_rows=True))
    assert set(expected) <= set(rows)
    assert ids(found.upstream("event")) == expected
    assert sum(batch.counts.new for batch in found.batches(1)) == len(expected)


def written(store) -> None:
    found = store.resolve_update("visit")
    frame = found.pending.collect("polars").to_native()
    store.write("visit", frame.select("id", "spot", kept=pl.col("at")), increment=found)


#: What changed upstream since, filters, and what is new, stale and orphaned under them.
CHANGES = {
    "nothing": (EVENTS, {"event": "hour = 7", "visit": "kept = 7"}, (0, 0, 0)),
    "a row changed, looked at": (
        EVENTS.with_columns(lux=pl.col("lux") + (pl.col("id") == 1)),
        {"event": "hour = 7", "visit": "kept = 7"},
        (0, 1, 0),
    ),
    "a row changed, not looked at": (
        EVENTS.with_columns(lux=pl.col("lux") + (pl.col("id") == 2)),
        {"event": "hour = 7", "visit": "kept = 7"},
        (0, 0, 0),
    ),
    "a row is gone": (
        EVENTS.filter(pl.col("id") != 3),
        {"event": "hour = 7", "visit": "kept = 7"},
        (0, 0, 1),
    ),
    "a row is gone, not looked at": (
        EVENTS.filter(pl.col("id") != 2),
        {"event": "hour = 7", "visit": "kept = 7"},
        (0, 0, 0),
    ),
    "orphans of rows that are not chosen are not in question": (
        EVENTS,
        {"event": "hour = 7", "visit": "kept = 99"},
        (0, 2, 0),  # stored, but not among what is looked at: to be computed into it
    ),
    "of the feature alone": (EVENTS, {"visit": "kept = 7"}, (0, 2, 0)),
    "of the upstream alone, all else is orphaned": (EVENTS, {"event": "hour = 7"}, (0, 0, 2)),
}


@pytest.mark.parametrize("case", CHANGES)
def test_stored_samples_are_judged_by_the_features_own_filters(store, case):
    written(store)
    rows, filters, expected = CHANGES[case]
    store.write("event", rows, mode="replace")
    assert store.resolve_update("visit", filters=filters).counts == mxd.Counts(*expected)


def test_a_group_has_the_members_that_are_chosen(store):
    found = store.resolve_update("hourly", filters={"event": "lux > 1"})
    assert found.counts == mxd.Counts(2, 0, 0)
    assert ids(found.upstream("event")) == [2, 3, 4]


def test_it_leaves_no_watermark_over_what_it_did_not_look_at(store):
    found = store.resolve_update("visit", filters={"event": "hour = 7"})
    frame = found.pending.collect("polars").to_native()
    store.write("visit", frame.select("id", "spot", kept=pl.col("at")), increment=found)
    assert store.resolve_update("visit").counts == mxd.Counts(2, 0, 0)


REFUSED = {
    "another feature": ({"hourly": "hour = 7"}, mxd.StoreError, "hourly"),
    "a name of the feature's, not of the upstream's": ({"event": "at = 7"}, mxd.StoreError, "at"),
    "no key": ({3: "hour = 7"}, mxd.FeatureError, "3"),
    "no filter": ({"event": 3}, mxd.StoreError, "int"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_cannot_be_looked_at_is_refused(store, case):
    filters, kind, said = REFUSED[case]
    with pytest.raises(kind, match=said):
        store.resolve_update("visit", filters=filters).counts  # noqa: B018 - reading it resolves
