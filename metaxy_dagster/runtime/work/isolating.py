"""Finding the samples that a function fails on: ``"metaxy/on_error": "quarantine"``."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import dagster as dg

from metaxy_dagster import constants as c
from metaxy_dagster.errors import FrameError, MetaxyError, RunError
from metaxy_dagster.late import pyarrow as pa
from metaxy_dagster.runtime.work.current import StepWork
from metaxy_dagster.runtime.work.failures import counted_in_run
from metaxy_dagster.stores import Increment

if TYPE_CHECKING:
    from metaxy_dagster.stores import FailureResult

__all__ = ["Isolation", "OnError", "is_of_samples"]

_SHOWN = 5
_LONGEST = 200
# What says something of the run, or of the process, and not of samples.
_NOT_OF_SAMPLES = (dg.Failure, dg.RetryRequested, dg.DagsterError, MemoryError)


@dataclass(frozen=True)
class OnError:
    """What becomes of samples on which a function fails.

    Attributes:
        mode: ``"quarantine"``, or ``"quarantine_then_raise"``.
        max_samples: if there are more, the function is taken to be at fault, and not they.

    Example:
        >>> OnError("quarantine").max_samples
        20
    """

    mode: str
    max_samples: int = c.MAX_FAILED_SAMPLES


def is_of_samples(error: Exception) -> bool:
    """Whether an error may be the fault of some of the samples that were being computed.

    Example:
        >>> is_of_samples(ValueError("torn")), is_of_samples(MemoryError())
        (True, False)
    """
    if isinstance(error, FrameError):
        # A lazy frame runs the function's code when it is collected.
        cause = error.__cause__
        return isinstance(cause, Exception) and is_of_samples(cause)
    return not isinstance(error, (MetaxyError, *_NOT_OF_SAMPLES))


@dataclass
class Isolation:
    """The search for the samples at fault, in one attempt of a step.

    A batch that fails is halved, and so is each half that does; larger parts are tried before
    smaller ones, so that most samples are soon done, and that a function which fails on all of
    them is soon known.

    Attributes:
        work: what the step works on.
        on_error: how far to search, and what then.
    """

    work: StepWork
    on_error: OnError
    _found: list[tuple[Increment, Exception]] = field(default_factory=list)
    # Parts to be computed, each with the number of the one that failed and that it is a half of.
    _waiting: deque[tuple[Increment, int]] = field(default_factory=deque)
    # Of those that failed and of which no half did yet, how many halves wait.
    _open: dict[int, int] = field(default_factory=dict)
    _calls: int = 0
    _first: Exception | None = None
    _failed: bool = False
    # Whether anything was computed.
    _done: bool = False
    _given_up: bool = False

    def parts(self, batch: Increment) -> Iterator[Increment]:
        """What to compute of a batch, one after the other: all of it, and what fails again.

        Call :meth:`failed` if that raises.

        Raises:
            Exception: the first error, if more samples than may be are at fault.
        """
        self._waiting.append((batch, 0))
        while self._waiting:
            part, whole = self._waiting.popleft()
            self._calls, self._failed = self._calls + 1, False
            yield part
            if self._failed:
                # At fault is what is in this half.
                self._open.pop(whole, None)
                self._check()
                continue
            self._done = True
            left = self._open.get(whole, 0) - 1
            if left > 0:
                self._open[whole] = left
            else:
                self._open.pop(whole, None)

    def failed(self, part: Increment, error: Exception) -> None:
        """Note that a part could not be computed, which may be the fault of samples."""
        self._failed, self._first = True, self._first or error
        size = part.counts.pending
        if size == 1:
            self._found.append((part, _raised(error)))
            return
        self._open[self._calls] = 2
        self._waiting.extend((half, self._calls) for half in part.batches(-(-size // 2)))

    def _check(self) -> None:
        """Give up where more samples are at fault than may be: one at least in each open part."""
        if len(self._found) + len(self._open) > self.on_error.max_samples:
            self._give_up(f"more than {self.on_error.max_samples} samples fail")

    def end(self) -> None:
        """Set the samples at fault aside, and say so.

        Raises:
            Exception: the first error, if every sample fails alike: nothing is set aside then.
            RunError: there are such samples, and the step shall fail.
        """
        if not self._found:
            if self._first is not None:
                found = f"{type(self._first).__name__}: {self._first}"
                _log().warning("feature %s: computed in parts, after %s", self._feature, found)
            return
        if not self._done and self._fail_alike():
            self._give_up("every sample fails alike")
        noted = self.note()
        said = f"{_samples(len(self._found))} failed and {_are(len(self._found))} set aside"
        told = _told(self._found)
        if self.on_error.mode == c.ON_ERROR_RAISE_THEN and noted is not None:
            raise RunError(
                f"{said}; the others are written",
                feature=str(noted.feature),
                found=told,
                allowed=f'none, by metadata "{c.KEY_ON_ERROR}": "{c.ON_ERROR_RAISE_THEN}"',
                remedy="correct what fails and run again; after max_attempts failures of a sample "
                f'metaxy-dagster retry makes it pending again; with "{c.ON_ERROR_QUARANTINE}" '
                "the step only warns",
            ) from self._first
        _log().warning("feature %s: %s: %s", self._feature, said, told)

    def note(self) -> FailureResult | None:
        """Record the samples that were found so far; each counts once a run."""
        if not self._found or self._given_up:
            return None
        (increment,) = self.work.increments.values()
        names = list(increment.sample_columns)
        rows = [_ids(part, names) for part, _ in self._found]
        counted = counted_in_run(self.work, increment)
        fresh = [i for i, row in enumerate(rows) if tuple(row.values()) not in counted]
        found = self.work.store.record_failures(
            increment.feature,
            pa.concat_tables([self._found[i][0].delta.select(names) for i in fresh])
            if fresh
            else increment.delta.select(names).slice(0, 0),
            [self._found[i][1] for i in fresh],
            increment=increment,
            materialization_id=self.work.step.run_id,
        )
        again = [self._found[i][0].delta.select(names) for i in range(len(rows)) if i not in fresh]
        if again:
            increment.note_failed(pa.concat_tables(again))
        return found

    def _fail_alike(self) -> bool:
        """Whether nothing but the function explains that all samples failed.

        A sample that failed before is known to be at fault, and so may be one alone.
        """
        (increment,) = self.work.increments.values()
        names = list(increment.sample_columns)
        failures = self.work.store.failures(increment.feature).select(*names)
        known = set(failures.collect(backend="pyarrow").rows())
        fresh = [
            type(error)
            for part, error in self._found
            if tuple(_ids(part, names).values()) not in known
        ]
        return len(fresh) > 1 and len(set(fresh)) == 1

    @property
    def _feature(self) -> str:
        (increment,) = self.work.increments.values()
        return str(increment.feature)

    def _give_up(self, why: str) -> None:
        self._given_up = True
        _log().error(
            "feature %s: %s, so it is taken for a fault of the code: no sample is set aside",
            self._feature,
            why,
        )
        if self._first is not None:
            raise self._first


def _raised(error: Exception) -> Exception:
    """What the function's own code raised."""
    cause = error.__cause__
    return cause if isinstance(error, FrameError) and isinstance(cause, Exception) else error


def _ids(part: Increment, names: list[str]) -> dict[str, object]:
    found: dict[str, object] = part.delta.select(names).to_pylist()[0]
    return found


def _told(found: list[tuple[Increment, Exception]]) -> str:
    """Ids and errors, in one line."""
    shown = []
    for part, error in found[:_SHOWN]:
        ids = _ids(part, list(part.sample_columns))
        named = ", ".join(f"{name}={value!r}" for name, value in ids.items())
        text = " ".join(f"{type(error).__name__}: {error}".split())
        shown.append(f"{named}: {text[:_LONGEST]}")
    more = len(found) - len(shown)
    return "; ".join([*shown, *([f"and {more} more"] if more else [])])


def _samples(number: int) -> str:
    return f"{number} sample{'' if number == 1 else 's'}"


def _are(number: int) -> str:
    return "is" if number == 1 else "are"


def _log() -> dg.DagsterLogManager:
    return dg.OpExecutionContext.get().log
