"""Checks, sensors and automation conditions that settings of the pass bring."""

from __future__ import annotations

import json
from typing import Any

import dagster as dg
import pyarrow as pa
import pytest

import metaxy_dagster as mxd
from metaxy_dagster.definitions import MetaxifySettings
from metaxy_dagster.features import FeatureGraph, FeatureSpec

pytestmark = pytest.mark.filterwarnings("ignore:.* is currently in beta")

ALL = {"pending", "orphaned", "failed", "schema", "unique_ids"}
ROOT = {"failed", "schema", "unique_ids"}


@pytest.fixture
def graph():
    made = FeatureGraph()
    made.add(FeatureSpec("f/a", id_columns=["id"]))
    made.add(FeatureSpec("f/b", id_columns=["id"], deps=["f/a"]))
    made.add(FeatureSpec("f/c", id_columns=["id"], deps=["f/b"]))
    return made


def frame(ids):
    return pa.table({"id": ids, "size": ids})


def assets(**metadata: Any) -> list[dg.AssetsDefinition]:
    """a → b → c, plain functions; ``metadata`` is that of b."""
    increment = {"metaxy/input": "increment"}

    @dg.asset(metadata={"metaxy/feature": "f/a"})
    def a() -> pa.Table:
        return frame([1, 2])

    @dg.asset(metadata={"metaxy/feature": "f/b", **increment, **metadata})
    def b(a: pa.Table) -> pa.Table:
        return a

    @dg.asset(metadata={"metaxy/feature": "f/c", **increment}, group_name="last")
    def c(b: pa.Table) -> pa.Table:
        return b

    return [a, b, c]


@pytest.fixture
def options(graph, tmp_path):
    return {"features": graph, "store": str(tmp_path / "m.duckdb")}


def checks_of(defs: dg.Definitions) -> dict[str, set[str]]:
    found: dict[str, set[str]] = {}
    for key in defs.resolve_asset_graph().asset_check_keys:
        found.setdefault(key.asset_key.to_user_string(), set()).add(key.name)
    return found


# ------------------------------------------------------------------------------------ checks
@pytest.mark.parametrize(
    ("checks", "own", "wanted"),
    [
        (None, {}, {}),
        ("none", {}, {}),
        ("all", {}, {"a": ROOT, "b": ALL, "c": ALL}),
        (["pending"], {}, {"b": {"pending"}, "c": {"pending"}}),
        (("schema", "orphaned"), {}, {"a": {"schema"}, "b": {"schema", "orphaned"}}),
        ("all", {"metaxy/checks": "none"}, {"a": ROOT, "c": ALL}),
        ("none", {"metaxy/checks": "all"}, {"b": ALL}),
        (["schema"], {"metaxy/checks": ["pending"]}, {"b": {"pending"}, "c": {"schema"}}),
    ],
)
@pytest.mark.parametrize("asset_keys", ["keep", "feature"])
def test_checks_by_setting_and_by_asset(options, checks, own, wanted, asset_keys):
    defs = dg.Definitions(assets=assets(**own))
    made = mxd.metaxify_definitions(defs, checks=checks, asset_keys=asset_keys, **options)
    found = checks_of(made)
    if asset_keys == "feature":
        wanted = {f"f/{key}": names for key, names in wanted.items()}
    for key, names in wanted.items():
        assert found[key] == names
    assert mxd.metaxify_definitions(made, checks=checks, asset_keys=asset_keys, **options) is made
    dg.Definitions.validate_loadable(made)


@pytest.mark.parametrize("value", ["some", ["fresh"], [], 3])
def test_checks_that_do_not_exist_are_refused(options, value):
    with pytest.raises(mxd.DefinitionsError, match="no such check"):
        MetaxifySettings(checks=value)
    plan = mxd.plan_definitions(
        dg.Definitions(assets=assets(**{"metaxy/checks": value})), **options
    )
    (error,) = plan.errors
    assert (error.asset, error.feature) == ("b", "f/b")
    assert "pending" in error.allowed


def execute(defs, instance, **options):
    return defs.resolve_implicit_global_asset_job_def().execute_in_process(
        instance=instance, **options
    )


@pytest.mark.parametrize("asset_keys", ["keep", "feature"])
def test_checks_run_with_their_assets(options, instance, asset_keys):
    defs = dg.Definitions(assets=assets())
    made = mxd.metaxify_definitions(defs, checks="all", asset_keys=asset_keys, **options)
    result = execute(made, instance)
    found = result.get_asset_check_evaluations()
    assert len(found) == 13
    assert all(each.passed for each in found)


def test_checks_move_along_with_a_later_rename(options, instance):
    first = mxd.metaxify_definitions(dg.Definitions(assets=assets()), checks="all", **options)
    made = mxd.metaxify_definitions(first, checks="all", asset_keys="feature", **options)
    assert checks_of(made) == {"f/a": ROOT, "f/b": ALL, "f/c": ALL}
    evaluations = execute(made, instance).get_asset_check_evaluations()
    assert {each.asset_key.path[-1] for each in evaluations} == {"a", "b", "c"}


def test_a_check_of_the_users_own_keeps_its_name(options, instance):
    @dg.asset_check(asset="b", name="pending")
    def mine():
        return dg.AssetCheckResult(passed=False)

    @dg.op
    def metaxy_check__b():
        return None

    @dg.asset
    def plain():
        return None

    taken = dg.AssetsDefinition.from_op(
        metaxy_check__b, keys_by_output_name={"result": dg.AssetKey("taken")}
    )
    defs = dg.Definitions(assets=[*assets(), plain, taken], asset_checks=[mine])
    made = mxd.metaxify_definitions(defs, checks=["pending", "schema"], **options)
    assert checks_of(made)["b"] == {"pending", "metaxy_pending", "schema"}
    assert mxd.metaxify_definitions(made, checks=["pending", "schema"], **options) is made
    found = {
        each.check_name: each.passed
        for each in execute(made, instance).get_asset_check_evaluations()
        if each.asset_key.path == ["b"]
    }
    assert found == {"pending": False, "metaxy_pending": True, "schema": True}


def test_jobs_keep_selecting_the_assets_that_they_selected(options, instance):
    jobs = {
        "all": dg.AssetSelection.all(),
        "keys": dg.AssetSelection.assets("a", "b"),
        "group": dg.AssetSelection.groups("last"),
        "rest": dg.AssetSelection.all() - dg.AssetSelection.assets("c"),
        "bare": dg.AssetSelection.assets("a", "b").without_checks(),
    }
    defined = [dg.define_asset_job(name, selection) for name, selection in jobs.items()]
    defs = dg.Definitions(assets=assets(), jobs=defined)
    plan = mxd.plan_definitions(defs, checks="all", **options)
    assert not [notice for notice in plan.notices if notice.kind == "selection"]
    made = plan.apply()
    keys = {
        name: {key.path[-1] for key in made.resolve_job_def(name).asset_layer.executable_asset_keys}
        for name in jobs
    }
    assert keys == {
        "all": {"a", "b", "c"},
        "keys": {"a", "b"},
        "group": {"c"},
        "rest": {"a", "b"},
        "bare": {"a", "b"},
    }
    run = made.resolve_job_def("bare").execute_in_process(instance=instance)
    assert run.get_asset_check_evaluations() == []
    run = made.resolve_job_def("keys").execute_in_process(instance=instance)
    assert len(run.get_asset_check_evaluations()) == 8


def test_checks_find_the_store_where_the_name_is_taken(options, instance):
    defs = dg.Definitions(
        assets=assets(), resources={"store": dg.ResourceDefinition.none_resource()}
    )
    made = mxd.metaxify_definitions(defs, checks="all", pending_sensor=True, **options)
    assert all(each.passed for each in execute(made, instance).get_asset_check_evaluations())


# ----------------------------------------------------------------------------------- sensors
def tick(defs, name, instance, cursor=None):
    """The assets that a tick of a sensor requests, as the code server makes it."""
    repository = defs.get_repository_def()
    sensor = repository.get_sensor_def(name)
    resources = {key: defs.resources[key] for key in sensor.required_resource_keys}
    with dg.build_sensor_context(
        instance=instance, repository_def=repository, resources=resources, cursor=cursor
    ) as context:
        found = sensor.evaluate_tick(context)
    keys = [key for each in found.run_requests or () for key in each.asset_selection or ()]
    return sorted(key.to_user_string() for key in keys), found.cursor


@pytest.mark.parametrize("asset_keys", ["keep", "feature"])
def test_a_sensor_by_a_setting(options, instance, asset_keys):
    options = {**options, "asset_keys": asset_keys, "pending_sensor": True}
    made = mxd.metaxify_definitions(dg.Definitions(assets=assets()), **options)
    assert mxd.metaxify_definitions(made, **options) is made
    assert tick(made, "metaxy_pending", instance)[0] == []
    first = "a" if asset_keys == "keep" else "f/a"
    execute(made, instance, asset_selection=[dg.AssetKey.from_user_string(first)])
    keys, cursor = tick(made, "metaxy_pending", instance)
    assert keys == [first[:-1] + "b"]
    assert tick(made, "metaxy_pending", instance, cursor)[0] == []


def test_a_sensor_with_options(options):
    given = {"name": "work", "minimum_interval_seconds": 300, "default_status": "RUNNING"}
    settings = MetaxifySettings(pending_sensor=given)
    assert hash(settings) == hash(MetaxifySettings(pending_sensor=given))
    made = mxd.metaxify_definitions(dg.Definitions(assets=assets()), settings=settings, **options)
    (sensor,) = made.sensors
    assert (sensor.name, sensor.minimum_interval_seconds) == ("work", 300)
    assert sensor.default_status is dg.DefaultSensorStatus.RUNNING


@pytest.mark.parametrize(
    ("value", "found"),
    [
        ("yes", "'yes'"),
        ({"interval": 3}, "'interval'"),
        ({"default_status": "ON"}, "'ON'"),
    ],
)
def test_options_of_the_sensor_are_checked(value, found):
    with pytest.raises(mxd.DefinitionsError) as caught:
        MetaxifySettings(pending_sensor=value)
    assert found in str(caught.value.found)
    assert caught.value.remedy


def test_a_name_that_is_taken_is_a_fault(options):
    @dg.sensor(name="metaxy_pending", target="*")
    def mine():
        return None

    defs = dg.Definitions(assets=assets(), sensors=[mine])
    (error,) = mxd.plan_definitions(defs, pending_sensor=True, **options).errors
    assert "metaxy_pending" in error.found
    assert "name" in error.remedy
    named = mxd.metaxify_definitions(defs, pending_sensor={"name": "theirs"}, **options)
    assert {each.name for each in named.sensors} == {"metaxy_pending", "theirs"}


def test_a_sensor_with_nothing_to_watch_is_a_fault(options):
    (error,) = mxd.plan_definitions(dg.Definitions(), pending_sensor=True, **options).errors
    assert "nothing to watch" in error.problem


# -------------------------------------------------------------------------------- conditions
def test_conditions_by_a_setting_and_the_sensor_that_evaluates_them(options, instance):
    own = dg.AutomationCondition.eager()
    a, b, c = assets()
    c = c.map_asset_specs(lambda spec: spec.replace_attributes(automation_condition=own))
    made = mxd.metaxify_definitions(
        dg.Definitions(assets=[a, b, c]), pending_condition=True, **options
    )
    assert mxd.metaxify_definitions(made, pending_condition=True, **options) is made
    conditions = {
        each.key.path[-1]: each.automation_condition for each in made.resolve_all_asset_specs()
    }
    assert conditions["a"] is None
    assert "pending_samples" in str(conditions["b"].get_snapshot())
    assert conditions["c"] is own, "what the user set stays"
    (sensor,) = made.sensors
    assert tick(made, sensor.name, instance)[0] == []
    execute(made, instance, asset_selection=[dg.AssetKey("a")])
    keys, cursor = tick(made, sensor.name, instance)
    assert keys == ["b"]
    assert tick(made, sensor.name, instance, cursor)[0] == []
    others = [each for each in made.get_repository_def().sensor_defs if each.name != sensor.name]
    assert [each.name for each in others] == ["default_automation_condition_sensor"]
    assert others[0].asset_selection.resolve(made.resolve_asset_graph()) >= {dg.AssetKey("c")}
    assert dg.AssetKey("b") not in others[0].asset_selection.resolve(made.resolve_asset_graph())


def test_a_condition_finds_the_store_of_an_asset_that_uses_none(options, instance):
    a, _, _ = assets()

    @dg.asset(deps=["a"], metadata={"metaxy/feature": "f/b"})
    def b() -> None: ...

    made = mxd.metaxify_definitions(
        dg.Definitions(assets=[a, b]), pending_condition=True, **options
    )
    execute(made, instance, asset_selection=[dg.AssetKey("a")])
    assert tick(made, "metaxy_conditions", instance)[0] == ["b"]


@pytest.mark.parametrize(
    ("target", "in_code", "added"),
    [
        (None, True, [{"b", "c"}]),
        (dg.AssetSelection.all(), True, []),
        (dg.AssetSelection.groups("last"), True, [{"b"}]),
        (dg.AssetSelection.all(), False, []),
    ],
    ids=["none", "all", "some", "in the daemon"],
)
def test_conditions_of_the_users_own_get_a_sensor_where_none_evaluates_them(
    options, target, in_code, added
):
    sensors = []
    if target is not None:
        sensors.append(
            dg.AutomationConditionSensorDefinition(
                "mine", target=target, use_user_code_server=in_code
            )
        )
    condition = mxd.pending_samples() & ~dg.AutomationCondition.in_progress()
    a, *rest = assets()
    rest = [
        each.map_asset_specs(lambda spec: spec.replace_attributes(automation_condition=condition))
        for each in rest
    ]
    made = mxd.metaxify_definitions(dg.Definitions(assets=[a, *rest], sensors=sensors), **options)
    dg.Definitions.validate_loadable(made)
    plan = mxd.plan_definitions(made, **options)
    warned = [each.asset for each in plan.notices if each.kind == "automation"]
    assert warned == ([] if in_code else ["sensor mine"])
    graph = made.resolve_asset_graph()
    found = [
        {key.path[-1] for key in each.asset_selection.resolve(graph)}
        for each in made.sensors or ()
        if each.name != "mine"
    ]
    assert found == added
    assert mxd.metaxify_definitions(made, **options) is made


def test_no_sensor_has_more_assets_than_dagster_evaluates(graph, tmp_path, monkeypatch):
    monkeypatch.setattr("metaxy_dagster.definitions.rules.condition_sensors._MOST", 2)
    names = [f"x{number}" for number in range(5)]
    for name in names:
        graph.add(FeatureSpec(name, id_columns=["id"], deps=["f/a"]))

    def one(name):
        @dg.asset(name=name, metadata={"metaxy/feature": name})
        def body() -> None: ...

        return body

    made = mxd.metaxify_definitions(
        dg.Definitions(assets=[one(name) for name in names]),
        features=graph,
        store=str(tmp_path / "m.duckdb"),
        pending_condition=True,
    )
    assert [each.name for each in made.sensors] == [
        "metaxy_conditions",
        "metaxy_conditions_2",
        "metaxy_conditions_3",
    ]


# -------------------------------------------------------------------------------------- plan
def test_the_plan_shows_all_of_it(options):
    plan = mxd.plan_definitions(
        dg.Definitions(assets=assets()),
        checks="all",
        pending_sensor=True,
        pending_condition=True,
        **options,
    )
    for form in ("text", "markdown"):
        text = plan.render(form)
        assert "b: pending, orphaned, failed, schema, unique_ids (the setting checks)" in text
        assert "sensor metaxy_pending: added to request runs for 2 assets" in text
        assert "sensor metaxy_conditions: added to evaluate" in text
        assert "while samples are pending" in text
    data = json.loads(plan.render("json"))
    assert [each["asset"] for each in data["asset_checks"]] == ["a", "b", "c"]
    assert any("both request runs" in each["message"] for each in data["warnings"])


def test_a_decorator_brings_them_too(options):
    @mxd.metaxify_definitions(checks="all", pending_sensor=True, **options)
    @dg.definitions
    def defs() -> dg.Definitions:
        return dg.Definitions(assets=assets())

    made = defs()
    assert checks_of(made)["b"] == ALL
    assert [each.name for each in made.sensors] == ["metaxy_pending"]
