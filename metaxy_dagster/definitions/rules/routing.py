"""Which outputs go through the library's IO manager."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from metaxy_dagster.definitions import _compat
from metaxy_dagster.definitions.plan.plans import Change

if TYPE_CHECKING:
    from collections.abc import Mapping
    from collections.abc import Set as AbstractSet

    import dagster as dg

    from metaxy_dagster.definitions.repository.collect import Unit
    from metaxy_dagster.definitions.settings import MetaxifySettings

__all__ = ["Routes", "route", "stored_by"]


@dataclass(frozen=True, eq=False)
class Routes:
    """Where the outputs of one unit go.

    Args:
        outputs: output name to resource key, for outputs of an op or a graph.
        metadata: per asset, metadata entries that say where its value is loaded from; for
            assets that nothing in this repository writes.
        changes: per asset, the same in words.
    """

    outputs: dict[str, str] = field(default_factory=dict)
    metadata: dict[dg.AssetKey, dict[str, str]] = field(default_factory=dict)
    changes: dict[dg.AssetKey, Change] = field(default_factory=dict)


def route(
    unit: Unit,
    carried: Mapping[dg.AssetKey, Any],
    settings: MetaxifySettings,
    *,
    own_default: bool,
    loaded: AbstractSet[dg.AssetKey] = frozenset(),
) -> Routes:
    """Send what feature assets return to the IO manager, unless an asset chose one itself.

    A choice is another key than ``io_manager``, or an ``io_manager`` bound to the asset. (The key
    ``io_manager`` written out cannot be told from no key at all.)

    Args:
        unit: the object whose outputs are looked at.
        carried: the features by asset.
        settings: the policy.
        own_default: whether the repository has an ``io_manager`` resource of its own.
        loaded: assets that arguments of others are loaded from. What writes itself and returns
            nothing is routed for them alone: nothing handles its output, but the key of the output
            says what loads it.

    Returns:
        The outputs and assets to route; empty where all have chosen.
    """
    routes = Routes()
    if settings.io_routing == "off" or (settings.io_routing == "respect_default" and own_default):
        return routes
    definition = unit.definition
    bound = definition is not None and _compat.DEFAULT_IO_MANAGER_KEY in definition.resource_defs
    if bound:
        return routes
    change = Change("io_manager_key", settings.io_manager_key, "a feature's rows are stored")
    for spec in unit.specs:
        if spec.key not in carried or _has_chosen(spec):
            continue
        name, output = _output_of(unit, spec.key)
        if output is not None and output.io_manager_key != _compat.DEFAULT_IO_MANAGER_KEY:
            continue
        if not unit.materializable:
            routes.metadata[spec.key] = {_compat.IO_MANAGER_METADATA_KEY: settings.io_manager_key}
        elif name is None or output is None:
            continue
        elif not _compat.is_nothing(output):
            routes.outputs[name] = settings.io_manager_key
        elif spec.key in loaded:
            routes.outputs[name] = settings.io_manager_key
            routes.changes[spec.key] = replace(change, why="it is loaded for an argument")
            continue
        else:
            continue
        routes.changes[spec.key] = change
    return routes


def stored_by(unit: Unit, key: dg.AssetKey, routed: Mapping[str, str]) -> str | None:
    """The IO manager that handles what an asset returns; None where nothing is handled.

    Args:
        unit: the object that defines the asset.
        key: the asset.
        routed: output names and the IO managers that they are routed to.
    """
    name, output = _output_of(unit, key)
    if name is None or output is None or not unit.materializable or _compat.is_nothing(output):
        return None
    own: str = output.io_manager_key
    return routed.get(name, own)


def _has_chosen(spec: dg.AssetSpec) -> bool:
    named = spec.metadata.get(_compat.IO_MANAGER_METADATA_KEY)
    return named is not None and getattr(named, "value", named) != _compat.DEFAULT_IO_MANAGER_KEY


def _output_of(unit: Unit, key: dg.AssetKey) -> tuple[str | None, dg.OutputDefinition | None]:
    definition = unit.definition
    if definition is not None and unit.executable:
        for name, each in definition.node_keys_by_output_name.items():
            if each == key:
                return name, _compat.origin_of(definition.node_def, name)
    return None, None
