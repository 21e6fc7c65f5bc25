"""The increments that running steps answer."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import dagster as dg

from metaxy_dagster.runtime._compat import Step
from metaxy_dagster.stores import Increment

__all__ = ["StepIncrements"]

Resolve = Callable[[], dict[dg.AssetKey, Increment]]


@dataclass
class _Entry:
    attempt: tuple[str, int]
    increments: dict[dg.AssetKey, Increment]
    waiting: set[dg.AssetKey]


@dataclass
class StepIncrements:
    """Resolved when the first input of a step is loaded, forgotten when its last output is there.

    All inputs of a step, and all steps of a graph asset, see the same increments; a step that is
    tried again resolves them anew, one of a graph asset as of the commit of the first try.
    """

    _entries: dict[tuple[str, str], _Entry] = field(default_factory=dict)

    def resolved(self, step: Step, resolve: Resolve) -> dict[dg.AssetKey, Increment]:
        """The increments of the step's outputs, by asset.

        Args:
            step: the running step.
            resolve: asks the store; called at most once per attempt.
        """
        key = (step.run_id, step.node)
        entry = self._entries.get(key)
        if entry is None or (
            entry.attempt[0] == step.attempt[0] and entry.attempt[1] != step.attempt[1]
        ):
            increments = resolve()
            entry = _Entry(step.attempt, increments, set(increments))
            self._entries[key] = entry
        return entry.increments

    def taken(
        self, step: Step | None, asset_key: dg.AssetKey, resolve: Resolve
    ) -> Increment | None:
        """The increment that an output answers; ``None`` if no input of the step needed one.

        Args:
            step: the running step.
            asset_key: the asset that is written.
            resolve: gives what another process has resolved for the steps of a graph asset.
        """
        if step is None:
            return None
        key = (step.run_id, step.node)
        entry = self._entries.get(key)
        if entry is None and step.shared is not None:
            increments = resolve()
            entry = self._entries[key] = _Entry(step.attempt, increments, set(increments))
        if entry is None:
            return None
        entry.waiting.discard(asset_key)
        if not entry.waiting:
            del self._entries[key]
        return entry.increments.get(asset_key)
