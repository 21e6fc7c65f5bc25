"""Deps between assets of one op, partitions, circles and blocking checks."""

from __future__ import annotations

import dagster as dg
import pytest

from metaxy_dagster.errors import MetaxyErrorGroup


def feature(key, **more):
    return {"metadata": {"metaxy/feature": key, **more}}


def inputs_of(defs, key):
    definition = defs.get_assets_def(key)
    return {name: key.to_user_string() for name, key in definition.node_keys_by_input_name.items()}


def test_case_19_an_op_that_would_wait_for_itself_is_refused(plan_of):
    @dg.multi_asset(
        specs=[dg.AssetSpec("a", **feature("f/a")), dg.AssetSpec("c", **feature("f/c"))]
    )
    def together(): ...

    @dg.asset(**feature("f/b"))
    def between(): ...

    plan = plan_of(together, between)
    (error,) = plan.errors
    assert "circle" in error.problem
    assert "between" in error.found
    with pytest.raises(MetaxyErrorGroup):
        plan.apply()


def test_user_deps_against_the_features_are_a_circle(plan_of):
    @dg.asset(deps=["b"], **feature("f/a"))
    def a(): ...

    @dg.asset(**feature("f/b"))
    def b(): ...

    (error,) = plan_of(a, b).errors
    assert error.found in ("a → b → a", "b → a → b")


def test_case_20_a_subsettable_op_is_split_and_ordered(tie, execute, log):
    @dg.multi_asset(
        can_subset=True,
        specs=[
            dg.AssetSpec("a", skippable=True, **feature("f/a")),
            dg.AssetSpec("c", skippable=True, **feature("f/c")),
        ],
    )
    def together(context):
        for key in sorted(context.selected_asset_keys):
            log.append(key.path[-1])
            yield dg.MaterializeResult(asset_key=key)

    @dg.asset(**feature("f/b"))
    def between() -> None:
        log.append("b")

    assert execute(tie(together, between)).success
    assert log == ["a", "b", "c"]


def test_case_21_selecting_one_output_only(tie, execute, log):
    @dg.multi_asset(
        can_subset=True,
        specs=[
            dg.AssetSpec("a", skippable=True, **feature("f/a")),
            dg.AssetSpec("b", skippable=True, **feature("f/b")),
        ],
    )
    def together(context):
        for key in sorted(context.selected_asset_keys):
            log.append(key.path[-1])
            yield dg.MaterializeResult(asset_key=key)

    defs = tie(together)
    assert execute(defs, keys=["b"]).success
    assert log == ["b"]


def test_assets_of_one_op_that_run_together_need_no_input(tie, execute):
    @dg.multi_asset(
        specs=[dg.AssetSpec("a", **feature("f/a")), dg.AssetSpec("b", **feature("f/b"))]
    )
    def together(): ...

    defs = tie(together)
    assert inputs_of(defs, "a") == {}
    assert execute(defs).success


def test_case_22_partitioned_self_deps_stay(tie):
    daily = dg.DailyPartitionsDefinition("2026-01-01")
    mapping = dg.TimeWindowPartitionMapping(start_offset=-1, end_offset=-1)

    @dg.asset(
        partitions_def=daily,
        ins={"b": dg.AssetIn(partition_mapping=mapping)},
        **feature("f/b"),
    )
    def b(b): ...

    @dg.asset(partitions_def=daily, **feature("f/a"))
    def a(): ...

    deps = {
        dep.asset_key.path[-1]: dep for dep in tie(a, b).get_assets_def("b").get_asset_spec().deps
    }
    assert set(deps) == {"a", "b"}
    assert deps["b"].partition_mapping == mapping


STATIC = dg.StaticPartitionsDefinition(["x", "y"])
DAILY = dg.DailyPartitionsDefinition("2026-01-01")
DYNAMIC = dg.DynamicPartitionsDefinition(name="names")


@pytest.mark.parametrize(
    ("upstream", "downstream", "mapping", "noted"),
    [
        pytest.param(DAILY, STATIC, dg.AllPartitionMapping, True, id="daily to static"),
        pytest.param(STATIC, DAILY, dg.AllPartitionMapping, True, id="static to daily"),
        pytest.param(DYNAMIC, STATIC, dg.AllPartitionMapping, True, id="dynamic to static"),
        pytest.param(DAILY, None, type(None), True, id="daily to unpartitioned"),
        pytest.param(None, DAILY, type(None), True, id="unpartitioned to daily"),
        pytest.param(DAILY, DAILY, type(None), False, id="daily to daily"),
        pytest.param(None, None, type(None), False, id="unpartitioned"),
    ],
)
def test_case_23_partitions(plan_of, upstream, downstream, mapping, noted):
    @dg.asset(partitions_def=upstream, **feature("f/a"))
    def a(): ...

    @dg.asset(partitions_def=downstream, **feature("f/b"))
    def b(): ...

    plan = plan_of(a, b)
    dg.Definitions.validate_loadable(plan.apply())
    (dep,) = plan.apply().get_assets_def("b").get_asset_spec().deps
    assert isinstance(dep.partition_mapping, mapping)
    assert any(notice.kind == "partitions" for notice in plan.notices) is noted


def test_case_24_a_blocking_check_on_an_injected_upstream_blocks(tie, instance, log):
    @dg.asset(check_specs=[dg.AssetCheckSpec("good", asset="zz", blocking=True)], **feature("f/a"))
    def zz():
        yield dg.Output(1)
        yield dg.AssetCheckResult(passed=False)

    @dg.asset(**feature("f/b"))
    def b() -> None:
        log.append("b")

    job = tie(zz, b).resolve_implicit_global_asset_job_def()
    result = job.execute_in_process(instance=instance, raise_on_error=False)
    assert not result.success
    assert log == []
