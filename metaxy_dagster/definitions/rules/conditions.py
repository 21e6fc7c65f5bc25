"""Automation conditions that the pass brings to assets of derived features."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import dagster as dg

from metaxy_dagster.runtime.automation.automation_condition import pending_samples

if TYPE_CHECKING:
    from metaxy_dagster.definitions.bindings.merge import Filled
    from metaxy_dagster.definitions.bindings.translator_data import MetaxyTranslatorData
    from metaxy_dagster.definitions.repository.collect import Asset

__all__ = ["fill_condition"]


def fill_condition(filled: Filled, asset: Asset, data: MetaxyTranslatorData, store: object) -> None:
    """Request an asset while samples are pending, unless it has a condition of its own.

    Args:
        filled: what is brought to the asset; the condition is added.
        asset: the asset.
        data: its feature.
        store: the resource that is, or holds, the store; for assets that use it by themselves.
    """
    spec = asset.spec
    if spec.automation_condition is not None or data.plan.is_root or not asset.unit.materializable:
        return
    if spec.partitions_def is not None and not asset.keys.gives("partition_by"):
        return  # nothing tells which partition a pending sample is of
    # Only runs that take increments delete orphaned samples.
    pending = replace(
        pending_samples(once=True, orphaned=asset.keys.takes_increment), fallback=store
    )
    automation = dg.AutomationCondition
    condition = pending & ~automation.in_progress() & ~automation.any_deps_in_progress()
    shown = "while samples are pending, and neither it nor its deps are in progress"
    filled.set("automation_condition", condition, shown, "the setting pending_condition")
