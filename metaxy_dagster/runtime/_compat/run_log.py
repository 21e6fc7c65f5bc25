"""What steps of one run leave word of in its event log, for steps in other processes."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import dagster as dg
from dagster._core.events import EngineEventData

__all__ = ["RunLog"]


@dataclass(frozen=True)
class RunLog:
    """The event log of a running step.

    Attributes:
        instance: where it is.
        run: the run.
        step_key: the step.
    """

    instance: dg.DagsterInstance
    run: dg.DagsterRun
    step_key: str

    def say(self, message: str, key: str, value: dict[str, Any]) -> None:
        """Write something down at once: the events of a step itself wait for what it does.

        Args:
            message: for people.
            key: of the metadata by which :meth:`said` finds it.
            value: what JSON can say.
        """
        data = EngineEventData({key: dg.MetadataValue.json(value)})
        self.instance.report_engine_event(message, self.run, data, step_key=self.step_key)

    def said(self, key: str, runs: Sequence[str]) -> Iterator[dict[str, Any]]:
        """What steps of some runs wrote down under a key, oldest first within a run."""
        for run in runs:
            for entry in self.instance.all_logs(run, of_type=dg.DagsterEventType.ENGINE_EVENT):
                event = entry.dagster_event
                found = None if event is None else event.engine_event_data.metadata.get(key)
                if isinstance(found, dg.JsonMetadataValue) and isinstance(found.data, dict):
                    yield found.data
