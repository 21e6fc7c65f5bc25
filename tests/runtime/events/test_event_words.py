"""What events say of a feature beside its numbers, and which assets are selected by it."""

from collections.abc import Callable
from typing import Any

import dagster as dg
import polars as pl
import pytest
from feature_runs import IO_MANAGER, event, feature, images

import metaxy_dagster as mxd

ROWS = {i: (f"p{i}", f"l{i}") for i in range(4)}


def assets(rows: dict[int, tuple[str, str]], **metadata: Any) -> list[dg.AssetsDefinition]:
    @dg.asset(**feature("image", **metadata))
    def image():
        return images(rows)

    @dg.asset(**feature("thumb", input="increment", **metadata))
    def thumb(image: pl.DataFrame) -> pl.DataFrame:
        return image.select("id", thumb="pixels")

    return [image, thumb]


def test_samples_that_needed_nothing_are_unchanged(run: Callable[..., Any]) -> None:
    rows = dict(ROWS)
    found = event(run(*assets(rows)), "thumb")
    assert (found["metaxy/written"], found["metaxy/unchanged"]) == (4, 0)
    rows |= {1: ("other", "l1"), 9: ("p9", "l9")}
    found = event(run(*assets(rows)), "thumb")
    assert (found["metaxy/written"], found["metaxy/unchanged"]) == (2, 3)
    found = event(run(*assets(rows)), "thumb")
    assert (found["metaxy/written"], found["metaxy/unchanged"]) == (0, 5)


def test_events_name_the_feature_and_its_versions(
    run: Callable[..., Any], store: mxd.DuckDBMetadataStore
) -> None:
    result = run(*assets(ROWS))
    found = event(result, "thumb")
    graph = store.graph
    assert found["metaxy/feature"] == "thumb"
    assert found["metaxy/feature_version"] == graph.feature_version("thumb")
    assert found["metaxy/code_version"] == graph.code_version("thumb")
    (loaded,) = [each for each in result.all_events if each.event_type_value == "LOADED_INPUT"]
    told = {name: one.value for name, one in loaded.event_specific_data.metadata.items()}
    assert told["metaxy/feature"] == "image"
    assert told["metaxy/store"] == store.display()
    assert told["dagster/table_name"] == store.table_name("image")
    assert not [each for each in result.all_events if each.is_asset_observation]


@pytest.mark.parametrize(
    ("metadata", "setting", "shown"),
    [
        ({}, {}, True),
        ({"metaxy/preview": False}, {}, False),
        ({}, {"enable_preview": False}, False),
        ({"metaxy/preview": True}, {"enable_preview": False}, True),
    ],
)
def test_rows_can_be_kept_out_of_events(
    run: Callable[..., Any],
    store: mxd.DuckDBMetadataStore,
    metadata: dict[str, Any],
    setting: dict[str, Any],
    *,
    shown: bool,
) -> None:
    resources = {IO_MANAGER: mxd.MetaxyIOManager(store=store, **setting)}
    store.write("image", images(ROWS))
    increment = store.resolve_update("thumb")
    store.record_failures("thumb", [{"id": 1}], "secret", increment=increment)

    @dg.asset(name="thumb", **feature("thumb", input="increment", **metadata))
    def thumb(image: pl.DataFrame) -> pl.DataFrame:
        return image.filter(pl.col("id") != 1).select("id", thumb="pixels")

    upstream = assets(ROWS, **metadata)[0]
    found = event(run(upstream, thumb, resources=resources), "thumb")
    assert ("metaxy/preview" in found, "metaxy/failures" in found) == (shown, shown)
    assert found["metaxy/failed"] == 1


def test_a_preview_that_is_no_truth_value_is_refused(run: Callable[..., Any]) -> None:
    with pytest.raises(mxd.RunError, match="metaxy/preview"):
        run(*assets(ROWS, **{"metaxy/preview": "no"}))


def test_keys_that_differ_by_a_dot_are_told_apart() -> None:
    metadata = {"metaxy/id_columns": ["id"]}
    keys = ("a/b", "a.b", "a/b.c", "a.b/c", "a/b/c")
    made = []
    for n, key in enumerate(keys):

        @dg.asset(name=f"asset_{n}", metadata={"metaxy/feature": key, **metadata})
        def asset(): ...

        made.append(asset)
    defs = mxd.metaxify_definitions(dg.Definitions(assets=made))
    graph = defs.resolve_asset_graph()
    for n, key in enumerate(keys):
        found = mxd.select_metaxy_assets(feature=key).resolve(graph)
        assert found == {dg.AssetKey(f"asset_{n}")}
