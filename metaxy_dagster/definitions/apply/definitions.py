"""Executes a plan: the same Definitions with the planned objects in place of the old ones."""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING, Any, Final

import dagster as dg

from metaxy_dagster.definitions import _compat
from metaxy_dagster.definitions.draft.drafts import BODY, OUTPUT
from metaxy_dagster.definitions.plan.plans import KEPT, ROUTED
from metaxy_dagster.definitions.repository.collector import collector_held
from metaxy_dagster.features.graph import FeatureGraph
from metaxy_dagster.runtime.events.first_run import note_changes
from metaxy_dagster.runtime.io.io_manager import MetaxyIOManager

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from metaxy_dagster.definitions.apply.rewrite import Rewriter
    from metaxy_dagster.definitions.plan.plans import RepositoryPlan

__all__ = ["apply_plan"]

#: What people want to know when an asset runs, beside warnings.
_TOLD: Final = frozenset({BODY, KEPT, OUTPUT, ROUTED, "key"})


@collector_held()
@_compat.quiet()
def apply_plan(plan: RepositoryPlan, rewriter: Rewriter) -> dg.Definitions:
    """Build the new Definitions.

    Args:
        plan: a plan without faults.
        rewriter: makes the new asset objects, each once.

    Returns:
        New Definitions with every field of the old ones; the same object when nothing changes.

    Raises:
        MetaxyErrorGroup: the plan holds faults.
    """
    plan.raise_errors()
    if not plan.changes_anything:
        return plan.defs
    made: dict[int, Any] = {
        id(each.unit.given): rewriter.rewrite(each) for each in plan.definitions
    }
    fields = dict(plan.scan.fields)
    # Rebuilt schedules and sensors no longer hold asset objects: what only they knew moves.
    moved = [made[id(each.unit.given)] for each in plan.definitions if not each.unit.listed]
    fields["assets"] = _exchanged(fields["assets"], made, [*moved, *plan.externals])
    fields["asset_checks"] = _exchanged(fields["asset_checks"], made)
    if plan.resources:
        merged = {**(fields["resources"] or {}), **plan.resources}
        fields["resources"] = _compat.with_told_conflicts(merged, plan.resources)
    _note_changes(plan, fields["resources"] or {})
    if plan.checks:
        fields["asset_checks"] = [*(fields["asset_checks"] or ()), *plan.checks]
    replaced = plan.automations.replaced
    for name in ("jobs", "schedules", "sensors"):
        added = plan.sensors if name == "sensors" else ()
        fields[name] = _exchanged(fields[name], replaced, added)
    return dg.Definitions(**fields)


def _note_changes(plan: RepositoryPlan, resources: Mapping[str, Any]) -> None:
    """Have the first run of each asset tell what becomes of its function and of what it returns."""
    lines: defaultdict[dg.AssetKey, list[str]] = defaultdict(list)
    keys = {asset.key.to_user_string(): asset.spec.key for asset in plan.assets}
    for asset in plan.assets:
        if asset.feature is not None:
            told = [one for one in asset.changes if one.what in _TOLD]
            lines[asset.spec.key] += [f"{one.what}: {one.value} ({one.why})" for one in told]
    for notice in plan.notices:
        if notice.asset in keys:
            lines[keys[notice.asset]].append(f"{notice.kind}: {notice.message}")
    for resource in resources.values():
        graph = getattr(getattr(resource, "store", None), "graph", None)
        if isinstance(resource, MetaxyIOManager) and isinstance(graph, FeatureGraph):
            note_changes(graph, lines)


def _exchanged(
    entries: Iterable[Any] | None, made: Mapping[int, Any], added: Iterable[Any] = ()
) -> list[Any] | None:
    more = list(added)
    if entries is None:
        return more or None
    return [*(made.get(id(entry), entry) for entry in entries), *more]
