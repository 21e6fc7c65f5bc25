"""The outputs of a running step, and the IO managers that store them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import dagster as dg
from dagster._core.definitions.partitions.context import partition_loading_context
from dagster._core.execution.plan.outputs import StepOutputHandle

if TYPE_CHECKING:
    from dagster import InputContext, OutputContext

__all__ = ["output_context", "output_manager", "own_output"]


def output_manager(step: Any, asset_key: dg.AssetKey) -> object:
    """The IO manager that stores an asset of a running step; ``None`` if the step does not.

    Args:
        step: the context of the step.
        asset_key: the asset.
    """
    handle = _handle(step, asset_key)
    return None if handle is None else step.get_io_manager(handle)


def output_context(step: Any, asset_key: dg.AssetKey) -> OutputContext:
    """The context of an output before its function has returned it."""
    found: OutputContext = step.get_output_context(_handle(step, asset_key))
    return found


def _handle(step: Any, asset_key: dg.AssetKey) -> StepOutputHandle | None:
    layer = step.job_def.asset_layer
    for output in step.step.step_outputs:
        found = layer.get_asset_key_for_node_output(step.node_handle, output.name)
        if found == asset_key:
            return StepOutputHandle(step.step.key, output.name)
    return None


def own_output(context: OutputContext, dagster_type: dg.DagsterType) -> InputContext:
    """A context to load what an output holds before it is stored anew.

    Args:
        context: of the output.
        dagster_type: what is to be loaded.
    """
    step = context.step_context
    definition = context.asset_partitions_def if context.has_asset_partitions else None
    subset = None
    if definition is not None:
        span = context.asset_partition_key_range
        with partition_loading_context(dynamic_partitions_store=step.instance):
            subset = definition.empty_subset().with_partition_key_range(definition, span)
    return dg.InputContext(
        name=context.name,
        job_name=context.job_name,
        op_def=context.op_def,
        config={},
        definition_metadata={},
        upstream_output=context,
        dagster_type=dagster_type,
        log_manager=context.log,
        resource_config=context.resource_config,
        resources=context.resources,
        step_context=step,
        asset_key=context.asset_key,
        partition_key=context.partition_key if context.has_partition_key else None,
        asset_partitions_subset=subset,
        asset_partitions_def=definition,
        instance=step.instance,
    )
