"""A parameter gets the type that it is annotated with, and it outlives step and store."""

from collections.abc import Callable
from typing import Any

import dagster as dg
import duckdb
import narwhals as nw
import narwhals.stable.v1 as nw_v1
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
from feature_runs import feature, images

import metaxy_dagster as mxd

ROWS = images({1: ("a", "x"), 2: ("b", "y")})


def root() -> dg.AssetsDefinition:
    @dg.asset(**feature("image"))
    def image() -> pa.Table:
        return ROWS

    return image


CASES = {
    "any": (Any, nw.LazyFrame, lambda f: f.collect().to_native()),
    "lazy": (nw.LazyFrame, nw.LazyFrame, lambda f: f.collect().to_native()),
    "eager": (nw.DataFrame, nw.DataFrame, lambda f: f.to_arrow()),
    "old_lazy": (nw_v1.LazyFrame, nw_v1.LazyFrame, lambda f: f.collect().to_arrow()),
    "old_eager": (nw_v1.DataFrame, nw_v1.DataFrame, lambda f: f.to_arrow()),
    "polars": (pl.DataFrame, pl.DataFrame, lambda f: f.to_arrow()),
    "polars_lazy": (pl.LazyFrame, pl.LazyFrame, lambda f: f.collect().to_arrow()),
    "pandas": (pd.DataFrame, pd.DataFrame, pa.Table.from_pandas),
    "optional": (pd.DataFrame | None, pd.DataFrame, pa.Table.from_pandas),
    "arrow": (pa.Table, pa.Table, lambda f: f),
    "relation": (
        duckdb.DuckDBPyRelation,
        duckdb.DuckDBPyRelation,
        lambda f: f.to_arrow_table(),
    ),
}


def consumer(name: str, annotation: Any, seen: dict[str, Any]) -> dg.AssetsDefinition:
    def plain(image: Any) -> None:
        seen[name] = image

    plain.__annotations__["image"] = annotation
    return dg.asset(plain, name=name)


def test_the_annotation_decides_and_the_frame_outlives_the_run(run: Callable[..., Any]) -> None:
    seen: dict[str, Any] = {}
    run(root(), *(consumer(name, case[0], seen) for name, case in CASES.items()))
    for name, (_, kind, to_arrow) in CASES.items():
        assert isinstance(seen[name], kind), name
        rows = to_arrow(seen[name]).select(["id", "pixels", "label"]).to_pylist()
        assert sorted(rows, key=lambda row: row["id"]) == ROWS.to_pylist(), name


def test_no_annotation_gives_a_lazy_frame_without_system_columns(run: Callable[..., Any]) -> None:
    seen: list[Any] = []

    @dg.asset
    def plain(image):
        seen.append(image)

    run(root(), plain)
    assert isinstance(seen[0], nw.LazyFrame)
    assert seen[0].collect_schema().names() == ["id", "pixels", "label"]


def test_a_type_that_is_no_frame_is_refused_by_name(run: Callable[..., Any]) -> None:
    @dg.asset
    def plain(image: int) -> None:
        raise AssertionError(image)

    with pytest.raises(mxd.RunError) as caught:
        run(root(), plain)
    text = str(caught.value)
    assert "asset 'image'" in text
    assert "parameter 'image'" in text
    assert "polars.DataFrame" in text
    assert "input_manager_key" in text


def test_a_relation_of_an_increment_of_two_features(
    run: Callable[..., Any], store: mxd.DuckDBMetadataStore
) -> None:
    """Rows that several outputs need come in one frame, of any type."""
    seen: list[Any] = []

    @dg.multi_asset(
        outs={name: dg.AssetOut(**feature(name, input="increment")) for name in ("thumb", "name")}
    )
    def both(image: duckdb.DuckDBPyRelation) -> tuple[pa.Table, pa.Table]:
        seen.append(image)
        table = image.to_arrow_table()
        return (
            pa.table({"id": table["id"], "thumb": table["pixels"]}),
            pa.table({"id": table["id"], "name": table["label"]}),
        )

    run(root(), both)
    assert isinstance(seen[0], duckdb.DuckDBPyRelation)
    assert store.count("thumb") == store.count("name") == 2


def test_values_load_outside_of_a_run(
    run: Callable[..., Any], resources: dict[str, Any], instance: dg.DagsterInstance
) -> None:
    run(root())
    defs = dg.Definitions(assets=[root()], resources=resources)
    frame = defs.load_asset_value("image", python_type=pl.DataFrame, instance=instance)
    assert frame.sort("id").to_arrow().to_pylist() == ROWS.to_pylist()
    assert isinstance(defs.load_asset_value("image", instance=instance), nw.LazyFrame)


def test_an_asset_without_a_feature_is_refused_by_name(run: Callable[..., Any]) -> None:
    @dg.asset(io_manager_key="metaxy_io_manager")
    def plain() -> pa.Table:
        return ROWS

    with pytest.raises(mxd.RunError) as caught:
        run(plain)
    assert "asset 'plain'" in str(caught.value)
    assert "metaxy/feature" in str(caught.value)


def test_a_feature_that_nobody_declared_is_refused_by_name(run: Callable[..., Any]) -> None:
    @dg.asset(**feature("imagee"))
    def typo() -> pa.Table:
        return ROWS

    with pytest.raises(mxd.FeatureError) as caught:
        run(typo)
    assert "asset 'typo', feature 'imagee'" in str(caught.value)
    assert "image" in str(caught.value.remedy)
