"""Sensors that the pass adds: one that requests pending work, one that evaluates conditions."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import dagster as dg

from metaxy_dagster.constants import KEY_SENSOR
from metaxy_dagster.definitions import _compat
from metaxy_dagster.definitions.plan.plans import Change, Notice, NoticeKind
from metaxy_dagster.errors import DefinitionsError
from metaxy_dagster.runtime.automation.automation_condition import PendingSamples
from metaxy_dagster.runtime.automation.sensor import SENSOR_NAME, build_pending_sensor
from metaxy_dagster.runtime.sharing import name_apart

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from metaxy_dagster.definitions.plan.plans import DefinitionPlan
    from metaxy_dagster.definitions.repository.collect import Scan
    from metaxy_dagster.definitions.rules.resources import Stored
    from metaxy_dagster.definitions.rules.selections import Selections
    from metaxy_dagster.definitions.settings import MetaxifySettings
    from metaxy_dagster.features.graph import FeatureGraph

__all__ = ["plan_condition_sensors", "plan_pending_sensor"]

#: The value of ``metaxy/sensor`` on, and the name of, the sensors that evaluate conditions.
_CONDITIONS: Final = "metaxy_conditions"
#: So many assets may one sensor have that is evaluated in the code location.
_MOST: Final = 500

_Planned = tuple[dg.SensorDefinition, Change]


def plan_pending_sensor(
    scan: Scan,
    definitions: Sequence[DefinitionPlan],
    graph: FeatureGraph,
    settings: MetaxifySettings,
    stored: Stored,
) -> _Planned | None:
    """The sensor of the setting ``pending_sensor``; None if it is there, or not asked for.

    Args:
        scan: the repository.
        definitions: its planned units.
        graph: the features.
        settings: whether there is to be one, and its options.
        stored: where features are stored.

    Raises:
        DefinitionsError: there is nothing to watch, or the name is taken.
    """
    if settings.pending_sensor is False:
        return None
    given = {} if settings.pending_sensor is True else dict(settings.pending_sensor)
    specs = [
        asset.spec
        for plan in definitions
        if plan.unit.materializable
        for asset in plan.assets
        if asset.feature is not None and not graph.plan(asset.feature).is_root
    ]
    options: dict[str, Any] = {"store_resource_key": stored.key, **given}
    if "name" not in given:
        names = (spec.key.to_user_string() for spec in specs)
        options["name"] = name_apart(stored.store, SENSOR_NAME, names)
    if isinstance(options.get("default_status"), str):
        options["default_status"] = dg.DefaultSensorStatus[options["default_status"]]
    name = options["name"]
    for each in scan.fields["sensors"] or ():
        if each.name == name and _mark(each) == SENSOR_NAME:
            return None
    if name in _names(scan):
        raise DefinitionsError(
            "the name of the sensor that requests pending work is taken",
            found=f"a sensor or schedule {name!r}",
            allowed="a name that no other sensor or schedule has",
            remedy='say pending_sensor={"name": "..."}',
        )
    made = build_pending_sensor(specs, **options)
    count = sum(spec.partitions_def is None for spec in specs)
    value = f"to request runs for {count} asset{'' if count == 1 else 's'} with pending samples"
    return made, Change("added", value, "the setting pending_sensor")


def plan_condition_sensors(
    scan: Scan, definitions: Sequence[DefinitionPlan], selections: Selections, stored: Stored
) -> Iterator[_Planned | Notice]:
    """What evaluates conditions that count samples, where no sensor of the user's does.

    Dagster's daemon passes over conditions that are not its own, without a word: they need a
    sensor that is evaluated in the code location.

    Args:
        scan: the repository.
        definitions: its planned units.
        selections: resolves what the user's sensors are for.
        stored: where features are stored.

    Yields:
        Sensors for the assets that none of the user's has; and a warning of each sensor of the
        user's that has some in the daemon, since Dagster allows one sensor per asset.
    """
    counting = {
        asset.spec.key: asset
        for plan in definitions
        for asset in plan.assets
        if _counts(asset.spec.automation_condition)
    }
    if not counting:
        return
    covered: set[dg.AssetKey] = set()
    for sensor in scan.fields["sensors"] or ():
        if not isinstance(sensor, dg.AutomationConditionSensorDefinition):
            continue
        selected = selections.selected_after(sensor.asset_selection)
        covered |= selected
        unseen = [key.to_user_string() for key in counting if key in selected]
        if unseen and not _compat.in_code_location(sensor):
            message = (
                f"Dagster's daemon evaluates it, and passes over conditions that count pending "
                f"samples: those of {', '.join(unseen[:3])}{', …' if unseen[3:] else ''} are "
                "never true; make it with use_user_code_server=True"
            )
            yield Notice(NoticeKind.AUTOMATION, message, f"sensor {sensor.name}")
    keys = [key for key in counting if key not in covered]
    base = name_apart(stored.store, _CONDITIONS, (key.to_user_string() for key in keys))
    names, number = _names(scan), 0
    for start in range(0, len(keys), _MOST):
        number += 1
        while (name := base if number == 1 else f"{base}_{number}") in names:
            number += 1
        some = keys[start : start + _MOST]
        with _compat.quiet():
            made = dg.AutomationConditionSensorDefinition(
                name,
                target=dg.AssetSelection.assets(*some).without_checks(),
                use_user_code_server=True,
                metadata={KEY_SENSOR: _CONDITIONS},
                description="Evaluates automation conditions that count pending samples.",
            )
        plural = "" if len(some) == 1 else "s"
        value = f"to evaluate the automation conditions of {len(some)} asset{plural}"
        yield made, Change("added", value, "pending_samples() counts in the code location")


def _counts(condition: dg.AutomationCondition[Any] | None) -> bool:
    """Whether a condition counts pending samples somewhere in it."""
    if condition is None:
        return False
    waiting = [condition]
    while waiting:
        each = waiting.pop()
        if isinstance(each, PendingSamples):
            return True
        waiting += each.children
    return False


def _mark(sensor: dg.SensorDefinition) -> object:
    value = (sensor.metadata or {}).get(KEY_SENSOR)
    return getattr(value, "value", value)


def _names(scan: Scan) -> set[str]:
    fields = scan.fields
    return {each.name for each in (*(fields["sensors"] or ()), *(fields["schedules"] or ()))}
