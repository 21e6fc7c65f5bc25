"""Checks and sensors that a repository gets in addition to its own."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from metaxy_dagster.definitions.plan.plans import Change, Notice, NoticeKind
from metaxy_dagster.definitions.rules.checks import plan_checks
from metaxy_dagster.definitions.rules.sensors import plan_condition_sensors, plan_pending_sensor
from metaxy_dagster.errors import MetaxyError

if TYPE_CHECKING:
    from collections.abc import Sequence

    import dagster as dg

    from metaxy_dagster.definitions.bindings.unit_context import UnitContext
    from metaxy_dagster.definitions.plan.plans import DefinitionPlan
    from metaxy_dagster.definitions.rules.resources import Stored
    from metaxy_dagster.definitions.rules.selections import Selections
    from metaxy_dagster.features.graph import FeatureGraph

__all__ = ["Additions", "plan_additions"]


@dataclass(eq=False)
class Additions:
    """What is added, with a word on each.

    Args:
        checks: asset checks.
        check_notes: the assets that they look at.
        sensors: sensors.
        sensor_notes: what they are for, by name.
        notices: warnings.
        errors: why one that was asked for cannot be made.
    """

    checks: list[dg.AssetChecksDefinition] = field(default_factory=list)
    check_notes: list[tuple[str, Change]] = field(default_factory=list)
    sensors: list[dg.SensorDefinition] = field(default_factory=list)
    sensor_notes: list[tuple[str, Change]] = field(default_factory=list)
    notices: list[Notice] = field(default_factory=list)
    errors: list[MetaxyError] = field(default_factory=list)

    def add_sensor(self, sensor: dg.SensorDefinition, change: Change) -> None:
        """Note one sensor."""
        self.sensors.append(sensor)
        self.sensor_notes.append((f"sensor {sensor.name}", change))


def plan_additions(
    context: UnitContext,
    definitions: Sequence[DefinitionPlan],
    graph: FeatureGraph,
    selections: Selections,
    stored: Stored,
) -> Additions:
    """Plan what the settings and the assets ask for.

    Args:
        context: what the units were planned from.
        definitions: the planned units.
        graph: the features.
        selections: resolves what the user's own sensors are for.
        stored: where features are stored.

    Returns:
        Nothing where all of it is there already.
    """
    added = Additions()
    scan, settings = context.scan, context.settings
    for checks, asset, change in plan_checks(scan, definitions, graph, settings, stored.key):
        added.checks.append(checks)
        added.check_notes.append((asset, change))
    try:
        pending = plan_pending_sensor(scan, definitions, graph, settings, stored)
    except MetaxyError as error:
        added.errors.append(error)
    else:
        if pending is not None:
            added.add_sensor(*pending)
    if settings.pending_sensor is not False and settings.pending_condition:
        message = (
            "pending_sensor and pending_condition both request runs for pending samples: "
            "switch on one of the two sensors, or leave one setting out"
        )
        added.notices.append(Notice(NoticeKind.AUTOMATION, message))
    for found in plan_condition_sensors(scan, definitions, selections, stored):
        if isinstance(found, Notice):
            added.notices.append(found)
        else:
            added.add_sensor(*found)
    return added
