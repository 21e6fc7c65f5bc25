"""Automation conditions that the pass brings to assets of derived features."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

import dagster as dg

from metaxy_dagster.definitions.draft.findings import Fill
from metaxy_dagster.definitions.draft.rule import RepositoryRule
from metaxy_dagster.definitions.plan.plans import Change
from metaxy_dagster.runtime.automation.automation_condition import pending_samples

if TYPE_CHECKING:
    from collections.abc import Iterator

    from metaxy_dagster.definitions.bindings.bindings import Bindings
    from metaxy_dagster.definitions.draft.draft import Draft

__all__ = ["condition"]


@partial(RepositoryRule, whole=True)
def condition(bindings: Bindings, draft: Draft) -> Iterator[Fill]:
    """Request an asset while samples are pending, unless it has a condition of its own."""
    if not bindings.settings.pending_condition:
        return
    for asset in draft.tied.values():
        keys, spec = asset.asset.keys, asset.spec
        if spec.automation_condition is not None or asset.data.plan.is_root:
            continue
        if not asset.asset.unit.materializable:
            continue
        if spec.partitions_def is not None and not keys.gives("partition_by"):
            continue  # nothing tells which partition a pending sample is of
        # Only runs that take increments delete orphaned samples.
        pending = pending_samples(once=True, orphaned=keys.takes_increment)
        # For assets that use the store by themselves.
        pending = replace(pending, fallback=draft.stored.value)
        automation = dg.AutomationCondition
        made = pending & ~automation.in_progress() & ~automation.any_deps_in_progress()
        shown = "while samples are pending, and neither it nor its deps are in progress"
        change = Change("automation_condition", shown, "the setting pending_condition")
        yield Fill(asset, "automation_condition", made, (change,))
