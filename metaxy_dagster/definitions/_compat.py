"""Every private Dagster name this package leans on, behind one function each.

``tests/definitions/test_compat.py`` pins what is assumed of each, so that a Dagster release
which changes one of them fails there and not in somebody's repository.
"""

from __future__ import annotations

import contextlib
import copy
import functools
import inspect
from contextvars import ContextVar
from types import FunctionType
from typing import TYPE_CHECKING, Any, TypeVar

import dagster as dg
from dagster._check import CheckError
from dagster._core.definitions.asset_selection import (
    AllSelection,
    KeysAssetSelection,
    OperandListAssetSelection,
)
from dagster._core.definitions.assets.definition.cacheable_assets_definition import (
    CacheableAssetsDefinition,
)
from dagster._core.definitions.assets.graph.asset_graph import AssetGraph
from dagster._core.definitions.dependency import IDependencyDefinition, NodeInvocation
from dagster._core.definitions.external_asset import create_external_asset_from_source_asset
from dagster._core.definitions.graph_definition import SubselectedGraphDefinition
from dagster._core.definitions.node_definition import NodeDefinition
from dagster._core.definitions.partitions.utils import infer_partition_mapping
from dagster._core.definitions.target import AutomationTarget
from dagster._core.definitions.unresolved_asset_job_definition import UnresolvedAssetJobDefinition
from dagster._utils.warnings import disable_dagster_warnings
from dagster.components.definitions import LazyDefinitions
from dagster_shared.record import replace

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
    from collections.abc import Set as AbstractSet

__all__ = [
    "AssetGraph",
    "AutomationTarget",
    "CacheableAssetsDefinition",
    "LazyDefinitions",
    "NodeDefinition",
    "SubselectedGraphDefinition",
    "UnresolvedAssetJobDefinition",
    "asset_graph",
    "attributes_of",
    "check_with_keys",
    "definitions_fields",
    "external_from_source",
    "graph_with",
    "inner_nodes",
    "invocations_of",
    "is_nothing",
    "job_with_selection",
    "kind_limit",
    "lazy_with",
    "op_with",
    "origin_of",
    "partition_mapping_fault",
    "quiet",
    "rebuilt",
    "renamed_invocation",
    "targets_of",
]

T = TypeVar("T")

#: Metadata key that names the IO manager of an asset without an op.
IO_MANAGER_METADATA_KEY = "dagster/io_manager_key"
#: What Dagster raises when it refuses a definition.
DAGSTER_ERRORS = (dg.DagsterError, CheckError)
DEFAULT_IO_MANAGER_KEY = "io_manager"
_NOTHING = dg.In(dg.Nothing)
_QUIET: ContextVar[bool] = ContextVar("metaxy_quiet", default=False)
DEFAULT_GROUP = "default"
KIND_PREFIX = "dagster/kind/"


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Silence Dagster's beta and preview warnings for the objects that we only rebuild.

    Inside itself it does nothing: changing Python's warning filters costs more than an asset.
    """
    if _QUIET.get():
        yield
        return
    token = _QUIET.set(True)
    try:
        with disable_dagster_warnings():
            yield
    finally:
        _QUIET.reset(token)


def definitions_fields(defs: dg.Definitions) -> dict[str, Any]:
    """All constructor arguments of a Definitions, whatever this Dagster version has."""
    parameters = inspect.signature(dg.Definitions.__new__).parameters
    return {name: getattr(defs, name) for name in parameters if name != "cls"}


def attributes_of(definition: dg.AssetsDefinition) -> dict[str, Any]:
    """The constructor arguments that would build the definition again."""
    return definition.get_attributes_dict()


def rebuilt(definition: dg.AssetsDefinition, attributes: Mapping[str, Any]) -> dg.AssetsDefinition:
    """A definition of the same class with other constructor arguments."""
    with quiet():
        checks_only = isinstance(definition, dg.AssetChecksDefinition)
        made = dg.AssetsDefinition.dagster_internal_init(**attributes)
        return made.coerce_to_checks_def() if checks_only else made


def op_with(
    op: dg.OpDefinition,
    *,
    name: str,
    nothing_inputs: Sequence[str],
    io_manager_keys: Mapping[str, str],
) -> dg.OpDefinition:
    """A copy of the op with more inputs of type Nothing and other IO managers on its outputs."""
    # Built anew by with_replaced_properties, ops take a third of the time of the whole pass, since
    # Dagster looks at the function's signature again for each. A copy is what it comes to.
    waiting = [_NOTHING.to_definition(each) for each in nothing_inputs]
    inputs = [*op.input_defs, *waiting]
    outputs = [_output_with(each, io_manager_keys.get(each.name)) for each in op.output_defs]
    return _copied(
        op,
        _name=name,
        _input_defs=inputs,
        _input_dict={each.name: each for each in inputs},
        _output_defs=outputs,
        _output_dict={each.name: each for each in outputs},
    )


def _output_with(output: dg.OutputDefinition, io_manager_key: str | None) -> dg.OutputDefinition:
    return output if io_manager_key is None else _copied(output, _io_manager_key=io_manager_key)


def _copied(original: T, **attributes: Any) -> T:
    """A shallow copy with other private attributes."""
    made = copy.copy(original)
    for name, value in attributes.items():
        setattr(made, name, value)
    return made


def invocations_of(
    graph: dg.GraphDefinition,
) -> Mapping[NodeInvocation, Mapping[str, IDependencyDefinition]]:
    """The nodes of a graph and what each waits for, nodes that wait for nothing included."""
    known = graph.dependencies
    named = {each.alias or each.name for each in known}
    rest = {
        NodeInvocation(
            node.definition.name,
            alias=name if name != node.definition.name else None,
            tags=node.tags,
            hook_defs=node.hook_defs,
            retry_policy=node.retry_policy,
        ): dict[str, IDependencyDefinition]()
        for name, node in graph.node_dict.items()
        if name not in named
    }
    return {**known, **rest}


def renamed_invocation(invocation: NodeInvocation, clones: Mapping[str, str]) -> NodeInvocation:
    """The same invocation of a clone, under the name that it had."""
    name = invocation.alias or invocation.name
    if name not in clones:
        return invocation
    return NodeInvocation(
        clones[name],
        alias=name,
        tags=invocation.tags,
        hook_defs=invocation.hook_defs,
        retry_policy=invocation.retry_policy,
    )


def graph_with(
    graph: dg.GraphDefinition,
    *,
    name: str,
    node_defs: Sequence[NodeDefinition],
    dependencies: Mapping[NodeInvocation, Mapping[str, IDependencyDefinition]],
    input_mappings: Sequence[dg.InputMapping],
) -> dg.GraphDefinition:
    """A copy of a graph with other nodes, its config mapping, tags and outputs as they were."""
    return dg.GraphDefinition(
        name=name,
        description=graph.description,
        node_defs=node_defs,
        dependencies=dependencies,
        input_mappings=input_mappings,
        output_mappings=graph.output_mappings,
        config=graph.config_mapping,
        tags=graph.tags,
        input_assets=graph.input_assets,
        composition_fn=graph.composition_fn,
    )


def is_nothing(definition: dg.OutputDefinition) -> bool:
    """Whether an output has the type Nothing: no IO manager ever handles it."""
    return bool(definition.dagster_type.is_nothing)


def origin_of(node: NodeDefinition, output_name: str) -> dg.OutputDefinition:
    """The output definition of the op that a node's output comes from in the end."""
    return node.resolve_output_to_origin(output_name, None)[0]


def external_from_source(source: dg.SourceAsset) -> dg.AssetsDefinition:
    """The external asset that Dagster itself would make of a SourceAsset."""
    with quiet():
        return create_external_asset_from_source_asset(source)


def asset_graph(definitions: Iterable[dg.AssetsDefinition | dg.SourceAsset]) -> AssetGraph:
    """The resolved asset graph, as a repository would build it, without building jobs."""
    with quiet():
        return AssetGraph.from_assets(definitions)


def job_with_selection(
    job: UnresolvedAssetJobDefinition, selection: dg.AssetSelection
) -> UnresolvedAssetJobDefinition:
    """The same asset job over another selection."""
    return replace(job, selection=selection)


def inner_nodes(graph: dg.GraphDefinition) -> Iterator[NodeDefinition]:
    """All ops and graphs inside a graph, at any depth, without the graph itself."""
    waiting = [graph]
    while waiting:
        for node in waiting.pop().node_defs:
            yield node
            if isinstance(node, dg.GraphDefinition):
                waiting.append(node)


def watches_code_versions(condition: dg.AutomationCondition[Any] | None) -> bool:
    """Whether an automation condition has ``code_version_changed`` somewhere in it."""
    return condition is not None and "CodeVersionChanged" in repr(condition)


def functions_of(node: NodeDefinition) -> Iterator[FunctionType]:
    """The Python functions that a node's ops run."""
    nodes = [node] if not isinstance(node, dg.GraphDefinition) else inner_nodes(node)
    for each in nodes:
        function = getattr(getattr(each, "compute_fn", None), "decorated_fn", None)
        if isinstance(function, FunctionType):
            yield function


def dep_metadata(dep: dg.AssetDep) -> Mapping[str, Any]:
    """The metadata of a dep; deps have none on older releases."""
    return getattr(dep, "metadata", None) or {}


def dep_with(
    dep: dg.AssetDep,
    *,
    key: dg.AssetKey | None = None,
    partition_mapping: dg.PartitionMapping | None = None,
) -> dg.AssetDep:
    """The dep on another key or with another partition mapping, and the rest of it as it was."""
    changes: dict[str, Any] = {} if key is None else {"asset_key": key}
    if partition_mapping is not None:
        changes["partition_mapping"] = partition_mapping
    return dep._replace(**changes)


def check_with_keys(
    check: dg.AssetCheckSpec, keys: Mapping[dg.AssetKey, dg.AssetKey]
) -> dg.AssetCheckSpec:
    """The check over other keys: its asset and its additional deps; itself if none changes."""
    target = keys.get(check.asset_key, check.asset_key)
    deps = [
        dep_with(dep, key=keys[dep.asset_key]) if dep.asset_key in keys else dep
        for dep in check.additional_deps
    ]
    if target == check.asset_key and deps == list(check.additional_deps):
        return check
    return replace(check, asset_key=target, additional_deps=deps)


def targets_of(automation: object) -> Sequence[AutomationTarget]:
    """The targets of a schedule or sensor; none for those that resolve their job later."""
    if isinstance(automation, dg.SensorDefinition):
        return automation.targets
    if isinstance(automation, dg.ScheduleDefinition):
        return [automation.target]
    return []


def is_fixed(selection: dg.AssetSelection) -> bool:
    """Whether a selection names its assets or takes all: neither lineage nor groups move it."""
    return isinstance(selection, AllSelection | KeysAssetSelection)


def selection_with_keys(
    selection: dg.AssetSelection, keys: Mapping[dg.AssetKey, dg.AssetKey]
) -> dg.AssetSelection:
    """The selection with other keys in it, at any depth; itself if it names none of them."""
    if not keys:
        return selection
    changes: dict[str, Any] = {}
    if isinstance(selection, KeysAssetSelection):
        named = [keys.get(key, key) for key in selection.selected_keys]
        if named != list(selection.selected_keys):
            changes["selected_keys"] = named
    elif isinstance(selection, OperandListAssetSelection):
        operands = [selection_with_keys(each, keys) for each in selection.operands]
        if any(new is not old for new, old in zip(operands, selection.operands, strict=True)):
            changes["operands"] = operands
    else:
        for name in ("left", "right", "child"):
            part = getattr(selection, name, None)
            if isinstance(part, dg.AssetSelection):
                new = selection_with_keys(part, keys)
                if new is not part:
                    changes[name] = new
    return replace(selection, **changes) if changes else selection


def executed_keys(job: dg.JobDefinition) -> AbstractSet[dg.AssetKey]:
    """The assets that a resolved job executes."""
    return frozenset(job.asset_layer.executable_asset_keys)


def schedule_with_job(schedule: dg.ScheduleDefinition, job: Any) -> dg.ScheduleDefinition:
    """The schedule over another job; it no longer holds asset objects of its own."""
    return schedule.with_attributes(job=job)


def partitioned_with_job(schedule: Any, job: Any) -> Any:
    """A schedule built from a partitioned asset job, over another job."""
    return replace(schedule, job=job)


#: What sensors watch, by the private attribute that holds it.
_WATCHED = (
    (dg.AssetSensorDefinition, "_asset_key"),
    (dg.MultiAssetSensorDefinition, "_monitored_assets"),
    (dg.AutomationConditionSensorDefinition, "_sensor_target"),
    (dg.SensorDefinition, "_asset_selection"),
)


def watched_by(sensor: dg.SensorDefinition) -> dict[str, Any]:
    """The keys or selections that a sensor watches or targets, by attribute."""
    found: dict[str, Any] = {}
    for kind, attribute in _WATCHED:
        value = getattr(sensor, attribute, None)
        if not isinstance(sensor, kind) or value is None:
            continue
        if attribute == "_asset_selection" and "_sensor_target" in found:
            continue  # derived from it
        if attribute == "_sensor_target" and not isinstance(value, dg.AssetSelection):
            value = dg.AssetSelection.from_coercible(value)
        found[attribute] = value
    return found


def sensor_with(
    sensor: dg.SensorDefinition, *, jobs: Sequence[Any] | None, watched: Mapping[str, Any]
) -> dg.SensorDefinition | None:
    """The sensor over other jobs, watching something else; None where this release cannot.

    A sensor is rebuilt, since its closures hold what it watches. Before Dagster 1.12 special
    sensors cannot be rebuilt; what their attributes alone say can still be replaced.
    """
    twin = copy.copy(sensor)
    for attribute, value in watched.items():
        setattr(twin, attribute, value)
    plain = dg.SensorDefinition.with_attributes
    if type(sensor) is dg.SensorDefinition or type(sensor).with_attributes is not plain:
        return twin.with_attributes(jobs=jobs)
    if jobs is None and set(watched) == {"_asset_selection"}:
        return twin
    return None if watched else sensor.with_attributes(jobs=jobs)


def lazy_with(lazy: LazyDefinitions[Any], load: Callable[..., Any]) -> LazyDefinitions[Any]:
    """The same ``@definitions`` function with another body."""
    return replace(lazy, load_fn=load)


def partition_mapping_fault(
    downstream: dg.PartitionsDefinition[str] | None, upstream: dg.PartitionsDefinition[str] | None
) -> str | None:
    """Why Dagster's default mapping between two partitionings is refused; None if it is not.

    Dagster itself only says so when a repository is validated, not when it is loaded.
    """
    if upstream is None or downstream is None:
        return None
    mapping = infer_partition_mapping(None, downstream, upstream)
    try:
        mapping.validate_partition_mapping(upstream, downstream)
    except dg.DagsterInvalidDefinitionError as error:
        return str(error)
    return None


@functools.cache
def kind_limit() -> int:
    """How many kinds an asset may have: ten, or three on older releases; found by trying."""
    for limit in (10, 3):
        try:
            dg.AssetSpec("probe", kinds={f"k{number}" for number in range(limit)})
        except dg.DagsterInvalidDefinitionError:
            continue
        return limit
    return 0
