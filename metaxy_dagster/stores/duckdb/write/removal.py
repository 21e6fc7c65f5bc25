"""The stored rows that end with a commit: collected first, then taken out of the current state."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping, Sequence

import duckdb

from metaxy_dagster import constants as c
from metaxy_dagster.errors import DeletionRefusedError
from metaxy_dagster.features import FeatureKey, FeatureSpec
from metaxy_dagster.stores.duckdb.file.entries import Commits, history_of
from metaxy_dagster.stores.duckdb.file.layout import COL_ENDED, make_history, number
from metaxy_dagster.stores.duckdb.resolve.empties import EMPTIED
from metaxy_dagster.stores.duckdb.sql.identifiers import columns, history_table, quote, table_of
from metaxy_dagster.stores.duckdb.sql.registering import register
from metaxy_dagster.stores.duckdb.write.options import Write

__all__ = ["ORPHANS", "Removal"]

# The orphaned samples that are to go with a write.
ORPHANS = "metaxy_orphans"
_REMOVED = "metaxy_removed"


class Removal:
    """Rows of one feature that are superseded, or gone.

    Args:
        connection: an open transaction.
        key: the feature.
        commits: its newest ones before.
        superseded: a SELECT of ``rid``, the numbers of the rows that others take the place of.

    Attributes:
        updated: how many rows are superseded.
        deleted: how many are gone.
    """

    def __init__(
        self,
        connection: duckdb.DuckDBPyConnection,
        key: FeatureKey,
        commits: Commits,
        superseded: str = "SELECT NULL::BIGINT AS rid WHERE FALSE",
    ) -> None:
        self._connection = connection
        self._key = key
        self._history = history_of(key, commits)
        self.updated = number(
            connection,
            f"CREATE OR REPLACE TEMP TABLE {_REMOVED} AS SELECT rid, FALSE AS gone"
            f" FROM ({superseded})",
        )
        self.deleted = 0

    def add(self, condition: str, values: Mapping[str, object] | None = None) -> None:
        """Rows for which a condition holds are gone, if they are not superseded."""
        self.deleted += number(
            self._connection,
            f"INSERT INTO {_REMOVED} SELECT rowid, TRUE FROM {table_of(self._key)}"
            f" WHERE ({condition}) AND rowid NOT IN (SELECT rid FROM {_REMOVED})",
            values,
        )

    def add_samples(self, table: str, names: Sequence[str]) -> None:
        """Rows of the samples that a table names are gone."""
        stored = table_of(self._key)
        rows = f"SELECT r.rowid FROM {stored} r SEMI JOIN {table} USING ({columns(names)})"
        self.add(f"rowid IN ({rows})")

    def add_named(self, how: Write) -> None:
        """Rows of samples that are to go: orphaned, failed, and those that yielded nothing."""
        for samples in how.leaving:
            register(self._connection, ORPHANS, samples)
            self.add_samples(ORPHANS, samples.column_names)
        if how.empty is not None:
            found = self._connection.sql(f"SELECT * FROM {EMPTIED} LIMIT 0").columns
            self.add_samples(EMPTIED, [name for name in found if name != c.COL_PROVENANCE])

    def guard(self, how: Write) -> None:
        """Refuse a replace that would delete more than it may.

        Raises:
            DeletionRefusedError: with what it would delete.
        """
        if how.max_deleted_share is None or not how.replace or not self.deleted:
            return
        within = f"SELECT count(*) FROM {table_of(self._key)} WHERE {how.scope}"
        stored = number(self._connection, within, how.scope_values)
        if self.deleted > how.max_deleted_share * stored:
            raise DeletionRefusedError(
                "replacing the feature by this frame would delete more samples than is allowed",
                feature=str(self._key),
                found=f"{self.deleted} of {stored} samples are not in the frame",
                allowed=f"at most {how.max_deleted_share:.1%} at once",
                remedy="if the frame is right, pass a larger max_deleted_share; if it holds only "
                'some of the samples, write with mode="upsert"',
            )

    def end(self, commit: int, now: dt.datetime, *, keep: bool = True) -> None:
        """Take the rows out of the current state, into the history if they are kept."""
        if not self.updated and not self.deleted:
            return
        table = table_of(self._key)
        if keep and not self._history:
            make_history(self._connection, self._key)
        if keep:
            self._connection.execute(
                f"INSERT INTO {history_table(self._key)} BY NAME SELECT r.*,"
                f" $commit AS {quote(COL_ENDED)}, CASE WHEN x.gone THEN $now::TIMESTAMPTZ"
                f" END AS {quote(c.COL_DELETED_AT)} FROM {table} r JOIN {_REMOVED} x"
                " ON r.rowid = x.rid",
                {"commit": commit, "now": now},
            )
        self._connection.execute(f"DELETE FROM {table} WHERE rowid IN (SELECT rid FROM {_REMOVED})")

    def forget(self, spec: FeatureSpec) -> None:
        """Erase the history of the samples that are about to be deleted for good."""
        same = " AND ".join(f"r.{quote(n)} = h.{quote(n)}" for n in spec.id_columns)
        for table in self._history:
            self._connection.execute(
                f"DELETE FROM {table} h WHERE EXISTS (SELECT 1 FROM"
                f" {table_of(spec.key)} r JOIN {_REMOVED} x ON r.rowid = x.rid WHERE {same})"
            )
