"""Rows that exist already are taken as computed: nothing is computed twice after a retrofit."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import polars as pl
import pyarrow as pa
import pytest

import metaxy_dagster as mxd
from metaxy_dagster.errors import FrameError, StoreError

GRAPH = mxd.FeatureGraph()
for spec in (
    mxd.FeatureSpec("video", id_columns=["video_id"]),
    mxd.FeatureSpec("label", id_columns=["video_id"]),
    mxd.FeatureSpec("faces", id_columns=["video_id"], deps=["video"]),
    mxd.FeatureSpec(
        "both",
        id_columns=["video_id"],
        deps=["video", mxd.FeatureDep("label", optional=True)],
    ),
    mxd.FeatureSpec(
        "frames",
        id_columns=["video_id", "frame"],
        deps=[mxd.FeatureDep("video", lineage=mxd.LineageRelationship.expansion(on=["video_id"]))],
    ),
    mxd.FeatureSpec(
        "camera",
        id_columns=["camera"],
        deps=[mxd.FeatureDep("video", lineage=mxd.LineageRelationship.aggregation(on=["camera"]))],
    ),
):
    GRAPH.add(spec)
VIDEOS = pa.table({"video_id": [1, 2, 3], "camera": ["a", "a", "b"], "path": ["x", "y", "z"]})


@pytest.fixture
def store(tmp_path: Path) -> mxd.DuckDBMetadataStore:
    made = mxd.DuckDBMetadataStore(tmp_path / "m.duckdb", graph=GRAPH)
    made.write("video", VIDEOS)
    return made


def pending(store, feature):
    return store.resolve_update(feature).counts.pending


@pytest.mark.parametrize(
    ("feature", "rows", "told"),
    [
        # feature, rows that exist, (adopted, known, unexpected, ambiguous, pending)
        ("faces", {"video_id": [1, 2, 3], "n": [0, 1, 2]}, (3, 0, 0, 0, 0)),
        ("faces", {"video_id": [1, 9], "n": [0, 1]}, (1, 0, 1, 0, 2)),
        ("faces", {"video_id": [1, 2, 2], "n": [0, 1, 2]}, (1, 0, 0, 2, 2)),
        ("faces", {"video_id": [1, None], "n": [0, 1]}, (1, 0, 0, 1, 2)),
        ("faces", {"video_id": pa.array([], pa.int64()), "n": pa.array([], pa.int64())}, (0,) * 4),
        ("both", {"video_id": [1, 2, 3]}, (3, 0, 0, 0, 0)),
        ("frames", {"video_id": [1, 1, 3], "frame": [0, 1, 0]}, (3, 0, 0, 0, 1)),
        ("frames", {"video_id": [1, 7], "frame": [0, 0]}, (1, 0, 1, 0, 2)),
        ("camera", {"camera": ["a", "c"], "n": [2, 1]}, (1, 0, 1, 0, 1)),
    ],
)
@pytest.mark.parametrize("dry_run", [True, False])
def test_what_exists_is_taken_as_computed(store, feature, rows, told, dry_run):
    before = pending(store, feature)
    told = told if len(told) > 4 else (*told, before)
    found = store.adopt(feature, pa.table(rows), dry_run=dry_run)
    assert (
        found.adopted,
        found.known,
        found.unexpected,
        found.ambiguous,
        found.pending,
    ) == told
    assert found.rows == len(next(iter(rows.values())))
    assert (found.commit > 0) is (not dry_run and found.adopted > 0)
    assert pending(store, feature) == (before if dry_run else found.pending)
    if not dry_run:
        assert store.count(feature) == found.adopted
        again = store.adopt(feature, pa.table(rows))
        assert (again.adopted, again.known, again.commit) == (0, found.adopted, 0)


def test_what_changes_afterwards_is_asked_for(store):
    store.adopt("faces", pd.DataFrame({"video_id": [1, 2, 3]}))
    store.write("video", pl.DataFrame({"video_id": [2], "camera": ["a"], "path": ["new"]}))
    stale = store.resolve_update("faces").stale.collect()
    assert stale["video_id"].to_list() == [2]
    # Adopted once more, for instance since it was computed elsewhere.
    assert store.adopt("faces", pa.table({"video_id": [2], "n": [5]})).adopted == 1
    assert pending(store, "faces") == 0


def test_a_root_is_taken_as_it_is(store):
    rows = pa.table({"video_id": [1, 1, 2], "text": ["a", "b", "c"]})
    found = store.adopt("label", rows)
    assert (found.adopted, found.ambiguous, found.pending) == (1, 2, 0)
    assert store.adopt("label", rows).known == 1


def test_quarantined_samples_are_taken_too(store):
    for _ in range(3):
        increment = store.resolve_update("faces")
        store.record_failures("faces", [{"video_id": 1}], "broken", increment=increment)
    assert store.resolve_update("faces").counts.quarantined == 1
    found = store.adopt("faces", pa.table({"video_id": [1, 2, 3]}))
    assert (found.adopted, found.pending) == (3, 0)
    assert not len(store.failures("faces").collect())


def test_ids_in_other_types_are_the_same_samples(store):
    rows = pl.DataFrame({"video_id": pl.Series([1, 2], dtype=pl.Int8), "n": [0, 1]}).lazy()
    assert store.adopt("faces", rows).adopted == 2


@pytest.mark.parametrize(
    ("feature", "frame", "problem"),
    [
        ("faces", {"id": [1]}, "lacks"),
        ("frames", {"frame": [1]}, "lacks"),
        ("faces", {"video_id": ["one"]}, "another type"),
        ("faces", {"video_id": [1], "metaxy_x": [1]}, "metaxy_"),
    ],
)
def test_what_cannot_be_told_apart_is_refused(store, feature, frame, problem):
    with pytest.raises(FrameError, match=problem) as caught:
        store.adopt(feature, pa.table(frame))
    assert caught.value.feature == feature
    assert store.count("faces") == 0


def test_nothing_is_expected_of_what_was_never_written(tmp_path):
    store = mxd.DuckDBMetadataStore(tmp_path / "new.duckdb", graph=GRAPH)
    rows = pa.table({"video_id": [1, 2]})
    assert store.adopt("faces", rows, dry_run=True).unexpected == 2
    assert store.adopt("faces", rows).unexpected == 2
    assert store.adopt("video", rows, dry_run=True).adopted == 2
    assert store.adopt("video", rows).adopted == 2
    assert store.adopt("faces", rows).adopted == 2


def test_a_session_that_reads_adopts_nothing(store):
    rows = pa.table({"video_id": [1]})
    with store:
        assert store.adopt("faces", rows, dry_run=True).adopted == 1
        with pytest.raises(StoreError):
            store.adopt("faces", rows)
    with store.open("w"):
        assert store.adopt("faces", rows).adopted == 1
