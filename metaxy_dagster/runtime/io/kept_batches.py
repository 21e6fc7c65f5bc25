"""Batches that wait to be stored together: each time, the whole of what is held is written."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator
from typing import Any, Final

from metaxy_dagster.late import pyarrow as pa
from metaxy_dagster.stores import Increment, frames

__all__ = ["WaitingBatches"]

# So many times as long as storing takes, the function runs before it is done again.
_PATIENCE: Final = 5


class WaitingBatches:
    """What a function returned for batches that are not stored yet.

    Storing takes the time of reading and writing the whole, so it is done when the function has
    run for several times as long. A crash loses what waits.

    Args:
        first: the first batch.
        clock: tells seconds.
    """

    def __init__(self, first: Increment, clock: Callable[[], float] = time.monotonic) -> None:
        self._feature = str(first.feature)
        self._nothing = _samples(first).slice(0, 0)
        self._results: list[Any] = []
        self._asked: list[pa.Table] = []
        self._clock = clock
        self._ended, self._took = clock(), 0.0

    def add(self, batch: Increment, result: Any) -> None:
        """Let what was returned for a batch wait."""
        self._asked.append(_samples(batch))
        self._results.append(result)

    @property
    def is_due(self) -> bool:
        """Whether they have waited for long enough."""
        return self._clock() - self._ended >= _PATIENCE * self._took

    @contextlib.contextmanager
    def storing(self) -> Iterator[None]:
        """Note how long it takes to store them."""
        began = self._clock()
        yield
        self._ended = self._clock()
        self._took = self._ended - began

    def taken(self, other: Any) -> tuple[Any, pa.Table]:
        """The rows that wait, which do so no more, and the samples that they answer.

        Args:
            other: what is there if none waits.
        """
        results, asked = self._results, pa.concat_tables([self._nothing, *self._asked])
        self._results, self._asked = [], []
        if not results:
            return other, asked
        whole = results[0] if len(results) == 1 else frames.as_one_frame(results, self._feature)
        return whole, asked


def _samples(batch: Increment) -> pa.Table:
    return batch.delta.select(list(batch.sample_columns))
