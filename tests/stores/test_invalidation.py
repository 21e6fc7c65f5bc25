"""Samples that are to be computed again, whatever is upstream."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import polars as pl
import pyarrow as pa
import pytest

import metaxy_dagster as mxd

PAGES = pa.table({"id": [1, 2, 3], "book": ["a", "a", "b"], "text": ["x", "y", "z"]})


def counts(store: mxd.MetadataStore, key: str, **how: Any) -> tuple[int, int, int]:
    found = store.resolve_update(key, **how).counts
    return found.new, found.stale, found.orphaned


@pytest.fixture
def store(tmp_path: Path) -> mxd.DuckDBMetadataStore:
    """Pages with a score each, one row a book, two words a page; all of it computed."""
    graph = mxd.FeatureGraph()
    graph.add(mxd.FeatureSpec("page", id_columns=["id"]))
    graph.add(mxd.FeatureSpec("score", id_columns=["id"], deps=["page"], fields=["a", "b"]))
    graph.add(mxd.FeatureSpec("top", id_columns=["id"], deps=["score"]))
    by_book = mxd.FeatureDep("page", lineage=mxd.LineageRelationship.aggregation(on=["book"]))
    graph.add(mxd.FeatureSpec("book", id_columns=["book"], deps=[by_book]))
    words = mxd.FeatureDep("page", lineage=mxd.LineageRelationship.expansion(on=["id"]))
    graph.add(mxd.FeatureSpec("word", id_columns=["id", "k"], deps=[words]))
    made = mxd.DuckDBMetadataStore(tmp_path / "m.duckdb", graph=graph)
    made.write("page", PAGES)
    ids = PAGES.select(["id"])
    for key, frame in {
        "score": ids.append_column("score", pa.array([0.1, 0.2, 0.3])),
        "top": ids,
        "book": pa.table({"book": ["a", "b"]}),
        "word": pa.table({"id": [1, 1, 2, 2, 3, 3], "k": [0, 1] * 3}),
    }.items():
        made.write(key, frame, increment=made.resolve_update(key))
        assert counts(made, key) == (0, 0, 0)
    return made


@pytest.mark.parametrize(
    ("key", "samples", "rows", "stale"),
    [
        ("score", pa.table({"id": [1, 3]}), 2, 2),
        ("score", pd.DataFrame({"id": [2], "other": ["column"]}), 1, 1),
        ("score", pl.LazyFrame({"id": [2, 2, None, 9]}), 1, 1),
        ("score", [{"id": 1}, {"id": 7}], 1, 1),
        ("score", pa.table({"id": pa.array([1], pa.uint8())}), 1, 1),
        ("score", pa.table({"id": ["1", "no number"]}), 1, 1),
        ("score", pa.table({"id": pa.array([], pa.int64())}), 0, 0),
        ("score", [{"id": 9}], 0, 0),
        ("book", [{"book": "a"}], 1, 1),
        ("word", [{"id": 1}], 2, 1),
        ("word", [{"id": 1, "k": 0}], 2, 1),
    ],
)
def test_samples_are_stale_until_they_are_written_again(
    store: mxd.DuckDBMetadataStore, key: str, samples: Any, rows: int, stale: int
) -> None:
    before, version = store.read(key).collect().to_native(), store.data_version(key)
    result = store.invalidate(key, samples)
    assert (store.data_version(key) != version) is bool(rows)
    assert (result.updated, result.new, result.deleted) == (rows, 0, 0)
    assert bool(result.commit) is bool(rows)
    increment = store.resolve_update(key)
    assert (increment.counts.new, increment.counts.stale) == (0, stale)
    # What the user stored is as it was.
    own = [name for name in before.column_names if not name.startswith("metaxy_")]
    order = [(name, "ascending") for name in own]
    after = store.read(key).collect().to_native()
    assert after.select(own).sort_by(order).equals(before.select(own).sort_by(order))
    if not rows:
        return
    answer = increment.pending.collect().to_native().select(increment.sample_columns)
    more = {"word": "k", "score": "score"}.get(key)
    if more is not None:
        answer = answer.append_column(more, pa.array([0] * answer.num_rows))
    store.write(key, answer, increment=increment)
    assert counts(store, key) == (0, 0, 0)


@pytest.mark.parametrize("share", [0, 1e9])
def test_what_is_downstream_is_stale_and_is_not_when_all_is_as_before(
    store: mxd.DuckDBMetadataStore, tmp_path: Path, share: float
) -> None:
    again = mxd.DuckDBMetadataStore(
        tmp_path / "m.duckdb", graph=store.graph, max_incremental_share=share
    )
    again.invalidate("score", [{"id": 1}])
    assert counts(again, "top") == (0, 1, 0)
    increment = again.resolve_update("score")
    again.write("score", pa.table({"id": [1], "score": [0.1]}), increment=increment)
    assert counts(again, "top") == (0, 0, 0)


def test_once_is_enough_and_the_past_is_as_it_was(store: mxd.DuckDBMetadataStore) -> None:
    frame = store.read("score")
    increment = store.resolve_update("top", keep_unchanged=True)
    assert store.invalidate("score", [{"id": 1}]).commit
    assert not store.invalidate("score", [{"id": 1}]).commit
    native = frame.collect().to_native()
    assert native.column("metaxy_feature_version").null_count == 0
    assert (increment.counts.pending, counts(store, "top")) == (0, (0, 1, 0))


def changed_back(store: mxd.DuckDBMetadataStore) -> None:
    changed = PAGES.set_column(2, "text", pa.array(["new", "y", "z"]))
    store.write("page", changed)
    increment = store.resolve_update("score")
    assert store.invalidate("score", increment.pending).updated == 1
    # Here the process dies, after it changed something outside of the store.
    store.write("page", PAGES)


def code_of(store: mxd.DuckDBMetadataStore) -> None:
    store.invalidate("score", [{"id": 1}])


def of_another(store: mxd.DuckDBMetadataStore) -> None:
    increment = store.resolve_update("score", keep_unchanged=True)
    store.invalidate("score", [{"id": 1}])
    # Answers other samples than the one that was meant.
    store.write("score", pa.table({"id": [2], "score": [7.0]}), increment=increment)


@pytest.mark.parametrize("happens", [changed_back, code_of, of_another])
def test_it_is_not_forgotten(
    store: mxd.DuckDBMetadataStore, happens: Callable[[mxd.DuckDBMetadataStore], None]
) -> None:
    happens(store)
    assert counts(store, "score") == (0, 1, 0)
    # A watermark that was made since does not pass over it.
    store.write("page", pa.table({"id": [4], "book": ["c"], "text": ["w"]}))
    increment = store.resolve_update("score")
    assert (increment.counts.new, increment.counts.stale) == (1, 1)
    store.write("score", pa.table({"id": [4], "score": [0.4]}), increment=increment)
    assert counts(store, "score") == (0, 1, 0)


def test_an_answer_to_what_was_asked_before_counts(store: mxd.DuckDBMetadataStore) -> None:
    """The order of a run: what is pending is found out, invalidated, changed, written."""
    store.write("page", PAGES.set_column(2, "text", pa.array(["new", "y", "z"])))
    increment = store.resolve_update("score")
    store.invalidate("score", increment.pending)
    store.write("score", pa.table({"id": [1], "score": [0.5]}), increment=increment)
    assert counts(store, "score") == (0, 0, 0)


def test_samples_that_were_found_empty_are_asked_for_again(
    store: mxd.DuckDBMetadataStore,
) -> None:
    store.write("page", PAGES.set_column(2, "text", pa.array(["", "y", "z"])))
    nothing = pa.table({"id": pa.array([], pa.int64())})
    increment = store.resolve_update("score")
    # Invalidated within the run, and empty all the same.
    store.invalidate("score", increment.pending)
    assert store.write("score", nothing, increment=increment, empty="rest").empty == 1
    assert counts(store, "score") == (0, 0, 0)
    assert store.invalidate("score", [{"id": 1}]).commit
    assert counts(store, "score") == (1, 0, 0)


def test_a_root_is_written_again_although_its_content_is_as_before(
    store: mxd.DuckDBMetadataStore,
) -> None:
    store.invalidate("page", [{"id": 1}])
    assert counts(store, "page", samples=PAGES) == (0, 1, 0)
    assert counts(store, "score") == (0, 1, 0)
    assert (store.write("page", PAGES).updated, counts(store, "page", samples=PAGES)) == (
        1,
        (0, 0, 0),
    )
    assert counts(store, "score") == (0, 0, 0)


def test_rows_that_were_read_go_back_as_they_are(store: mxd.DuckDBMetadataStore) -> None:
    store.invalidate("page", [{"id": 1}])
    rows = store.read("page").collect().to_native()
    store.write("page", rows)
    assert counts(store, "score") == (0, 1, 0)
    increment = store.resolve_update("score")
    store.write("score", pa.table({"id": [1], "score": [0.5]}), increment=increment)
    assert counts(store, "score") == (0, 0, 0)


def test_data_versions_of_the_users_own_come_back(store: mxd.DuckDBMetadataStore) -> None:
    own = pa.array([{"a": "v1", "b": "w1"}])
    frame = pa.table({"id": [1], "score": [0.1], "metaxy_data_version_by_field": own})
    store.write("score", frame, increment=store.resolve_update("score", keep_unchanged=True))
    store.write("top", pa.table({"id": [1]}), increment=store.resolve_update("top"))
    store.invalidate("score", [{"id": 1}])
    assert counts(store, "top") == (0, 1, 0)
    store.write("score", frame, increment=store.resolve_update("score"))
    assert (counts(store, "score"), counts(store, "top")) == ((0, 0, 0), (0, 0, 0))


def test_before_the_first_write_there_is_nothing_to_do(tmp_path: Path) -> None:
    graph = mxd.FeatureGraph()
    graph.add(mxd.FeatureSpec("page", id_columns=["id"]))
    empty = mxd.DuckDBMetadataStore(tmp_path / "m.duckdb", graph=graph)
    assert not empty.invalidate("page", [{"id": 1}]).commit
    assert not (tmp_path / "m.duckdb").exists()


@pytest.mark.parametrize("session", ["reads", "writes"])
def test_in_a_session(store: mxd.DuckDBMetadataStore, session: str) -> None:
    with store.open("r" if session == "reads" else "w"):
        if session == "reads":
            with pytest.raises(mxd.StoreError, match="open"):
                store.invalidate("score", [{"id": 1}])
            return
        store.invalidate("score", [{"id": 1}])
        assert counts(store, "score") == (0, 1, 0)


def test_samples_are_named_by_their_columns(store: mxd.DuckDBMetadataStore) -> None:
    with pytest.raises(mxd.FrameError, match=r"missing \['id'\]"):
        store.invalidate("score", pa.table({"score": [0.5]}))
    with pytest.raises(mxd.FeatureError):
        store.invalidate("nowhere", [{"id": 1}])


def test_a_failure_that_was_reported_since_is_not_forgotten(store: mxd.DuckDBMetadataStore) -> None:
    store.write("page", pl.from_arrow(PAGES).with_columns(text=pl.lit("new")))
    increment = store.resolve_update("score")
    store.invalidate("score", increment.pending)
    store.record_failures("score", [{"id": 1}], "torn", increment=increment)
    scores = PAGES.select(["id"]).append_column("score", pa.array([1.0, 2.0, 3.0]))
    store.write("score", scores.slice(1), increment=increment)
    assert store.failures("score").collect()["id"].to_list() == [1]
    store.write("score", scores.slice(0, 1), increment=increment)
    assert store.failures("score").collect()["id"].to_list() == []
