"""What ``@metaxify`` declares is known to runs without the pass, and to a pass that follows."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import dagster as dg
import pyarrow as pa
import pytest
from dagster._core.definitions.reconstruct import ReconstructableJob

import metaxy_dagster as mxd

IDS = {"metaxy/id_columns": ["id"]}
VIDEO = mxd.FeatureSpec("video", id_columns=["id"])


@pytest.fixture(autouse=True)
def _isolated(isolated_graph: mxd.FeatureGraph) -> None:
    """Each test declares features of its own."""


@pytest.fixture
def resources(tmp_path: Path) -> dict[str, Any]:
    store = mxd.MetaxyStoreFromConfigResource(path=str(tmp_path / "m.duckdb"))
    return {"store": store, "metaxy_io_manager": mxd.MetaxyIOManager(store=store)}


def rows() -> pa.Table:
    return pa.table({"id": [1, 2]})


def by_keys() -> list[dg.AssetsDefinition]:
    @mxd.metaxify
    @dg.asset(io_manager_key="metaxy_io_manager", metadata={"metaxy/feature": "video", **IDS})
    def video() -> pa.Table:
        return rows()

    return [video]


def by_spec() -> list[dg.AssetsDefinition]:
    @mxd.metaxify(feature=VIDEO)
    @dg.asset(io_manager_key="metaxy_io_manager")
    def video() -> pa.Table:
        return rows()

    return [video]


def by_features() -> list[dg.AssetsDefinition]:
    @mxd.metaxify(feature="video", features=[VIDEO])
    @dg.asset(io_manager_key="metaxy_io_manager")
    def video() -> pa.Table:
        return rows()

    return [video]


def by_specs_of_a_multi_asset() -> list[dg.AssetsDefinition]:
    @mxd.metaxify
    @dg.multi_asset(
        outs={
            "video": dg.AssetOut(
                io_manager_key="metaxy_io_manager", metadata={"metaxy/feature": "video", **IDS}
            ),
            "audio": dg.AssetOut(
                io_manager_key="metaxy_io_manager", metadata={"metaxy/feature": "audio", **IDS}
            ),
        }
    )
    def both() -> Any:
        yield dg.Output(rows(), "video")
        yield dg.Output(rows(), "audio")

    return [both]


DECLARED = {
    "keys": by_keys,
    "a spec": by_spec,
    "features": by_features,
    "a multi-asset": by_specs_of_a_multi_asset,
}


@pytest.mark.parametrize("name", DECLARED)
@pytest.mark.parametrize("passes", [0, 1, 2])
def test_a_run_knows_the_feature(
    name: str, passes: int, resources: dict[str, Any], instance: dg.DagsterInstance
) -> None:
    defs = dg.Definitions(assets=DECLARED[name](), resources=resources)
    for _ in range(passes):
        defs = mxd.metaxify_definitions(defs)
    job = defs.resolve_implicit_global_asset_job_def()
    assert job.execute_in_process(instance=instance).success
    assert resources["store"].get_store().count("video") == 2


def test_the_pass_reads_keys_anew_where_it_sees_more() -> None:
    """Defined before its upstream, an asset does not know yet that it depends on a feature."""

    @mxd.metaxify
    @dg.asset(metadata={"metaxy/feature": "faces", **IDS}, deps=["video"])
    def faces() -> None: ...

    assert mxd.FeatureGraph.current().upstream("faces") == ()
    assert faces.key == dg.AssetKey("faces")
    plan = mxd.plan_definitions(dg.Definitions(assets=[faces, *by_keys()]))
    assert plan.errors == ()
    assert list(map(str, plan.graph.upstream("faces"))) == ["video"]
    assert mxd.FeatureGraph.current().upstream("faces") == ()


def test_features_of_assets_that_the_pass_does_not_see_stay_known() -> None:
    by_keys()

    @dg.asset(metadata={"metaxy/feature": "faces", **IDS, "metaxy/deps": ["video"]})
    def faces() -> None: ...

    plan = mxd.plan_definitions(dg.Definitions(assets=[faces]))
    assert plan.errors == ()
    assert "video" in plan.graph


def test_two_declarations_of_one_key_are_told() -> None:
    by_spec()
    with pytest.raises(mxd.FeatureError, match="declared twice") as caught:

        @mxd.metaxify(feature=mxd.FeatureSpec("video", id_columns=["other"]))
        @dg.asset
        def video() -> None: ...

    assert "feature 'video'" in str(caught.value)


def test_nothing_is_registered_for_an_asset_that_is_refused(
    isolated_graph: mxd.FeatureGraph,
) -> None:
    before = tuple(isolated_graph)
    with pytest.raises(mxd.MetaxyErrorGroup):

        @mxd.metaxify
        @dg.asset(metadata={"metaxy/feature": "video", **IDS, "metaxy/input": "twice"})
        def video() -> None: ...

    assert tuple(isolated_graph) == before


def test_worker_processes_declare_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "m.duckdb"
    monkeypatch.setenv("METAXY_TEST_STORE", str(path))
    module = Path(__file__).with_name("decorated_for_workers.py")
    job = ReconstructableJob.for_file(str(module), "job")
    with (
        dg.instance_for_test(temp_dir=str(tmp_path)) as instance,
        dg.execute_job(job, instance=instance, raise_on_error=True) as result,
    ):
        assert result.success
    graph = mxd.FeatureGraph()
    graph.add(mxd.FeatureSpec("by/keys", id_columns=["id"]))
    assert mxd.DuckDBMetadataStore(path, graph=graph).count("by/keys") == 2
