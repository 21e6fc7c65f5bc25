"""Every code block of the Metaxy documentation's page on Dagster, under this package's names."""

# Annotations are not postponed here: Dagster reads those of local functions.

from collections.abc import Callable
from pathlib import Path
from typing import Any

import dagster as dg
import narwhals as nw
import polars as pl
import pytest

import metaxy_dagster as mxd


@pytest.fixture
def features() -> dict[str, type[mxd.BaseFeature]]:
    """Quick start 1: define features."""

    class Audio(
        mxd.BaseFeature,
        spec=mxd.FeatureSpec(
            "audio/raw",
            id_columns=["audio_id"],
            fields=[mxd.FieldSpec("waveform", code_version="1")],
        ),
    ):
        """Recordings."""

        audio_id: str
        path: str

    class Clusters(
        mxd.BaseFeature,
        spec=mxd.FeatureSpec(
            "audio/clusters",
            id_columns=["audio_id"],
            fields=["cluster"],
            deps=[mxd.FeatureDep(Audio)],
        ),
    ):
        """Which recordings sound alike."""

        audio_id: str
        cluster: int

    return {"Audio": Audio, "Clusters": Clusters}


@pytest.fixture
def config(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    path = tmp_path / "metaxy.toml"
    path.write_text(
        'project = "seed"\nstore = "dev"\n'
        f'[stores.dev]\ntype = "duckdb"\nconfig = {{ path = "{tmp_path}/dev.duckdb" }}\n'
    )
    monkeypatch.chdir(tmp_path)
    return path


SOUNDS = pl.DataFrame({"audio_id": ["a", "b", "c"], "path": ["a.wav", "b.wav", "c.wav"]})


def quick_start(features: dict[str, Any]) -> dg.Definitions:
    """Quick start 2 and 3: define assets, create definitions."""
    audio_feature, clusters_feature = features["Audio"], features["Clusters"]

    @mxd.metaxify(feature=audio_feature)
    @dg.asset
    def audio(context: dg.AssetExecutionContext, store: dg.ResourceParam[mxd.MetadataStore]):
        with store.open("w"):
            store.write(audio_feature, SOUNDS)
        yield from mxd.generate_materialize_results(context, store)

    @mxd.metaxify()
    @dg.asset(
        metadata={"metaxy/feature": "audio/clusters"},
        io_manager_key="metaxy_io_manager",
    )
    def clusters(store: dg.ResourceParam[mxd.MetadataStore]) -> pl.DataFrame:
        with store:
            increment = store.resolve_update(clusters_feature)
        pending = increment.pending.collect("polars").to_native()
        return pending.with_columns(cluster=pl.lit(1)).drop("path")

    @dg.asset(
        ins={
            "clusters": dg.AssetIn(key=["audio", "clusters"], input_manager_key="metaxy_io_manager")
        }
    )
    def report(clusters: nw.LazyFrame) -> dg.MaterializeResult:
        rows = clusters.select(nw.len()).collect().item()
        return dg.MaterializeResult(metadata={"rows": rows})

    store = mxd.MetaxyStoreFromConfigResource(name="dev")
    return dg.Definitions(
        assets=[audio, clusters, report],
        resources={"store": store, "metaxy_io_manager": mxd.MetaxyIOManager(store=store)},
    )


def rows_of(result: dg.ExecuteInProcessResult) -> dict[str, int]:
    return {
        event.asset_key.to_user_string(): event.metadata["dagster/row_count"].value
        for event in result.get_asset_materialization_events()
        for event in [event.materialization]
        if "dagster/row_count" in event.metadata
    }


@pytest.mark.usefixtures("config")
def test_the_quick_start(features: dict[str, Any], instance: dg.DagsterInstance) -> None:
    defs = quick_start(features)
    job = defs.resolve_implicit_global_asset_job_def()
    result = job.execute_in_process(instance=instance)
    assert rows_of(result) == {"audio/raw": 3, "audio/clusters": 3}
    (report,) = result.asset_materializations_for_node("report")
    assert report.metadata["rows"].value == 3
    again = job.execute_in_process(instance=instance)
    events = {e.asset_key.to_user_string(): e for e in _materializations(again)}
    assert events["audio/clusters"].metadata["metaxy/written"].value == 0
    assert events["audio/raw"].metadata["metaxy/materialized_in_run"].value == 0


def _materializations(result: dg.ExecuteInProcessResult) -> list[dg.AssetMaterialization]:
    return [event.materialization for event in result.get_asset_materialization_events()]


@pytest.mark.usefixtures("config")
def test_the_pass_over_the_quick_start(
    features: dict[str, Any], instance: dg.DagsterInstance
) -> None:
    """The one line of this package on top: same result, dependencies ordered by it."""
    defs = mxd.metaxify_definitions(quick_start(features))
    job = defs.resolve_implicit_global_asset_job_def()
    assert rows_of(job.execute_in_process(instance=instance)) == {
        "audio/raw": 3,
        "audio/clusters": 3,
    }


def test_metaxify_with_a_feature(features: dict[str, Any]) -> None:
    my_feature = features["Audio"]

    @mxd.metaxify(feature=my_feature)
    @dg.asset
    def my_asset(): ...

    spec = my_asset.get_asset_spec()
    assert spec.key == dg.AssetKey(["audio", "raw"])
    assert spec.description == "Recordings."
    assert spec.code_version == my_feature.code_version()
    assert "dagster/column_schema" in spec.metadata


@pytest.mark.usefixtures("features")
def test_metaxify_with_the_metadata_key() -> None:
    @mxd.metaxify
    @dg.asset(metadata={"metaxy/feature": "audio/clusters"})
    def my_asset(): ...

    spec = my_asset.get_asset_spec()
    assert [dep.asset_key.to_user_string() for dep in spec.deps] == ["audio/raw"]
    assert "dagster/column_lineage" in spec.metadata


@pytest.mark.usefixtures("config", "features")
def test_an_observable_asset(instance: dg.DagsterInstance) -> None:
    @mxd.observable_metaxy_asset(key="dagster/asset/key", feature="audio/raw")
    def external_data(context, store: dg.ResourceParam[mxd.MetadataStore], lazy_df: nw.LazyFrame):
        assert context.run.run_id
        assert store.features()
        # build a custom metadata dict
        return {"longest": lazy_df.select(nw.col("path").str.len_chars().max()).collect().item()}

    resource = mxd.MetaxyStoreFromConfigResource(name="dev")
    store = resource.get_store()
    store.write("audio/raw", SOUNDS)
    defs = dg.Definitions(assets=[external_data], resources={"store": resource})
    versions = []
    for frame in (SOUNDS, SOUNDS[:2], SOUNDS[:2].with_columns(path=pl.lit("longer.wav"))):
        store.write("audio/raw", frame, mode="replace")
        result = defs.resolve_implicit_global_asset_job_def().execute_in_process(instance=instance)
        (found,) = result.asset_observations_for_node("dagster__asset__key")
        versions.append(found.tags["dagster/data_version"])
        assert found.metadata["dagster/row_count"].value == len(frame)
    assert found.metadata["longest"].value == len("longer.wav")
    assert found.tags["metaxy/feature_version"] == store.graph.feature_version("audio/raw")
    assert len(set(versions)) == 3
    assert versions[-1] == store.data_version("audio/raw")


BAD: dict[str, Callable[..., Any]] = {
    "text": lambda *_: "text",
    "list": lambda *_: [1],
}


@pytest.mark.usefixtures("config", "features")
@pytest.mark.parametrize("kind", BAD)
def test_an_observable_asset_returns_metadata_or_nothing(
    instance: dg.DagsterInstance, kind: str
) -> None:
    observed = mxd.observable_metaxy_asset(feature="audio/raw")(BAD[kind])
    defs = dg.Definitions(
        assets=[observed], resources={"store": mxd.MetaxyStoreFromConfigResource(name="dev")}
    )
    with pytest.raises(mxd.RunError, match="no metadata") as caught:
        defs.resolve_implicit_global_asset_job_def().execute_in_process(instance=instance)
    assert "asset 'audio/raw'" in str(caught.value)


@pytest.mark.usefixtures("config", "features")
def test_an_observation_by_the_mean_time_of_creation(instance: dg.DagsterInstance) -> None:
    @mxd.observable_metaxy_asset(feature="audio/raw", versioned_by="created_at")
    def external_data(context, store, lazy_df):
        del context, store, lazy_df

    resource = mxd.MetaxyStoreFromConfigResource(name="dev")
    store = resource.get_store()
    defs = mxd.metaxify_definitions(
        dg.Definitions(assets=[external_data], resources={"store": resource})
    )
    versions = []
    for frame in (SOUNDS, SOUNDS, SOUNDS[:2]):
        store.write("audio/raw", frame, mode="replace")
        result = defs.resolve_implicit_global_asset_job_def().execute_in_process(instance=instance)
        (found,) = result.asset_observations_for_node("audio__raw")
        versions.append(found.tags["dagster/data_version"])
    assert versions[0] == versions[1]
