"""What is measured, of which engines, and how a row of the table comes about."""

from __future__ import annotations

import statistics
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from environments import StepError, run_step
from shapes import SHAPES
from stages import Stages, row_digest

__all__ = ["Scenario", "measure", "scenarios"]

MILLION = 1_000_000
BATCH = 200_000
BATCH_MEMORY = "1GiB"


@dataclass(frozen=True)
class Scenario:
    """One row of the table.

    Attributes:
        name: ``new``, ``stale``, ``run``, ``write``, ``read``, ``counts`` or ``batches``.
        shape: the graph.
        size: rows of the largest feature.
        share: of the root's rows that changed.
        engines: in the order in which they take turns.
    """

    name: str
    shape: str
    size: int
    share: float | None = None
    engines: tuple[str, ...] = ("rival", "log", "ours")

    @property
    def key(self) -> str:
        """Tells the rows of the table apart."""
        share = "" if self.share is None else f" {self.share}"
        return f"{self.name}{share} {self.shape} {self.size}"


def scenarios(
    sizes: Sequence[int], shapes: Sequence[str], shares: Sequence[float]
) -> Iterator[Scenario]:
    """All rows, the small sizes first."""
    for size in sorted(sizes):
        for shape in shapes:
            if shape == "chain":
                yield Scenario("run", shape, size)
                for share in shares:
                    if share:
                        yield Scenario("run", shape, size, share)
                continue
            if shape == "simple":
                yield Scenario("write", shape, size)
                yield Scenario("read", shape, size)
            yield Scenario("new", shape, size, None, ("rival", "log", "ours", "state"))
            for share in shares:
                yield Scenario("stale", shape, size, share)
            if shape == "simple":
                yield Scenario("counts", shape, size, 0.0, ("ours",))
                if size >= MILLION:
                    yield Scenario("batches", shape, size, None, ("ours",))


@dataclass
class _Turns:
    """The results of an engine's turns."""

    results: list[dict[str, Any]] = field(default_factory=list)
    error: str | None = None

    def summary(self) -> dict[str, Any]:
        if self.error is not None:
            return {"error": self.error}
        middle = {
            name: statistics.median(result[name] for result in self.results)
            for name in ("cpu", "wall")
        }
        peaks = [result.get("peak_measured", result["peak"]) for result in self.results]
        kept = {k: v for k, v in self.results[0].items() if k in ("sets", "counts", "file")}
        for name in ("again", "process"):
            found = [result[name] for result in self.results if name in result]
            if found:
                middle[name] = statistics.median(found)
        return {**middle, "peak": statistics.median(peaks), "runs": len(self.results), **kept}


def measure(
    scenario: Scenario, stages: Stages, *, repeats: int, patience: float, engines: Sequence[str]
) -> dict[str, Any]:
    """Let the engines take turns, each time in a fresh process.

    Args:
        scenario: what.
        stages: the files to begin from.
        repeats: how many turns each gets.
        patience: seconds after which no further round begins.
        engines: those to be measured, if the scenario has them.

    Returns:
        The row: for each engine the medians, or the error that it ended with.
    """
    turns = {name: _Turns() for name in scenario.engines if name in engines}
    started = time.monotonic()
    for turn in range(repeats):
        if turn and time.monotonic() - started > patience:
            break
        for name, one in turns.items():
            if one.error is None:
                try:
                    one.results.append(_turn(scenario, stages, name))
                except StepError as error:
                    one.error = str(error)
    row = {name: one.summary() for name, one in turns.items()}
    return {
        "name": scenario.name,
        "shape": scenario.shape,
        "size": scenario.size,
        "share": scenario.share,
        "engines": row,
        "digest": row_digest(),
        "same": _agree(scenario, row),
    }


def _turn(scenario: Scenario, stages: Stages, engine: str) -> dict[str, Any]:
    shape, size = scenario.shape, scenario.size
    task: dict[str, Any] = stages.task(engine, shape, size)
    if scenario.name == "write":
        task |= {"step": "root", "path": str(stages.empty(engine, shape, size))}
    elif scenario.name == "run":
        stage = "root" if scenario.share is None else "changed"
        file = stages.file(engine, shape, size, stage, scenario.share or 0.0)
        task |= {"step": "answer", "path": str(stages.copy(file))}
    else:
        stage = "changed" if scenario.share is not None else "root"
        file = stages.file(engine, shape, size, stage, scenario.share or 0.0)
        steps = {"new": "resolve", "stale": "resolve"}
        task |= {"step": steps.get(scenario.name, scenario.name), "path": str(file)}
        if scenario.name == "batches":
            task |= {"batch": BATCH, "memory": BATCH_MEMORY}
    return run_step(stages.environments.python(engine), task, stages.seconds())


def _agree(scenario: Scenario, row: dict[str, Any]) -> bool | None:
    """Whether all engines found the same sets of ids, and as many as the data was made to give."""
    sets = [one["sets"] for one in row.values() if "sets" in one]
    if not sets:
        return None
    if any(one != sets[0] for one in sets):
        return False
    if scenario.name not in ("new", "stale"):
        return True
    shape, size = SHAPES[scenario.shape], scenario.size
    expected = {"new": 0, "stale": 0, "orphaned": 0}
    if scenario.name == "new":
        expected["new"] = shape.samples(size)
    elif scenario.share:
        expected["stale"] = -(-shape.samples(size) // round(1 / scenario.share))
    return {status: found[0] for status, found in sets[0].items()} == expected
