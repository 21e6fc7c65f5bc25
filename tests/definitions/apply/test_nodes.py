"""Graph assets and shared ops: they wait, they route, and step keys stay."""

from __future__ import annotations

import dagster as dg
import pytest


def feature(key, **more):
    return {"metadata": {"metaxy/feature": key, **more}}


def source_a(log):
    @dg.asset(name="zz", **feature("f/a"))
    def zz() -> None:
        log.append("a")

    return zz


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


@pytest.mark.parametrize("depth", [0, 1, 2])
def test_a_graph_asset_runs_alone(tie, log, depth):
    """Its upstream is loaded here too: nothing else asks for the default IO manager."""

    @dg.asset(**feature("f/a"))
    def a():
        return 1

    @dg.op
    def made(a):
        return a

    node = made
    for level in range(depth):
        node = dg.GraphDefinition(
            f"inner_{level}",
            node_defs=[node],
            input_mappings=[
                dg.InputMapping(
                    graph_input_name="a", mapped_node_name=node.name, mapped_node_input_name="a"
                )
            ],
            output_mappings=[
                dg.OutputMapping(
                    graph_output_name="result",
                    mapped_node_name=node.name,
                    mapped_node_output_name="result",
                )
            ],
        )

    @dg.graph_asset(**feature("f/b"))
    def b(a):
        return node(a)

    job = tie(a, b).resolve_implicit_global_asset_job_def()
    alone = job.get_subset(asset_selection={dg.AssetKey("b")})
    assert alone.run_config_schema.config_type  # made where every IO manager is looked up
