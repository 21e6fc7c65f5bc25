"""What is around the asset that an automation condition is evaluated for."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import dagster as dg

from metaxy_dagster.constants import RESOURCE_STORE

__all__ = ["condition_metadata", "condition_resources"]


def condition_metadata(context: dg.AutomationContext[Any]) -> Mapping[str, Any]:
    """The metadata of the asset that an automation condition is evaluated for."""
    graph = context.asset_graph
    if not isinstance(context.key, dg.AssetKey) or not graph.has(context.key):
        return {}
    metadata: Mapping[str, Any] = graph.get(context.key).metadata
    return metadata


def condition_resources(context: dg.AutomationContext[Any]) -> Iterator[Any]:
    """The IO managers and the store that an asset writes with, made one by one.

    Of the asset that a condition is evaluated for, and of the one that the condition stands on.
    Only code locations know resources: nothing is found where a daemon evaluates.
    """
    for key in dict.fromkeys((context.key, context.root_context.key)):
        if not isinstance(key, dg.AssetKey) or not context.asset_graph.has(key):
            continue
        definition = getattr(context.asset_graph.get(key), "assets_def", None)
        if definition is None:
            continue
        bound = definition.resource_defs
        for name in (definition.get_io_manager_key_for_asset_key(key), RESOURCE_STORE):
            if name in bound:
                needed = _with_requirements(name, bound)
                with dg.build_resources(needed, instance=context.asset_graph_view.instance) as made:
                    yield getattr(made, name)


def _with_requirements(
    name: str, bound: Mapping[str, dg.ResourceDefinition]
) -> dict[str, dg.ResourceDefinition]:
    """A resource and those that it is made from."""
    found: dict[str, dg.ResourceDefinition] = {}
    waiting = [name]
    while waiting:
        each = waiting.pop()
        if each in bound and each not in found:
            found[each] = bound[each]
            waiting += sorted(bound[each].required_resource_keys)
    return found
