"""Whoever reads an increment: beside other readers, in a thread of its own, in its own place."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import narwhals as nw
import pyarrow as pa
import pyarrow.dataset as pads
import pytest
from filelock import ReadWriteLock
from worlds import scanned

from metaxy_dagster.constants import COL_FEATURE_VERSION
from metaxy_dagster.features import FeatureGraph, FeatureSpec
from metaxy_dagster.stores import Counts, DuckDBMetadataStore, Increment
from metaxy_dagster.stores.duckdb.read import query as query_module
from metaxy_dagster.stores.duckdb.resolve import source as source_module
from metaxy_dagster.stores.frames import spool as spool_module

Ask = Callable[[Increment], Any]


@pytest.fixture(params=["in memory", "in a file"])
def store(
    tmp_path: Path, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> DuckDBMetadataStore:
    """Of crop 1 and 2 are stored; 2 is stale, 3 and 4 are new. Of bulky all are new."""
    if request.param == "in a file":
        monkeypatch.setattr(spool_module, "IN_MEMORY", 0)
        monkeypatch.setattr(source_module, "_READ_AT_ONCE", 0)
    graph = FeatureGraph()
    graph.add(FeatureSpec("video", id_columns=["id"]))
    graph.add(FeatureSpec("film", id_columns=["id"]))
    graph.add(FeatureSpec("crop", id_columns=["id"], deps=["video"]))
    graph.add(FeatureSpec("bulky", id_columns=["id"], deps=["film"]))
    made = DuckDBMetadataStore(tmp_path / "m.duckdb", graph=graph, lock_timeout=0.2)
    made.write("film", pa.table({"id": [1, 2, 3], "x": [[1], [2], [3]]}))
    made.write("video", pa.table({"id": [1, 2], "x": [1, 2]}))
    answer = pa.table({"id": [1, 2], "y": [0, 0]})
    made.write("crop", answer, increment=made.resolve_update("crop"))
    made.write("video", pa.table({"id": [2, 3, 4], "x": [9, 3, 4]}))
    return made


def ids(frame: Any) -> list[int]:
    return sorted(frame["id"].to_list())


def scanned_ids(increment: Increment) -> list[int]:
    return sorted(scanned(increment.upstream_scan("video")).column("id").to_pylist())


ASKED: dict[str, tuple[str, Ask, Any]] = {
    "counts": ("crop", lambda one: one.counts, Counts(2, 1, 0)),
    "delta": ("crop", lambda one: ids(one.delta.to_pandas()), [2, 3, 4]),
    "new": ("crop", lambda one: ids(one.new.collect()), [3, 4]),
    "pending": ("crop", lambda one: ids(one.pending.collect("polars")), [2, 3, 4]),
    "orphaned": ("crop", lambda one: ids(one.orphaned.collect()), []),
    "upstream": ("crop", lambda one: ids(one.upstream("video").collect()), [2, 3, 4]),
    "table": ("crop", lambda one: one.upstream_table("video").num_rows, 3),
    "scan": ("crop", scanned_ids, [2, 3, 4]),
    "batches": (
        "crop",
        lambda one: [ids(b.pending.collect()) for b in one.batches(2)],
        [[2, 3], [4]],
    ),
    "batches of large values": (
        "bulky",
        lambda one: [ids(b.pending.collect()) for b in one.batches(2)],
        [[1, 2], [3]],
    ),
    "large values": ("bulky", lambda one: ids(one.new.collect()), [1, 2, 3]),
    "none orphaned of what was never written": (
        "bulky",
        lambda one: ids(one.orphaned.collect()),
        [],
    ),
}


@pytest.mark.parametrize("name", ASKED)
def test_others_may_read_meanwhile(name: str, store: DuckDBMetadataStore) -> None:
    feature, ask, wanted = ASKED[name]
    lock = ReadWriteLock(f"{store.path}.lock", is_singleton=False)
    with lock.read_lock():
        assert ask(store.resolve_update(feature)) == wanted
    lock.close()


@pytest.mark.parametrize("name", ASKED)
def test_any_thread_may_ask_first(name: str, store: DuckDBMetadataStore) -> None:
    feature, ask, wanted = ASKED[name]
    with ThreadPoolExecutor(1) as thread:
        assert thread.submit(lambda: ask(store.resolve_update(feature))).result() == wanted


@pytest.mark.parametrize("name", ASKED)
def test_rows_that_wait_in_a_file_wait_beside_the_store(
    name: str, store: DuckDBMetadataStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where there is room for them; the place for temporary files may be small."""
    feature, ask, wanted = ASKED[name]
    monkeypatch.setattr(tempfile, "tempdir", str(store.path / "nowhere"))
    assert ask(store.resolve_update(feature)) == wanted


@pytest.mark.parametrize("kind", ["new", "stale", "pending"])
@pytest.mark.parametrize("backend", [None, "polars"])
def test_a_frame_tells_the_version_of_the_feature(
    kind: str, backend: Any, store: DuckDBMetadataStore
) -> None:
    for feature in ("crop", "bulky"):
        frame = getattr(store.resolve_update(feature), kind).collect(backend)
        version = store.graph.feature_version(feature)
        assert frame[COL_FEATURE_VERSION].to_list() == [version] * len(frame)


def test_frames_of_several_stores_can_be_joined(store: DuckDBMetadataStore, tmp_path: Path) -> None:
    other = DuckDBMetadataStore(tmp_path / "other.duckdb", graph=store.graph)
    other.write("film", pa.table({"id": [2, 4], "z": ["b", "d"]}))
    joined = store.read("video").join(other.read("film").select("id", "z"), on="id")
    joined = joined.join(store.resolve_update("crop").stale.select("id"), on="id")
    assert joined.select("id", "x", "z").collect().rows() == [(2, 9, "b")]


def test_a_forked_process_has_a_connection_for_frames_of_its_own(
    store: DuckDBMetadataStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """DuckDB's threads do not survive a fork."""
    before = query_module._frames(store._engine.file, None)
    assert query_module._frames(store._engine.file, None) is before
    monkeypatch.setattr(os, "getpid", lambda: 1)
    assert query_module._frames(store._engine.file, None) is not before


@pytest.mark.parametrize("columns", [None, ["id"], ["x"], ["x", "id"]])
def test_a_scan_applies_the_filter_of_who_reads_it(
    store: DuckDBMetadataStore, columns: list[str] | None
) -> None:
    """Also on a column that is not wanted."""
    scan: Any = store.resolve_update("crop").upstream_scan("video", all_rows=True)
    found = scan.scanner(columns=columns, filter=pads.field("x") > 3).to_table()
    assert found.column_names == (columns or scan.schema.names)
    assert sorted(found.column(found.column_names[0]).to_pylist()) in ([2, 4], [4, 9])
    frame = store.read("video").filter(nw.col("x") > 3).select("id").collect()
    assert ids(frame) == [2, 4]
