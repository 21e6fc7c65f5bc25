"""What must be computed for a feature: its new, stale and orphaned samples."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, Protocol

import pyarrow as pa

from metaxy_dagster import constants as c
from metaxy_dagster.features import CoercibleToFeatureKey, FeatureKey

if TYPE_CHECKING:
    import narwhals as nw

__all__ = ["NEW", "ORPHANED", "STALE", "STATUS", "UNCHANGED", "Counts", "Increment"]

STATUS = c.COL_STATUS
NEW, STALE, ORPHANED, UNCHANGED = range(4)


@dataclass(frozen=True)
class Counts:
    """How many samples an increment holds.

    Attributes:
        new: expected but not stored.
        stale: stored, computed from something else than what is upstream now.
        orphaned: stored, but nothing calls for them any more.

    Example:
        >>> Counts(new=3, stale=2, orphaned=1).pending
        5
    """

    new: int
    stale: int
    orphaned: int

    @property
    def pending(self) -> int:
        """Samples to compute: new and stale."""
        return self.new + self.stale


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
        """Sample columns, status, provenance and upstream versions of each listed sample."""
        ...

    def filled(self) -> pa.Table | None:
        """As :meth:`delta`, with the upstream columns behind; ``None`` where they may be large."""
        ...

    def delta_of(self, filled: pa.Table) -> pa.Table:
        """What :meth:`delta` gives, from :meth:`filled`."""
        ...

    def frame_of(self, filled: pa.Table) -> nw.LazyFrame[Any]:
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
        whole: Increment | None = None,
    ) -> None:
        self._feature = feature
        self._source = source
        self._given = delta
        self._whole = whole
        # The delta with the upstream columns, if a frame was asked for before anything else.
        self._filled: pa.Table | None = None

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

        The status is 0 for new, 1 for stale, 2 for orphaned, 3 for unchanged.
        """
        if self._given is not None:
            return self._given
        if self._filled is not None:
            return self._source.delta_of(self._filled)
        return self._source.delta()

    @cached_property
    def counts(self) -> Counts:
        """How many samples are new, stale and orphaned; makes no frames."""
        if self._given is None and "delta" not in self.__dict__:
            return self._source.counts()
        found = {
            entry["values"]: entry["counts"]
            for entry in self.delta.column(STATUS).value_counts().to_pylist()
        }
        return Counts(*(found.get(status, 0) for status in (NEW, STALE, ORPHANED)))

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
    def orphaned(self) -> nw.LazyFrame[Any]:
        """Stored rows that nothing calls for any more, with their own columns."""
        return self._source.orphaned(self.delta)

    @property
    def orphaned_ids(self) -> pa.Table:
        """The sample columns of the orphaned samples, M rows."""
        return self._with_status(ORPHANED).select(list(self.sample_columns))

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
        key = FeatureKey(feature)
        if all_rows:
            return self._source.upstream(None, key)
        pending = self._with_status(NEW, STALE)
        return self._source.upstream(pending.select(list(self.sample_columns)), key)

    def batches(self, size: int) -> Iterator[Increment]:
        """Cut the pending samples into increments of at most ``size`` rows each.

        Orphaned samples are in none of them. A parent of an expansion is one row, so its
        children are never split.

        Args:
            size: rows per batch, at least 1.

        Raises:
            ValueError: ``size`` is less than 1.
        """
        if size < 1:
            message = f"batches need a size of at least 1, not {size}"
            raise ValueError(message)
        pending = self._with_status(NEW, STALE).sort_by(
            [(name, "ascending") for name in self.sample_columns]
        )
        for start in range(0, pending.num_rows, size):
            batch = pending.slice(start, size)
            yield Increment(self._feature, self._source, batch, whole=self.whole)

    def _frame(self, *statuses: int) -> nw.LazyFrame[Any]:
        if self._given is None and "delta" not in self.__dict__ and self._filled is None:
            self._filled = self._source.filled()
        if self._filled is None:
            return self._source.frame(self.delta, statuses)
        return self._source.frame_of(_having(self._filled, statuses))

    def _with_status(self, *statuses: int) -> pa.Table:
        return _having(self.delta, statuses)

    def __repr__(self) -> str:
        counts = self.counts
        return (
            f"Increment({str(self._feature)!r}, new={counts.new}, stale={counts.stale}, "
            f"orphaned={counts.orphaned})"
        )


def _having(table: pa.Table, statuses: Sequence[int]) -> pa.Table:
    """The rows with one of these statuses."""
    import pyarrow.compute as pc  # noqa: PLC0415 - slow to import, and not always needed

    status = table.column(STATUS)
    wanted = pc.is_in(status, pa.array(statuses, type=status.type))
    # Filtering copies; the samples of a first run are all new.
    return table if pc.all(wanted, min_count=0).as_py() else table.filter(wanted)
