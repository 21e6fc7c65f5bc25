"""Pins what is assumed of Dagster's private names."""

from __future__ import annotations

import inspect

import dagster as dg
import pytest
from dagster._core.definitions import external_asset
from dagster._core.definitions.asset_selection import (
    AllSelection,
    KeysAssetSelection,
    OperandListAssetSelection,
    SubtractAssetSelection,
)
from dagster._core.definitions.assets.graph.asset_graph import AssetGraph
from dagster._core.definitions.dependency import NodeInvocation
from dagster._core.definitions.partitions.utils import infer_partition_mapping
from dagster._core.definitions.target import AutomationTarget
from dagster._core.definitions.unresolved_asset_job_definition import UnresolvedAssetJobDefinition

from metaxy_dagster.definitions import _compat

#: Older releases cannot rebuild asset sensors.
REBUILDABLE = dg.AssetSensorDefinition.with_attributes is not dg.SensorDefinition.with_attributes

SIGNATURES = {
    "op.with_replaced_properties": (
        dg.OpDefinition.with_replaced_properties,
        {"name", "ins", "outs"},
    ),
    "AssetsDefinition.dagster_internal_init": (
        dg.AssetsDefinition.dagster_internal_init,
        {
            "keys_by_input_name",
            "keys_by_output_name",
            "node_def",
            "selected_asset_keys",
            "can_subset",
            "resource_defs",
            "hook_defs",
            "backfill_policy",
            "check_specs_by_output_name",
            "selected_asset_check_keys",
            "specs",
            "is_subset",
            "execution_type",
        },
    ),
    "Definitions": (
        dg.Definitions.__new__,
        {
            "assets",
            "asset_checks",
            "schedules",
            "sensors",
            "jobs",
            "resources",
            "executor",
            "loggers",
            "metadata",
            "component_tree",
        },
    ),
    "GraphDefinition": (
        dg.GraphDefinition.__init__,
        {
            "name",
            "description",
            "node_defs",
            "dependencies",
            "input_mappings",
            "output_mappings",
            "config",
            "tags",
            "input_assets",
            "composition_fn",
        },
    ),
    "NodeInvocation": (
        NodeInvocation.__new__,
        {"name", "alias", "tags", "hook_defs", "retry_policy"},
    ),
    "ScheduleDefinition.with_attributes": (dg.ScheduleDefinition.with_attributes, {"job"}),
    "SensorDefinition.with_attributes": (dg.SensorDefinition.with_attributes, {"jobs"}),
    "external": (external_asset.create_external_asset_from_source_asset, {"source_asset"}),
    "AssetGraph.from_assets": (AssetGraph.from_assets, {"assets"}),
    "infer_partition_mapping": (
        infer_partition_mapping,
        {"partition_mapping", "downstream_partitions_def", "upstream_partitions_def"},
    ),
    "AutomationTarget": (
        AutomationTarget.__new__,
        {"resolvable_to_job", "op_selection", "assets_defs"},
    ),
    "UnresolvedAssetJobDefinition": (
        UnresolvedAssetJobDefinition.__new__,
        {"name", "selection"},
    ),
}


@pytest.mark.parametrize("name", SIGNATURES)
def test_signatures(name):
    function, names = SIGNATURES[name]
    assert names <= set(inspect.signature(function).parameters)


def test_the_attributes_of_a_definition_are_its_constructors_arguments():
    @dg.asset
    def a(): ...

    attributes = _compat.attributes_of(a)
    init = inspect.signature(dg.AssetsDefinition.dagster_internal_init).parameters
    assert set(attributes) == set(init)
    assert _compat.rebuilt(a, attributes).specs_by_key == a.specs_by_key


def test_selections_hold_their_parts_where_they_are_rewritten():
    assert "selected_keys" in KeysAssetSelection.__annotations__
    assert "operands" in OperandListAssetSelection.__annotations__
    assert {"left", "right"} <= set(SubtractAssetSelection.__annotations__)
    assert isinstance(dg.AssetSelection.all(), AllSelection)
    assert hasattr(dg.AssetSelection.assets("x").downstream(), "child")


@pytest.mark.filterwarnings("ignore::dagster.BetaWarning")
@pytest.mark.filterwarnings("ignore::dagster.SupersessionWarning")
def test_sensors_hold_what_they_watch_where_it_is_replaced():
    @dg.asset_sensor(asset_key=dg.AssetKey("x"), job_name="j")
    def one(context, event): ...

    @dg.multi_asset_sensor(monitored_assets=[dg.AssetKey("x")], job_name="j")
    def many(context): ...

    auto = dg.AutomationConditionSensorDefinition("auto", target="x")
    plain = dg.SensorDefinition("p", evaluation_fn=lambda _: None, asset_selection=["x"])
    assert set(_compat.watched_by(one)) == {"_asset_key"}
    if REBUILDABLE:
        assert set(_compat.watched_by(many)) == {"_monitored_assets"}
        assert set(_compat.watched_by(auto)) == {"_sensor_target"}
    else:
        assert set(_compat.watched_by(auto)) == {"_asset_selection"}
    assert set(_compat.watched_by(plain)) == {"_asset_selection"}


def test_the_limit_of_kinds_is_what_dagster_accepts():
    limit = _compat.kind_limit()
    assert limit in (3, 10)
    with pytest.raises(dg.DagsterInvalidDefinitionError):
        dg.AssetSpec("x", kinds={str(number) for number in range(limit + 1)})


def test_metadata_that_names_the_io_manager():
    made = dg.AssetSpec("x").with_io_manager_key("y")
    assert made.metadata == {_compat.IO_MANAGER_METADATA_KEY: "y"}


def test_kinds_are_tags_with_the_prefix():
    assert set(dg.AssetSpec("x", kinds={"k"}).tags) == {f"{_compat.KIND_PREFIX}k"}


def test_a_missing_group_has_the_name_that_is_assumed():
    @dg.asset
    def a(): ...

    assert a.get_asset_spec().group_name == _compat.DEFAULT_GROUP


def test_functions_of_an_op_and_of_a_graph():
    @dg.op
    def inner(): ...

    @dg.graph
    def outer():
        inner()

    (function,) = _compat.functions_of(inner)
    assert function.__name__ == "inner"
    assert list(_compat.functions_of(outer)) == [function]


def described(op: dg.OpDefinition) -> dict[str, object]:
    """All that an op holds, in comparable form; what it waits for comes in any order."""
    held = {name: value for name, value in vars(op).items() if not name.startswith("__")}
    assert held.pop("_input_defs") == list(held.pop("_input_dict").values())
    assert held.pop("_output_defs") == list(held.pop("_output_dict").values())
    return {
        **held,
        "_config_schema": op.config_schema.as_field().config_type.key,
        "inputs": {
            each.name: (each.dagster_type.key, each.metadata, each.input_manager_key)
            for each in op.input_defs
        },
        "outputs": {each.name: vars(each) for each in op.output_defs},
    }


def test_a_copied_op_is_what_dagster_would_build_anew():
    @dg.op(
        ins={"a": dg.In(int, metadata={"m": 1}), "z": dg.In(dg.Nothing)},
        out={"x": dg.Out(int, io_manager_key="mine"), "y": dg.Out(str, is_required=False)},
        config_schema={"n": int},
        required_resource_keys={"r"},
        tags={"t": "1"},
        retry_policy=dg.RetryPolicy(max_retries=2),
        code_version="7",
        pool="p",
    )
    def op(context, a, b): ...

    loads = {"b": ("third", {"metaxy/feature": "x"})}
    made = _compat.op_with(
        op, name="new", nothing_inputs=["w"], io_manager_keys={"y": "other"}, loads=loads
    )
    outs = {each.name: dg.Out.from_definition(each) for each in op.output_defs}
    ins = {each.name: dg.In.from_definition(each) for each in op.input_defs}
    anew = op.with_replaced_properties(
        name="new",
        ins={
            **ins,
            "b": dg.In(input_manager_key="third", metadata={"metaxy/feature": "x"}),
            "w": dg.In(dg.Nothing),
        },
        outs={**outs, "y": outs["y"]._replace(io_manager_key="other")},
    )
    assert described(made) == described(anew)
    assert {each.name for each in op.input_defs} == {"a", "b", "z"}
    assert op.output_dict["y"].io_manager_key == "io_manager"
