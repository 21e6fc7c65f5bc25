"""The smaller things in the box: a selection, an op that deletes, a type, private names."""

from collections.abc import Callable
from typing import Any

import dagster as dg
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
from feature_runs import images, stored

import metaxy_dagster as mxd

ROWS = images({i: (f"p{i}", f"l{i}") for i in range(4)})


def test_feature_assets_are_selected_by_what_the_pass_wrote(graph: mxd.FeatureGraph) -> None:
    def asset(name: str, **metadata: str) -> dg.AssetsDefinition:
        @dg.asset(name=name, metadata=metadata)
        def empty(): ...

        return empty

    assets = [
        asset("a", **{"metaxy/feature": "image"}),
        asset("b", **{"metaxy/feature": "thumb"}),
        asset("c"),
    ]
    defs = mxd.metaxify_definitions(
        dg.Definitions(assets=assets),
        features=graph,
        settings=mxd.MetaxifySettings(project="zoo"),
    )
    repository = defs.resolve_asset_graph()

    def names(selection: dg.AssetSelection) -> set[str]:
        return {key.to_user_string() for key in selection.resolve(repository)}

    assert names(mxd.select_metaxy_assets()) == {"a", "b"}
    assert names(mxd.select_metaxy_assets(feature="thumb")) == {"b"}
    assert names(mxd.select_metaxy_assets(project="zoo")) == {"a", "b"}
    assert names(mxd.select_metaxy_assets(project="zoo", feature="image")) == {"a"}
    assert names(mxd.select_metaxy_assets(project="farm", feature="image")) == set()
    with pytest.raises(mxd.DefinitionsError, match="cannot hold"):
        mxd.select_metaxy_assets(project="x" * 64)


@dg.job
def clean_up():
    mxd.delete()


def deleted(store: mxd.DuckDBMetadataStore, **config: Any) -> int:
    result = clean_up.execute_in_process(
        run_config={"ops": {"delete_samples": {"config": {"feature": "image", **config}}}},
        resources={"store": store},
    )
    return result.output_for_node("delete_samples")


@pytest.mark.parametrize("soft", [True, False])
def test_samples_are_deleted_by_filters(store: mxd.DuckDBMetadataStore, soft: bool) -> None:
    store.write("image", ROWS)
    assert deleted(store, filters=["id >= 1", "label != 'l3'"], soft=soft) == 2
    assert set(stored(store, "image")) == {0, 3}
    history = store.read("image", history=True).collect().to_native().num_rows
    assert history == (4 if soft else 2)


def test_everything_is_deleted_only_when_that_is_said(store: mxd.DuckDBMetadataStore) -> None:
    store.write("image", ROWS)
    with pytest.raises(mxd.RunError, match="which samples"):
        deleted(store)
    assert store.count("image") == 4
    assert deleted(store, everything=True) == 4


def test_what_was_computed_from_deleted_samples_is_orphaned(
    store: mxd.DuckDBMetadataStore,
) -> None:
    store.write("image", ROWS)
    store.write("thumb", store.resolve_update("thumb").pending)
    deleted(store, filters=["id = 0"])
    assert store.resolve_update("thumb").counts == mxd.Counts(0, 0, 1)


@pytest.mark.parametrize(
    ("value", "passes"),
    [
        (None, True),
        (pa.table({"id": [1]}), True),
        (pl.DataFrame({"id": [1], "x": [1]}), True),
        (pl.LazyFrame({"id": [1]}), True),
        (pd.DataFrame({"id": [1]}), True),
        (pl.DataFrame({"x": [1]}), False),
        ("text", False),
        ([1], False),
    ],
)
def test_a_type_for_a_feature(graph: mxd.FeatureGraph, value: Any, passes: bool) -> None:
    kind = mxd.feature_to_dagster_type("image", graph=graph, metadata={"mine": 1})
    check = dg.check_dagster_type(kind, value)
    assert check.success is passes
    assert passes or "feature 'image'" in (check.description or "")
    assert kind.metadata["metaxy/feature"].value == "image"
    assert kind.metadata["mine"].value == 1


def test_a_type_for_a_feature_class_wants_its_columns() -> None:
    class Video(mxd.BaseFeature, spec=mxd.FeatureSpec("raw/my.video", id_columns=["id"])):
        id: int
        height: int
        note: str | None = None

    kind = mxd.feature_to_dagster_type(Video)
    assert kind.unique_name == "raw_my_video"
    assert dg.check_dagster_type(kind, pl.DataFrame({"id": [1], "height": [2]})).success
    failed = dg.check_dagster_type(kind, pl.DataFrame({"id": [1]}))
    assert "height" in (failed.description or "")


def test_the_type_in_a_run(run: Callable[..., Any], graph: mxd.FeatureGraph) -> None:
    @dg.asset(dagster_type=mxd.feature_to_dagster_type("image", graph=graph))
    def image():
        return pl.DataFrame({"x": [1]})

    with pytest.raises(dg.DagsterTypeCheckDidNotPass, match="columns"):
        run(image)
