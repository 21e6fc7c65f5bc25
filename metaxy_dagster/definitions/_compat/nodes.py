"""Ops and graphs: how they are copied with other inputs, outputs and inner nodes."""

from __future__ import annotations

import copy
import dis
import inspect
from types import FunctionType
from typing import TYPE_CHECKING, Any, TypeAlias, TypeVar

import dagster as dg
from dagster._core.definitions.dependency import IDependencyDefinition, NodeInvocation
from dagster._core.definitions.metadata import normalize_metadata
from dagster._core.definitions.node_definition import NodeDefinition

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

__all__ = [
    "Loaded",
    "destinations",
    "functions_of",
    "gives_nothing",
    "graph_with",
    "inner_nodes",
    "invocations_of",
    "is_nothing",
    "needed_resources",
    "op_with",
    "origin_of",
    "output_manager",
    "renamed_invocation",
]

T = TypeVar("T")
#: By which resource an input is loaded, and metadata that says of what.
Loaded: TypeAlias = "tuple[str, Mapping[str, str]]"
_NOTHING = dg.In(dg.Nothing)


def op_with(
    op: dg.OpDefinition,
    *,
    name: str,
    nothing_inputs: Sequence[str],
    io_manager_keys: Mapping[str, str],
    loads: Mapping[str, Loaded],
) -> dg.OpDefinition:
    """A copy of the op with more inputs of type Nothing and other IO managers."""
    # Built anew by with_replaced_properties, ops take a third of the time of the whole pass, since
    # Dagster looks at the function's signature again for each. A copy is what it comes to.
    waiting = [_NOTHING.to_definition(each) for each in nothing_inputs]
    own = [_input_with(each, loads.get(each.name)) for each in op.input_defs]
    inputs = [*own, *waiting]
    outputs = [_output_with(each, io_manager_keys.get(each.name)) for each in op.output_defs]
    return _copied(
        op,
        _name=name,
        _input_defs=inputs,
        _input_dict={each.name: each for each in inputs},
        _output_defs=outputs,
        _output_dict={each.name: each for each in outputs},
    )


def _input_with(definition: dg.InputDefinition, load: Loaded | None) -> dg.InputDefinition:
    if load is None:
        return definition
    manager, metadata = load
    # A part of the decorated function's inputs; only who loads it, and what of, is another.
    return _copied(
        definition,
        _input_manager_key=definition.input_manager_key or manager,
        _raw_metadata={**definition._raw_metadata, **metadata},  # noqa: SLF001
        _metadata=normalize_metadata({**definition.metadata, **metadata}, allow_invalid=True),
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
    io_manager_keys: Mapping[str, str],
) -> dg.GraphDefinition:
    """A copy of a graph with other nodes, its config mapping and tags as they were."""
    return dg.GraphDefinition(
        name=name,
        description=graph.description,
        node_defs=node_defs,
        dependencies=dependencies,
        input_mappings=input_mappings,
        output_mappings=[_routed(each, io_manager_keys) for each in graph.output_mappings],
        config=graph.config_mapping,
        tags=graph.tags,
        input_assets=graph.input_assets,
        composition_fn=graph.composition_fn,
    )


class _RoutedOutput(dg.OutputMapping):
    """An output of a graph that says by which IO manager its op is handled.

    Dagster says the default one for all of them, which a run of the asset alone then lacks.
    """

    io_manager_key: str

    def get_definition(self, is_dynamic: Any) -> dg.OutputDefinition:
        """As Dagster makes it, with the key."""
        made = super().get_definition(is_dynamic)
        return type(made)(
            name=made.name,
            description=made.description,
            dagster_type=made.dagster_type,
            io_manager_key=self.io_manager_key,
        )


def _routed(mapping: dg.OutputMapping, io_manager_keys: Mapping[str, str]) -> dg.OutputMapping:
    key = io_manager_keys.get(mapping.graph_output_name)
    if key is None:
        return mapping
    made = _RoutedOutput(**mapping._asdict())
    made.io_manager_key = key
    return made


def is_nothing(definition: dg.OutputDefinition) -> bool:
    """Whether an output has the type Nothing: no IO manager ever handles it."""
    return bool(definition.dagster_type.is_nothing)


def needed_resources(node: NodeDefinition) -> set[str]:
    """The resources that the functions of a node ask for; IO managers are not among them."""
    nodes = [node] if not isinstance(node, dg.GraphDefinition) else inner_nodes(node)
    return {
        key for op in nodes if isinstance(op, dg.OpDefinition) for key in op.required_resource_keys
    }


def origin_of(node: NodeDefinition, output_name: str) -> dg.OutputDefinition:
    """The output definition of the op that a node's output comes from in the end."""
    return node.resolve_output_to_origin(output_name, None)[0]


def destinations(
    node: NodeDefinition, name: str
) -> Iterator[tuple[dg.OpDefinition, dg.InputDefinition]]:
    """The ops that an input of an op or a graph leads to, each with its own input."""
    if isinstance(node, dg.OpDefinition):
        yield node, node.input_def_named(name)
    elif isinstance(node, dg.GraphDefinition):
        for mapping in node.input_mappings:
            if mapping.graph_input_name == name:
                inner = node.node_named(mapping.maps_to.node_name).definition
                yield from destinations(inner, mapping.maps_to.input_name)


def output_manager(definition: dg.AssetsDefinition | None, key: dg.AssetKey) -> str:
    """The IO manager key that the output of an asset has, whatever its type."""
    if definition is not None and definition.is_executable:
        for name, each in definition.node_keys_by_output_name.items():
            if each == key:
                return str(origin_of(definition.node_def, name).io_manager_key)
    return "io_manager"


def gives_nothing(function: FunctionType) -> bool:
    """Whether a function never returns a value; one that hands on another's is not looked into."""
    code = inspect.unwrap(function).__code__
    if code.co_flags & (inspect.CO_GENERATOR | inspect.CO_ASYNC_GENERATOR):
        return False
    before: dis.Instruction | None = None
    for each in dis.get_instructions(code):
        constant = before is not None and before.opname == "LOAD_CONST" and before.argval is None
        if each.opname == "RETURN_VALUE" and not constant:
            return False
        if each.opname == "RETURN_CONST" and each.argval is not None:
            return False
        before = each
    return True


def inner_nodes(graph: dg.GraphDefinition) -> Iterator[NodeDefinition]:
    """All ops and graphs inside a graph, at any depth, without the graph itself."""
    waiting = [graph]
    while waiting:
        for node in waiting.pop().node_defs:
            yield node
            if isinstance(node, dg.GraphDefinition):
                waiting.append(node)


def functions_of(node: NodeDefinition) -> Iterator[FunctionType]:
    """The Python functions that a node's ops run."""
    nodes = [node] if not isinstance(node, dg.GraphDefinition) else inner_nodes(node)
    for each in nodes:
        function = getattr(getattr(each, "compute_fn", None), "decorated_fn", None)
        if isinstance(function, FunctionType):
            yield function
