"""The samples of an increment: asked for as late as can be, in memory or in a file."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Protocol

import narwhals as nw
import pyarrow as pa

from metaxy_dagster.features import FeatureKey
from metaxy_dagster.stores.counts import (
    NEW,
    ORPHANED,
    QUARANTINED,
    STALE,
    STATUS,
    UNCHANGED,
    Counts,
)
from metaxy_dagster.stores.frames.samples import having, typed_as
from metaxy_dagster.stores.frames.spool import Spool, SpooledColumns
from metaxy_dagster.stores.scan import Scan

__all__ = ["IncrementSource", "Listing"]


class IncrementSource(Protocol):
    """What a store answers about one resolve, as of one commit."""

    @property
    def sample_columns(self) -> tuple[str, ...]:
        """The columns that name a row of the increment."""
        ...

    def counts(self) -> Counts:
        """Count without making frames."""
        ...

    def delta(self) -> pa.Table:
        """Sample columns, status and provenance of each listed sample."""
        ...

    def filled(self) -> pa.Table | Spool | None:
        """As :meth:`delta`, with the upstream columns behind; ``None`` where they may be large."""
        ...

    def is_slim(self) -> bool:
        """Whether :meth:`filled` gives anything."""
        ...

    def stream(self, *, filled: bool) -> AbstractContextManager[pa.RecordBatchReader]:
        """As :meth:`delta` or :meth:`filled`, batch by batch; the store is held meanwhile.

        In the order of the sample columns.
        """
        ...

    @property
    def spool_directory(self) -> Path | None:
        """Where rows may be kept that do not fit into memory."""
        ...

    @property
    def delta_columns(self) -> tuple[str, ...]:
        """The columns of :meth:`delta`."""
        ...

    def delta_of(self, filled: pa.Table | Spool) -> pa.Table:
        """What :meth:`delta` gives, from :meth:`filled`."""
        ...

    def frame_of(self, filled: pa.Table | Spool, statuses: Sequence[int]) -> nw.LazyFrame[Any]:
        """What :meth:`frame` gives, from rows of :meth:`filled`."""
        ...

    def frame(self, delta: pa.Table, statuses: Sequence[int]) -> nw.LazyFrame[Any]:
        """Ids, upstream columns and provenance of the samples with these statuses."""
        ...

    def orphaned(self, delta: pa.Table) -> nw.LazyFrame[Any]:
        """The stored rows of the orphaned samples."""
        ...

    def upstream(self, samples: pa.Table | None, key: FeatureKey) -> nw.LazyFrame[Any]:
        """The upstream rows that some samples (or, for ``None``, all of them) come from."""
        ...

    def upstream_table(self, samples: pa.Table | None, key: FeatureKey) -> pa.Table:
        """As :meth:`upstream`, read at once."""
        ...

    def upstream_scan(self, samples: pa.Table | None, key: FeatureKey) -> Scan | pa.Table:
        """As :meth:`upstream`, for an engine that asks for batches; few rows are read at once."""
        ...


class Listing:
    """The samples of an increment, or of a batch of it, with their statuses.

    Args:
        source: what answers for the store.
        delta: the samples, if they are known.
        filled: the same with the upstream columns, if they are known.
    """

    def __init__(
        self,
        source: IncrementSource,
        delta: pa.Table | None = None,
        *,
        filled: pa.Table | Spool | None = None,
    ) -> None:
        self.source = source
        self._given = delta
        # The delta with the upstream columns, if a frame was asked for before anything else.
        self._filled = filled
        # The same in a file, if batches were asked for before anything else.
        self._spooled: _Spooled | None = None
        # Samples of it, or of its batches, that were reported as failed.
        self._failed: list[pa.Table] = []

    @cached_property
    def delta(self) -> pa.Table:
        """Sample columns, status and provenance of each."""
        if self._given is not None:
            return self._given
        if self._filled is not None:
            return self.source.delta_of(self._filled)
        if self._spooled is not None:
            return self.source.delta_of(self._spooled.table())
        return self.source.delta()

    @property
    def listed(self) -> pa.Table | SpooledColumns:
        """As :attr:`delta`, but what waits in a file stays there."""
        if isinstance(self._filled, Spool) and "delta" not in self.__dict__:
            return SpooledColumns(self._filled, self.source.delta_columns)
        return self.delta

    @cached_property
    def counts(self) -> Counts:
        """How many there are of each status."""
        if self._spooled is not None:
            return self._spooled.counts
        if isinstance(self._filled, Spool):
            parts = self._filled.parts([STATUS])
            return sum(map(Counts.of, parts), Counts(0, 0, 0))
        if self._is_unknown:
            return self.source.counts()
        return Counts.of(self.delta)

    @property
    def _is_unknown(self) -> bool:
        """Whether nothing but counts was asked for so far."""
        known = (self._given, self._filled, self._spooled)
        return all(one is None for one in known) and "delta" not in self.__dict__

    @property
    def failed(self) -> pa.Table | None:
        """Those that were reported as failed."""
        return pa.concat_tables(self._failed) if self._failed else None

    def note_failed(self, samples: pa.Table, delta: pa.Table, feature: str) -> None:
        """Note samples that were reported as failed, typed as they are listed."""
        self._failed.append(typed_as(samples, delta, feature=feature))

    def ids(self, names: list[str], statuses: Sequence[int]) -> pa.Table:
        """Some columns of the samples with these statuses."""
        if self._spooled is not None:
            return self._spooled.ids(names, statuses)
        return self.having(*statuses).select(names)

    def cut(self) -> Callable[[int, int], Listing]:
        """How to take some of the pending samples, in the order of their sample columns."""
        if self._is_unknown or isinstance(self._filled, Spool):
            self._spooled = _Spooled.of(self.source)
        if self._spooled is not None:
            filled, rows = self._spooled.filled, self._spooled.pending.slice
        else:
            filled = self._filled is not None
            table = self.delta if self._filled is None else self._filled
            pending = having(table, (NEW, STALE))
            order = [(name, "ascending") for name in self.source.sample_columns]
            rows = pending.sort_by(order).slice

        def part(start: int, size: int) -> Listing:
            table = rows(start, size)
            if not filled:
                return Listing(self.source, table)
            return Listing(self.source, self.source.delta_of(table), filled=table)

        return part

    def frame(self, *statuses: int) -> nw.LazyFrame[Any]:
        """Samples with these statuses, with their upstream columns."""
        if self._is_unknown:
            self._filled = self.source.filled()
        if self._filled is None:
            return self.source.frame(self.delta, statuses)
        return self.source.frame_of(self._filled, statuses)

    def having(self, *statuses: int) -> pa.Table:
        """Of the delta, the samples with these statuses."""
        if isinstance(self._filled, Spool) and "delta" not in self.__dict__:
            found = self._filled.parts(self.source.delta_columns)
            empty = self._filled.slice(0, 0).select(list(self.source.delta_columns))
            return pa.concat_tables([empty, *(having(part, statuses) for part in found)])
        return having(self.delta, statuses)


@dataclass
class _Spooled:
    """All rows of an increment in files, in the order of their sample columns."""

    pending: Spool
    others: Spool
    filled: bool
    counts: Counts

    @classmethod
    def of(cls, source: IncrementSource) -> _Spooled:
        filled, counts = source.is_slim(), Counts(0, 0, 0)
        with source.stream(filled=filled) as batches:
            pending, others = (Spool(batches.schema, source.spool_directory) for _ in range(2))
            for batch in batches:
                counts += Counts.of(batch)
                rows = pa.Table.from_batches([batch])
                pending.append(having(rows, (NEW, STALE)))
                others.append(having(rows, (ORPHANED, UNCHANGED, QUARANTINED)))
        return cls(pending, others, filled, counts)

    def table(self) -> pa.Table:
        return pa.concat_tables(spool.slice(0, len(spool)) for spool in (self.pending, self.others))

    def ids(self, names: list[str], statuses: Sequence[int]) -> pa.Table:
        """Some columns of the rows with these statuses."""
        empty = self.pending.slice(0, 0).select(names)
        found = (
            having(part, statuses).select(names)
            for spool in (self.pending, self.others)
            for part in spool.parts()
        )
        return pa.concat_tables((empty, *found))
