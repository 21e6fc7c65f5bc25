"""What a person reads on the page of an asset: descriptions, the own entries first, no noise."""

from collections.abc import Callable
from typing import Any

import dagster as dg
import polars as pl
import pytest
from feature_runs import event, feature
from pydantic import Field

import metaxy_dagster as mxd


@pytest.fixture
def graph() -> mxd.FeatureGraph:
    graph = mxd.FeatureGraph()
    with graph.use():

        class Image(mxd.BaseFeature, spec=mxd.FeatureSpec("image", id_columns=["id"])):
            id: int = Field(description="number of the image")
            path: str
            size_: float | None = Field(default=None, alias="size", description="in bytes")

        class Thumb(
            mxd.BaseFeature, spec=mxd.FeatureSpec("thumb", id_columns=["id"], deps=[Image])
        ):
            id: int
            thumb: str

    return graph


IMAGES = pl.DataFrame({"id": [1, 2], "path": ["a", "b"], "size": [1.0, 2.0]})


@dg.asset(**feature("image"))
def image():
    return IMAGES


@dg.asset(**feature("thumb", input="increment"))
def thumb(image: pl.DataFrame) -> pl.DataFrame:
    return image.filter(pl.col("size") > 1).select("id", thumb=pl.col("path"))


@dg.asset(name="thumb", **feature("thumb"))
def whole_thumb(image: pl.DataFrame) -> pl.DataFrame:
    return image.filter(pl.col("size") > 1).select("id", thumb=pl.col("path"))


def test_the_schema_of_an_event_keeps_the_descriptions(run: Callable[..., Any]) -> None:
    found = event(run(image), "image")["dagster/column_schema"]
    assert {one.name: (one.type, one.description) for one in found.columns} == {
        "id": ("BIGINT", "number of the image"),
        "path": ("VARCHAR", None),
        "size": ("DOUBLE", "in bytes"),
    }


def test_no_failures_are_no_entries(run: Callable[..., Any]) -> None:
    assert not [name for name in event(run(image), "image") if "fail" in name or "quar" in name]


@pytest.mark.parametrize("asset", [thumb, whole_thumb], ids=["increment", "all"])
def test_columns_of_an_upstream_that_was_never_written(
    run: Callable[..., Any], asset: dg.AssetsDefinition
) -> None:
    with dg.DagsterInstance.ephemeral() as nothing_known:
        found = event(run(image, asset, only=[asset], instance=nothing_known), "thumb")
    assert (found["metaxy/written"], found["dagster/row_count"]) == (0, 0)


def test_in_observations_the_users_own_metadata_comes_first(
    instance: dg.DagsterInstance, store: mxd.DuckDBMetadataStore
) -> None:
    store.write("image", IMAGES)

    @mxd.observable_metaxy_asset(feature="image")
    def image(context, store, lazy_df):
        return {"mine": 1, "dagster/row_count": 7}

    defs = dg.Definitions(assets=[image], resources={"store": store})
    job = defs.resolve_implicit_global_asset_job_def()
    result = job.execute_in_process(instance=instance)
    (found,) = [
        each.asset_observation_data.asset_observation.metadata
        for each in result.all_events
        if each.is_asset_observation
    ]
    assert list(found)[:2] == ["mine", "dagster/row_count"]
    assert found["dagster/row_count"].value == 7
    assert "metaxy/info" in found


def test_checks_say_what_they_found(
    instance: dg.DagsterInstance, store: mxd.DuckDBMetadataStore
) -> None:
    def said(*names: str) -> dict[str, str | None]:
        specs = [dg.AssetSpec(name, metadata={"metaxy/feature": name}) for name in names]
        checks = mxd.build_feature_checks(specs)
        defs = dg.Definitions(asset_checks=checks, resources={"store": store})
        job = defs.resolve_implicit_global_asset_job_def()
        result = job.execute_in_process(instance=instance)
        return {each.check_name: each.description for each in result.get_asset_check_evaluations()}

    store.write("image", IMAGES)
    assert said("thumb") == {
        "pending": "2 samples wait to be computed: 2 new, 0 stale.",
        "orphaned": "No sample is stored that nothing calls for any more.",
        "failed": "No sample failed without being computed since.",
        "schema": "Nothing was written yet.",
        "unique_ids": "Nothing was written yet.",
    }
    increment = store.resolve_update("thumb")
    thumbs = pl.DataFrame({"id": [1, 2], "thumb": ["a", "b"]})
    store.write("thumb", thumbs, increment=increment)
    assert said("thumb") == {
        "pending": "No sample waits to be computed.",
        "orphaned": "No sample is stored that nothing calls for any more.",
        "failed": "No sample failed without being computed since.",
        "schema": "The 2 stored columns are as declared.",
        "unique_ids": "No two samples have the same ids.",
    }
    store.write("image", IMAGES.head(1).with_columns(path=pl.lit("x")), mode="replace")
    found = said("thumb")
    assert found["pending"] == "1 sample waits to be computed: 0 new, 1 stale."
    assert found["orphaned"] == "1 sample is stored that nothing calls for any more."
