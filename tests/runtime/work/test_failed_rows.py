"""Rows that an earlier run made of samples that fail now: kept, deleted, or a reason to stop."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import dagster as dg
import polars as pl
import pytest
from feature_runs import IO_MANAGER, event, feature, images, stored
from killed_batches import in_batches

import metaxy_dagster as mxd

KEY = "metaxy/failed_rows"
IMAGE = dg.AssetSpec("image", metadata={"metaxy/feature": "image"}).with_io_manager_key(IO_MANAGER)
ROWS = {i: (f"p{i}", f"l{i}") for i in range(4)}


class Thumbs:
    """An asset whose broken samples fail; and what it made last."""

    def __init__(self, **metadata: Any) -> None:
        self.broken: set[int] = set()
        self.metadata = {"input": "increment", **metadata}

    def asset(self) -> dg.AssetsDefinition:
        @dg.asset(**feature("thumb", **self.metadata))
        def thumb(image: pl.DataFrame) -> pl.DataFrame:
            bad = pl.col("id").is_in(sorted(self.broken))
            if len(image.filter(bad)):
                mxd.report_failures(image.filter(bad), "torn")
            return image.filter(~bad).select("id", thumb="pixels")

        return thumb


@pytest.fixture
def begun(run: Callable[..., Any], store: mxd.DuckDBMetadataStore) -> None:
    """All four are computed; then two of them change, and a fifth comes."""
    store.write("image", images(ROWS))
    thumb = Thumbs().asset()
    run(IMAGE, thumb, only=[thumb])
    store.write("image", images({1: ("q1", "l1"), 2: ("q2", "l2"), 5: ("p5", "l5")}))


OLD = {0: ("p0",), 1: ("p1",), 3: ("p3",)}
WAYS: dict[str, tuple[dict[str, Any], dict[str, Any], str]] = {
    "by default": ({}, {}, "keep"),
    "keep": ({KEY: "keep"}, {"failed_rows": "delete"}, "keep"),
    "delete": ({KEY: "delete"}, {}, "delete"),
    "delete, a setting": ({}, {"failed_rows": "delete"}, "delete"),
    "raise": ({KEY: "raise"}, {}, "raise"),
    "raise, a setting": ({}, {"failed_rows": "raise"}, "raise"),
}


@pytest.mark.usefixtures("begun")
@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("batches", [False, True], ids=["at once", "in batches"])
def test_what_becomes_of_them(
    run: Callable[..., Any], store: mxd.DuckDBMetadataStore, way: str, *, batches: bool
) -> None:
    metadata, setting, wanted = WAYS[way]
    thumbs = Thumbs(**metadata)
    thumbs.broken = {1, 5}
    thumb = thumbs.asset()
    if batches:
        thumb = in_batches(thumb)
    resources = {IO_MANAGER: mxd.MetaxyIOManager(store=store, **setting)}

    def once() -> dg.ExecuteInProcessResult:
        return run(IMAGE, thumb, only=[thumb], resources=resources)

    if wanted == "raise":
        for _ in range(5):
            with pytest.raises(mxd.RunError, match="rows that an earlier run made") as caught:
                once()
            assert "found: 1 of 2 failed samples" in str(caught.value)
        assert stored(store, "thumb") == {**OLD, 2: ("q2",)}, "what did not fail is written"
        thumbs.broken = {5}
        store.retry("thumb")
        once()
        assert stored(store, "thumb") == {**OLD, 1: ("q1",), 2: ("q2",)}
        return
    for attempt in range(5):
        found = event(once(), "thumb")
        kept = {**OLD, 2: ("q2",)}
        if wanted == "delete":
            del kept[1]
        assert stored(store, "thumb") == kept
        assert found["metaxy/failed"] == 2
        assert found.get("metaxy/outdated", 0) == (1 if wanted == "keep" else 0)
        assert found["metaxy/deleted"] == (1 if wanted == "delete" and not attempt else 0)
        full = mxd.DuckDBMetadataStore(store.path, graph=store.graph, max_incremental_share=0)
        assert store.resolve_update("thumb").counts == full.resolve_update("thumb").counts
    assert store.resolve_update("thumb").counts == mxd.Counts(0, 0, 0, quarantined=2)
    thumbs.broken = set()
    store.retry("thumb")
    once()
    assert stored(store, "thumb") == {**OLD, 1: ("q1",), 2: ("q2",), 5: ("p5",)}
    assert store.failed("thumb") == mxd.FailureResult(mxd.FeatureKey("thumb"), 0, 0)


@pytest.mark.usefixtures("begun")
def test_rows_of_samples_that_were_quarantined_before_go_too(
    run: Callable[..., Any], store: mxd.DuckDBMetadataStore
) -> None:
    thumbs = Thumbs()
    thumbs.broken = {1}
    for _ in range(3):
        run(IMAGE, thumbs.asset(), only=[dg.AssetKey("thumb")])
    assert store.failed("thumb").outdated == 1
    thumbs.metadata[KEY] = "delete"
    found = event(run(IMAGE, thumbs.asset(), only=[dg.AssetKey("thumb")]), "thumb")
    assert found["metaxy/deleted"] == 1
    assert 1 not in stored(store, "thumb")
    assert store.failed("thumb") == mxd.FailureResult(mxd.FeatureKey("thumb"), 1, 1)


def test_children_of_a_parent_that_fails_go_with_it(tmp_path: Path) -> None:
    """In an expansion the parent fails, and the rows are its children's."""
    graph = mxd.FeatureGraph()
    graph.add(mxd.FeatureSpec("video", id_columns=["v"]))
    lineage = mxd.LineageRelationship.expansion(on=["v"])
    deps = [mxd.FeatureDep(feature="video", lineage=lineage)]
    graph.add(mxd.FeatureSpec("frame", id_columns=["v", "n"], deps=deps))
    store = mxd.DuckDBMetadataStore(tmp_path / "m.duckdb", graph=graph)
    store.write("video", pl.DataFrame({"v": [1, 2], "path": ["a", "b"]}))
    frames = pl.DataFrame({"v": [1, 1, 2], "n": [0, 1, 0]})
    store.write("frame", frames, increment=store.resolve_update("frame"))
    store.write("video", pl.DataFrame({"v": [1, 2], "path": ["x", "y"]}))
    increment = store.resolve_update("frame")
    store.record_failures("frame", [{"v": 1}], "torn", increment=increment)
    assert store.failed("frame").outdated == 1
    assert store.failed("frame", increment=increment).outdated == 1
    done = store.write("frame", frames[2:], increment=increment, delete_failed=True)
    assert (done.updated, done.deleted) == (1, 2)
    assert store.count("frame") == 1
    # The counts come from the watermark: few samples are pending, and nothing else has changed.
    assert store.resolve_update("frame").counts == mxd.Counts(new=1, stale=0, orphaned=0)


@pytest.mark.parametrize("value", ["drop", True, ""])
def test_other_values_are_refused(
    run: Callable[..., Any], store: mxd.DuckDBMetadataStore, value: Any
) -> None:
    store.write("image", images(ROWS))
    thumb = Thumbs(**{KEY: value}).asset()
    with pytest.raises(mxd.RunError, match=KEY):
        run(IMAGE, thumb, only=[thumb])
    with pytest.raises(ValueError, match="failed_rows"):
        mxd.MetaxyIOManager(store=store, failed_rows=value)
    with pytest.raises(mxd.DefinitionsError, match="failed_rows"):
        mxd.MetaxifySettings(failed_rows=value)


@pytest.mark.usefixtures("begun")
@pytest.mark.parametrize("quarantined", [False, True])
def test_a_check_does_not_pass(store: mxd.DuckDBMetadataStore, *, quarantined: bool) -> None:
    for _ in range(3 if quarantined else 1):
        increment = store.resolve_update("thumb")
        store.record_failures("thumb", [{"id": 1}, {"id": 5}], "torn", increment=increment)
    spec = dg.AssetSpec("thumb", metadata={"metaxy/feature": "thumb"})
    made = mxd.build_feature_checks([spec], names=["failed"])
    defs = dg.Definitions(asset_checks=made, resources={"store": store})
    result = defs.resolve_implicit_global_asset_job_def().execute_in_process()
    (found,) = result.get_asset_check_evaluations()
    assert not found.passed
    severities = dg.AssetCheckSeverity
    assert found.severity == (severities.ERROR if quarantined else severities.WARN)
    numbers = {name: value.value for name, value in found.metadata.items()}
    held = 2 if quarantined else 0
    assert numbers == {"metaxy/failed": 2, "metaxy/quarantined": held, "metaxy/outdated": 1}
    parts = str(found.description).split("; ")
    assert parts[0] == "2 samples failed and were not computed since"
    assert parts[-1] == "1 still has the row of an earlier computation."
    assert len(parts) == (3 if quarantined else 2)
