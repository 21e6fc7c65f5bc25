"""Keys kept: jobs, schedules and sensors go on meaning what they meant."""

from __future__ import annotations

import dagster as dg
import pytest
from selected_assets import feature, selected

from metaxy_dagster.definitions import MetaxifySettings, metaxify_definitions
from metaxy_dagster.errors import MetaxyErrorGroup
from metaxy_dagster.features import FeatureGraph, FeatureSpec

pytestmark = [
    pytest.mark.filterwarnings("ignore::dagster.BetaWarning"),
    pytest.mark.filterwarnings("ignore::dagster.PreviewWarning"),
    pytest.mark.filterwarnings("ignore::dagster.SupersessionWarning"),
]


# ------------------------------------------------------------------------- keys kept: selections
SELECTIONS = {
    "51 all - x.downstream() by an injected dep alone": (
        dg.AssetSelection.all() - dg.AssetSelection.assets("raw").downstream(),
        ["mid", "plain"],
    ),
    "29 downstream": (dg.AssetSelection.assets("raw").downstream(), ["raw"]),
    "29 kind": (
        dg.AssetSelection.all() - dg.AssetSelection.from_string("kind:metaxy"),
        ["mid", "plain", "raw"],
    ),
    "29 tag": (
        dg.AssetSelection.all() - dg.AssetSelection.from_string("tag:metaxy/feature=f.a"),
        ["mid", "plain", "raw"],
    ),
    "29 roots": (dg.AssetSelection.all().roots(), ["mid", "raw"]),
    "28 wildcard": (dg.AssetSelection.from_string("key:ra*"), ["raw"]),
    "a key": (dg.AssetSelection.assets("raw"), ["raw"]),
    "all": (dg.AssetSelection.all(), ["mid", "plain", "raw"]),
}


@pytest.mark.parametrize("case", SELECTIONS)
def test_a_job_keeps_meaning_what_it_meant(tie, assets, case):
    selection, expected = SELECTIONS[case]
    job = dg.define_asset_job("job", selection, tags={"t": "1"}, description="d")
    before = dg.Definitions(assets=list(assets), jobs=[job])
    assert selected(before, "job") == expected
    defs = tie(*assets, jobs=[job])
    assert selected(defs, "job") == expected
    (made,) = defs.jobs
    assert (made.tags, made.description) == ({"t": "1"}, "d")
    if case in ("28 wildcard", "a key", "all"):
        assert made is job


def test_drift_by_group(assets):
    grouped = FeatureGraph()
    grouped.add(
        FeatureSpec("f/a", id_columns=["id"], metadata={"dagster/attributes": {"group_name": "g"}})
    )
    grouped.add(FeatureSpec("f/b", id_columns=["id"]))
    job = dg.define_asset_job("job", dg.AssetSelection.groups("default"))
    defs = metaxify_definitions(
        dg.Definitions(
            assets=list(assets),
            jobs=[job],
            resources={"store": 1, "metaxy_io_manager": dg.mem_io_manager},
        ),
        features=grouped,
    )
    assert selected(defs, "job") == ["mid", "plain", "raw"]


def drifting():
    selection = dg.AssetSelection.all() - dg.AssetSelection.assets("raw").downstream()
    return dg.define_asset_job("job", selection)


def test_drift_is_reported(plan_of, assets):
    plan = plan_of(*assets, jobs=[drifting()])
    (notice,) = [each for each in plan.notices if each.kind == "selection"]
    assert notice.asset == "job job"
    assert "loses mid, plain" in notice.message


def test_drift_may_be_only_reported(plan_of, assets):
    job = drifting()
    plan = plan_of(*assets, jobs=[job], settings=MetaxifySettings(selection_drift="report"))
    assert plan.apply().jobs == [job]
    assert any(each.kind == "selection" for each in plan.notices)


def test_drift_may_be_an_error(plan_of, assets):
    plan = plan_of(*assets, jobs=[drifting()], settings=MetaxifySettings(selection_drift="error"))
    (error,) = plan.errors
    assert error.problem == "the selection of job job would change its meaning"
    with pytest.raises(MetaxyErrorGroup):
        plan.apply()


def test_frozen_jobs_stay_frozen_when_applied_twice(tie, assets, graph):
    defs = tie(*assets, jobs=[drifting()])
    assert metaxify_definitions(defs, features=graph) is defs


def test_checks_of_a_selection_are_kept(tie, assets):
    @dg.asset_check(asset="mid")
    def good(): ...

    @dg.asset_check(asset="mid")
    def other(): ...

    selection = (
        dg.AssetSelection.all() - dg.AssetSelection.assets("raw").downstream()
    ).without_checks() | dg.AssetSelection.checks(dg.AssetCheckKey(dg.AssetKey("mid"), "good"))
    defs = tie(*assets, asset_checks=[good, other], jobs=[dg.define_asset_job("job", selection)])
    layer = defs.resolve_job_def("job").asset_layer
    assert selected(defs, "job") == ["mid", "plain"]
    assert {key.name for key in layer.asset_graph.asset_check_keys} == {"good"}


# ------------------------------------------------------------------------ schedules and sensors
def test_case_30_a_job_that_several_share_stays_one_object(tie, assets):
    job = drifting()
    schedule = dg.ScheduleDefinition("daily", cron_schedule="@daily", job=job)

    @dg.sensor(job=job)
    def watcher(): ...

    defs = tie(*assets, jobs=[job], schedules=[schedule], sensors=[watcher])
    (made,) = defs.jobs
    assert made is not job
    assert defs.schedules[0].job is made
    assert defs.sensors[0].job is made
    assert defs.schedules[0].cron_schedule == "@daily"


def with_schedule(target):
    return {"schedules": [dg.ScheduleDefinition("s", cron_schedule="@daily", target=target)]}


def with_sensor(target):
    @dg.sensor(target=target)
    def s(): ...

    return {"sensors": [s]}


@pytest.mark.parametrize("with_automation", [with_schedule, with_sensor])
def test_case_50_a_target_that_is_an_asset_object(tie, assets, with_automation):
    raw, mid, plain = assets
    defs = tie(raw, mid, plain, **with_automation([mid]))
    name = "__anonymous_asset_job_s"
    assert selected(defs, name) == ["mid"]


@pytest.mark.parametrize("with_automation", [with_schedule, with_sensor])
def test_case_52_an_asset_that_only_a_target_knows(tie, assets, with_automation):
    raw, mid, plain = assets

    @dg.asset
    def unlisted(): ...

    defs = tie(plain, **with_automation([raw, mid, unlisted]))
    assert selected(defs, "__anonymous_asset_job_s") == ["mid", "raw", "unlisted"]
    assert defs.resolve_asset_graph().get(dg.AssetKey("raw")).kinds == {"metaxy"}


def test_untouched_automations_stay_the_same_objects(tie, assets):
    _, _, plain = assets
    job = dg.define_asset_job("job", [plain])
    schedule = dg.ScheduleDefinition("s", cron_schedule="@daily", target=[plain])
    partitioned = dg.ScheduleDefinition("t", cron_schedule="@daily", job_name="job")
    defs = tie(*assets, jobs=[job], schedules=[schedule, partitioned])
    assert defs.jobs == [job]
    assert all(a is b for a, b in zip(defs.schedules, [schedule, partitioned], strict=True))


def test_a_schedule_of_a_partitioned_job(tie):
    daily = dg.DailyPartitionsDefinition("2026-01-01")

    @dg.asset(partitions_def=daily, **feature("f/a"))
    def raw(): ...

    @dg.asset(partitions_def=daily, **feature("f/b"))
    def mid(): ...

    job = drifting()
    schedule = dg.build_schedule_from_partitioned_job(job)
    defs = tie(raw, mid, jobs=[job], schedules=[schedule])
    assert selected(defs, "job") == ["mid"]
    assert defs.schedules[0].job is defs.jobs[0]


def test_case_32_a_resolved_job_is_reported(plan_of, assets):
    resolved = dg.Definitions(
        assets=list(assets), jobs=[dg.define_asset_job("job", "*mid")]
    ).resolve_job_def("job")
    plan = plan_of(*assets, jobs=[resolved])
    assert any("resolved before the pass" in each.message for each in plan.notices)
    made = plan.apply()
    dg.Definitions.validate_loadable(made)


def test_case_33_an_automation_sensor_follows_its_selection(tie, assets):
    selection = dg.AssetSelection.all() - dg.AssetSelection.assets("raw").downstream()
    sensor = dg.AutomationConditionSensorDefinition("auto", target=selection)
    defs = tie(*assets, sensors=[sensor])
    (made,) = defs.sensors
    keys = made.asset_selection.resolve(defs.resolve_asset_graph())
    assert {key.to_user_string() for key in keys} == {"mid", "plain"}


def test_case_34_code_versions_fire_conditions_so_the_report_says_so(plan_of):
    condition = dg.AutomationCondition.code_version_changed()

    @dg.asset(automation_condition=condition, **feature("f/a"))
    def raw(): ...

    plan = plan_of(raw)
    (notice,) = [each for each in plan.notices if each.kind == "code version"]
    assert "1 assets" in notice.message
    assert "fire for 1 of them" in notice.message
    quiet = plan_of(raw, inject_code_version=False)
    assert not [each for each in quiet.notices if each.kind == "code version"]
    assert quiet.apply().get_assets_def("raw").get_asset_spec().code_version is None
