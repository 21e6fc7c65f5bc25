"""An asset's own code version counts for the fields of its feature that have none."""

from __future__ import annotations

import dagster as dg
import polars as pl
import pytest

import metaxy_dagster as mxd

KEYS = {"metaxy/id_columns": ["id"]}
RAW = pl.DataFrame({"id": [1, 2]})


@dg.asset(metadata={"metaxy/feature": "texts", **KEYS})
def texts() -> pl.DataFrame:
    return RAW


def scores(version, **metadata):
    keys = {"metaxy/feature": "scores", "metaxy/input": "increment", **KEYS, **metadata}

    @dg.asset(name="scores", code_version=version, metadata=keys)
    def made(texts: pl.DataFrame) -> pl.DataFrame:
        return texts.with_columns(made_by=pl.lit(version))

    return made


def by_a_spec(version, **metadata):
    keys = {"metaxy/feature": "scores", "metaxy/input": "increment", **KEYS, **metadata}

    @dg.multi_asset(
        outs={
            "scores": dg.AssetOut(metadata=keys, code_version=version),
            "other": dg.AssetOut(
                metadata={"metaxy/feature": "other", "metaxy/input": "increment", **KEYS},
                code_version="same",
            ),
        }
    )
    def made(texts: pl.DataFrame):
        frame = texts.with_columns(made_by=pl.lit(version))
        return frame, frame

    return made


def by_an_op_of_a_graph(version, **metadata):
    keys = {"metaxy/feature": "scores", "metaxy/input": "increment", **KEYS, **metadata}

    @dg.op(code_version=version)
    def compute(frame: pl.DataFrame) -> pl.DataFrame:
        return frame.with_columns(made_by=pl.lit(version))

    @dg.graph_asset(name="scores", metadata=keys)
    def made(texts):
        return compute(texts)

    return made


def released(instance, asset, **options):
    """The rows after a run, by the version that made them."""
    defs = mxd.metaxify_definitions(
        dg.Definitions(assets=[texts, asset]),
        store=f"{instance.storage_directory()}/m.duckdb",
        features=[],
        **options,
    )
    job = defs.resolve_implicit_global_asset_job_def()
    assert job.execute_in_process(instance=instance).success
    store = defs.resources["store"].get_store()
    made = store.read("scores").collect("polars").to_native()["made_by"].to_list()
    return [version or "none" for version in made]


@pytest.mark.parametrize("make", [scores, by_a_spec, by_an_op_of_a_graph])
def test_a_new_code_version_recomputes_the_samples(instance, make):
    for version in ("1", "1.10", "1.1", "  spaced\n", "x" * 300):
        assert released(instance, make(version)) == [version, version]


def test_rows_that_were_stored_without_one_are_stale_once(instance):
    off = mxd.MetaxifySettings(enable_asset_code_versions=False)
    assert released(instance, scores("1"), settings=off) == ["1", "1"]
    assert released(instance, scores("2"), settings=off) == ["1", "1"]
    assert released(instance, scores("3")) == ["3", "3"]
    assert released(instance, scores(None)) == ["none", "none"]


def plan_of(*assets, **options):
    return mxd.plan_definitions(dg.Definitions(assets=[texts, *assets]), features=[], **options)


def said(plan, part):
    return [(each.asset, each.message) for each in plan.notices if part in each.message]


def versions(plan, feature="scores"):
    return {str(field.key): field.code_version for field in plan.graph[feature].fields}


def test_fields_own_code_versions_win():
    plan = plan_of(scores("9", **{"metaxy/fields": {"a": "1", "b": None}}))
    assert versions(plan) == {"a": "1", "b": "9"}
    assert said(plan, "not looked at") == []
    plan = plan_of(scores("9", **{"metaxy/fields": {"a": "1", "b": 2}}))
    assert versions(plan) == {"a": "1", "b": "2"}
    ((asset, message),) = said(plan, "not looked at")
    assert asset == "scores"
    assert "'9'" in message
    # Declared as it is by default: that is a code version of its own, too.
    assert versions(plan_of(scores("9", **{"metaxy/fields": {"a": "0"}}))) == {"a": "0"}


def test_the_plan_says_what_an_assets_code_version_does():
    plan = plan_of(scores("9"))
    ((asset, message),) = said(plan, "which is that of all fields")
    assert asset is None
    assert "scores" in message
    assert "enable_asset_code_versions=False" in message
    assert plan.graph.feature_version("texts") == plan_of().graph.feature_version("texts")
    off = plan_of(scores("9"), settings=mxd.MetaxifySettings(enable_asset_code_versions=False))
    assert versions(off) == {"default": "0"}
    assert said(off, "which is that of all fields") == []


def test_dagster_attributes_of_a_feature_are_its_assets_code_version():
    spec = mxd.FeatureSpec(
        "scores", id_columns=["id"], metadata={"dagster/attributes": {"code_version": "7"}}
    )
    asset = dg.AssetSpec("scores", metadata={"metaxy/feature": "scores"})
    plan = mxd.plan_definitions(dg.Definitions(assets=[asset]), features=[spec])
    assert versions(plan) == {"default": "7"}
    assert mxd.plan_definitions(plan.apply(), features=[spec]).changes_anything is False


def contributors(*given):
    return [
        dg.AssetSpec(
            f"part_{number}", code_version=version, metadata={"metaxy/feature": "scores", **KEYS}
        )
        for number, version in enumerate(given)
    ]


def test_assets_of_one_feature_count_together():
    def version(*given):
        return versions(plan_of(*contributors(*given)))["default"]

    assert version(None, None) == "0"
    assert version("1", "1") == version("1", None) == "1"
    different = [version("1", "2"), version("2", "1"), version("2", "3"), version("2", "2")]
    assert len(set(different)) == 4
    ((asset, message),) = said(plan_of(*contributors("1", "2")), "different code versions")
    assert asset is None
    assert "part_0: '1', part_1: '2'" in message


@pytest.mark.parametrize("given", [("1", None), ("1", "2"), (None, None)])
def test_a_second_pass_takes_nothing_that_the_first_one_added(given):
    first = mxd.metaxify_definitions(dg.Definitions(assets=contributors(*given)), features=[])
    again = mxd.plan_definitions(first, features=[])
    assert again.changes_anything is False
    assert again.notices == ()


def test_a_store_with_features_of_its_own_is_warned_of(tmp_path):
    spec = mxd.FeatureSpec("scores", id_columns=["id"])
    graph = mxd.FeatureGraph()
    graph.add(spec)
    store = mxd.MetaxyStoreFromConfigResource(path=str(tmp_path / "m.duckdb"), graph=graph)
    asset = dg.AssetSpec("scores", code_version="2", metadata={"metaxy/feature": "scores"})
    plan = mxd.plan_definitions(dg.Definitions(assets=[asset]), features=[spec], store=store)
    ((_, message),) = said(plan, "features of its own")
    assert "scores" in message
