"""Rewrites ops and graphs: inputs that only order execution, IO managers, bodies.

Inner ops and graphs may be used elsewhere too, and Dagster wants one definition per name. So a
rewritten inner node becomes a clone under a deterministic name, aliased back to the name that
its invocation had: step keys and run config stay what they were.
"""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING, cast

import dagster as dg

from metaxy_dagster.definitions import _compat
from metaxy_dagster.definitions.plan.node_plan import NodePlan
from metaxy_dagster.runtime.io.batching import ALL_AT_ONCE, batching_op
from metaxy_dagster.runtime.io.own_bodies import own_body_op
from metaxy_dagster.runtime.work.skipping import skipping_op

if TYPE_CHECKING:
    from collections.abc import Mapping

    from metaxy_dagster.definitions._compat import NodeDefinition

__all__ = ["rewritten"]


def rewritten(node: NodeDefinition, plan: NodePlan, *, name: str | None = None) -> NodeDefinition:
    """A node with the plan's inputs and IO managers.

    Args:
        node: an op, or a graph of any depth; it is not changed.
        plan: what to add.
        name: another name for the result.

    Returns:
        A new node; a graph's new inputs lead to all that would start by itself inside of it, so
        that nothing starts before what they are bound to is there.
    """
    if isinstance(node, dg.GraphDefinition):
        return _rewritten_graph(node, plan, name or node.name)
    op = cast("dg.OpDefinition", node)
    if plan.batch_size is not None or plan.on_error is not None:
        op = batching_op(op, plan.batch_size or ALL_AT_ONCE, plan.on_error)
    # Around the batches: where nothing is pending, none is even looked for.
    if plan.skips:
        op = skipping_op(op)
    # Around all: it says whether anything is pending.
    if plan.own_body is not None:
        op = own_body_op(op, plan.own_body)
    return _compat.op_with(
        op,
        name=name or node.name,
        nothing_inputs=plan.nothing_inputs,
        io_manager_keys=plan.io_manager_keys,
        loads=plan.loads,
    )


def _rewritten_graph(graph: dg.GraphDefinition, plan: NodePlan, name: str) -> dg.GraphDefinition:
    early = _early(graph, plan.ordered) if plan.nothing_inputs else {}
    inner = _inner_plans(graph, plan, early)
    definitions: dict[str, NodeDefinition] = {}
    clones: dict[str, str] = {}
    for each in graph.node_defs:
        definitions[each.name] = each
    for invocation_name, inner_plan in inner.items():
        original = graph.node_named(invocation_name).definition
        clone = f"{invocation_name}__{plan.clone_suffix}"
        definitions[clone] = rewritten(original, inner_plan, name=clone)
        clones[invocation_name] = clone
    dependencies = {
        _compat.renamed_invocation(invocation, clones): inputs
        for invocation, inputs in _compat.invocations_of(graph).items()
    }
    used = {invocation.name for invocation in dependencies}
    return _compat.graph_with(
        graph,
        name=name,
        node_defs=[each for key, each in definitions.items() if key in used],
        dependencies=dependencies,
        input_mappings=[
            *graph.input_mappings,
            *(
                dg.InputMapping(
                    graph_input_name=input_name,
                    mapped_node_name=node,
                    mapped_node_input_name=input_name,
                )
                for input_name in plan.nothing_inputs
                for node in early
            ),
        ],
        io_manager_keys=plan.io_manager_keys,
    )


def _inner_plans(
    graph: dg.GraphDefinition, plan: NodePlan, early: Mapping[str, frozenset[str]]
) -> Mapping[str, NodePlan]:
    """Which of the graph's own nodes have to be rewritten, and how."""
    keys: defaultdict[str, dict[str, str]] = defaultdict(dict)
    for mapping in graph.output_mappings:
        key = plan.io_manager_keys.get(mapping.graph_output_name)
        if key is not None:
            keys[mapping.maps_from.node_name][mapping.maps_from.output_name] = key
    loads: defaultdict[str, dict[str, _compat.Loaded]] = defaultdict(dict)
    for taken in graph.input_mappings:
        load = plan.loads.get(taken.graph_input_name)
        if load is not None:
            loads[taken.maps_to.node_name][taken.maps_to.input_name] = load
    return {
        name: NodePlan(
            nothing_inputs=plan.nothing_inputs if name in early else (),
            io_manager_keys=keys.get(name, {}),
            loads=loads.get(name, {}),
            ordered=early.get(name, frozenset()),
            clone_suffix=f"{name}__{plan.clone_suffix}",
            # These are planned for graphs of one node only.
            skips=plan.skips,
            own_body=plan.own_body,
        )
        for name in graph.node_dict
        if name in early or name in keys or name in loads or plan.skips or plan.own_body
    }


def _early(graph: dg.GraphDefinition, ordered: frozenset[str]) -> dict[str, frozenset[str]]:
    """The nodes of a graph in which something would start by itself.

    An inner graph may wait for another node with one of its inputs, and hold an op that does not
    use that input.

    Args:
        graph: the graph.
        ordered: those of its inputs that wait for what the new inputs are bound to.

    Returns:
        Per node, those of its inputs that wait for it.
    """
    waiting: defaultdict[str, set[str]] = defaultdict(set)
    for invocation, inputs in _compat.invocations_of(graph).items():
        waiting[invocation.alias or invocation.name].update(inputs)
    for mapping in graph.input_mappings:
        if mapping.graph_input_name in ordered:
            waiting[mapping.maps_to.node_name].add(mapping.maps_to.input_name)
    return {
        name: frozenset(waiting[name])
        for name, node in graph.node_dict.items()
        if _starts_early(node.definition, frozenset(waiting[name]))
    }


def _starts_early(node: NodeDefinition, ordered: frozenset[str]) -> bool:
    if isinstance(node, dg.GraphDefinition):
        return bool(_early(node, ordered))
    return not ordered
