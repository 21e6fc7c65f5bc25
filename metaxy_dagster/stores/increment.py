"""What must be computed for a feature: its new, stale and orphaned samples."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

from metaxy_dagster.errors import ConfigError, shown
from metaxy_dagster.features import CoercibleToFeatureKey, FeatureKey
from metaxy_dagster.stores.arguments import is_whole
from metaxy_dagster.stores.counts import NEW, ORPHANED, QUARANTINED, STALE, Counts
from metaxy_dagster.stores.scan import Scan

if TYPE_CHECKING:
    import narwhals as nw
    import pyarrow as pa

    from metaxy_dagster.stores.frames.spool import SpooledColumns
    from metaxy_dagster.stores.listing import IncrementSource, Listing

__all__ = ["Batches", "Counts", "Increment"]


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
        self, feature: FeatureKey, listing: Listing, *, whole: Increment | None = None
    ) -> None:
        self._feature = feature
        self._listing = listing
        self._source = listing.source
        self._whole = whole

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

    @property
    def delta(self) -> pa.Table:
        """Sample columns, ``metaxy_status`` and provenance of each listed sample.

        The status is 0 for new, 1 for stale, 2 for orphaned, 3 for unchanged, 4 for quarantined.
        """
        return self._listing.delta

    @property
    def listed(self) -> pa.Table | SpooledColumns:
        """As :attr:`delta`, but what waits in a file stays there."""
        return self._listing.listed

    @property
    def counts(self) -> Counts:
        """How many samples are new, stale and orphaned; makes no frames."""
        return self._listing.counts

    @property
    def new(self) -> nw.LazyFrame[Any]:
        """Samples that were never computed."""
        return self._listing.frame(NEW)

    @property
    def stale(self) -> nw.LazyFrame[Any]:
        """Samples whose upstream, or whose own code, changed since they were computed."""
        return self._listing.frame(STALE)

    @property
    def pending(self) -> nw.LazyFrame[Any]:
        """New and stale samples together."""
        return self._listing.frame(NEW, STALE)

    @property
    def quarantined(self) -> nw.LazyFrame[Any]:
        """Samples that failed too often; ``store.retry`` makes them pending again."""
        return self._listing.frame(QUARANTINED)

    @property
    def orphaned(self) -> nw.LazyFrame[Any]:
        """Stored rows that nothing calls for any more, with their own columns."""
        return self._source.orphaned(self._listing.having(ORPHANED))

    @property
    def orphaned_ids(self) -> pa.Table:
        """The sample columns of the orphaned samples, M rows."""
        return self._listing.having(ORPHANED).select(list(self.sample_columns))

    @property
    def failed(self) -> pa.Table | None:
        """The sample columns of those that were reported as failed since it was resolved."""
        return self.whole._listing.failed  # noqa: SLF001 - another of the same class

    def note_failed(self, samples: pa.Table) -> None:
        """Note samples that were reported as failed, so that they do not count as empty.

        Args:
            samples: rows with the sample columns.
        """
        known = samples.select(list(self.sample_columns))
        whole = self.whole._listing  # noqa: SLF001 - another of the same class
        whole.note_failed(known, self.delta, str(self._feature))

    @property
    def open_count(self) -> int:
        """How many samples are listed with any status but unchanged."""
        counts = self.counts
        return counts.pending + counts.orphaned + counts.quarantined

    def ids(self, statuses: Sequence[int]) -> pa.Table:
        """The sample columns of the samples with these statuses."""
        return self._listing.ids(list(self.sample_columns), statuses)

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
        return self._listing.having(NEW, STALE).select(list(self.sample_columns))

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
        part = self._listing.cut()

        def batch(start: int) -> Increment:
            return Increment(self._feature, part(start, size), whole=self.whole)

        samples = self.counts.pending
        # Of more rows than there are Arrow knows no slice.
        size = min(size, max(samples, 1))
        return Batches(batch, size, samples)

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
