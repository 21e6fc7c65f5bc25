"""The sensor that requests runs for pending samples."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

import dagster as dg

from metaxy_dagster.constants import KEY_SENSOR
from metaxy_dagster.definitions.draft.findings import Added
from metaxy_dagster.definitions.draft.rule import RepositoryRule
from metaxy_dagster.definitions.plan.plans import Change, Notice, NoticeKind
from metaxy_dagster.errors import DefinitionsError, MetaxyError
from metaxy_dagster.runtime.automation.sensor import SENSOR_NAME, build_pending_sensor
from metaxy_dagster.runtime.sharing import name_apart

if TYPE_CHECKING:
    from collections.abc import Iterator

    from metaxy_dagster.definitions.bindings.bindings import Bindings
    from metaxy_dagster.definitions.draft.draft import Draft
    from metaxy_dagster.definitions.repository.collect import Scan

__all__ = ["pending_sensor", "taken_names"]


@partial(RepositoryRule, sound=True, whole=True)
def pending_sensor(bindings: Bindings, draft: Draft) -> Iterator[Added | Notice | MetaxyError]:
    """The sensor of the setting ``pending_sensor``, where it is not there yet.

    A fault where there is nothing to watch, or the name is taken.
    """
    settings = bindings.settings
    if settings.pending_sensor is False:
        return
    try:
        yield from _sensor(bindings, draft)
    except MetaxyError as error:
        yield error
    if settings.pending_condition:
        message = (
            "pending_sensor and pending_condition both request runs for pending samples: "
            "switch on one of the two sensors, or leave one setting out"
        )
        yield Notice(NoticeKind.AUTOMATION, message)


def _sensor(bindings: Bindings, draft: Draft) -> Iterator[Added | MetaxyError]:
    asked = bindings.settings.pending_sensor
    given = {} if isinstance(asked, bool) else dict(asked)
    specs = [
        asset.spec
        for plan in draft.definitions
        if plan.unit.materializable
        for asset in plan.assets
        if asset.feature is not None and not bindings.graph.plan(asset.feature).is_root
    ]
    options: dict[str, Any] = {"store_resource_key": draft.stored.key, **given}
    if "name" not in given:
        names = (spec.key.to_user_string() for spec in specs)
        options["name"] = name_apart(draft.stored.store, SENSOR_NAME, names)
    if isinstance(options.get("default_status"), str):
        options["default_status"] = dg.DefaultSensorStatus[options["default_status"]]
    name = options["name"]
    for each in bindings.scan.fields["sensors"] or ():
        if each.name == name and _mark(each) == SENSOR_NAME:
            return
    if name in taken_names(bindings.scan):
        yield DefinitionsError(
            "the name of the sensor that requests pending work is taken",
            found=f"a sensor or schedule {name!r}",
            allowed="a name that no other sensor or schedule has",
            remedy='say pending_sensor={"name": "..."}',
        )
        return
    made = build_pending_sensor(specs, **options)
    count = sum(spec.partitions_def is None for spec in specs)
    value = f"to request runs for {count} asset{'' if count == 1 else 's'} with pending samples"
    change = Change("added", value, "the setting pending_sensor")
    yield Added("sensors", made.name, made, change)


def _mark(sensor: dg.SensorDefinition) -> object:
    value = (sensor.metadata or {}).get(KEY_SENSOR)
    return getattr(value, "value", value)


def taken_names(scan: Scan) -> set[str]:
    """The names of all sensors and schedules."""
    fields = scan.fields
    return {each.name for each in (*(fields["sensors"] or ()), *(fields["schedules"] or ()))}
