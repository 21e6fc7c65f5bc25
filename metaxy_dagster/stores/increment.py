"""What must be computed for a feature: its new, stale and orphaned samples."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from metaxy_dagster.errors import ConfigError, shown
from metaxy_dagster.features import CoercibleToFeatureKey, FeatureKey
from metaxy_dagster.late import pyarrow as pa
from metaxy_dagster.stores.arguments import is_whole
from metaxy_dagster.stores.counts import (
    NEW,
    ORPHANED,
    QUARANTINED,
    STALE,
    STATUS,
    UNCHANGED,
    Counts,
    having,
)
from metaxy_dagster.stores.frames.samples import typed_as
from metaxy_dagster.stores.frames.spool import Spool, SpooledColumns
from metaxy_dagster.stores.scan import Scan

if TYPE_CHECKING:
    import narwhals as nw

__all__ = ["Batches", "Counts", "Increment", "IncrementSource"]


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


class Increment:
    """The samples of a feature that are new, stale or orphaned, as of one moment.

    Frames are lazy and show the store as it was when the increment was resolved, whatever is
    written meanwhile. They hold one row per sample (one per group in an aggregation, one per
    parent in an expansion) with the id columns, the upstream columns and the provenance columns
    that ``store.write`` expects back.

    Example:
        >>> import metaxy_dagster as mxd, tempfile, pyarrow as pa
        >>> graph = mxd.FeatureGraph()
        >>> _ = graph.add(mxd.FeatureSpec("image", id_columns=["id"]))
        >>> _ = graph.add(mxd.FeatureSpec("score", id_columns=["id"], deps=["image"]))
        >>> store = mxd.DuckDBMetadataStore(f"{tempfile.mkdtemp()}/m.duckdb", graph=graph)
        >>> _ = store.write("image", pa.table({"id": [1, 2], "path": ["a", "b"]}))
        >>> store.resolve_update("score").counts
        Counts(new=2, stale=0, orphaned=0)
    """

    def __init__(
        self,
        feature: FeatureKey,
        source: IncrementSource,
        delta: pa.Table | None = None,
        *,
        filled: pa.Table | Spool | None = None,
        whole: Increment | None = None,
    ) -> None:
        self._feature = feature
        self._source = source
        self._given = delta
        self._whole = whole
        # The delta with the upstream columns, if a frame was asked for before anything else.
        self._filled = filled
        # The same in a file, if batches were asked for before anything else.
        self._spooled: _Spooled | None = None
        # Samples of it, or of its batches, that were reported as failed.
        self._failed: list[pa.Table] = []

    @property
    def feature(self) -> FeatureKey:
        """The feature to compute."""
        return self._feature

    @property
    def source(self) -> IncrementSource:
        """What answers for the store."""
        return self._source

    @property
    def whole(self) -> Increment:
        """The increment that this one is a batch of; itself if it is no batch."""
        return self if self._whole is None else self._whole

    @property
    def sample_columns(self) -> tuple[str, ...]:
        """The columns that name a row: the id columns, or the parent's in an expansion."""
        return self._source.sample_columns

    @cached_property
    def delta(self) -> pa.Table:
        """Sample columns, ``metaxy_status`` and provenance of each listed sample.

        The status is 0 for new, 1 for stale, 2 for orphaned, 3 for unchanged, 4 for quarantined.
        """
        if self._given is not None:
            return self._given
        if self._filled is not None:
            return self._source.delta_of(self._filled)
        if self._spooled is not None:
            return self._source.delta_of(self._spooled.table())
        return self._source.delta()

    @property
    def listed(self) -> pa.Table | SpooledColumns:
        """As :attr:`delta`, but what waits in a file stays there."""
        if isinstance(self._filled, Spool) and "delta" not in self.__dict__:
            return SpooledColumns(self._filled, self._source.delta_columns)
        return self.delta

    @cached_property
    def counts(self) -> Counts:
        """How many samples are new, stale and orphaned; makes no frames."""
        if self._spooled is not None:
            return self._spooled.counts
        if isinstance(self._filled, Spool):
            parts = self._filled.parts([STATUS])
            return sum(map(Counts.of, parts), Counts(0, 0, 0))
        if self._is_unknown:
            return self._source.counts()
        return Counts.of(self.delta)

    @property
    def _is_unknown(self) -> bool:
        """Whether nothing but counts was asked for so far."""
        known = (self._given, self._filled, self._spooled)
        return all(one is None for one in known) and "delta" not in self.__dict__

    @property
    def new(self) -> nw.LazyFrame[Any]:
        """Samples that were never computed."""
        return self._frame(NEW)

    @property
    def stale(self) -> nw.LazyFrame[Any]:
        """Samples whose upstream, or whose own code, changed since they were computed."""
        return self._frame(STALE)

    @property
    def pending(self) -> nw.LazyFrame[Any]:
        """New and stale samples together."""
        return self._frame(NEW, STALE)

    @property
    def quarantined(self) -> nw.LazyFrame[Any]:
        """Samples that failed too often; ``store.retry`` makes them pending again."""
        return self._frame(QUARANTINED)

    @property
    def orphaned(self) -> nw.LazyFrame[Any]:
        """Stored rows that nothing calls for any more, with their own columns."""
        return self._source.orphaned(self._with_status(ORPHANED))

    @property
    def orphaned_ids(self) -> pa.Table:
        """The sample columns of the orphaned samples, M rows."""
        return self._with_status(ORPHANED).select(list(self.sample_columns))

    @property
    def failed(self) -> pa.Table | None:
        """The sample columns of those that were reported as failed since it was resolved."""
        noted = self.whole._failed  # noqa: SLF001 - another of the same class
        return pa.concat_tables(noted) if noted else None

    def note_failed(self, samples: pa.Table) -> None:
        """Note samples that were reported as failed, so that they do not count as empty.

        Args:
            samples: rows with the sample columns.
        """
        known = samples.select(list(self.sample_columns))
        typed = typed_as(known, self.delta, feature=str(self._feature))
        self.whole._failed.append(typed)  # noqa: SLF001 - another of the same class

    @property
    def open_count(self) -> int:
        """How many samples are listed with any status but unchanged."""
        counts = self.counts
        return counts.pending + counts.orphaned + counts.quarantined

    def ids(self, statuses: Sequence[int]) -> pa.Table:
        """The sample columns of the samples with these statuses."""
        names = list(self.sample_columns)
        if self._spooled is not None:
            return self._spooled.ids(names, statuses)
        return self._with_status(*statuses).select(names)

    def upstream(
        self, feature: CoercibleToFeatureKey, *, all_rows: bool = False
    ) -> nw.LazyFrame[Any]:
        """The rows of an upstream feature that the pending samples are computed from.

        Args:
            feature: key or class of one of the feature's upstreams.
            all_rows: give every row of the upstream instead, as of the same moment.

        Returns:
            The upstream's own columns; in an aggregation, all members of the pending groups.

        Raises:
            FeatureError: the feature is not one of the upstreams.
        """
        samples = None if all_rows else self._pending_ids
        return self._source.upstream(samples, FeatureKey(feature))

    def upstream_table(self, feature: CoercibleToFeatureKey, *, all_rows: bool = False) -> pa.Table:
        """As :meth:`upstream`, read at once: one copy in memory, as an Arrow table."""
        samples = None if all_rows else self._pending_ids
        return self._source.upstream_table(samples, FeatureKey(feature))

    def upstream_scan(
        self, feature: CoercibleToFeatureKey, *, all_rows: bool = False
    ) -> Scan | pa.Table:
        """As :meth:`upstream`, for an engine that asks for batches; few rows are read at once."""
        samples = None if all_rows else self._pending_ids
        return self._source.upstream_scan(samples, FeatureKey(feature))

    @property
    def _pending_ids(self) -> pa.Table:
        return self._with_status(NEW, STALE).select(list(self.sample_columns))

    def batches(self, size: int) -> Batches:
        """Cut the pending samples into increments of at most ``size`` rows each.

        Orphaned samples are in none of them. A parent of an expansion is one row, so its
        children are never split. Rows that do not fit into memory wait in a temporary file, so
        that a first run over any number of samples needs the memory of a few batches, and of
        DuckDB (``settings={"memory_limit": ...}`` of the store).

        Args:
            size: rows per batch, at least 1.

        Returns:
            The batches in the order of their sample columns; ``samples`` tells how many rows
            they have together.

        Raises:
            ConfigError: ``size`` is no number of rows; a ValueError, too.
        """
        if not is_whole(size) or size < 1:
            raise ConfigError(
                "batches need a size of at least 1",
                feature=str(self._feature),
                found=shown(size),
                allowed="a number of rows, 1 or more",
                remedy="give for instance 1000",
            )
        if self._is_unknown or isinstance(self._filled, Spool):
            self._spooled = _Spooled.of(self._source)
        if self._spooled is not None:
            filled, rows = self._spooled.filled, self._spooled.pending.slice
        else:
            filled = self._filled is not None
            table = self.delta if self._filled is None else self._filled
            pending = having(table, (NEW, STALE))
            rows = pending.sort_by([(name, "ascending") for name in self.sample_columns]).slice

        def batch(start: int) -> Increment:
            table = rows(start, size)
            delta = self._source.delta_of(table) if filled else table
            kept = table if filled else None
            return Increment(self._feature, self._source, delta, filled=kept, whole=self.whole)

        samples = self.counts.pending
        # Of more rows than there are Arrow knows no slice.
        size = min(size, max(samples, 1))
        return Batches(batch, size, samples)

    def _frame(self, *statuses: int) -> nw.LazyFrame[Any]:
        if self._is_unknown:
            self._filled = self._source.filled()
        if self._filled is None:
            return self._source.frame(self.delta, statuses)
        return self._source.frame_of(self._filled, statuses)

    def _with_status(self, *statuses: int) -> pa.Table:
        if isinstance(self._filled, Spool) and "delta" not in self.__dict__:
            found = self._filled.parts(self._source.delta_columns)
            empty = self._filled.slice(0, 0).select(list(self._source.delta_columns))
            return pa.concat_tables([empty, *(having(part, statuses) for part in found)])
        return having(self.delta, statuses)

    def __repr__(self) -> str:
        return f"Increment({str(self._feature)!r}, {self.counts.listed})"


class Batches(Iterator[Increment]):
    """The batches of an increment, each made when it is asked for.

    Attributes:
        samples: how many pending samples the batches hold together.

    Example:
        >>> import metaxy_dagster as mxd, tempfile, pyarrow as pa
        >>> graph = mxd.FeatureGraph()
        >>> _ = graph.add(mxd.FeatureSpec("image", id_columns=["id"]))
        >>> _ = graph.add(mxd.FeatureSpec("score", id_columns=["id"], deps=["image"]))
        >>> store = mxd.DuckDBMetadataStore(f"{tempfile.mkdtemp()}/m.duckdb", graph=graph)
        >>> _ = store.write("image", pa.table({"id": [1, 2, 3], "path": ["a", "b", "c"]}))
        >>> batches = store.resolve_update("score").batches(2)
        >>> batches.samples, [batch.counts.new for batch in batches]
        (3, [2, 1])
    """

    def __init__(self, make: Callable[[int], Increment], size: int, samples: int) -> None:
        self.samples = samples
        self._make = make
        self._starts = iter(range(0, samples, size))

    def __next__(self) -> Increment:
        """The next batch."""
        return self._make(next(self._starts))


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
