"""Jobs, schedules and sensors: new asset objects, new keys, and selections that keep meaning."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

import dagster as dg

from metaxy_dagster.definitions import _compat
from metaxy_dagster.definitions.draft.rule import RepositoryRule
from metaxy_dagster.definitions.plan.plans import AutomationPlan, Change, Notice, NoticeKind
from metaxy_dagster.errors import DefinitionsError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from metaxy_dagster.definitions.bindings.bindings import Bindings
    from metaxy_dagster.definitions.draft.draft import Draft
    from metaxy_dagster.definitions.draft.selections import Comparison
    from metaxy_dagster.errors import MetaxyError

__all__ = ["automations"]


@partial(RepositoryRule, sound=True)
def automations(
    bindings: Bindings, draft: Draft
) -> Iterator[AutomationPlan | Notice | MetaxyError]:
    """Replacements by identity: a job that several hold is replaced by one new object."""
    if any(each.touched for each in draft.definitions):
        yield from _Planner(bindings, draft).run()


class _Planner:
    def __init__(self, bindings: Bindings, draft: Draft) -> None:
        self._fields = bindings.scan.fields
        self._selections = draft.selections
        self._renames = bindings.renames
        self._drift = bindings.settings.selection_drift
        touched = [each for each in draft.definitions if each.touched]
        self._touched = {id(each.unit.given) for each in touched}
        self._new_keys = {asset.key for each in touched for asset in each.assets}
        self._jobs: dict[int, Any] = {}
        self._replaced: dict[int, Any] = {}
        self._notes: list[tuple[str, Change]] = []
        self._found: list[Notice | MetaxyError] = []

    def run(self) -> Iterator[AutomationPlan | Notice | MetaxyError]:
        for job in self._fields["jobs"] or ():
            if self._job(job) is not job:
                self._replaced[id(job)] = self._job(job)
        for schedule in self._fields["schedules"] or ():
            self._schedule(schedule)
        for sensor in self._fields["sensors"] or ():
            self._sensor(sensor)
        yield from self._found
        yield AutomationPlan(self._replaced, tuple(self._notes))

    # ------------------------------------------------------------------------------------ jobs
    def _job(self, job: Any) -> Any:
        """The job to use from now on; asked again for the same job, the same new object."""
        if id(job) not in self._jobs:
            self._jobs[id(job)] = self._new_job(job)
        return self._jobs[id(job)]

    def _new_job(self, job: Any) -> Any:
        if isinstance(job, _compat.UnresolvedAssetJobDefinition):
            selection = self._selection(f"job {job.name}", job.selection)
            return job if selection is None else _compat.job_with_selection(job, selection)
        if isinstance(job, dg.JobDefinition) and (keys := self._stale_keys(job)):
            message = (
                f"was resolved before the pass and keeps the old objects of {keys}; define it "
                "with define_asset_job and leave resolving to Dagster"
            )
            self._notice(NoticeKind.LEFT_ALONE, f"job {job.name}", message)
        return job

    def _stale_keys(self, job: dg.JobDefinition) -> str:
        keys = sorted(_compat.executed_keys(job) & self._new_keys)
        return ", ".join(key.to_user_string() for key in keys[:3])

    # ------------------------------------------------------------------------------ selections
    def _selection(self, name: str, selection: dg.AssetSelection) -> dg.AssetSelection | None:
        """A replacement for a selection; None if it stays as it is."""
        compared = self._selections.compare(selection)
        if compared is None:
            return None
        if not compared.frozen:
            self._notes.append((name, Change("selection", str(compared.selection), "renamed")))
            return compared.selection
        return self._drifted(name, compared)

    def _drifted(self, name: str, compared: Comparison) -> dg.AssetSelection | None:
        if self._drift == "error":
            self._found.append(
                DefinitionsError(
                    f"the selection of {name} would change its meaning",
                    found=f"it {compared.drift}",
                    allowed="selections that mean what they meant",
                    remedy='select by key, or use selection_drift="freeze" or "report"',
                )
            )
            return None
        if self._drift == "report":
            self._notice(NoticeKind.SELECTION, name, f"its selection {compared.drift}")
            return None
        message = (
            f"its selection {compared.drift}, so it is frozen to the assets that it meant and "
            "does not follow future assets"
        )
        self._notice(NoticeKind.SELECTION, name, message)
        self._notes.append((name, Change("selection", str(compared.selection), "drift")))
        return compared.selection

    # ------------------------------------------------------------------- schedules and sensors
    def _schedule(self, schedule: Any) -> None:
        if isinstance(schedule, dg.ScheduleDefinition):
            target = schedule.target
            if not target.has_job_def:
                return
            job = self._job(target.job_def)
            if job is not target.job_def or self._holds_touched(target):
                self._replace(
                    f"schedule {schedule.name}",
                    schedule,
                    _compat.schedule_with_job(schedule, job),
                )
        elif (job := self._job(schedule.job)) is not schedule.job:
            self._replace(
                f"schedule {schedule.name}", schedule, _compat.partitioned_with_job(schedule, job)
            )

    def _sensor(self, sensor: dg.SensorDefinition) -> None:
        name = f"sensor {sensor.name}"
        targets = [target for target in _compat.targets_of(sensor) if target.has_job_def]
        jobs = [self._job(target.job_def) for target in targets]
        changed = any(
            job is not target.job_def or self._holds_touched(target)
            for job, target in zip(jobs, targets, strict=True)
        )
        watched: dict[str, Any] = {}
        for attribute, value in _compat.watched_by(sensor).items():
            new = self._watched(name, value)
            if new is not None:
                watched[attribute] = new
        if changed or watched:
            made = _compat.sensor_with(sensor, jobs=jobs if changed else None, watched=watched)
            if made is None:
                message = f"Dagster {dg.__version__} cannot rebuild it: it watches the old keys"
                self._notice(NoticeKind.REFERENCE, name, message)
            else:
                self._replace(name, sensor, made)

    def _watched(self, name: str, value: Any) -> Any:
        """A replacement for what a sensor watches; None if it stays as it is."""
        if isinstance(value, dg.AssetSelection):
            return self._selection(name, value)
        if isinstance(value, dg.AssetKey):
            new = self._renames.get(value)
            if new is not None:
                self._notes.append((name, Change("asset key", new.to_user_string(), "renamed")))
            return new
        keys: Iterable[dg.AssetKey] = value
        if not any(key in self._renames for key in keys):
            return None
        self._notes.append((name, Change("asset keys", "monitored assets", "renamed")))
        return [self._renames.get(key, key) for key in keys]

    def _holds_touched(self, target: _compat.AutomationTarget) -> bool:
        return any(id(each) in self._touched for each in target.assets_defs)

    def _replace(self, name: str, old: object, new: object) -> None:
        self._replaced[id(old)] = new
        self._notes.append((name, Change("target", "the new objects", "rewritten assets")))

    def _notice(self, kind: NoticeKind, name: str, message: str) -> None:
        self._found.append(Notice(kind, message, name))
