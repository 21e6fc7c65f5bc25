"""The few places where Dagster offers no public way; a test pins each of them."""

from __future__ import annotations

import contextlib
import copy
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, get_origin

import dagster as dg
from dagster._core.definitions.decorators.op_decorator import DecoratedOpFunction
from dagster._core.definitions.metadata import normalize_metadata
from dagster._core.definitions.partitions.context import partition_loading_context
from dagster._utils.warnings import disable_dagster_warnings

from metaxy_dagster.keys import names_feature
from metaxy_dagster.runtime._compat.bodies import (
    current_execution,
    op_around,
    reports_checks,
    tell_of_asset,
)
from metaxy_dagster.runtime._compat.conditions import condition_metadata, condition_resources
from metaxy_dagster.runtime._compat.outputs import output_context, output_manager, own_output
from metaxy_dagster.runtime._compat.resources import made_by, resource_definition
from metaxy_dagster.runtime._compat.run_log import RunLog

if TYPE_CHECKING:
    from dagster import InputContext, OutputContext

__all__ = [
    "Assets",
    "RunLog",
    "Step",
    "StepOutput",
    "add_partition_metadata",
    "asset_checks",
    "assets_of",
    "belongs_to_assets",
    "condition_metadata",
    "condition_resources",
    "current_execution",
    "current_step",
    "has_own_check",
    "input_definition_metadata",
    "input_metadata",
    "input_partition_keys",
    "loading_op",
    "made_by",
    "neighbours",
    "observable",
    "op_around",
    "op_function",
    "op_with_function",
    "output_context",
    "output_manager",
    "own_output",
    "reports_checks",
    "resource_definition",
    "result_object",
    "returns_output",
    "running_step",
    "say_of_input",
    "set_data_version",
    "tell_of_asset",
]

_STUB = "dagster/auto_created_stub_asset"
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
class Assets:
    """A graph of assets.

    Attributes:
        graph: as Dagster has it.
        instance: where dynamic partitions are known.
    """

    graph: Any
    instance: Any

    def parents(self, key: dg.AssetKey) -> list[dg.AssetKey]:
        """The assets that an asset depends on."""
        if not self.graph.has(key):
            return []
        return sorted(one for one in self.graph.get(key).parent_keys if self.graph.has(one))

    def metadata(self, key: dg.AssetKey) -> Mapping[str, Any]:
        """Of an asset."""
        found: Mapping[str, Any] = self.graph.get(key).metadata
        return found

    def partitions_def(self, key: dg.AssetKey) -> dg.PartitionsDefinition[Any] | None:
        """Of an asset."""
        found: dg.PartitionsDefinition[Any] | None = self.graph.get(key).partitions_def
        return found

    def mapping(self, key: dg.AssetKey, parent: dg.AssetKey) -> dg.PartitionMapping:
        """How the partitions of an asset are mapped to those of one that it depends on."""
        found: dg.PartitionMapping = self.graph.get_partition_mapping(key, parent)
        return found

    @contextlib.contextmanager
    def loading(self) -> Iterator[None]:
        """Let dynamic partitions be found."""
        with partition_loading_context(dynamic_partitions_store=self.instance):
            yield


@dataclass(frozen=True)
class Step:
    """A running step.

    Attributes:
        run_id: the run.
        node: the op or graph of the asset; the steps of a graph asset share it.
        attempt: the step that runs, and the number of its earlier attempts.
        outputs: the assets that the node was asked to produce.
        shared: what all steps of a graph asset have in common, in whatever process each runs;
            ``None`` where the asset is one step.
        runs: of a graph asset, the run and those whose results its steps go on from.
        assets: those of the run's job, and those that they depend on.
        run_tags: the tags of the run.
        log: of a graph asset, where its steps leave word for each other.
    """

    run_id: str
    node: str
    attempt: tuple[str, int]
    outputs: tuple[StepOutput, ...]
    shared: str | None = None
    runs: tuple[str, ...] = ()
    run_tags: Mapping[str, str] = field(default_factory=dict, compare=False)
    assets: Assets | None = field(default=None, compare=False, repr=False)
    log: RunLog | None = field(default=None, compare=False, repr=False)


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


def belongs_to_assets(operation: Any) -> bool:
    """Whether an op is that of assets; one that is called as a function may not know of any."""
    try:
        return bool(getattr(operation, "has_assets_def", False))
    except dg.DagsterError:
        return False


def assets_of(context: Any) -> Assets | None:
    """The assets around a running asset or op; ``None`` where there are none."""
    operation = getattr(context, "op_execution_context", context)
    if not isinstance(operation, dg.OpExecutionContext) or not belongs_to_assets(operation):
        return None
    try:
        layer = operation.job_def.asset_layer
    except (AttributeError, dg.DagsterError):
        return None  # called directly, as a function
    return Assets(layer.asset_graph, operation.instance)


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
    node = step.node_handle.root.name
    tags = step.dagster_run.tags
    assets = Assets(step.job_def.asset_layer.asset_graph, step.instance)
    if not step.is_in_graph_asset:
        return Step(step.run_id, node, attempt, outputs, run_tags=tags, assets=assets)
    runs = _runs(step, node)
    log = RunLog(step.instance, step.dagster_run, step.step.key)
    shared = f"{runs[-1]}:{node}"
    return Step(step.run_id, node, attempt, outputs, shared, runs, tags, assets, log)


def _runs(step: Any, node: str) -> tuple[str, ...]:
    """The runs whose results the steps of a graph asset go on from, the first one last.

    A run that was started again from where another one failed leaves out the steps that were
    done; the others go on from what those gave.
    """
    run = step.dagster_run
    found = [str(run.run_id)]
    wanted = {
        one.key.partition("[")[0]
        for one in step.execution_plan.steps
        if one.node_handle.root.name == node
    }
    while run.parent_run_id is not None and run.step_keys_to_execute is not None:
        if wanted <= {key.partition("[")[0] for key in run.step_keys_to_execute}:
            break
        earlier = step.instance.get_run_by_id(run.parent_run_id)
        if earlier is None:
            break
        run = earlier
        found.append(str(run.run_id))
    return tuple(found)


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
    """The metadata of what is being loaded: of the asset, or of an input that names a feature."""
    try:
        layer = context.step_context.job_def.asset_layer
    except dg.DagsterInvariantViolationError:
        layer = None
    if layer is not None and layer.has(context.asset_key):
        known = layer.get(context.asset_key).metadata
        own = input_definition_metadata(context)
        return known if names_feature(known) or not names_feature(own) else {**known, **own}
    upstream = context.upstream_output
    return upstream.definition_metadata if upstream is not None else {}


def input_definition_metadata(context: InputContext) -> Mapping[str, Any]:
    """The metadata of the input itself, as AssetIn and In give it."""
    return context.definition_metadata or {}


def input_partition_keys(context: InputContext) -> Sequence[str] | None:
    """The partitions that an input is loaded for; ``None`` for all of them, never enumerated."""
    if not context.has_asset_partitions:
        return None
    if type(context._asset_partitions_subset).__name__ == _ALL_PARTITIONS:
        return None
    return context.asset_partition_keys


def neighbours(step: Any) -> Iterator[tuple[dg.AssetKey, Mapping[str, Any] | None]]:
    """The assets that a job knows, each with its metadata; ``None`` where it knows the key alone.

    Args:
        step: the context of a running step.
    """
    for node in step.job_def.asset_layer.asset_graph.asset_nodes:
        known = not node.metadata.get(_STUB)
        yield node.key, node.metadata if known else None


def say_of_input(context: InputContext, metadata: Mapping[str, Any]) -> None:
    """Let the event of a loaded input say something.

    Dagster's public way makes an observation of the asset besides, in every run of everything
    that is downstream of it, and cannot do that for several partitions at once.
    """
    said = context._user_generated_metadata
    context._user_generated_metadata = {**said, **normalize_metadata(metadata)}


def set_data_version(context: OutputContext, version: str) -> None:
    """Let Dagster record this data version with the materialization of the output."""
    context.step_context.set_data_version(context.asset_key, dg.DataVersion(version))


def add_partition_metadata(
    context: OutputContext | None, asset_key: dg.AssetKey, found: Mapping[str, Mapping[str, Any]]
) -> bool:
    """Let the event of each partition of a run say something of its own.

    Dagster's public way asks for all partitions of the run again with each of them.

    Args:
        context: of the output; ``None`` in the function of an asset.
        asset_key: the asset.
        found: metadata by partition key.

    Returns:
        Whether there is a step whose events can say it.
    """
    try:
        if context is None:
            step = dg.OpExecutionContext.get().get_step_execution_context()
        else:
            step = context.step_context
    except dg.DagsterInvariantViolationError:
        return False
    said = step._metadata_accumulator
    for key, metadata in found.items():
        said = said.with_additional_asset_metadata(
            asset_key=asset_key, partition_key=key, metadata=metadata
        )
    step._metadata_accumulator = said
    return True


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


def loading_op(context: InputContext) -> dg.OpDefinition | None:
    """The op that an input is loaded for; ``None`` outside of a run."""
    try:
        return context.step_context.op_def
    except dg.DagsterInvariantViolationError:
        return None


def op_function(op: dg.OpDefinition) -> Callable[..., Any] | None:
    """The Python function that an op runs, if it was made from one by a decorator."""
    compute = op.compute_fn
    return compute.decorated_fn if isinstance(compute, DecoratedOpFunction) else None


def returns_output(op: dg.OpDefinition) -> bool:
    """Whether the op's function is annotated to return an Output."""
    return result_object(op) is dg.Output


def result_object(op: dg.OpDefinition) -> type | None:
    """The result object of Dagster that the op's function is annotated to return, if it is one."""
    compute = op.compute_fn
    if not isinstance(compute, DecoratedOpFunction):
        return None
    annotation = compute.get_output_annotation()
    named = (annotation, get_origin(annotation))
    return next((one for one in (dg.Output, dg.MaterializeResult) if one in named), None)


def has_own_check(dagster_type: dg.DagsterType) -> bool:
    """Whether somebody's own function checks values of the type, and not only their class."""
    inner = getattr(dagster_type, "inner_type", dagster_type)
    return type(inner) is dg.DagsterType


def op_with_function(op: dg.OpDefinition, function: Callable[..., Any]) -> dg.OpDefinition:
    """A copy of an op that runs another function of the same signature."""
    twin = copy.copy(op)
    twin._compute_fn = DecoratedOpFunction(decorated_fn=function)
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
