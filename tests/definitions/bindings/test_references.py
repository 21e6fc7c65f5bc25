"""Assets renamed after their features: every reference follows."""

from __future__ import annotations

import dagster as dg
import pytest
from selected_assets import feature, selected

from metaxy_dagster.definitions import metaxify_definitions
from metaxy_dagster.features import FeatureGraph, FeatureSpec

pytestmark = [
    pytest.mark.filterwarnings("ignore::dagster.BetaWarning"),
    pytest.mark.filterwarnings("ignore::dagster.PreviewWarning"),
    pytest.mark.filterwarnings("ignore::dagster.SupersessionWarning"),
]


# ------------------------------------------------------------------------------- keys renamed
@pytest.fixture
def renamed(tie, assets):
    def run(**fields):
        return tie(*assets, asset_keys="feature", **fields)

    return run


def test_a_rename_reaches_specs_inputs_and_deps(renamed, deps_of):
    defs = renamed()
    assert deps_of(defs, "f/b") == ["f/a"]
    assert deps_of(defs, "plain") == ["f/b"]
    assert {key.to_user_string() for key in defs.resolve_asset_graph().get_all_asset_keys()} == {
        "f/a",
        "f/b",
        "plain",
    }


def test_a_rename_executes(tie, execute):
    @dg.asset(**feature("f/a"))
    def raw():
        return 1

    @dg.asset(ins={"rows": dg.AssetIn("raw")}, **feature("f/b"))
    def mid(rows):
        return rows + 1

    @dg.asset
    def plain(mid):
        return mid + 1

    assert execute(tie(raw, mid, plain, asset_keys="feature")).output_for_node("plain") == 3


def test_applying_a_rename_twice_changes_nothing(renamed, graph):
    defs = renamed()
    assert metaxify_definitions(defs, features=graph, asset_keys="feature") is defs


def test_case_10_a_swap(deps_of):
    swapped = FeatureGraph()
    for key, other in (("x", "y"), ("y", "x")):
        swapped.add(
            FeatureSpec(
                key, id_columns=["id"], metadata={"dagster/attributes": {"asset_key": other}}
            )
        )

    @dg.asset(**feature("x"))
    def x(): ...

    @dg.asset(deps=[x], **feature("y"))
    def y(): ...

    defs = metaxify_definitions(
        dg.Definitions(
            assets=[x, y], resources={"store": 1, "metaxy_io_manager": dg.mem_io_manager}
        ),
        features=swapped,
        asset_keys="feature",
    )
    assert deps_of(defs, "x") == ["y"]
    assert defs.get_assets_def("x").get_asset_spec().metadata["metaxy/feature"] == "y"


def test_case_09_a_rename_that_would_capture_an_external_dep(deps_of):
    graph = FeatureGraph()
    graph.add(FeatureSpec("feat/events", id_columns=["id"]))

    @dg.asset(**feature("feat/events"))
    def x(): ...

    @dg.asset(deps=["events"])
    def consumer(): ...

    defs = metaxify_definitions(
        dg.Definitions(
            assets=[x, consumer], resources={"store": 1, "metaxy_io_manager": dg.mem_io_manager}
        ),
        features=graph,
        asset_keys="feature",
    )
    assert deps_of(defs, "consumer") == ["events"]


def test_two_assets_cannot_take_one_key(plan_of, assets):
    @dg.asset(key=["f", "a"])
    def holder(): ...

    (error,) = plan_of(*assets, holder, asset_keys="feature").errors
    assert error.found == "raw, f/a"


def test_carriers_of_one_feature_keep_their_keys(plan_of):
    @dg.asset(**feature("f/a"))
    def one(): ...

    @dg.asset(**feature("f/a"))
    def two(): ...

    plan = plan_of(one, two, asset_keys="feature")
    assert [asset.spec.key.to_user_string() for asset in plan.assets] == ["one", "two"]
    assert {each.kind for each in plan.notices} >= {"rename"}


def test_case_25_additional_deps_of_checks_are_renamed(renamed, execute):
    @dg.asset_check(asset="plain", additional_deps=["raw"])
    def good():
        return dg.AssetCheckResult(passed=True)

    @dg.asset_check(asset="mid", additional_ins={"rows": dg.AssetIn("raw")})
    def other(rows):
        return dg.AssetCheckResult(passed=True)

    defs = renamed(asset_checks=[good, other])
    keys = defs.resolve_asset_graph().get_all_asset_keys()
    assert {key.to_user_string() for key in keys} == {"f/a", "f/b", "plain"}
    assert all(isinstance(each, dg.AssetChecksDefinition) for each in defs.asset_checks)
    assert execute(defs).success


def test_checks_inside_an_asset_are_renamed(tie, execute):
    @dg.asset(check_specs=[dg.AssetCheckSpec("good", asset="raw")], **feature("f/a"))
    def raw():
        yield dg.Output(1)
        yield dg.AssetCheckResult(passed=True)

    defs = tie(raw, asset_keys="feature")
    assert execute(defs).success


RENAMED_SELECTIONS = {
    "key": (dg.AssetSelection.assets("raw"), ["f/a"]),
    "downstream of a key": (dg.AssetSelection.assets("mid").downstream(), ["f/b", "plain"]),
    "28 wildcard": (dg.AssetSelection.from_string("key:r*"), ["f/a"]),
    "key string": (dg.AssetSelection.from_string('key:"mid"+'), ["f/b", "plain"]),
    "prefix": (dg.AssetSelection.from_coercible("mid+"), ["f/b", "plain"]),
    "all": (dg.AssetSelection.all(), ["f/a", "f/b", "plain"]),
    "minus": (dg.AssetSelection.all() - dg.AssetSelection.assets("raw"), ["f/b", "plain"]),
}


@pytest.mark.parametrize("case", RENAMED_SELECTIONS)
def test_selections_follow_a_rename(renamed, case):
    selection, expected = RENAMED_SELECTIONS[case]
    assert selected(renamed(jobs=[dg.define_asset_job("job", selection)]), "job") == expected


def test_a_string_target_follows_a_rename(renamed):
    defs = renamed(schedules=[dg.ScheduleDefinition("s", cron_schedule="@daily", target="raw")])
    assert selected(defs, "__anonymous_asset_job_s") == ["f/a"]


#: Older releases cannot rebuild asset sensors: the plan says so.
REBUILDABLE = dg.AssetSensorDefinition.with_attributes is not dg.SensorDefinition.with_attributes
needs_rebuilding = pytest.mark.skipif(not REBUILDABLE, reason="sensors cannot be rebuilt")


@pytest.mark.skipif(REBUILDABLE, reason="sensors can be rebuilt")
def test_case_31_an_asset_sensor_that_cannot_be_rebuilt_is_reported(plan_of, assets):
    @dg.asset_sensor(asset_key=dg.AssetKey("raw"), job_name="job")
    def watcher(context, event): ...

    plan = plan_of(
        *assets, asset_keys="feature", sensors=[watcher], jobs=[dg.define_asset_job("job", "plain")]
    )
    assert any("cannot rebuild it" in notice.message for notice in plan.notices)
    dg.Definitions.validate_loadable(plan.apply())


@needs_rebuilding
def test_case_31_asset_sensors_follow_a_rename(renamed, instance):
    @dg.asset_sensor(asset_key=dg.AssetKey("raw"), job_name="job")
    def watcher(context, event):
        return dg.RunRequest(run_key="x")

    defs = renamed(sensors=[watcher], jobs=[dg.define_asset_job("job", "plain")])
    (made,) = defs.sensors
    assert made.asset_key == dg.AssetKey(["f", "a"])
    instance.report_runless_asset_event(dg.AssetMaterialization(["f", "a"]))
    context = dg.build_sensor_context(instance=instance, definitions=defs)
    assert len(made.evaluate_tick(context).run_requests) == 1


@needs_rebuilding
def test_multi_asset_sensors_follow_a_rename(renamed, instance):
    seen = []

    @dg.multi_asset_sensor(
        monitored_assets=[dg.AssetKey("raw"), dg.AssetKey("plain")], job_name="job"
    )
    def watcher(context):
        seen.extend(key.to_user_string() for key in context.asset_keys)

    defs = renamed(sensors=[watcher], jobs=[dg.define_asset_job("job", "plain")])
    context = dg.build_sensor_context(instance=instance, definitions=defs)
    defs.sensors[0].evaluate_tick(context)
    assert seen == ["f/a", "plain"]


def test_column_lineage_follows_a_rename(tie, assets):
    lineage = dg.TableColumnLineage(
        {"x": [dg.TableColumnDep(asset_key=dg.AssetKey("raw"), column_name="id")]}
    )

    @dg.asset(metadata={"dagster/column_lineage": lineage})
    def report(): ...

    spec = tie(*assets, report, asset_keys="feature").get_assets_def("report").get_asset_spec()
    (dep,) = spec.metadata["dagster/column_lineage"].deps_by_column["x"]
    assert dep.asset_key == dg.AssetKey(["f", "a"])


def renames_noted(plan):
    return sorted(each.asset for each in plan.notices if each.kind == "rename")


def test_case_26_checks_with_hard_coded_keys_are_warned_of(plan_of, assets):
    @dg.multi_asset_check(specs=[dg.AssetCheckSpec("good", asset="raw")])
    def checks():
        yield dg.AssetCheckResult(passed=True, asset_key="raw", check_name="good")

    plan = plan_of(*assets, asset_checks=[checks], asset_keys="feature")
    assert renames_noted(plan) == ["raw:good"]


def test_case_27_results_with_hard_coded_keys_are_warned_of(plan_of, assets):
    @dg.multi_asset(specs=[dg.AssetSpec("x", **feature("f/outside"))])
    def loud():
        yield dg.MaterializeResult(asset_key="x")

    @dg.multi_asset(specs=[dg.AssetSpec("y")])
    def innocent():
        yield dg.MaterializeResult(asset_key="y")

    plan = plan_of(*assets, loud, innocent, asset_keys="feature")
    assert renames_noted(plan) == ["x"]
    assert renames_noted(plan_of(*assets, loud, innocent)) == []


def test_case_33_conditions_that_name_renamed_keys_are_warned_of(plan_of, assets):
    condition = dg.AutomationCondition.eager().allow(dg.AssetSelection.assets("raw"))

    @dg.asset(automation_condition=condition)
    def watcher(): ...

    assert renames_noted(plan_of(*assets, watcher, asset_keys="feature")) == ["watcher"]
