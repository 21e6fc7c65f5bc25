"""Columns that an upstream is grouped by, and that it lacks."""

from __future__ import annotations

import dagster as dg
import polars as pl
import pytest
from pydantic import Field

import metaxy_dagster as mxd

pytestmark = pytest.mark.filterwarnings("ignore::dagster.BetaWarning")


def test_groups_by_a_column_that_one_upstream_lacks():
    lineage = {"type": "aggregation", "on": ["video"]}
    deps = [{"feature": name, "lineage": lineage} for name in ("frames", "notes")]
    videos = mxd.FeatureSpec("videos", id_columns=["video"], deps=deps)
    frames = mxd.FeatureSpec("frames", id_columns=["video", "frame"])

    def found(extra, **column):
        with mxd.FeatureGraph().use() as graph:
            graph.add(frames)
            graph.add(videos)

            class Notes(mxd.BaseFeature, spec=mxd.FeatureSpec("notes", id_columns=["note"])):
                model_config = {"extra": extra}  # noqa: RUF012 - pydantic's own
                note: int
                video_: int = Field(0, alias=column.get("alias", "clip"))

        spec = dg.AssetSpec("videos", metadata={"metaxy/feature": "videos"})
        plan = mxd.plan_definitions(dg.Definitions(assets=[spec]), features=graph)
        told = [n.message for n in plan.notices if "groups 'notes' by 'video'" in n.message]
        return [str(error) for error in plan.errors], told

    (error,), told = found("forbid")
    assert "upstream 'notes' has no column to group by" in error
    assert "clip, note" in error
    assert told == []
    errors, (said,) = found("ignore")
    assert errors == []
    assert "has to have this column" in said
    assert found("forbid", alias="video") == ([], [])


def test_keys_that_nobody_declares_are_looked_for_among_the_other_upstreams(instance):
    deps = [
        {"feature": name, "lineage": {"type": "aggregation", "on": ["video"]}}
        for name in ("frames", "notes")
    ]

    @dg.asset(metadata={"metaxy/feature": "frames", "metaxy/id_columns": ["video", "frame"]})
    def frames() -> pl.DataFrame:
        return pl.DataFrame({"video": [1], "frame": [1]})

    @dg.asset(metadata={"metaxy/feature": "notes", "metaxy/id_columns": ["note"]})
    def notes() -> pl.DataFrame:
        return pl.DataFrame({"note": [1]})

    videos_keys = {
        "metaxy/feature": "videos",
        "metaxy/id_columns": ["video"],
        "metaxy/deps": deps,
    }

    @dg.asset(metadata=videos_keys)
    def videos(frames: pl.DataFrame, notes: pl.DataFrame) -> pl.DataFrame:
        return frames.select("video").unique()

    legacy = dg.Definitions(assets=[frames, notes, videos])
    (said,) = (n for n in mxd.plan_definitions(legacy).notices if n.asset == "videos")
    assert "groups 'notes' by 'video'" in said.message
    defs = mxd.metaxify_definitions(legacy, store=f"{instance.storage_directory()}/m.duckdb")
    job = defs.resolve_implicit_global_asset_job_def()
    with pytest.raises(mxd.FeatureError, match="'notes' has no column to group by"):
        job.execute_in_process(instance=instance)
