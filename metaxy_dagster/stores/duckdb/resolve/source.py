"""Answers an increment's questions from the file, each time as of the increment's commit."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import duckdb
import narwhals as nw
import pyarrow as pa

from metaxy_dagster import constants as c
from metaxy_dagster.features import FeatureKey
from metaxy_dagster.stores.counts import NEW, ORPHANED, STALE, STATUS, Counts
from metaxy_dagster.stores.duckdb.failures.answered import Answered
from metaxy_dagster.stores.duckdb.failures.quarantine import WithoutQuarantined
from metaxy_dagster.stores.duckdb.file.connection import DuckDBFile
from metaxy_dagster.stores.duckdb.file.identity import checked_catalog
from metaxy_dagster.stores.duckdb.read.query import (
    Query,
    fetch,
    fetch_restored,
    lazy,
    nothing,
    reader,
)
from metaxy_dagster.stores.duckdb.read.reader import arrow_schema
from metaxy_dagster.stores.duckdb.read.snapshot import Listed, Restored, Snapshot
from metaxy_dagster.stores.duckdb.resolve.full import OpenResolve, Resolve
from metaxy_dagster.stores.duckdb.resolve.parts import AnsweredPart, settles
from metaxy_dagster.stores.frames import spool as spools
from metaxy_dagster.stores.frames.logical import restore
from metaxy_dagster.stores.frames.samples import having
from metaxy_dagster.stores.increment import Increment
from metaxy_dagster.stores.listing import IncrementSource
from metaxy_dagster.stores.scan import Scan

__all__ = ["DuckDBIncrementSource", "answered_by", "origin", "part_answered_by", "resolved_at"]

_DELTA_COLUMNS = (c.COL_PROVENANCE_BY_FIELD, c.COL_PROVENANCE)
# Opening the file again costs more than reading so few rows.
_READ_AT_ONCE = 10_000
_STREAMED_ROWS = 50_000
# How much more of a list is kept in memory than of other rows that wait.
_HELD = 8


@dataclass(frozen=True)
class DuckDBIncrementSource:
    """One resolve against one file."""

    file: DuckDBFile
    resolve: Resolve
    # Whether it was known at once that nothing is pending: the file need not be opened again.
    is_settled: bool = False
    # What an earlier question found out about the stored feature.
    _own: dict[str, str] = field(default_factory=dict, repr=False, compare=False)
    # And about the columns of its frames.
    _told: dict[str, Query] = field(default_factory=dict, repr=False, compare=False)

    @property
    def sample_columns(self) -> tuple[str, ...]:
        """The columns that name a row of the increment."""
        return self.resolve.sample_columns

    def counts(self) -> Counts:
        """Count without making frames."""
        if self.is_settled:
            return Counts(0, 0, 0)
        with self.file.connect("r") as connection:
            resolve = self.resolve
            known = checked_catalog(connection, resolve.plan, resolve.commit, tables=False)
            if resolve.is_settled(known):
                return Counts(0, 0, 0)
            rows = fetch(connection, self._opened(connection).counts()).to_pylist()
        found = {row["status"]: row["samples"] for row in rows}
        return Counts(*(found.get(status, 0) for status in (NEW, STALE, ORPHANED)))

    def delta(self) -> pa.Table:
        """Sample columns, status and provenance of each listed sample."""
        with self.file.connect("r") as connection:
            return fetch(connection, self._opened(connection).delta())

    def filled(self) -> pa.Table | spools.Spool | None:
        """As :meth:`delta`, with the upstream columns behind; ``None`` where they may be large."""
        with self.file.connect("r") as connection:
            resolve = self._opened(connection)
            if not resolve.is_slim:
                return None
            self._told["frame"] = resolve.told(Query(""))
            batches = reader(connection, resolve.delta(filled=True), _STREAMED_ROWS)
            # It is about to be used: to write it down and read it again costs a quarter more.
            held = _HELD * spools.IN_MEMORY
            spool = spools.Spool(batches.schema, self.spool_directory, held=held)
            for batch in batches:
                spool.append(pa.Table.from_batches([batch]))
        return spool.table() if spool.is_in_memory else spool

    def is_slim(self) -> bool:
        """Whether :meth:`filled` gives anything."""
        with self.file.connect("r") as connection:
            return self.resolve.open(connection).is_slim

    @contextlib.contextmanager
    def stream(self, *, filled: bool) -> Iterator[pa.RecordBatchReader]:
        """As :meth:`delta` or :meth:`filled`, batch by batch; the store is held meanwhile."""
        with self.file.connect("r") as connection:
            query = self._opened(connection).delta(filled=filled, ordered=True)
            yield reader(connection, query, _STREAMED_ROWS)

    @property
    def spool_directory(self) -> Path:
        """Beside the file there is room for what is computed from it."""
        return self.file.path.parent

    @property
    def delta_columns(self) -> tuple[str, ...]:
        """The columns of :meth:`delta`."""
        return (*self.sample_columns, STATUS, *_DELTA_COLUMNS, *self.resolve.given_versions)

    def delta_of(self, filled: pa.Table | spools.Spool) -> pa.Table:
        """What :meth:`delta` gives, from :meth:`filled`."""
        return filled.select(list(self.delta_columns))

    def frame_of(
        self, filled: pa.Table | spools.Spool, statuses: Sequence[int]
    ) -> nw.LazyFrame[Any]:
        """What :meth:`frame` gives, from rows of :meth:`filled`."""
        known = {*self.sample_columns, STATUS, *_DELTA_COLUMNS}
        user = [name for name in filled.column_names if name not in known]
        names = [*self.sample_columns, *user, *_DELTA_COLUMNS]
        if isinstance(filled, spools.Spool):
            wanted: Any = Listed(filled, names, statuses)
        else:
            wanted = having(filled, statuses).select(names)
        # Made as it is read: in memory it would be the same text over and over.
        version = {c.COL_FEATURE_VERSION: self.resolve.feature_version}
        return lazy(wanted, self.file, version, query=self._told.get("frame"))

    def frame(self, delta: pa.Table, statuses: Sequence[int]) -> nw.LazyFrame[Any]:
        """Ids, upstream columns and provenance of the samples with these statuses."""
        return self._lazy(lambda resolve: resolve.frame(delta, statuses), delta.num_rows)

    def orphaned(self, delta: pa.Table) -> nw.LazyFrame[Any]:
        """The stored rows of the orphaned samples."""
        if not delta.num_rows:
            # The usual case, for which the file need not be opened again.
            if types := self._own:
                return nothing(types, self.file)
            return lazy(delta.select(list(self.sample_columns)), self.file)
        return self._lazy(lambda resolve: resolve.orphaned(delta), delta.num_rows)

    def upstream(self, samples: pa.Table | None, key: FeatureKey) -> nw.LazyFrame[Any]:
        """The upstream rows that some samples (or, for ``None``, all of them) come from."""
        rows = None if samples is None else samples.num_rows
        return self._lazy(lambda resolve: resolve.upstream(samples, key), rows)

    def upstream_table(self, samples: pa.Table | None, key: FeatureKey) -> pa.Table:
        """As :meth:`upstream`, read at once."""
        with self.file.connect("r") as connection:
            return fetch_restored(connection, self.resolve.open(connection).upstream(samples, key))

    def upstream_scan(self, samples: pa.Table | None, key: FeatureKey) -> Scan | pa.Table:
        """As :meth:`upstream`, for an engine that asks for batches; few rows are read at once."""
        rows = None if samples is None else samples.num_rows
        found, asked = self._scan(lambda resolve: resolve.upstream(samples, key), rows)
        if isinstance(found, pa.Table):
            return restore(found, asked.logical)
        return Restored(found, asked.logical) if asked.logical else found

    def _opened(self, connection: duckdb.DuckDBPyConnection) -> OpenResolve:
        resolve = self.resolve.open(connection, compare=True)
        self._own.update(resolve.stored_types)
        return resolve

    def _lazy(self, make: Callable[[OpenResolve], Query], samples: int | None) -> nw.LazyFrame[Any]:
        found, asked = self._scan(make, samples)
        return lazy(found, self.file, query=asked)

    def _scan(
        self, make: Callable[[OpenResolve], Query], samples: int | None
    ) -> tuple[Snapshot | pa.Table, Query]:
        """Rows that are read when they are collected; for few samples, read already."""

        def query(connection: duckdb.DuckDBPyConnection) -> Query:
            return make(self.resolve.open(connection))

        with self.file.connect("r") as connection:
            if samples is not None and samples <= _READ_AT_ONCE:
                asked = query(connection)
                return fetch(connection, asked), asked
            asked = query(connection)
            schema = arrow_schema(connection, asked)
        return Snapshot(self.file, schema, query), asked


def origin(source: IncrementSource) -> DuckDBIncrementSource | None:
    """The resolve behind an increment, if it is one of a DuckDB file."""
    inner = source.source if isinstance(source, WithoutQuarantined) else source
    return inner if isinstance(inner, DuckDBIncrementSource) else None


def resolved_at(increment: Increment | None, file: DuckDBFile) -> int | None:
    """The commit as of which an increment was resolved, if it is of this very file."""
    source = None if increment is None else origin(increment.source)
    if source is None or source.file.place != file.place:
        return None
    return source.resolve.commit


def answered_by(increment: Increment | None, file: DuckDBFile) -> Answered | None:
    """What the watermark may note about a write, if the increment is of this very file."""
    source = None if increment is None else origin(increment.source)
    if (
        increment is None
        or source is None
        or source.file.place != file.place
        or not source.resolve.is_whole
    ):
        return None
    resolve, whole = source.resolve, increment.whole
    return Answered(
        resolve.fingerprint,
        resolve.commit,
        resolve.sample_columns,
        whole.open_count,
        resolve.keep_unchanged,
        whole.ids,
    )


def part_answered_by(increment: Increment | None, file: DuckDBFile) -> AnsweredPart | None:
    """The same, if the increment looks at some samples alone."""
    source = None if increment is None else origin(increment.source)
    if source is None or source.file.place != file.place:
        return None
    resolve = source.resolve
    if resolve.is_whole or resolve.plan.is_root:
        return None
    settled = settles(resolve.plan, resolve.by_feature)
    return AnsweredPart(resolve.fingerprint, resolve.commit, resolve.sample_columns, settled)
