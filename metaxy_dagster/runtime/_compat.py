"""The few places where Dagster offers no public way; a test pins each of them."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import dagster as dg
from dagster._core.definitions.decorators.op_decorator import DecoratedOpFunction
from dagster._core.definitions.partitions.context import partition_loading_context
from dagster._utils.warnings import disable_dagster_warnings

if TYPE_CHECKING:
    from dagster import InputContext, OutputContext

__all__ = [
    "Step",
    "StepOutput",
    "asset_checks",
    "current_step",
    "input_metadata",
    "input_partition_keys",
    "observable",
    "op_function",
    "op_with_function",
    "running_step",
    "set_data_version",
]

_ALL_PARTITIONS = "AllPartitionsSubset"


@dataclass(frozen=True)
class StepOutput:
    """An asset that a step was asked to produce.

    Attributes:
        asset_key: the asset.
        metadata: its metadata.
        partitions_def: its partitions, if it has any.
        partition_keys: those of the run; ``None`` if the asset is not partitioned.
    """

    asset_key: dg.AssetKey
    metadata: Mapping[str, Any]
    partitions_def: dg.PartitionsDefinition[Any] | None
    partition_keys: tuple[str, ...] | None


@dataclass(frozen=True)
class Step:
    """A running step.

    Attributes:
        run_id: the run.
        node: the op or graph of the asset; the steps of a graph asset share it.
        attempt: the step that runs, and the number of its earlier attempts.
        outputs: the assets that the node was asked to produce.
    """

    run_id: str
    node: str
    attempt: tuple[str, int]
    outputs: tuple[StepOutput, ...]


def running_step(context: InputContext | OutputContext) -> Step | None:
    """The step that a context belongs to; ``None`` for one that was made outside of a run."""
    try:
        return _step(context.step_context)
    except dg.DagsterInvariantViolationError:
        return None


def current_step() -> Step | None:
    """The step whose function is being called; ``None`` where it is called outside of a run."""
    try:
        return _step(dg.OpExecutionContext.get().get_step_execution_context())
    except dg.DagsterInvariantViolationError:
        return None


def _step(step: Any) -> Step:
    assets_def = step.assets_def
    outputs: tuple[StepOutput, ...] = ()
    if assets_def is not None:
        wanted = assets_def.keys if step.is_in_graph_asset else step.get_output_asset_keys()
        outputs = tuple(
            StepOutput(spec.key, spec.metadata, spec.partitions_def, _partition_keys(step, spec))
            for spec in assets_def.specs
            if spec.key in wanted
        )
    attempt = (step.step.key, step.previous_attempt_count)
    return Step(step.run_id, step.node_handle.root.name, attempt, outputs)


def _partition_keys(step: Any, spec: dg.AssetSpec) -> tuple[str, ...] | None:
    definition = spec.partitions_def
    if definition is None or not step.has_partitions:
        return None
    span = step.partition_key_range
    if span.start == span.end:
        return (span.start,)
    with partition_loading_context(dynamic_partitions_store=step.instance):
        subset = definition.empty_subset().with_partition_key_range(definition, span)
        return tuple(subset.get_partition_keys())


def input_metadata(context: InputContext) -> Mapping[str, Any]:
    """The metadata of the asset that is being loaded."""
    try:
        layer = context.step_context.job_def.asset_layer
    except dg.DagsterInvariantViolationError:
        layer = None
    if layer is not None and layer.has(context.asset_key):
        return layer.get(context.asset_key).metadata
    upstream = context.upstream_output
    return upstream.definition_metadata if upstream is not None else {}


def input_partition_keys(context: InputContext) -> Sequence[str] | None:
    """The partitions that an input is loaded for; ``None`` for all of them, never enumerated."""
    if not context.has_asset_partitions:
        return None
    if type(context._asset_partitions_subset).__name__ == _ALL_PARTITIONS:  # noqa: SLF001
        return None
    return context.asset_partition_keys


def set_data_version(context: OutputContext, version: str) -> None:
    """Let Dagster record this data version with the materialization of the output."""
    context.step_context.set_data_version(context.asset_key, dg.DataVersion(version))


def observable(
    spec: dg.AssetSpec,
    observe: Callable[..., Any],
    *,
    required_resource_keys: set[str],
) -> dg.AssetsDefinition:
    """An observable asset, without the warning that Dagster may still change its decorator."""
    with disable_dagster_warnings():
        made: dg.AssetsDefinition = dg.multi_observable_source_asset(
            specs=[spec],
            name=spec.key.to_python_identifier(),
            required_resource_keys=required_resource_keys,
            description=spec.description,
        )(observe)
    return made


def op_function(op: dg.OpDefinition) -> Callable[..., Any] | None:
    """The Python function that an op runs, if it was made from one by a decorator."""
    compute = op.compute_fn
    return compute.decorated_fn if isinstance(compute, DecoratedOpFunction) else None


def op_with_function(op: dg.OpDefinition, function: Callable[..., Any]) -> dg.OpDefinition:
    """A copy of an op that runs another function of the same signature."""
    twin = copy.copy(op)
    twin._compute_fn = DecoratedOpFunction(decorated_fn=function)  # noqa: SLF001
    return twin


def asset_checks(
    specs: Sequence[dg.AssetCheckSpec],
    check: Callable[..., Any],
    *,
    name: str,
    required_resource_keys: set[str],
) -> dg.AssetChecksDefinition:
    """Several checks of one op, any of which can be asked for alone."""
    with disable_dagster_warnings():
        made: dg.AssetChecksDefinition = dg.multi_asset_check(
            specs=specs,
            name=name,
            can_subset=True,
            required_resource_keys=required_resource_keys,
        )(check)
    return made
