"""Samples that could not be computed: noted in ``quarantine.<feature>``, left out of increments.

A row holds the sample, the provenance that it was to be computed under, the error and how often
that happened. It counts only for that provenance: when an upstream or the feature's own code
changes, the sample gets all its attempts again. The table is made by the first failure and goes
with the last one, so that features without failures pay for one look that finds nothing.
"""

from __future__ import annotations

import contextlib
import datetime as dt
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import duckdb
import narwhals as nw
import pyarrow as pa
import pyarrow.compute as pc

from metaxy_dagster import constants as c
from metaxy_dagster.errors import FrameError
from metaxy_dagster.features import FeatureKey
from metaxy_dagster.stores.counts import NEW, ORPHANED, QUARANTINED, STALE, STATUS, Counts
from metaxy_dagster.stores.duckdb.failures.answered import Answered
from metaxy_dagster.stores.duckdb.file.entries import set_failed
from metaxy_dagster.stores.duckdb.file.layout import COL_COMMIT
from metaxy_dagster.stores.duckdb.read.query import Query, fetch
from metaxy_dagster.stores.duckdb.sql.identifiers import (
    CATALOG,
    columns,
    quarantine_table,
    quote,
    same_ids,
)
from metaxy_dagster.stores.duckdb.sql.registering import register
from metaxy_dagster.stores.failures import FailureResult
from metaxy_dagster.stores.frames.spool import Spool
from metaxy_dagster.stores.listing import IncrementSource
from metaxy_dagster.stores.scan import Scan

__all__ = [
    "SHOWN",
    "WithoutQuarantined",
    "failures",
    "forget",
    "held",
    "record",
    "settle",
]

_FAILED = "metaxy_failed_samples"
_LISTED = "metaxy_listed"
_OLD = "metaxy_failed_before"
_EXAMPLES = 5
# What is known of a failure, behind the sample columns.
_KINDS: Mapping[str, pa.DataType] = {
    c.COL_ERROR_TYPE: pa.string(),
    c.COL_ERROR: pa.string(),
    c.COL_ATTEMPTS: pa.int32(),
    c.COL_QUARANTINED: pa.bool_(),
    c.COL_FAILED_AT: pa.timestamp("us", tz="UTC"),
    c.COL_MATERIALIZATION_ID: pa.string(),
}
# The stored columns of a failure that a person is shown, and may choose by.
SHOWN = tuple(name for name in _KINDS if name != c.COL_QUARANTINED)


def held(
    connection: duckdb.DuckDBPyConnection,
    key: FeatureKey,
    names: Sequence[str],
    *,
    limit: int,
    version: str | None,
) -> pa.Table | None:
    """The samples that have failed as often as is allowed.

    Args:
        connection: not in a transaction: looking for a table that is not there would abort it.
        key: the feature.
        names: its sample columns.
        limit: attempts that a sample has; 0 for any number.
        version: only failures under this feature version count; ``None`` for any.

    Returns:
        N rows of sample columns and provenance; ``None`` if there are none.
    """
    if not limit:
        return None
    chosen = "" if version is None else f" AND {quote(c.COL_FEATURE_VERSION)} = $version"
    sql = (
        f"SELECT {columns([*names, c.COL_PROVENANCE])} FROM {quarantine_table(key)}"
        f" WHERE {quote(c.COL_ATTEMPTS)} >= $limit{chosen}"
    )
    values = {"limit": limit, **({} if version is None else {"version": version})}
    try:
        found = fetch(connection, Query(sql, values))
    except (duckdb.CatalogException, duckdb.BinderException):
        return None
    return found if found.num_rows else None


def record(
    connection: duckdb.DuckDBPyConnection,
    key: FeatureKey,
    failed: pa.Table,
    delta: pa.Table,
    *,
    commit: int,
    version: str,
    limit: int,
    by_version: bool,
    materialization_id: str | None,
) -> FailureResult:
    """Note failed samples, and how often each has failed under its provenance.

    Args:
        connection: one that may write, not in a transaction.
        key: the feature.
        failed: sample columns, ``metaxy_error_type`` and ``metaxy_error``.
        delta: the increment that the samples were to be computed for.
        commit: as of which it was resolved.
        version: the feature's version.
        limit: attempts that a sample has; 0 for any number.
        by_version: failures under another feature version do not count either.
        materialization_id: stored with each failure.

    Raises:
        FrameError: samples that the increment did not ask for.
    """
    names = failed.column_names[:-2]
    keys, table = columns(names), quarantine_table(key)
    register(connection, _FAILED, failed)
    register(connection, _LISTED, delta)
    _check_listed(connection, key, keys, delta)
    before = _columns(connection, key)
    known = before is not None and set(names) <= set(before)
    connection.execute("BEGIN TRANSACTION")
    connection.execute(f"CREATE SCHEMA IF NOT EXISTS {CATALOG}.quarantine")
    same = same_ids(names, "o", "l")
    if by_version:
        same += f" AND o.{quote(c.COL_FEATURE_VERSION)} = $version"
    attempts = f"coalesce(o.{quote(c.COL_ATTEMPTS)}, 0)" if known else "0"
    joined = (
        f"LEFT JOIN {table} o ON {same} AND"
        f" o.{quote(c.COL_PROVENANCE)} = l.{quote(c.COL_PROVENANCE)}"
    )
    connection.execute(
        f"CREATE OR REPLACE TEMP TABLE {_OLD} AS"
        f" SELECT DISTINCT ON ({columns(names, 'l')}) {columns(names, 'l')},"
        f" l.{quote(c.COL_PROVENANCE)}, $version::VARCHAR AS {quote(c.COL_FEATURE_VERSION)},"
        f" f.{quote(c.COL_ERROR_TYPE)}, f.{quote(c.COL_ERROR)},"
        f" ({attempts} + 1)::INTEGER AS {quote(c.COL_ATTEMPTS)},"
        f" $now::TIMESTAMPTZ AS {quote(c.COL_FAILED_AT)},"
        f" $id::VARCHAR AS {quote(c.COL_MATERIALIZATION_ID)},"
        f" $commit::BIGINT AS {quote(COL_COMMIT)}"
        f" FROM {_FAILED} f JOIN {_LISTED} l USING ({keys}) {joined if known else ''}"
        f" WHERE l.{quote(STATUS)} IN ({NEW}, {STALE}, {QUARANTINED})",
        {
            "version": version,
            "now": dt.datetime.now(dt.UTC),
            "id": materialization_id,
            "commit": commit,
        },
    )
    others = ""
    if known:
        others = (
            f" UNION ALL BY NAME SELECT o.* FROM {table} o WHERE NOT EXISTS"
            f" (SELECT 1 FROM {_OLD} n WHERE {same_ids(names, 'o', 'n')})"
        )
    # Made anew, and not inserted into: an id may arrive in a wider type than before.
    connection.execute(f"CREATE OR REPLACE TABLE {table} AS SELECT * FROM {_OLD}{others}")
    full = f"count(*) FILTER ({quote(c.COL_ATTEMPTS)} >= {limit})" if limit else "0"
    (row,) = connection.execute(f"SELECT count(*), {full} FROM {_OLD}").fetchall()
    set_failed(connection, key, failed=True)
    connection.execute("COMMIT")
    return FailureResult(key, int(row[0]), int(row[1]))


def settle(
    connection: duckdb.DuckDBPyConnection,
    key: FeatureKey,
    names: Sequence[str],
    *,
    table: str | None,
    answered: Answered | None,
    marked: str | None = None,
) -> None:
    """Forget failures of samples that were written since, or that nothing asks for any more.

    Args:
        connection: in the transaction of the write; the table of failures is there.
        key: the feature.
        names: its sample columns; none where there are no failures.
        table: of the feature's rows; ``None`` if there is none yet.
        answered: the increment that was written to; ``None`` if it does not list all samples.
        marked: the table of samples that yielded nothing; ``None`` if this write found none.
    """
    if not names:
        return
    gone = "FALSE"
    for one in (table, marked):
        if one is not None:
            # Rows that were only invalidated have no version.
            also = f" AND t.{quote(c.COL_FEATURE_VERSION)} IS NOT NULL" if one is table else ""
            gone += (
                f" OR EXISTS (SELECT 1 FROM {one} t WHERE {same_ids(names, 'o', 't')}"
                f" AND t.{quote(COL_COMMIT)} > o.{quote(COL_COMMIT)}{also})"
            )
    if answered is not None:
        register(connection, _LISTED, answered.ids((NEW, STALE, QUARANTINED)))
        pending = f"SELECT 1 FROM {_LISTED} l WHERE {same_ids(names, 'o', 'l')}"
        gone += f" OR (o.{quote(COL_COMMIT)} <= {answered.commit} AND NOT EXISTS ({pending}))"
    erase(connection, key, gone, {})


def forget(
    connection: duckdb.DuckDBPyConnection,
    key: FeatureKey,
    where: str,
    values: Mapping[str, object],
) -> int:
    """As :func:`erase`, in a transaction of its own; there may be no table."""
    if not is_there(connection, key):
        return 0
    connection.execute("BEGIN TRANSACTION")
    forgotten = erase(connection, key, where, values)
    connection.execute("COMMIT")
    return forgotten


def is_there(connection: duckdb.DuckDBPyConnection, key: FeatureKey) -> bool:
    """Whether any failures are noted; asked outside of a transaction, which it might abort."""
    return _columns(connection, key) is not None


def erase(
    connection: duckdb.DuckDBPyConnection,
    key: FeatureKey,
    where: str,
    values: Mapping[str, object],
) -> int:
    """Delete the failures for which a condition on ``o`` holds, and the table with the last one."""
    table = quarantine_table(key)
    (row,) = connection.execute(
        f"DELETE FROM {table} o WHERE {where}", dict(values) or None
    ).fetchall()
    (left,) = connection.execute(f"SELECT count(*) FROM {table}").fetchall()
    if not left[0]:
        connection.execute(f"DROP TABLE {table}")
        set_failed(connection, key, failed=False)
    return int(row[0])


def failures(
    connection: duckdb.DuckDBPyConnection,
    key: FeatureKey,
    names: Sequence[str],
    where: str,
    values: Mapping[str, object],
    *,
    limit: int,
) -> pa.Table:
    """The failures for which a condition on ``o`` holds, the most recent first."""
    found = _columns(connection, key)
    if found is None or not set(names) <= set(found):
        return pa.schema([*((name, pa.string()) for name in names), *_KINDS.items()]).empty_table()
    shown = ", ".join(
        f"({quote(c.COL_ATTEMPTS)} >= {limit or 'NULL'}) IS TRUE AS {quote(name)}"
        if name == c.COL_QUARANTINED
        else quote(name)
        for name in (*names, *_KINDS)
    )
    sql = (
        f"SELECT {shown} FROM {quarantine_table(key)} o WHERE {where}"
        f" ORDER BY {quote(c.COL_FAILED_AT)} DESC, {columns(names)}"
    )
    return fetch(connection, Query(sql, values))


def _columns(connection: duckdb.DuckDBPyConnection, key: FeatureKey) -> tuple[str, ...] | None:
    """The columns of the table; ``None`` if nothing has failed."""
    try:
        return tuple(connection.sql(f"SELECT * FROM {quarantine_table(key)} LIMIT 0").columns)
    except (duckdb.CatalogException, duckdb.BinderException):
        return None


def _check_listed(
    connection: duckdb.DuckDBPyConnection, key: FeatureKey, keys: str, delta: pa.Table
) -> None:
    strangers = connection.execute(
        f"SELECT {keys} FROM {_FAILED} ANTI JOIN (SELECT * FROM {_LISTED}"
        f" WHERE {quote(STATUS)} <> {ORPHANED}) l USING ({keys})"
    ).fetchall()
    if strangers:
        raise FrameError(
            "samples were reported as failed that the increment did not ask for",
            feature=str(key),
            found=f"{len(strangers)} samples, for example {strangers[:_EXAMPLES]}",
            allowed=f"{delta.num_rows} listed samples",
            remedy="report only ids that came in through the increment's frames",
        )


class WithoutQuarantined:
    """An increment's source in which quarantined samples are no longer new or stale.

    They stay listed, with a status of their own: so a write that brings one after all is
    accepted, and what a later resolve is told to look at again includes them.
    """

    def __init__(self, source: IncrementSource, quarantined: pa.Table) -> None:
        self.source = source
        self._provenances = quarantined.column(c.COL_PROVENANCE).combine_chunks()
        names = [*source.sample_columns, c.COL_PROVENANCE]
        self._held = set(_rows(quarantined.select(names)))
        self._delta: pa.Table | None = None

    @property
    def sample_columns(self) -> tuple[str, ...]:
        """The columns that name a row of the increment."""
        return self.source.sample_columns

    def counts(self) -> Counts:
        """Counted from the list, which has to be made to tell who is in it."""
        return Counts.of(self.delta())

    def delta(self) -> pa.Table:
        """As the source lists it, with another status."""
        if self._delta is None:
            self._delta = self._relabelled(self.source.delta())
        return self._delta

    def filled(self) -> pa.Table | Spool | None:
        """As the source lists it, with another status."""
        found = self.source.filled()
        if not isinstance(found, Spool):
            return None if found is None else self._relabelled(found)
        relabelled = Spool(found.schema, self.spool_directory)
        for part in found.parts():
            relabelled.append(self._relabelled(part))
        return relabelled

    def is_slim(self) -> bool:
        """Whether :meth:`filled` gives anything."""
        return self.source.is_slim()

    @contextlib.contextmanager
    def stream(self, *, filled: bool) -> Iterator[pa.RecordBatchReader]:
        """As :meth:`delta` or :meth:`filled`, batch by batch; the store is held meanwhile."""
        with self.source.stream(filled=filled) as batches:
            relabelled = (
                batch
                for part in batches
                for batch in self._relabelled(pa.Table.from_batches([part])).to_batches()
            )
            yield pa.RecordBatchReader.from_batches(batches.schema, relabelled)

    @property
    def spool_directory(self) -> Path | None:
        """Where rows may be kept that do not fit into memory."""
        return self.source.spool_directory

    @property
    def delta_columns(self) -> tuple[str, ...]:
        """The columns of :meth:`delta`."""
        return self.source.delta_columns

    def delta_of(self, filled: pa.Table | Spool) -> pa.Table:
        """What :meth:`delta` gives, from :meth:`filled`."""
        return self.source.delta_of(filled)

    def frame_of(self, filled: pa.Table | Spool, statuses: Sequence[int]) -> nw.LazyFrame[Any]:
        """What :meth:`frame` gives, from rows of :meth:`filled`."""
        return self.source.frame_of(filled, statuses)

    def frame(self, delta: pa.Table, statuses: Sequence[int]) -> nw.LazyFrame[Any]:
        """Ids, upstream columns and provenance of the samples with these statuses."""
        return self.source.frame(delta, statuses)

    def orphaned(self, delta: pa.Table) -> nw.LazyFrame[Any]:
        """The stored rows of the orphaned samples."""
        return self.source.orphaned(delta)

    def upstream(self, samples: pa.Table | None, key: FeatureKey) -> nw.LazyFrame[Any]:
        """The upstream rows that some samples (or, for ``None``, all of them) come from."""
        return self.source.upstream(samples, key)

    def upstream_table(self, samples: pa.Table | None, key: FeatureKey) -> pa.Table:
        """As :meth:`upstream`, read at once."""
        return self.source.upstream_table(samples, key)

    def upstream_scan(self, samples: pa.Table | None, key: FeatureKey) -> Scan | pa.Table:
        """As :meth:`upstream`, for an engine that asks for batches; few rows are read at once."""
        return self.source.upstream_scan(samples, key)

    def _relabelled(self, table: pa.Table) -> pa.Table:
        status = table.column(STATUS)
        likely = pc.and_(
            pc.is_in(table.column(c.COL_PROVENANCE), self._provenances),
            pc.is_in(status, pa.array([NEW, STALE], status.type)),
        ).combine_chunks()
        names = [*self.sample_columns, c.COL_PROVENANCE]
        certain = [row in self._held for row in _rows(table.filter(likely).select(names))]
        if not any(certain):
            return table
        mask = pc.replace_with_mask(likely, likely, pa.array(certain))
        changed = pc.if_else(mask, pa.scalar(QUARANTINED, status.type), status)
        return table.set_column(table.column_names.index(STATUS), STATUS, changed)


def _rows(table: pa.Table) -> list[tuple[Any, ...]]:
    return list(zip(*(column.to_pylist() for column in table.columns), strict=True))
