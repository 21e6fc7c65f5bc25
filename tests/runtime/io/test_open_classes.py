"""A feature class names what it knows: samples may have more, unless it forbids that."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Literal

import dagster as dg
import polars as pl
import pytest
from pydantic import ConfigDict

import metaxy_dagster as mxd


@pytest.fixture
def graph() -> mxd.FeatureGraph:
    made = mxd.FeatureGraph()
    with made.use():

        class Open(mxd.BaseFeature, spec=mxd.FeatureSpec("open", id_columns=["clip"])):
            seconds: float
            title: str | None = None

        class Closed(mxd.BaseFeature, spec=mxd.FeatureSpec("closed", id_columns=["clip"])):
            model_config = ConfigDict(extra="forbid")

            seconds: float
            title: str | None = None

    return made


@pytest.fixture
def instance() -> Iterator[dg.DagsterInstance]:
    """One for each test: of a store that is new each time, an older run would be told as lost."""
    with dg.DagsterInstance.ephemeral() as made:
        yield made


@pytest.fixture
def store(graph: mxd.FeatureGraph, tmp_path: Path) -> mxd.DuckDBMetadataStore:
    return mxd.DuckDBMetadataStore(tmp_path / "m.duckdb", graph=graph)


def asset(feature: str, frame: pl.DataFrame, **options: Any) -> dg.AssetsDefinition:
    metadata = {"metaxy/feature": feature, **options.pop("metadata", {})}

    @dg.asset(name="made", metadata=metadata, **options)
    def made() -> pl.DataFrame:
        return frame

    return made


FULL = pl.DataFrame({"clip": ["a", "b"], "seconds": [1.5, 2.0]})
Run = Callable[..., tuple[dg.ExecuteInProcessResult, list[str]]]


@pytest.fixture
def run(store: mxd.DuckDBMetadataStore, instance: dg.DagsterInstance) -> Run:
    """Run one asset with the pass over it; what was logged as a warning comes with the result."""

    def do(
        made: dg.AssetsDefinition, **options: Any
    ) -> tuple[dg.ExecuteInProcessResult, list[str]]:
        defs = mxd.metaxify_definitions(
            dg.Definitions(assets=[made]), features=store.graph, store=store, checks=["schema"]
        )
        job = defs.resolve_implicit_global_asset_job_def()
        result = job.execute_in_process(instance=instance, **options)
        logs = instance.all_logs(result.run_id)
        return result, [each.user_message for each in logs if each.level >= 30]

    return do


def schema_check(result: dg.ExecuteInProcessResult) -> dg.AssetCheckEvaluation:
    (found,) = result.get_asset_check_evaluations()
    return found


def test_other_columns_are_stored_as_they_come(run: Run, store: mxd.DuckDBMetadataStore) -> None:
    result, warned = run(asset("open", FULL.with_columns(path=pl.col("clip") + ".wav")))
    assert set(store.schema("open")) == {"clip", "seconds", "path"}
    assert warned == []
    check = schema_check(result)
    assert check.passed
    assert check.metadata["unknown"].value == ["path"]


def test_columns_that_are_missing_are_a_warning_and_a_check(run: Run) -> None:
    result, (warned,) = run(asset("open", FULL.drop("seconds")))
    assert result.success
    assert "feature open" in warned
    assert "'seconds'" in warned
    check = schema_check(result)
    assert not check.passed
    assert check.metadata["missing"].value == ["seconds"]


@pytest.mark.parametrize(
    ("frame", "says"),
    [
        (FULL.with_columns(path=pl.lit("x")), r"unknown \['path'\]"),
        (FULL.drop("seconds"), r"missing \['seconds'\]"),
    ],
)
def test_a_closed_class_refuses_both(run: Run, frame: pl.DataFrame, says: str) -> None:
    with pytest.raises(mxd.FrameError, match=says) as caught:
        run(asset("closed", frame))
    assert "asset 'made', feature 'closed'" in str(caught.value)
    assert "model_config" in str(caught.value)


@pytest.mark.parametrize("feature", ["open", "closed"])
def test_ids_need_not_be_declared(run: Run, feature: str) -> None:
    result, warned = run(asset(feature, FULL))
    assert schema_check(result).passed
    assert warned == []


def test_a_partition_column_need_not_be_declared(run: Run, store: mxd.DuckDBMetadataStore) -> None:
    sites = dg.StaticPartitionsDefinition(["s1", "s2"])
    made = asset("open", FULL, partitions_def=sites, metadata={"partition_by": "site"})
    run(made, partition_key="s1")
    assert store.count("open", filters="site = 's1'") == 2


def test_a_partition_column_that_looks_misspelt_is_told(graph: mxd.FeatureGraph) -> None:
    sites = dg.StaticPartitionsDefinition(["s1", "s2"])
    made = asset("open", FULL, partitions_def=sites, metadata={"partition_by": "titel"})
    plan = mxd.plan_definitions(dg.Definitions(assets=[made]), features=graph)
    assert plan.errors == ()
    (told,) = [notice for notice in plan.notices if notice.kind == "partitions"]
    assert (told.asset, "'title'" in told.message) == ("made", True)
    closed = asset("closed", FULL, partitions_def=sites, metadata={"partition_by": "titel"})
    plan = mxd.plan_definitions(dg.Definitions(assets=[closed]), features=graph)
    assert [error.found for error in plan.errors] == ["titel"]


#: Annotation, values, whether the schema check takes the column for what the class declares.
TYPES: dict[str, tuple[Any, pl.Series, bool]] = {
    "a float": (float, pl.Series([1.5]), True),
    "whole numbers for a float": (float, pl.Series([1]), True),
    "text for a float": (float, pl.Series(["1.5"]), False),
    "a small integer": (int, pl.Series([1], dtype=pl.UInt8), True),
    "fractions for an integer": (int, pl.Series([1.5]), False),
    "a truth value for an integer": (int, pl.Series([True]), False),
    "a truth value": (bool | None, pl.Series([True, None]), True),
    "text": (str | None, pl.Series(["a"]), True),
    "nothing but nulls": (float | None, pl.Series([None], dtype=pl.String), True),
    "one of some texts": (Literal["a", "b"], pl.Series(["a"]), True),
    "a date": (dt.date, pl.Series([dt.date(2024, 1, 1)]), True),
    "a moment": (dt.datetime, pl.Series([dt.datetime(2024, 1, 1, tzinfo=dt.UTC)]), True),
    "a date for a moment": (dt.datetime, pl.Series([dt.date(2024, 1, 1)]), False),
    "a list": (list[float], pl.Series([[1.5]]), True),
    "a list of other things": (list[float], pl.Series([["a"]]), False),
    "text for a list": (list[str], pl.Series(["a"]), False),
    "a struct": (dict[str, int], pl.Series([{"a": 1}]), True),
    "anything": (Any, pl.Series([{"a": 1}]), True),
}


@pytest.mark.parametrize("name", TYPES)
def test_the_schema_check_looks_at_types(
    name: str, tmp_path: Path, instance: dg.DagsterInstance
) -> None:
    annotation, values, passes = TYPES[name]
    graph = mxd.FeatureGraph()
    with graph.use():
        type(
            "Made",
            (mxd.BaseFeature,),
            {"__annotations__": {"value": annotation}, "__module__": __name__},
            spec=mxd.FeatureSpec("made", id_columns=["id"]),
        )
    store = mxd.DuckDBMetadataStore(tmp_path / "m.duckdb", graph=graph)
    store.write("made", pl.DataFrame({"id": range(len(values)), "value": values}))
    spec = dg.AssetSpec("made", metadata={"metaxy/feature": "made"})
    checks = mxd.build_feature_checks([spec], names=["schema"])
    defs = dg.Definitions(assets=[spec], asset_checks=checks, resources={"store": store})
    job = dg.define_asset_job("job", selection=dg.AssetSelection.all_asset_checks())
    defs = dg.Definitions.merge(defs, dg.Definitions(jobs=[job]))
    result = defs.resolve_job_def("job").execute_in_process(instance=instance)
    (found,) = result.get_asset_check_evaluations()
    assert found.passed is passes, found.description
    assert bool(found.metadata["mistyped"].value) is not passes
