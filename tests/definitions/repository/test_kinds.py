"""Every kind of thing that a Definitions may hold."""

from __future__ import annotations

import dagster as dg
import pytest

from metaxy_dagster.definitions import (
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
