"""Jobs, schedules, sensors, conditions and selections: what they hold, and copies of them."""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING, Any

import dagster as dg
from dagster._core.definitions.asset_selection import (
    AllSelection,
    KeysAssetSelection,
    OperandListAssetSelection,
)
from dagster._core.definitions.sensor_definition import SensorType
from dagster._core.definitions.target import AutomationTarget
from dagster._core.definitions.unresolved_asset_job_definition import UnresolvedAssetJobDefinition
from dagster_shared.record import replace

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from collections.abc import Set as AbstractSet

__all__ = [
    "executed_keys",
    "in_code_location",
    "is_fixed",
    "job_with_selection",
    "partitioned_with_job",
    "schedule_with_job",
    "selection_with_keys",
    "sensor_with",
    "targets_of",
    "watched_by",
    "watches_code_versions",
]


def watches_code_versions(condition: dg.AutomationCondition[Any] | None) -> bool:
    """Whether an automation condition has ``code_version_changed`` somewhere in it."""
    return condition is not None and "CodeVersionChanged" in repr(condition)


def in_code_location(sensor: dg.AutomationConditionSensorDefinition) -> bool:
    """Whether a sensor is evaluated where the user's code is, and not by Dagster's daemon."""
    return sensor.sensor_type is SensorType.AUTOMATION


def targets_of(automation: object) -> Sequence[AutomationTarget]:
    """The targets of a schedule or sensor; none for those that resolve their job later."""
    if isinstance(automation, dg.SensorDefinition):
        return automation.targets
    if isinstance(automation, dg.ScheduleDefinition):
        return [automation.target]
    return []


def is_fixed(selection: dg.AssetSelection) -> bool:
    """Whether a selection names its assets or takes all: neither lineage nor groups move it."""
    return isinstance(selection, AllSelection | KeysAssetSelection)


def selection_with_keys(
    selection: dg.AssetSelection, keys: Mapping[dg.AssetKey, dg.AssetKey]
) -> dg.AssetSelection:
    """The selection with other keys in it, at any depth; itself if it names none of them."""
    if not keys:
        return selection
    changes: dict[str, Any] = {}
    if isinstance(selection, KeysAssetSelection):
        named = [keys.get(key, key) for key in selection.selected_keys]
        if named != list(selection.selected_keys):
            changes["selected_keys"] = named
    elif isinstance(selection, OperandListAssetSelection):
        operands = [selection_with_keys(each, keys) for each in selection.operands]
        if any(new is not old for new, old in zip(operands, selection.operands, strict=True)):
            changes["operands"] = operands
    else:
        for name in ("left", "right", "child"):
            part = getattr(selection, name, None)
            if isinstance(part, dg.AssetSelection):
                new = selection_with_keys(part, keys)
                if new is not part:
                    changes[name] = new
    return replace(selection, **changes) if changes else selection


def executed_keys(job: dg.JobDefinition) -> AbstractSet[dg.AssetKey]:
    """The assets that a resolved job executes."""
    return frozenset(job.asset_layer.executable_asset_keys)


def job_with_selection(
    job: UnresolvedAssetJobDefinition, selection: dg.AssetSelection
) -> UnresolvedAssetJobDefinition:
    """The same asset job over another selection."""
    return replace(job, selection=selection)


def schedule_with_job(schedule: dg.ScheduleDefinition, job: Any) -> dg.ScheduleDefinition:
    """The schedule over another job; it no longer holds asset objects of its own."""
    return schedule.with_attributes(job=job)


def partitioned_with_job(schedule: Any, job: Any) -> Any:
    """A schedule built from a partitioned asset job, over another job."""
    return replace(schedule, job=job)


#: What sensors watch, by the private attribute that holds it.
_WATCHED = (
    (dg.AssetSensorDefinition, "_asset_key"),
    (dg.MultiAssetSensorDefinition, "_monitored_assets"),
    (dg.AutomationConditionSensorDefinition, "_sensor_target"),
    (dg.SensorDefinition, "_asset_selection"),
)


def watched_by(sensor: dg.SensorDefinition) -> dict[str, Any]:
    """The keys or selections that a sensor watches or targets, by attribute."""
    found: dict[str, Any] = {}
    for kind, attribute in _WATCHED:
        value = getattr(sensor, attribute, None)
        if not isinstance(sensor, kind) or value is None:
            continue
        if attribute == "_asset_selection" and "_sensor_target" in found:
            continue  # derived from it
        if attribute == "_sensor_target" and not isinstance(value, dg.AssetSelection):
            value = dg.AssetSelection.from_coercible(value)
        found[attribute] = value
    return found


def sensor_with(
    sensor: dg.SensorDefinition, *, jobs: Sequence[Any] | None, watched: Mapping[str, Any]
) -> dg.SensorDefinition | None:
    """The sensor over other jobs, watching something else; None where this release cannot.

    A sensor is rebuilt, since its closures hold what it watches. Before Dagster 1.12 special
    sensors cannot be rebuilt; what their attributes alone say can still be replaced.
    """
    twin = copy.copy(sensor)
    for attribute, value in watched.items():
        setattr(twin, attribute, value)
    plain = dg.SensorDefinition.with_attributes
    if type(sensor) is dg.SensorDefinition or type(sensor).with_attributes is not plain:
        return twin.with_attributes(jobs=jobs)
    if jobs is None and set(watched) == {"_asset_selection"}:
        return twin
    return None if watched else sensor.with_attributes(jobs=jobs)
