"""The few places where Dagster offers no public way; a test pins each of them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import dagster as dg

if TYPE_CHECKING:
    from dagster import InputContext, OutputContext

__all__ = ["attempt", "input_metadata", "set_data_version", "step_outputs"]


def step_outputs(context: InputContext | OutputContext) -> Mapping[dg.AssetKey, Mapping[str, Any]]:
    """The metadata of each asset that the running step was asked to produce."""
    step = context.step_context
    assets_def = step.assets_def
    if assets_def is None:
        return {}
    wanted = step.get_output_asset_keys()
    return {spec.key: spec.metadata for spec in assets_def.specs if spec.key in wanted}


def input_metadata(context: InputContext) -> Mapping[str, Any]:
    """The metadata of the asset that is being loaded."""
    if context.upstream_output is not None:
        found = context.upstream_output.definition_metadata
        if found:
            return found
    layer = context.step_context.job_def.asset_layer
    return layer.get(context.asset_key).metadata if layer.has(context.asset_key) else {}


def attempt(context: InputContext | OutputContext) -> tuple[str, str, int]:
    """What tells one attempt at a step from all others: run, step, number of earlier attempts."""
    step = context.step_context
    return (step.run_id, step.step.key, step.previous_attempt_count)


def set_data_version(context: OutputContext, version: str) -> None:
    """Let Dagster record this data version with the materialization of the output."""
    context.step_context.set_data_version(context.asset_key, dg.DataVersion(version))
