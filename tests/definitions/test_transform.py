"""The call itself: what it keeps, its decorator forms, resources, running it twice."""

from __future__ import annotations

import gc
import subprocess
import sys
import textwrap

import dagster as dg
import pytest

from metaxy_dagster.definitions import metaxify_definitions, plan_definitions
from metaxy_dagster.errors import DefinitionsError, MetaxyError, MetaxyErrorGroup
from metaxy_dagster.features import FeatureGraph, FeatureSpec
from metaxy_dagster.runtime import MetaxyIOManager, MetaxyStoreFromConfigResource
from metaxy_dagster.stores import DuckDBMetadataStore


@pytest.fixture(autouse=True)
def features(isolated_graph):
    isolated_graph.add(FeatureSpec("f/a", id_columns=["id"]))
    isolated_graph.add(FeatureSpec("f/b", id_columns=["id"], deps=["f/a"]))
    return isolated_graph


@dg.asset(metadata={"metaxy/feature": "f/a"})
def a(): ...


@dg.asset(metadata={"metaxy/feature": "nobody/knows"})
def faulty(): ...


@dg.asset(metadata={"metaxy/feature": "f/b"})
def b(): ...


@dg.asset
def plain(): ...


def repository(**fields):
    return dg.Definitions(assets=[a, b, plain], **fields)


def test_case_42_applying_it_twice_is_a_no_op():
    once = metaxify_definitions(repository())
    assert metaxify_definitions(once) is once


def test_it_is_deterministic():
    one, two = plan_definitions(repository()), plan_definitions(repository())
    assert one.render("json") == two.render("json")
    first, second = one.apply().get_assets_def("b"), two.apply().get_assets_def("b")
    assert first.specs_by_key == second.specs_by_key
    assert first.node_keys_by_input_name == second.node_keys_by_input_name


def test_it_is_the_same_in_another_process():
    code = """
        import dagster as dg
        from metaxy_dagster.definitions import plan_definitions
        from metaxy_dagster.features import FeatureSpec
        features = [FeatureSpec("f/a", id_columns=["id"]),
                    FeatureSpec("f/b", id_columns=["id"], deps=["f/a"])]
        specs = [dg.AssetSpec(k, metadata={"metaxy/feature": f"f/{k}"}) for k in "ab"]
        print(plan_definitions(dg.Definitions(assets=specs), features=features).render("json"))
    """
    printed = {
        subprocess.run(  # noqa: S603 (our own code)
            [sys.executable, "-W", "ignore", "-c", textwrap.dedent(code)],
            env={"PYTHONHASHSEED": seed},
            check=True,
            capture_output=True,
            text=True,
        ).stdout
        for seed in ("1", "2")
    }
    assert len(printed) == 1


def test_assets_without_the_key_are_the_same_objects():
    defs = metaxify_definitions(repository())
    assert defs.assets[2] is plain
    assert defs.assets[0] is not a


def test_nothing_to_do_gives_the_same_definitions():
    defs = dg.Definitions(assets=[plain])
    assert metaxify_definitions(defs) is defs


def test_case_46_everything_else_is_kept():
    @dg.schedule(cron_schedule="@daily", job_name="job")
    def schedule(): ...

    @dg.sensor(job_name="job")
    def sensor(): ...

    @dg.asset_check(asset=plain)
    def check(): ...

    @dg.op
    def nothing(): ...

    @dg.job
    def job():
        nothing()

    before = repository(
        jobs=[job],
        schedules=[schedule],
        sensors=[sensor],
        asset_checks=[check],
        executor=dg.in_process_executor,
        loggers={"mine": dg.colored_console_logger},
        metadata={"owner": "ann"},
        resources={"mine": 1},
    )
    after = metaxify_definitions(before)
    dg.Definitions.validate_loadable(after)
    assert after.metadata == before.metadata
    assert (after.executor, after.loggers) == (before.executor, before.loggers)
    assert after.component_tree is before.component_tree
    assert [after.jobs, after.schedules, after.sensors, after.asset_checks] == [
        [job],
        [schedule],
        [sensor],
        [check],
    ]
    assert after.resources["mine"] == 1


# ----------------------------------------------------------------------------------- decorators
def test_case_41_above_definitions():
    @metaxify_definitions
    @dg.definitions
    def defs():
        return repository()

    assert defs().get_assets_def("a").get_asset_spec().kinds == {"metaxy"}


def test_case_41_below_definitions():
    @dg.definitions
    @metaxify_definitions
    def defs():
        return repository()

    assert defs().get_assets_def("a").get_asset_spec().kinds == {"metaxy"}


def test_case_41_with_options():
    @metaxify_definitions(inject_code_version=False)
    @dg.definitions
    def defs():
        return repository()

    assert defs().get_assets_def("a").get_asset_spec().code_version is None


@pytest.mark.parametrize("above", [True, False])
def test_case_41_a_load_context_is_still_passed_on(above):
    seen = []

    def load(context):
        seen.append(context)
        return repository()

    load.__annotations__ = {"context": dg.ComponentLoadContext}

    made = (
        metaxify_definitions(dg.definitions(load))
        if above
        else dg.definitions(metaxify_definitions(load))
    )
    assert made.has_context_arg
    marker = object()
    made(marker)
    assert seen == [marker]


def test_a_function_that_returns_something_else_is_refused():
    @metaxify_definitions
    def defs():
        return [a]

    with pytest.raises(DefinitionsError):
        defs()


# ------------------------------------------------------------------------------------ resources
def test_the_default_resources_are_added_and_bound():
    resources = metaxify_definitions(repository()).resources
    assert isinstance(resources["store"], MetaxyStoreFromConfigResource)
    assert isinstance(resources["metaxy_io_manager"], MetaxyIOManager)
    assert set(resources["store"].graph) == set(FeatureGraph.current())


def test_a_path_is_an_embedded_store(tmp_path):
    path = tmp_path / "m.duckdb"
    for given in (path, str(path)):
        assert metaxify_definitions(repository(), store=given).resources["store"].path == str(path)


def test_a_store_object_is_used_with_the_passes_features(tmp_path):
    store = DuckDBMetadataStore(tmp_path / "m.duckdb")
    used = metaxify_definitions(repository(), store=store).resources["store"]
    assert "f/a" in used.graph


def test_no_feature_means_no_resources():
    assert plan_definitions(dg.Definitions(assets=[plain])).resources == {}


def test_a_store_that_is_there_is_used(tmp_path):
    own = MetaxyStoreFromConfigResource(path=str(tmp_path / "own.duckdb"))
    resources = metaxify_definitions(repository(resources={"store": own})).resources
    assert resources["store"].path == own.path
    assert resources["metaxy_io_manager"].store.path == own.path


def test_case_38_an_existing_different_store_resource_stays(tmp_path):
    plan = plan_definitions(
        repository(resources={"store": "s3://somewhere"}), store=tmp_path / "m.duckdb"
    )
    resources = plan.apply().resources
    assert resources["store"] == "s3://somewhere"
    assert resources["metaxy_io_manager"].store.path == str(tmp_path / "m.duckdb")
    assert any(notice.kind == "resource" for notice in plan.notices)
    assert metaxify_definitions(plan.apply(), store=tmp_path / "m.duckdb") is not plan.defs


def test_an_io_manager_that_is_there_stays():
    resources = metaxify_definitions(
        repository(resources={"metaxy_io_manager": dg.mem_io_manager})
    ).resources
    assert resources["metaxy_io_manager"] is dg.mem_io_manager


@pytest.mark.parametrize("enabled", [True, False])
def test_the_garbage_collector_is_as_it_was(enabled):
    was_enabled = gc.isenabled()
    (gc.enable if enabled else gc.disable)()
    try:
        assert metaxify_definitions(dg.Definitions([a, b]))
        with pytest.raises(MetaxyError):
            metaxify_definitions(dg.Definitions([faulty]))
        assert gc.isenabled() is enabled
    finally:
        (gc.enable if was_enabled else gc.disable)()


def test_an_unpartitioned_asset_cannot_depend_on_its_own_feature():
    """Case 22: Dagster has no such thing, and the fault names the feature."""

    @dg.asset(
        metadata={"metaxy/feature": "own", "metaxy/id_columns": ["id"], "metaxy/deps": ["own"]}
    )
    def own(): ...

    with pytest.raises(MetaxyErrorGroup) as caught:
        metaxify_definitions(dg.Definitions([own]))
    (fault,) = caught.value.exceptions
    assert "own" in str(fault)
    assert fault.remedy
