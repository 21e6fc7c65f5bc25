"""A run's configuration as an input of what it computes: what is known of it before the run.

Stores see features as they are computed with the default configuration, until a run says another
one. What has no default counts as in the last run.
"""

from __future__ import annotations

import difflib
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import dagster as dg

from metaxy_dagster.constants import KEY_CONFIG_VERSION
from metaxy_dagster.definitions import _compat
from metaxy_dagster.definitions.plan.plans import Notice, NoticeKind
from metaxy_dagster.errors import DefinitionsError, MetaxyError
from metaxy_dagster.features.run_inputs import UNKNOWN, with_inputs
from metaxy_dagster.keys import MISSING, InputKeys, resource_version

if TYPE_CHECKING:
    from collections.abc import Iterator

    from metaxy_dagster.definitions.bindings.declared import Declared
    from metaxy_dagster.definitions.repository.collect import Asset, Scan
    from metaxy_dagster.features.keys import FeatureKey

__all__ = ["with_default_inputs"]

_Found = list[MetaxyError | Notice]


def with_default_inputs(scan: Scan, declared: Declared) -> tuple[Declared, _Found]:
    """The features as runs compute them that say nothing of their configuration.

    Args:
        scan: the repository.
        declared: the features and their assets; the graph is not changed.

    Returns:
        The same with another graph, or the very same where no configuration counts; and what is
        at fault, or should be known.
    """
    found: _Found = []
    by_feature: defaultdict[FeatureKey, dict[str, str | None]] = defaultdict(dict)
    counting: set[FeatureKey] = set()
    for key, feature in declared.by_asset.items():
        asset = scan.assets[key]
        keys = asset.keys.config_version
        if keys is None or not asset.unit.executable:
            by_feature[feature][asset.name] = None
            continue
        counting.add(feature)
        faults = list(_faults(asset, str(feature), keys, scan))
        found += faults
        if not faults:
            unknown = _unknown(asset, keys, scan)
            if unknown:
                found.append(_not_known(asset, unknown))
            by_feature[feature][asset.name] = UNKNOWN if unknown else _version(asset, keys, scan)
    inputs: dict[FeatureKey, str] = {}
    for feature in sorted(counting):
        given = by_feature[feature]
        if len(set(given.values())) > 1:
            found.append(_different(str(feature), given))
        elif given:
            inputs[feature] = next(text for text in given.values() if text is not None)
    graph = with_inputs(declared.graph, inputs)
    if graph is declared.graph:
        return declared, found
    return replace(declared, graph=graph, plain=declared.plain or declared.graph), found


def _version(asset: Asset, keys: InputKeys, scan: Scan) -> str:
    resources = {key: resource_version(_resource(asset, key, scan), None) for key in keys.resources}
    return keys.version(_compat.default_config(_node(asset), MISSING), resources)


def _unknown(asset: Asset, keys: InputKeys, scan: Scan) -> list[str]:
    """What only a run tells."""
    config = keys.missing(_compat.default_config(_node(asset), MISSING))
    resources = [key for key in keys.resources if not _is_known(_resource(asset, key, scan))]
    return [*config, *(f"resource {key}" for key in resources)]


def _is_known(resource: object) -> bool:
    if isinstance(resource, dg.ResourceDefinition):
        return False
    found = resource_version(resource, None)
    # What stands for a variable of the environment is text of a type of its own.
    return found is not None and type(found["version"]) in {str, int, float, bool}


def _resource(asset: Asset, key: str, scan: Scan) -> object:
    own = asset.unit.definition.resource_defs if asset.unit.definition else {}
    return (scan.fields["resources"] or {}).get(key, own.get(key))


def _node(asset: Asset) -> Any:
    return asset.unit.definition.node_def if asset.unit.definition else None


def _faults(asset: Asset, feature: str, keys: InputKeys, scan: Scan) -> Iterator[MetaxyError]:
    fields = _compat.config_fields(_node(asset))
    for name in () if keys.config is True else keys.config:
        near = _stranger(fields, name)
        if near is not None:
            yield _fault(asset, feature, f"configuration key {name!r}", near)
    needed = asset.unit.definition.required_resource_keys if asset.unit.definition else set()
    for key in keys.resources:
        if key not in needed:
            yield _fault(asset, feature, f"resource {key!r}", sorted(needed))
        elif isinstance(_node(asset), dg.GraphDefinition):
            yield _cannot(
                asset, feature, key, "each step of a graph asset has resources of its own"
            )
        else:
            resource = _resource(asset, key, scan)
            if _is_plain(resource) and resource_version(resource, None) is None:
                yield _cannot(asset, feature, key, "it has neither a version nor a configuration")


def _is_plain(resource: object) -> bool:
    """Whether it is an object of the user's own, which nothing configures."""
    made = isinstance(resource, dg.ResourceDefinition) or hasattr(
        resource, "get_resource_definition"
    )
    return resource is not None and not made


def _stranger(fields: Any, name: str) -> list[str] | None:
    """The keys that there are, where a name is none of them."""
    for part in name.split("."):
        if fields is None:
            return None
        if part not in fields:
            return sorted(fields)
        fields = fields[part]
    return None


def _fault(asset: Asset, feature: str, what: str, allowed: list[str]) -> DefinitionsError:
    name = what.split("'")[1].rpartition(".")[2]
    near = difflib.get_close_matches(name, allowed, n=1)
    return DefinitionsError(
        f"{KEY_CONFIG_VERSION} names what the asset does not have",
        asset=asset.name,
        feature=feature,
        found=what,
        allowed=", ".join(allowed) or "none",
        remedy=f"did you mean {near[0]!r}?" if near else "name one of these, or leave it out",
    )


def _cannot(asset: Asset, feature: str, key: str, why: str) -> DefinitionsError:
    return DefinitionsError(
        f"{KEY_CONFIG_VERSION} names a resource whose version cannot be told",
        asset=asset.name,
        feature=feature,
        found=f"resource {key!r}: {why}",
        allowed="a resource of an asset of one op, with version= or a configuration",
        remedy="give the resource an attribute version, or name keys of the asset's configuration",
    )


def _different(feature: str, given: Mapping[str, str | None]) -> DefinitionsError:
    first, second = sorted(given, key=lambda name: (given[name] or "", name))[:: len(given) - 1]
    return DefinitionsError(
        "the assets of one feature count different configurations as inputs",
        asset=first,
        feature=feature,
        found=f"{first} and {second} differ in {KEY_CONFIG_VERSION}, or in the defaults",
        allowed="the same keys with the same defaults on all assets of a feature",
        remedy=f"make {KEY_CONFIG_VERSION} and the defaults equal",
    )


def _not_known(asset: Asset, unknown: list[str]) -> Notice:
    return Notice(
        NoticeKind.CODE_VERSION,
        f"{', '.join(unknown)} of {KEY_CONFIG_VERSION} "
        f"{'has' if len(unknown) == 1 else 'have'} no default: outside of runs, samples are "
        "counted as if they were computed as in the last run",
        asset.name,
    )
