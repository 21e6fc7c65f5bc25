"""Sensors that evaluate automation conditions that count samples."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any, Final

import dagster as dg

from metaxy_dagster.constants import KEY_SENSOR
from metaxy_dagster.definitions import _compat
from metaxy_dagster.definitions.draft.findings import Added
from metaxy_dagster.definitions.draft.rule import RepositoryRule
from metaxy_dagster.definitions.plan.plans import Change, Notice, NoticeKind
from metaxy_dagster.definitions.rules.pending_sensor import taken_names
from metaxy_dagster.runtime.automation.automation_condition import PendingSamples
from metaxy_dagster.runtime.sharing import name_apart

if TYPE_CHECKING:
    from collections.abc import Iterator

    from metaxy_dagster.definitions.bindings.bindings import Bindings
    from metaxy_dagster.definitions.draft.draft import Draft

__all__ = ["condition_sensors"]

#: The value of ``metaxy/sensor`` on, and the name of, the sensors that evaluate conditions.
_CONDITIONS: Final = "metaxy_conditions"
#: So many assets may one sensor have that is evaluated in the code location.
_MOST: Final = 500


@partial(RepositoryRule, sound=True, whole=True)
def condition_sensors(bindings: Bindings, draft: Draft) -> Iterator[Added | Notice]:
    """What evaluates conditions that count samples, where no sensor of the user's does.

    Dagster's daemon passes over conditions that are not its own, without a word: they need a
    sensor that is evaluated in the code location. Each sensor of the user's that has some in the
    daemon is warned of, since Dagster allows one sensor per asset.
    """
    counting = {
        asset.spec.key: asset
        for plan in draft.definitions
        for asset in plan.assets
        if _counts(asset.spec.automation_condition)
    }
    if not counting:
        return
    covered: set[dg.AssetKey] = set()
    for sensor in bindings.scan.fields["sensors"] or ():
        if not isinstance(sensor, dg.AutomationConditionSensorDefinition):
            continue
        selected = draft.selections.selected_after(sensor.asset_selection)
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
    base = name_apart(draft.stored.store, _CONDITIONS, (key.to_user_string() for key in keys))
    names, number = taken_names(bindings.scan), 0
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
        change = Change("added", value, "pending_samples() counts in the code location")
        yield Added("sensors", made.name, made, change)


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
