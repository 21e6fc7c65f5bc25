"""Answers an increment's questions from the file, each time as of the increment's commit."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import duckdb
import narwhals as nw
import pyarrow as pa

from metaxy_dagster import constants as c
from metaxy_dagster.features import FeatureKey
from metaxy_dagster.stores.duckdb.connection import DuckDBFile
from metaxy_dagster.stores.duckdb.layout import COL_UPSTREAM
from metaxy_dagster.stores.duckdb.query import Query, fetch, lazy
from metaxy_dagster.stores.duckdb.reader import arrow_schema
from metaxy_dagster.stores.duckdb.resolve import OpenResolve, Resolve
from metaxy_dagster.stores.duckdb.watermark import Answered
from metaxy_dagster.stores.increment import (
    NEW,
    ORPHANED,
    STALE,
    STATUS,
    Counts,
    Increment,
)

__all__ = ["DuckDBIncrementSource", "answered_by"]

_DELTA_COLUMNS = (c.COL_PROVENANCE_BY_FIELD, c.COL_PROVENANCE, COL_UPSTREAM)
# Opening the file again costs more than reading so few rows.
_READ_AT_ONCE = 10_000


@dataclass(frozen=True)
class DuckDBIncrementSource:
    """One resolve against one file."""

    file: DuckDBFile
    resolve: Resolve

    @property
    def sample_columns(self) -> tuple[str, ...]:
        """The columns that name a row of the increment."""
        return self.resolve.sample_columns

    def counts(self) -> Counts:
        """Count without making frames."""
        with self.file.connect("r") as connection:
            rows = fetch(
                connection, self.resolve.open(connection, compare=True).counts()
            ).to_pylist()
        found = {row["status"]: row["samples"] for row in rows}
        return Counts(*(found.get(status, 0) for status in (NEW, STALE, ORPHANED)))

    def delta(self) -> pa.Table:
        """Sample columns, status, provenance and upstream versions of each listed sample."""
        with self.file.connect("r") as connection:
            return fetch(connection, self.resolve.open(connection, compare=True).delta())

    def filled(self) -> pa.Table | None:
        """As :meth:`delta`, with the upstream columns behind; ``None`` where they may be large."""
        with self.file.connect("r") as connection:
            resolve = self.resolve.open(connection, compare=True)
            return fetch(connection, resolve.delta(filled=True)) if resolve.is_slim else None

    def delta_of(self, filled: pa.Table) -> pa.Table:
        """What :meth:`delta` gives, from :meth:`filled`."""
        return filled.select([*self.sample_columns, STATUS, *_DELTA_COLUMNS])

    def frame_of(self, filled: pa.Table) -> nw.LazyFrame[Any]:
        """What :meth:`frame` gives, from rows of :meth:`filled`."""
        version = pa.repeat(self.resolve.feature_version, filled.num_rows)
        table = filled.append_column(c.COL_FEATURE_VERSION, version)
        known = {*self.sample_columns, STATUS, *_DELTA_COLUMNS}
        user = [name for name in filled.column_names if name not in known]
        provenance = [c.COL_PROVENANCE_BY_FIELD, c.COL_PROVENANCE, c.COL_FEATURE_VERSION]
        return lazy(table.select([*self.sample_columns, *user, *provenance]), self.file)

    def frame(self, delta: pa.Table, statuses: Sequence[int]) -> nw.LazyFrame[Any]:
        """Ids, upstream columns and provenance of the samples with these statuses."""
        return self._lazy(lambda resolve: resolve.frame(delta, statuses), delta.num_rows)

    def orphaned(self, delta: pa.Table) -> nw.LazyFrame[Any]:
        """The stored rows of the orphaned samples."""
        return self._lazy(lambda resolve: resolve.orphaned(delta), delta.num_rows)

    def upstream(self, samples: pa.Table | None, key: FeatureKey) -> nw.LazyFrame[Any]:
        """The upstream rows that some samples (or, for ``None``, all of them) come from."""
        rows = None if samples is None else samples.num_rows
        return self._lazy(lambda resolve: resolve.upstream(samples, key), rows)

    def _lazy(self, make: Callable[[OpenResolve], Query], samples: int | None) -> nw.LazyFrame[Any]:
        """A frame that reads when it is collected; for few samples, one that was read already."""

        def query(connection: duckdb.DuckDBPyConnection) -> Query:
            return make(self.resolve.open(connection))

        with self.file.connect("r") as connection:
            if samples is not None and samples <= _READ_AT_ONCE:
                return lazy(fetch(connection, query(connection)), self.file)
            schema = arrow_schema(connection, query(connection))
        from metaxy_dagster.stores.duckdb.snapshot import Snapshot  # noqa: PLC0415 - brings pandas

        return lazy(Snapshot(self.file, schema, query), self.file)


def answered_by(increment: Increment | None, file: DuckDBFile) -> Answered | None:
    """What the watermark may note about a write, if the increment is of this very file."""
    source = None if increment is None else increment.source
    if (
        increment is None
        or not isinstance(source, DuckDBIncrementSource)
        or source.file.path != file.path
        or not source.resolve.is_whole
    ):
        return None
    resolve, delta = source.resolve, increment.whole.delta
    return Answered(resolve.fingerprint, resolve.commit, resolve.sample_columns, delta)
