"""Deps: injected, resolved, never doubled, and binding for execution."""

from __future__ import annotations

import warnings

import dagster as dg
import pytest

from metaxy_dagster.definitions import _compat, metaxify_definitions
from metaxy_dagster.features import FeatureGraph, FeatureSpec


def feature(key, **more):
    return {"metadata": {"metaxy/feature": key, **more}}


def inputs_of(defs, key):
    definition = defs.get_assets_def(key)
    return {name: key.to_user_string() for name, key in definition.node_keys_by_input_name.items()}


def test_case_01_an_added_dep_orders_execution_in_one_process(tie, execute, log, deps_of):
    @dg.asset(**feature("f/b"))
    def a_first_by_name() -> None:
        log.append("b")

    @dg.asset(**feature("f/a"))
    def z_last_by_name() -> None:
        log.append("a")

    defs = tie(a_first_by_name, z_last_by_name)
    assert deps_of(defs, "a_first_by_name") == ["z_last_by_name"]
    assert execute(defs).success
    assert log == ["a", "b"]


def test_case_02_an_argument_stays_beside_a_new_dep(tie, execute, log):
    @dg.asset
    def plain():
        return 1

    @dg.asset(**feature("f/a"))
    def zz() -> None:
        log.append("a")

    @dg.asset(**feature("f/b"))
    def b(plain):
        log.append(f"b{plain}")
        return plain

    defs = tie(plain, zz, b)
    assert inputs_of(defs, "b") == {"plain": "plain", "metaxy_dep__zz": "zz"}
    assert execute(defs).success
    assert log == ["a", "b1"]


def test_case_03_asset_in_under_another_argument_name(tie, execute):
    @dg.asset(**feature("f/a"))
    def source():
        return 5

    @dg.asset(ins={"value": dg.AssetIn("source")}, **feature("f/b"))
    def b(value):
        return value + 1

    defs = tie(source, b)
    assert inputs_of(defs, "b") == {"value": "source"}
    assert execute(defs).output_for_node("b") == 6


def test_case_04_keyword_ins(tie, execute):
    @dg.asset(**feature("f/a"))
    def one():
        return 1

    @dg.asset
    def two():
        return 2

    @dg.asset(ins={"one": dg.AssetIn(), "two": dg.AssetIn()}, **feature("f/b"))
    def b(**values):
        return sorted(values.items())

    assert execute(tie(one, two, b)).output_for_node("b") == [("one", 1), ("two", 2)]


def test_case_05_a_dep_already_bound_by_an_argument_is_not_doubled(tie, deps_of):
    @dg.asset(**feature("f/a"))
    def a():
        return 1

    @dg.asset(**feature("f/b"))
    def b(a):
        return a

    defs = tie(a, b)
    assert inputs_of(defs, "b") == {"a": "a"}
    assert deps_of(defs, "b") == ["a"]


def test_a_dep_without_an_argument_is_not_doubled(tie):
    @dg.asset(**feature("f/a"))
    def a(): ...

    @dg.asset(deps=[a], **feature("f/b"))
    def b(): ...

    assert list(inputs_of(tie(a, b), "b").values()) == ["a"]


def test_case_06_the_users_partition_mapping_wins(tie):
    daily = dg.DailyPartitionsDefinition("2026-01-01")
    mapping = dg.TimeWindowPartitionMapping(start_offset=-1, end_offset=-1)

    @dg.asset(partitions_def=daily, **feature("f/a"))
    def a(): ...

    @dg.asset(
        partitions_def=daily, deps=[dg.AssetDep("a", partition_mapping=mapping)], **feature("f/b")
    )
    def b(): ...

    defs = tie(a, b)
    (dep,) = defs.get_assets_def("b").get_asset_spec().deps
    assert dep.partition_mapping == mapping


def test_a_partition_mapping_of_one_asset_of_an_op_holds_for_its_others(tie):
    daily = dg.DailyPartitionsDefinition("2026-01-01")
    mapping = dg.TimeWindowPartitionMapping(start_offset=-1, end_offset=-1)

    @dg.asset(partitions_def=daily, **feature("f/a"))
    def a(): ...

    @dg.multi_asset(
        partitions_def=daily,
        specs=[
            dg.AssetSpec("plain", deps=[dg.AssetDep("a", partition_mapping=mapping)]),
            dg.AssetSpec("b", **feature("f/b")),
        ],
    )
    def both(): ...

    spec = tie(a, both).get_assets_def("b").specs_by_key[dg.AssetKey("b")]
    assert [dep.partition_mapping for dep in spec.deps] == [mapping]


@pytest.fixture
def namespaced():
    @dg.asset(key=["ns", "up"], group_name="g", **feature("f/a"))
    def up():
        return 7

    @dg.asset(group_name="g", **feature("f/b"))
    def down(up):
        return up

    return up, down


@pytest.mark.filterwarnings("ignore::dagster.BetaWarning")
def test_case_07_an_implicit_argument_keeps_its_meaning_and_is_not_doubled(
    tie, execute, namespaced
):
    defs = tie(*namespaced)
    assert inputs_of(defs, "down") == {"up": "up"}
    assert len(list(defs.get_assets_def("down").get_asset_spec().deps)) == 1
    assert execute(defs).output_for_node("down") == 7


@pytest.mark.filterwarnings("ignore::dagster.BetaWarning")
def test_case_08_a_group_change_that_would_break_it_is_made_explicit(graph, execute):
    renamed = FeatureGraph()
    renamed.add(
        FeatureSpec(
            "f/a", id_columns=["id"], metadata={"dagster/attributes": {"group_name": "features"}}
        )
    )

    @dg.asset(key=["ns", "up"], **feature("f/a"))
    def up():
        return 7

    @dg.asset
    def down(up):
        return up

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        defs = metaxify_definitions(
            dg.Definitions(
                assets=[up, down], resources={"store": 1, "metaxy_io_manager": dg.mem_io_manager}
            ),
            features=renamed,
        )
        dg.Definitions.validate_loadable(defs)
    assert defs.get_assets_def(["ns", "up"]).get_asset_spec().group_name == "features"
    assert inputs_of(defs, "down") == {"up": "ns/up"}
    assert execute(defs).output_for_node("down") == 7


def test_case_09_a_changed_group_does_not_capture_an_external_dep(graph, deps_of):
    grouped = FeatureGraph()
    grouped.add(
        FeatureSpec("f/a", id_columns=["id"], metadata={"dagster/attributes": {"group_name": "g"}})
    )

    @dg.asset(key=["ns", "events"], **feature("f/a"))
    def produced(): ...

    @dg.asset(group_name="g", deps=["events"])
    def consumer(): ...

    before = dg.Definitions(
        assets=[produced, consumer], resources={"store": 1, "metaxy_io_manager": dg.mem_io_manager}
    )
    defs = metaxify_definitions(before, features=grouped)
    dg.Definitions.validate_loadable(defs)
    assert deps_of(before, "consumer") == ["events"]
    assert deps_of(defs, "consumer") == ["events"]


def test_case_11_several_assets_of_one_feature_mean_several_deps(tie, deps_of):
    @dg.asset(**feature("f/a", **{"metaxy/partition": {"source": "x"}}))
    def ax(): ...

    @dg.asset(**feature("f/a", **{"metaxy/partition": {"source": "y"}}))
    def ay(): ...

    @dg.asset(**feature("f/b"))
    def b(): ...

    assert deps_of(tie(ax, ay, b), "b") == ["ax", "ay"]


def test_a_feature_that_nobody_carries_is_an_external_dep_on_its_own_key(tie, deps_of):
    @dg.asset(**feature("f/e"))
    def e(): ...

    defs = tie(e)
    assert deps_of(defs, "e") == ["f/outside"]
    assert defs.resolve_asset_graph().get(dg.AssetKey(["f", "outside"])).is_external


def test_a_features_own_key_finds_the_asset_that_carries_it(tie, execute):
    @dg.asset(**feature("f/a"))
    def carrier():
        return 3

    @dg.asset(ins={"rows": dg.AssetIn(key=["f", "a"])})
    def plain(rows):
        return rows

    @dg.asset(ins={"rows": dg.AssetIn(key=["f", "a"])}, **feature("f/b"))
    def b(rows):
        return rows + 1

    defs = tie(carrier, plain, b)
    assert inputs_of(defs, "plain") == {"rows": "carrier"}
    result = execute(defs)
    assert (result.output_for_node("plain"), result.output_for_node("b")) == (3, 4)


def test_a_dep_on_a_features_own_key_means_all_its_carriers(tie, deps_of):
    @dg.asset(**feature("f/a"))
    def one(): ...

    @dg.asset(**feature("f/a"))
    def two(): ...

    @dg.asset(deps=[dg.AssetKey(["f", "a"])])
    def plain(): ...

    assert deps_of(tie(one, two, plain), "plain") == ["one", "two"]


def test_an_argument_cannot_mean_several_carriers(plan_of):
    @dg.asset(**feature("f/a"))
    def one(): ...

    @dg.asset(**feature("f/a"))
    def two(): ...

    @dg.asset(ins={"rows": dg.AssetIn(key=["f", "a"])})
    def plain(rows): ...

    (error,) = plan_of(one, two, plain).errors
    assert (error.asset, error.feature, error.found) == ("plain", "f/a", "one, two")


def test_an_argument_of_a_feature_that_nobody_carries_becomes_loadable(tie):
    @dg.asset(ins={"rows": dg.AssetIn(key=["f", "outside"])})
    def plain(rows): ...

    @dg.asset(**feature("f/a"))
    def a(): ...

    defs = tie(a, plain)
    manager = defs.get_assets_def("plain").op.ins["rows"].input_manager_key
    if not _compat.may_lack_assets():
        node = defs.resolve_asset_graph().get(dg.AssetKey(["f", "outside"]))
        manager = node.metadata["dagster/io_manager_key"]
    assert manager == "metaxy_io_manager"
    assert (
        metaxify_definitions(
            defs,
            features=[
                FeatureSpec("f/a", id_columns=["id"]),
                FeatureSpec("f/outside", id_columns=["id"]),
            ],
        )
        is defs
    )
