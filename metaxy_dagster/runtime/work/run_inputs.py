"""What a running step computes its features with, besides their samples."""

from __future__ import annotations

import weakref
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Any

import dagster as dg

from metaxy_dagster.features import FeatureKey
from metaxy_dagster.keys import InputKeys, parse, resource_version
from metaxy_dagster.stores.running import computing_with

if TYPE_CHECKING:
    from dagster import InputContext, OutputContext

__all__ = ["current_inputs", "within_run_of"]

_KNOWN: weakref.WeakKeyDictionary[Any, Mapping[FeatureKey, str]] = weakref.WeakKeyDictionary()


def current_inputs() -> Mapping[FeatureKey, str]:
    """By feature, the hash of what the function that is being called computes it with."""
    try:
        return _inputs_of(dg.OpExecutionContext.get().get_step_execution_context())
    except dg.DagsterInvariantViolationError:
        return {}


def within_run_of(context: InputContext | OutputContext) -> AbstractContextManager[None]:
    """Let a store see features as the step does that a context belongs to."""
    try:
        return computing_with(_inputs_of(context.step_context))
    except dg.DagsterInvariantViolationError:
        return computing_with({})


def _inputs_of(step: Any) -> Mapping[FeatureKey, str]:
    found = _KNOWN.get(step)
    if found is None:
        found = _KNOWN[step] = _read(step)
    return found


def _read(step: Any) -> dict[FeatureKey, str]:
    found: dict[FeatureKey, str] = {}
    for key, metadata in _assets(step):
        keys = parse(metadata, key.to_user_string()).keys
        if keys.feature is not None and keys.config_version is not None:
            found[keys.feature] = _version(step, keys.config_version)
    return found


def _version(step: Any, keys: InputKeys) -> str:
    resources = {name: resource_version(*_resource(step, name)) for name in keys.resources}
    return keys.version(_config(step), resources)


def _assets(step: Any) -> Iterator[tuple[dg.AssetKey, Mapping[str, Any]]]:
    """All assets of the definition that a step belongs to, with their metadata."""
    for spec in () if step.assets_def is None else step.assets_def.specs:
        yield spec.key, spec.metadata


def _config(step: Any) -> dict[str, Any]:
    """The configuration of an asset in a run, with defaults; of a graph asset, by its ops."""
    root = step.node_handle.root.name
    found: dict[str, Any] = {}
    for handle, given in step.resolved_run_config.ops.items():
        name, *path = handle.split(".")
        if name != root or given.config is None:
            continue
        place = found
        for each in path:
            place = place.setdefault(each, {})
        place.update(given.config if isinstance(given.config, Mapping) else {"": given.config})
    return found


def _resource(step: Any, key: str) -> tuple[Any, Any]:
    """A resource as a step sees it, and how the run configures it."""
    configured = step.resolved_run_config.resources.get(key)
    config = None if configured is None else configured.config
    return getattr(step.resources, key, None), config
