"""The function of a running step, and the op around it: what code in it sees of Dagster."""

from __future__ import annotations

import copy
from collections.abc import Callable, Collection, Iterator, Mapping
from typing import Any

import dagster as dg
from dagster._core.definitions.decorators.op_decorator import DecoratedOpFunction

__all__ = ["current_execution", "op_around", "reports_checks", "tell_of_asset"]


def op_around(
    op: dg.OpDefinition,
    function: Callable[..., Any],
    *,
    resources: Collection[str],
    without: Collection[str] = (),
) -> dg.OpDefinition:
    """A copy of an op that runs another function, which needs more resources.

    Args:
        op: the op; it is not changed.
        function: of the same signature.
        resources: what it needs beside what the op does.
        without: inputs of the op that its function is given in another way.
    """
    twin = copy.copy(op)
    twin.__class__ = _OpAround
    vars(twin)["_around_keys"] = frozenset(resources) - op.required_resource_keys
    twin._compute_fn = DecoratedOpFunction(decorated_fn=function)
    twin._required_resource_keys = frozenset({*op.required_resource_keys, *resources})
    inputs = [each for each in op.input_defs if each.name not in without]
    twin._input_defs = inputs
    twin._input_dict = {each.name: each for each in inputs}
    return twin


class _OpAround(dg.OpDefinition):
    """An op that needs more resources in a run, and none of them where it is called directly."""

    def get_resource_requirements(self, handle: Any, asset_layer: Any) -> Iterator[Any]:
        """As Dagster asks: for a place in a job, or without one for the op by itself."""
        hidden = vars(self)["_around_keys"] if handle is None else ()
        for each in super().get_resource_requirements(handle, asset_layer):
            if getattr(each, "key", None) not in hidden:
                yield each


def current_execution() -> Any:
    """The context of the step whose function is being called; ``None`` outside of a run."""
    try:
        return dg.OpExecutionContext.get().get_step_execution_context()
    except dg.DagsterInvariantViolationError:
        return None


def reports_checks(execution: Any) -> bool:
    """Whether results of asset checks are asked of a step."""
    return bool(execution.assets_def is not None and execution.assets_def.check_keys)


def tell_of_asset(
    execution: Any, asset_key: dg.AssetKey, metadata: Mapping[str, Any], data_version: str
) -> None:
    """Let the materialization of an asset say this, whoever makes it.

    Args:
        execution: the context of the running step.
        asset_key: the asset.
        metadata: by key.
        data_version: unless the result of the function brings its own.
    """
    said = execution._metadata_accumulator
    execution._metadata_accumulator = said.with_additional_asset_metadata(
        asset_key=asset_key, partition_key=None, metadata=metadata
    )
    execution.set_data_version(asset_key, dg.DataVersion(data_version))
