"""Every kind of thing that a Definitions may hold."""

from __future__ import annotations

import dagster as dg
import pytest

from metaxy_dagster.definitions import (
    MetaxifySettings,
    _compat,
    metaxify_definitions,
    plan_definitions,
)

NEVER = dg.AutomationCondition.eager()


def feature(key, **more):
    return {"metadata": {"metaxy/feature": key, **more}}


pytestmark = pytest.mark.filterwarnings("ignore::dagster.BetaWarning")


def source_a(log):
    @dg.asset(name="zz", **feature("f/a"))
    def zz() -> None:
        log.append("a")

    return zz


def test_case_12_one_object_listed_twice(tie, log):
    zz = source_a(log)
    defs = tie(zz, zz)
    assert defs.assets[0] is defs.assets[1]


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_case_13_a_source_asset_beside_the_asset_it_names(plan_of, log):
    zz = source_a(log)
    source = dg.SourceAsset("zz", metadata={"metaxy/feature": "f/a"})
    plan = plan_of(source, zz)
    assert [bool(asset.changes) for asset in plan.assets] == [False, True]
    assert plan.apply().assets[0] is source


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_a_source_asset_becomes_an_external_asset(tie, deps_of):
    source = dg.SourceAsset("raw", metadata={"metaxy/feature": "f/a"}, group_name="g")

    @dg.asset(**feature("f/b"))
    def b(): ...

    defs = tie(source, b)
    assert deps_of(defs, "b") == ["raw"]
    spec = defs.get_assets_def("raw").get_asset_spec()
    assert (spec.group_name, spec.description) == ("g", "the root")


def observe(defs, key, instance):
    job = dg.define_asset_job("observe", dg.AssetSelection.assets(key))
    resolved = dg.Definitions.merge(defs, dg.Definitions(jobs=[job])).resolve_job_def("observe")
    return resolved.execute_in_process(instance=instance)


def test_case_14_an_observable_source_is_observed(tie, instance):
    @dg.observable_source_asset(metadata={"metaxy/feature": "f/a"})
    def raw():
        return dg.DataVersion("7")

    @dg.asset(ins={"rows": dg.AssetIn("raw")}, **feature("f/b"))
    def b(rows): ...

    defs = tie(raw, b)
    (observed,) = [each for each in defs.assets if dg.AssetKey("raw") in each.keys]
    assert observed.is_observable
    assert observed.get_asset_spec().metadata["dagster/io_manager_key"] == "metaxy_io_manager"
    assert observe(defs, "raw", instance).success
    record = instance.get_latest_data_version_record(dg.AssetKey("raw"))
    assert record is not None


def test_a_multi_observable_is_observed(tie, instance):
    @dg.multi_observable_source_asset(specs=[dg.AssetSpec("raw", **feature("f/a"))])
    def raw():
        yield dg.ObserveResult(asset_key="raw", data_version=dg.DataVersion("7"))

    defs = tie(raw)
    assert observe(defs, "raw", instance).success


def inner_ops(log):
    @dg.op
    def load():
        log.append("load")
        return 1

    @dg.op(config_schema={"by": dg.Field(int, default_value=1)})
    def add(context, value):
        log.append("add")
        return value + context.op_config["by"]

    return load, add


def test_case_15_a_nested_aliased_graph_asset_waits_and_routes(tie, execute, log, deps_of):
    load, add = inner_ops(log)

    @dg.graph
    def inner():
        return add.alias("plus")(load.alias("fetch")())

    @dg.graph_asset(**feature("f/b"))
    def b():
        return add(inner.alias("part")())

    zz = source_a(log)
    defs = tie(zz, b)
    assert deps_of(defs, "b") == ["zz"]
    result = execute(defs)
    assert log == ["a", "load", "add", "add"]
    assert result.output_for_node("b") == 3
    steps = {event.step_key for event in result.all_events if event.step_key}
    assert steps == {"zz", "b.part.fetch", "b.part.plus", "b.add"}


def test_an_intermediate_of_a_graph_stays_on_the_default_io_manager(tie, log):
    load, add = inner_ops(log)

    @dg.graph_asset(**feature("f/a"))
    def a():
        return add(load())

    node = tie(a).get_assets_def("a").node_def
    keys = {
        name: node.node_named(name).definition.output_defs[0].io_manager_key
        for name in node.node_dict
    }
    assert keys == {"load": "io_manager", "add": "metaxy_io_manager"}


def test_case_16_an_op_shared_by_two_graph_assets_and_a_job(tie, execute, log):
    load, add = inner_ops(log)

    @dg.graph_asset(**feature("f/b"))
    def b():
        return add(load())

    @dg.graph_asset(**feature("f/c"))
    def c():
        return add(load())

    @dg.job
    def other():
        add(load())

    defs = tie(source_a(log), b, c, jobs=[other])
    assert execute(defs).success
    assert log == ["a", "load", "add", "load", "add"]


def test_case_17_an_op_shared_by_two_assets_is_rewritten_once(tie, execute, log):
    @dg.op(out=dg.Out(dg.Nothing))
    def shared():
        log.append("shared")

    b = dg.AssetsDefinition.from_op(
        shared,
        keys_by_output_name={"result": dg.AssetKey("b")},
        metadata_by_output_name={"result": {"metaxy/feature": "f/b"}},
    )
    plain = dg.AssetsDefinition.from_op(
        shared, keys_by_output_name={"result": dg.AssetKey("plain")}
    )
    defs = tie(b, plain, source_a(log))
    assert defs.get_assets_def("b").node_def is defs.get_assets_def("plain").node_def
    result = execute(defs)
    assert log.index("a") < len(log) - 1
    assert sorted(log) == ["a", "shared", "shared"]
    steps = {event.step_key for event in result.all_events if event.step_key}
    assert steps == {"shared", "shared_2", "zz"}


def test_outputs_of_a_shared_op_cannot_be_routed_differently(plan_of):
    @dg.op
    def shared():
        return 1

    b = dg.AssetsDefinition.from_op(
        shared,
        keys_by_output_name={"result": dg.AssetKey("b")},
        metadata_by_output_name={"result": {"metaxy/feature": "f/a"}},
    )
    plain = dg.AssetsDefinition.from_op(
        shared, keys_by_output_name={"result": dg.AssetKey("plain")}
    )
    plan = plan_of(b, plain)
    assert any("its IO manager stays" in notice.message for notice in plan.notices)
    assert not [c for asset in plan.assets for c in asset.changes if c.what == "io_manager_key"]


def test_an_op_that_a_job_uses_too_is_left_and_reported(plan_of, log):
    @dg.op(out=dg.Out(dg.Nothing))
    def shared():
        log.append("shared")

    @dg.job
    def other():
        shared()

    b = dg.AssetsDefinition.from_op(
        shared,
        keys_by_output_name={"result": dg.AssetKey("b")},
        metadata_by_output_name={"result": {"metaxy/feature": "f/b"}},
    )
    plan = plan_of(source_a(log), b, jobs=[other])
    assert any("lineage only" in notice.message for notice in plan.notices)
    dg.Definitions.validate_loadable(plan.apply())
    plan.apply().resolve_all_job_defs()


def test_case_18_a_config_mapping_of_a_graph_is_kept(tie, execute, log):
    load, add = inner_ops(log)

    @dg.config_mapping(config_schema={"amount": int})
    def mapping(value):
        return {"add": {"config": {"by": value["amount"]}}}

    @dg.graph_asset(config=mapping, **feature("f/b"))
    def b():
        return add(load())

    defs = tie(source_a(log), b)
    result = execute(defs, run_config={"ops": {"b": {"config": {"amount": 5}}}})
    assert result.output_for_node("b") == 6


def test_case_18_run_config_of_inner_ops_is_kept(tie, execute, log):
    load, add = inner_ops(log)

    @dg.graph_asset(**feature("f/b"))
    def b():
        return add(load())

    defs = tie(source_a(log), b)
    config = {"ops": {"b": {"ops": {"add": {"config": {"by": 5}}}}}}
    assert execute(defs, run_config=config).output_for_node("b") == 6


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_a_graph_multi_asset(tie, execute, log):
    load, add = inner_ops(log)

    @dg.graph_multi_asset(
        outs={
            "a": dg.AssetOut(metadata={"metaxy/feature": "f/a"}),
            "plain": dg.AssetOut(),
        }
    )
    def both():
        value = load()
        return {"a": add(value), "plain": add.alias("again")(value)}

    @dg.asset(**feature("f/b"))
    def b(a):
        return a

    assert execute(tie(both, b)).success


def test_a_graph_with_an_input_keeps_it(tie, execute, log):
    _, add = inner_ops(log)

    @dg.asset
    def plain():
        return 4

    @dg.graph_asset(**feature("f/b"))
    def b(plain):
        return add(plain)

    defs = tie(plain, b, source_a(log))
    assert execute(defs).output_for_node("b") == 5
    assert log == ["a", "add"]


class Recording(dg.IOManager):
    def __init__(self, seen):
        self.seen = seen

    def handle_output(self, context, obj):
        self.seen.append((context.asset_key.to_user_string(), obj))

    def load_input(self, context):
        return context.asset_key.to_user_string()


@pytest.fixture
def recorded():
    return []


def test_case_35_an_unannotated_none_goes_through_the_io_manager(tie, execute, recorded):
    @dg.asset(**feature("f/a"))
    def a():
        return None

    @dg.asset(**feature("f/outside"))
    def nothing() -> None:
        return None

    @dg.asset(**feature("f/b"))
    def b(a):
        return a

    defs = tie(a, nothing, b, resources={"metaxy_io_manager": Recording(recorded)})
    assert execute(defs).success
    assert recorded == [("a", None), ("b", "a")]


def test_case_36_outputs_of_specs_are_left_alone(plan_of):
    @dg.multi_asset(specs=[dg.AssetSpec("a", **feature("f/a"))])
    def a(): ...

    plan = plan_of(a)
    assert "io_manager_key" not in {change.what for change in plan.assets[0].changes}


def mine():
    return {"io_manager_def": dg.mem_io_manager}


def keyed():
    return {"io_manager_key": "own"}


@pytest.mark.parametrize("choice", [mine, keyed])
def test_case_37_an_io_manager_that_the_asset_chose_stays(tie, choice):
    @dg.asset(**choice(), **feature("f/a"))
    def a():
        return 1

    (output,) = tie(a, resources={"own": dg.mem_io_manager}).get_assets_def("a").op.output_defs
    assert output.io_manager_key != "metaxy_io_manager"


def test_case_37_with_resources(tie):
    @dg.asset(**feature("f/a"))
    def a():
        return 1

    (bound,) = dg.with_resources([a], {"io_manager": dg.mem_io_manager})
    assert tie(bound).get_assets_def("a").op.output_defs[0].io_manager_key == "io_manager"


@pytest.mark.parametrize(
    ("routing", "expected"),
    [
        ("route", "metaxy_io_manager"),
        ("respect_default", "io_manager"),
        ("off", "io_manager"),
    ],
)
def test_a_repositorys_own_default_io_manager_is_a_matter_of_policy(tie, routing, expected):
    @dg.asset(**feature("f/a"))
    def a():
        return 1

    defs = tie(
        a,
        resources={"io_manager": dg.mem_io_manager},
        settings=MetaxifySettings(io_routing=routing),
    )
    assert defs.get_assets_def("a").op.output_defs[0].io_manager_key == expected


def test_a_spec_says_where_it_is_loaded_from(tie):
    spec = dg.AssetSpec("raw", **feature("f/a"))
    (made,) = tie(spec).assets
    assert made.metadata["dagster/io_manager_key"] == "metaxy_io_manager"


@pytest.mark.parametrize(
    "metadata",
    [
        {"metaxy/feature": "f/a"},
        {"metaxy/feature": dg.MetadataValue.text("f/a")},
        {"metaxy/feature": ["f", "a"]},
    ],
)
def test_the_key_may_be_wrapped_or_sit_on_an_output(tie, metadata):
    @dg.multi_asset(outs={"a": dg.AssetOut(metadata=metadata)})
    def one():
        return 1

    spec = tie(one).get_assets_def("a").get_asset_spec()
    assert spec.metadata["metaxy/feature"] == "f/a"
    assert spec.description == "the root"


def test_the_key_may_sit_on_an_inner_ops_output(tie):
    @dg.op(out=dg.Out(metadata={"metaxy/feature": "f/a"}))
    def load():
        return 1

    @dg.graph
    def a():
        return load()

    spec = tie(dg.AssetsDefinition.from_graph(a)).get_assets_def("a").get_asset_spec()
    assert spec.kinds == {"metaxy"}


def test_case_43_a_generator_is_refused_because_dagster_used_it_up(log):
    defs = dg.Definitions(assets=(each for each in [source_a(log)]))
    plan = plan_definitions(defs, features=[])
    (error,) = plan.errors
    assert "generator" in error.found
    assert "list" in error.remedy


def test_other_collections_are_read(tie, graph, log):
    zz = source_a(log)
    defs = metaxify_definitions(
        dg.Definitions(
            assets={zz: 1}.keys(),
            resources={"store": 1, "metaxy_io_manager": dg.mem_io_manager},
        ),
        features=graph,
    )
    assert [asset.key for asset in defs.assets] == [dg.AssetKey("zz")]


def test_case_44_cacheable_assets_are_reported(plan_of):
    class Later(_compat.CacheableAssetsDefinition):
        def compute_cacheable_data(self):
            return []

        def build_definitions(self, data):
            return []

    later = Later("later")
    plan = plan_of(later)
    assert [notice.kind for notice in plan.notices] == ["left alone"]
    assert plan.apply().assets == [later]


def test_case_45_a_rewritten_asset_can_be_called(tie, log):
    @dg.asset(**feature("f/b"))
    def b(context, plain: int) -> int:
        return plain + 1

    @dg.asset
    def plain() -> int:
        return 1

    made = tie(plain, b, source_a(log)).get_assets_def("b")
    assert made(dg.build_asset_context(), plain=4) == 5


def test_hooks_pools_retries_tags_and_backfills_survive(tie):
    @dg.success_hook
    def hook(_): ...

    @dg.asset(
        pool="p",
        retry_policy=dg.RetryPolicy(max_retries=3),
        op_tags={"t": "1"},
        backfill_policy=dg.BackfillPolicy.single_run(),
        automation_condition=NEVER,
        partitions_def=dg.StaticPartitionsDefinition(["x"]),
        required_resource_keys={"r"},
        config_schema={"x": dg.Field(int, default_value=1)},
        check_specs=[dg.AssetCheckSpec("good", asset="b")],
        **feature("f/b"),
    )
    def b(context): ...

    before = b.with_hooks({hook})
    after = tie(before, resources={"r": 1}).get_assets_def("b")
    assert after.hook_defs == {hook}
    assert after.backfill_policy == dg.BackfillPolicy.single_run()
    assert after.check_keys == before.check_keys
    assert after.get_asset_spec().automation_condition is NEVER
    for name in ("pool", "retry_policy", "tags", "required_resource_keys", "config_schema"):
        assert getattr(after.op, name) == getattr(before.op, name)


def test_case_48_dbt_like_metadata_and_keys_stay(tie):
    @dg.multi_asset(
        specs=[
            dg.AssetSpec(
                ["dbt", "model"],
                metadata={"dagster_dbt/unique_id": "model.x", "metaxy/feature": "f/a"},
            )
        ],
        can_subset=True,
    )
    def models(): ...

    spec = tie(models).get_assets_def(["dbt", "model"]).get_asset_spec()
    assert spec.metadata["dagster_dbt/unique_id"] == "model.x"
    assert spec.key == dg.AssetKey(["dbt", "model"])


def test_case_49_checks_stay_checks(tie, execute):
    @dg.asset(**feature("f/a"))
    def carrier():
        return 1

    @dg.asset_check(asset=dg.AssetKey(["f", "a"]))
    def good(rows):
        return dg.AssetCheckResult(passed=rows == 1)

    @dg.asset_check(asset=carrier)
    def untouched():
        return dg.AssetCheckResult(passed=True)

    defs = tie(carrier, asset_checks=[good, untouched])
    made, same = defs.asset_checks
    assert isinstance(made, dg.AssetChecksDefinition)
    assert same is untouched
    assert [key.asset_key.to_user_string() for key in made.check_keys] == ["carrier"]
    assert execute(defs).success


def test_a_subset_and_an_external_definition(tie):
    external = dg.AssetsDefinition(specs=[dg.AssetSpec("x", **feature("f/a")), dg.AssetSpec("y")])
    made = tie(external).get_assets_def("x")
    assert made.specs_by_key[dg.AssetKey("x")].kinds == {"metaxy"}
    assert made.specs_by_key[dg.AssetKey("y")] == external.specs_by_key[dg.AssetKey("y")]


def test_a_plan_lists_what_it_leaves_alone(plan_of, log):
    @dg.asset(metadata={"metaxy/id_columns": ["id"]})
    def stray(): ...

    plan = plan_of(stray)
    (notice,) = plan.notices
    assert notice.asset == "stray"
    assert plan.apply() is plan.defs
    assert plan_definitions(plan.defs, features=[]).assets[0].changes == ()
