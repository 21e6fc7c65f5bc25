"""Writes: one transaction, one commit number, current state and history kept in step."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping
from dataclasses import dataclass, replace

import duckdb
import pyarrow as pa

from metaxy_dagster import constants as c
from metaxy_dagster.errors import FrameError
from metaxy_dagster.features import FeatureKey, FeatureSpec
from metaxy_dagster.stores.duckdb import layout
from metaxy_dagster.stores.duckdb.bulk import column_clauses, compressed
from metaxy_dagster.stores.duckdb.catalog import Catalog
from metaxy_dagster.stores.duckdb.entries import NOTHING_KNOWN, Entry, Watermark, save
from metaxy_dagster.stores.duckdb.identifiers import (
    CATALOG,
    columns,
    fold,
    history_table,
    pending_table,
    quote,
    table_of,
)
from metaxy_dagster.stores.duckdb.staging import STAGE, Staged, check_asked_for, stage
from metaxy_dagster.stores.duckdb.types import stored_types
from metaxy_dagster.stores.duckdb.watermark import Answered, Done, advance, is_behind
from metaxy_dagster.stores.protocol import WriteResult

__all__ = ["Write", "Writer"]

_CHANGED = "metaxy_changed"
_REMOVED = "metaxy_removed"
_ORPHANS = "metaxy_orphans"


@dataclass(frozen=True)
class Write:
    """How a staged frame is to be applied.

    Attributes:
        replace: stored samples that the frame lacks are deleted.
        scope: a SQL condition, with its values: only these stored rows may be deleted.
        orphans: sample columns of stored rows to delete in the same transaction.
        max_deleted_share: refuse to delete more than this share of the stored rows.
        materialization_id: stored with each written row.
        answered: the increment that the write answers, to be noted in the watermark.
    """

    replace: bool = False
    scope: str = "TRUE"
    scope_values: Mapping[str, object] | None = None
    orphans: pa.Table | None = None
    max_deleted_share: float | None = None
    materialization_id: str | None = None
    answered: Answered | None = None


class Writer:
    """Applies staged frames and deletions to one open connection.

    Whatever raises leaves the transaction open; closing the connection undoes it.

    Args:
        connection: one that may write, not in a transaction.
        catalog: of the feature, as it is now, and the entries of its upstreams.
    """

    def __init__(self, connection: duckdb.DuckDBPyConnection, catalog: Catalog) -> None:
        self._connection = connection
        self._catalog = catalog
        self._now = dt.datetime.now(dt.UTC)

    def write(self, staged: Staged, how: Write) -> WriteResult:
        """Stage, compare with what is stored, and commit what really changed.

        Raises:
            FrameError: types or columns that do not fit, or too much would be deleted.
        """
        if not self._catalog.exists:
            layout.create(self._connection)
        if staged.is_nothing:
            return self._only_orphans(staged, how)
        with compressed(self._connection, staged.table, 1 + len(staged.plan.fields)):
            return self._write(staged, how)

    def _write(self, staged: Staged, how: Write) -> WriteResult:
        connection, key = self._connection, staged.plan.key
        found = self._catalog.get(key)
        connection.execute("BEGIN TRANSACTION")
        types = stored_types(connection, staged, found, replace=how.replace)
        entries = [str(field.key) for field in staged.plan.fields]
        structs = {
            c.COL_PROVENANCE_BY_FIELD: entries,
            c.COL_DATA_VERSION_BY_FIELD: entries,
        }
        clauses = column_clauses(connection) if found is None else {}
        layout.ensure_table(
            connection, key, found=found, types=types, fields=structs, clauses=clauses
        )
        # A new feature has nothing to compare with: its rows go straight in.
        stage(connection, staged, types, once=found is None)
        if found is None:
            result = self._insert_all(staged, how)
        else:
            result = self._insert_changed(staged, how)
        if not result.commit:
            connection.execute("ROLLBACK")
            return result
        watermark = self._catalog.entry(key).watermark
        if how.answered is not None:
            watermark = self._advance(staged, how, how.answered, result)
        spec, version = staged.plan.spec, staged.feature_version
        self._note(spec, version, result, how.materialization_id, watermark=watermark)
        connection.execute("COMMIT")
        return result

    def _insert_all(self, staged: Staged, how: Write) -> WriteResult:
        """The first rows of a feature."""
        rows, key = staged.table.num_rows, staged.plan.key
        if not rows:
            return WriteResult(key, 0, 0, 0, 0, 0)
        created = f"SELECT *, NULL::TIMESTAMPTZ AS {quote(c.COL_CREATED_AT)} FROM {STAGE}"
        written = self._insert(key, created, self._next_commit, how.materialization_id)
        check_asked_for(self._connection, staged, written)
        return WriteResult(key, self._next_commit, rows, 0, 0, 0)

    def _insert_changed(self, staged: Staged, how: Write) -> WriteResult:
        """Compare the stage with what is stored, and bring that up to date."""
        key, rows = staged.plan.key, staged.table.num_rows
        self._mark_changed(staged)
        self._mark_removed(staged, how)
        (numbers,) = self._connection.execute(
            "SELECT count(*) FILTER (NOT gone), count(*) FILTER (gone),"
            f" (SELECT count(*) FROM {_CHANGED}) FROM {_REMOVED}"
        ).fetchall()
        updated, deleted, changed = map(int, numbers)
        if not changed and not deleted:
            return WriteResult(key, 0, 0, 0, rows, 0)
        if updated or deleted:
            self._end(key, self._next_commit)
        if changed:
            source = f"SELECT * EXCLUDE (metaxy_rid) FROM {_CHANGED}"
            self._insert(key, source, self._next_commit, how.materialization_id)
        return WriteResult(
            key, self._next_commit, changed - updated, updated, rows - changed, deleted
        )

    @property
    def _next_commit(self) -> int:
        return self._catalog.commit + 1

    def _advance(
        self, staged: Staged, how: Write, answered: Answered, result: WriteResult
    ) -> Watermark | None:
        """What is known after this write."""
        key, rows = staged.plan.key, staged.table.num_rows
        # Of a new feature, all that is stored was written now.
        tables = [STAGE if self._catalog.get(key) is not None else table_of(key)]
        if how.orphans is not None and how.orphans.num_rows:
            self._connection.register(_ORPHANS, how.orphans)
            tables.append(_ORPHANS)
            rows += how.orphans.num_rows
        one_each = answered.sample_columns == staged.plan.spec.id_columns
        done = Done(tables, rows, result.commit, one_each)
        entry = self._catalog.entry(key)
        return advance(self._connection, key, entry, answered, commit=result.commit, done=done)

    def _only_orphans(self, staged: Staged, how: Write) -> WriteResult:
        """An increment for which nothing was returned: the frame's columns tell nothing."""
        connection, spec = self._connection, staged.plan.spec
        result = WriteResult(spec.key, 0, 0, 0, 0, 0)
        if self._catalog.get(spec.key) is None:
            return result
        if how.orphans is not None and how.orphans.num_rows:
            connection.register(_ORPHANS, how.orphans)
            keys = columns(how.orphans.column_names)
            rows = f"SELECT r.rowid FROM {table_of(spec.key)} r SEMI JOIN {_ORPHANS} USING ({keys})"
            where = f"rowid IN ({rows})"
            result = self.delete(spec, staged.feature_version, where, {}, soft=True)
        if how.answered is not None and is_behind(self._catalog, staged.plan, how.answered):
            connection.execute("BEGIN TRANSACTION")
            entry = self._catalog.entry(spec.key)
            newest, done = self._catalog.commit + (result.commit > 0), Done(by=result.commit)
            mark = advance(connection, spec.key, entry, how.answered, commit=newest, done=done)
            if result.commit:
                entry = self._after(entry, result, spec, staged.feature_version)
            save(connection, spec.key, replace(entry, watermark=mark), known=True)
            connection.execute("COMMIT")
        return result

    def delete(
        self,
        spec: FeatureSpec,
        version: str,
        where: str,
        values: Mapping[str, object],
        *,
        soft: bool,
    ) -> WriteResult:
        """Delete the stored rows for which a condition holds, with their history if not soft."""
        connection, key, commit = self._connection, spec.key, self._next_commit
        connection.execute("BEGIN TRANSACTION")
        connection.execute(
            f"CREATE OR REPLACE TEMP TABLE {_REMOVED} AS SELECT rowid AS rid, TRUE AS gone"
            f" FROM {table_of(key)} WHERE {where}",
            dict(values) or None,
        )
        deleted = self._count(f"SELECT count(*) FROM {_REMOVED}")
        if not deleted:
            connection.execute("ROLLBACK")
            return WriteResult(key, 0, 0, 0, 0, 0)
        if not soft:
            self._forget(spec)
        self._end(key, commit, keep=soft)
        result = WriteResult(key, commit, 0, 0, 0, deleted)
        kind, mark = "delete" if soft else "hard delete", self._catalog.entry(key).watermark
        self._note(spec, version, result, None, kind=kind, watermark=mark)
        connection.execute("COMMIT")
        return result

    def drop(self, key: FeatureKey) -> None:
        """Forget a feature; its newest commits stay, so that no number is ever used twice."""
        connection, entry = self._connection, self._catalog.entry(key)
        if not entry.stored:
            return
        connection.execute("BEGIN TRANSACTION")
        for table in (table_of(key), history_table(key), pending_table(key)):
            connection.execute(f"DROP TABLE IF EXISTS {table}")
        commits = entry.commits.after(self._next_commit, ended=False, erased=True)
        save(connection, key, Entry(commits=commits, failed=entry.failed), known=True)
        self._log(WriteResult(key, self._next_commit, 0, 0, 0, 0), "drop", None, None)
        connection.execute("COMMIT")

    def _count(self, sql: str, values: Mapping[str, object] | None = None) -> int:
        rows = self._connection.execute(sql, dict(values) if values else None).fetchall()
        return int(rows[0][0])

    def _mark_changed(self, staged: Staged) -> None:
        """Rows of the stage that are new or differ from what is stored in any way that counts."""
        compared = [
            *staged.user_columns,
            c.COL_PROVENANCE,
            c.COL_DATA_VERSION,
            c.COL_FEATURE_VERSION,
        ]
        terms = [f"s.{quote(n)} IS NOT DISTINCT FROM r.{quote(n)}" for n in compared]
        present = {fold(name) for name in staged.user_columns}
        # A column that the frame dropped is emptied in every row that is written.
        stored = self._catalog.tables[staged.plan.key].columns
        terms += [f"r.{quote(n)} IS NULL" for n in stored if fold(n) not in present]
        ids = " AND ".join(f"s.{quote(n)} = r.{quote(n)}" for n in staged.plan.spec.id_columns)
        self._connection.execute(
            f"CREATE OR REPLACE TEMP TABLE {_CHANGED} AS SELECT s.*, r.rowid AS metaxy_rid,"
            f" r.{quote(c.COL_CREATED_AT)} AS {quote(c.COL_CREATED_AT)} FROM {STAGE} s"
            f" LEFT JOIN {table_of(staged.plan.key)} r ON {ids}"
            f" WHERE r.rowid IS NULL OR NOT ({' AND '.join(terms)})"
        )

    def _mark_removed(self, staged: Staged, how: Write) -> None:
        """Which stored rows end with this commit: superseded ones, and deleted ones."""
        table = table_of(staged.plan.key)
        self._connection.execute(
            f"CREATE OR REPLACE TEMP TABLE {_REMOVED} AS SELECT metaxy_rid AS rid, FALSE AS gone"
            f" FROM {_CHANGED} WHERE metaxy_rid IS NOT NULL"
        )
        ids = columns(staged.plan.spec.id_columns)
        kept = f"SELECT r.rowid FROM {table} r SEMI JOIN {STAGE} USING ({ids})"
        if how.replace:
            self._remove(f"({how.scope}) AND rowid NOT IN ({kept})", table, how.scope_values)
        if how.orphans is not None and how.orphans.num_rows:
            self._connection.register(_ORPHANS, how.orphans)
            keys = columns(how.orphans.column_names)
            rows = f"SELECT r.rowid FROM {table} r SEMI JOIN {_ORPHANS} USING ({keys})"
            self._remove(f"rowid IN ({rows})", table)
        if parents := staged.parent_columns:
            # Children under an older provenance of their parent go with it.
            keys, one = columns(parents), quote(c.COL_PROVENANCE)
            rows = (
                f"SELECT r.rowid FROM {table} r JOIN (SELECT {keys}, list({one}) AS written"
                f" FROM {STAGE} GROUP BY {keys}) USING ({keys})"
                f" WHERE NOT list_contains(written, r.{one})"
            )
            self._remove(f"rowid IN ({rows}) AND rowid NOT IN ({kept})", table)
        self._guard(staged, how, table)

    def _remove(
        self, condition: str, table: str, values: Mapping[str, object] | None = None
    ) -> None:
        self._connection.execute(
            f"INSERT INTO {_REMOVED} SELECT rowid, TRUE FROM {table} WHERE {condition}"
            f" AND rowid NOT IN (SELECT rid FROM {_REMOVED})",
            dict(values) if values else None,
        )

    def _guard(self, staged: Staged, how: Write, table: str) -> None:
        if how.max_deleted_share is None or not how.replace:
            return
        gone = self._count(f"SELECT count(*) FROM {_REMOVED} WHERE gone")
        stored = self._count(f"SELECT count(*) FROM {table} WHERE {how.scope}", how.scope_values)
        if gone > how.max_deleted_share * stored:
            raise FrameError(
                "replacing the feature by this frame would delete more samples than is allowed",
                feature=str(staged.plan.key),
                found=f"{gone} of {stored} samples are not in the frame",
                allowed=f"at most {how.max_deleted_share:.0%} at once",
                remedy="if the frame is right, raise max_deleted_share; if it holds only some of "
                'the samples, set metadata "metaxy/write": "upsert"',
            )

    def _end(self, key: FeatureKey, commit: int, *, keep: bool = True) -> None:
        """Take the removed rows out of the current state, into the history if they are kept."""
        table = table_of(key)
        if keep:
            self._connection.execute(
                f"INSERT INTO {history_table(key)} BY NAME SELECT r.*,"
                f" $commit AS {quote(layout.COL_ENDED)}, CASE WHEN x.gone THEN $now::TIMESTAMPTZ"
                f" END AS {quote(c.COL_DELETED_AT)} FROM {table} r JOIN {_REMOVED} x"
                " ON r.rowid = x.rid",
                {"commit": commit, "now": self._now},
            )
        self._connection.execute(f"DELETE FROM {table} WHERE rowid IN (SELECT rid FROM {_REMOVED})")

    def _insert(
        self, key: FeatureKey, source: str, commit: int, materialization_id: str | None
    ) -> int:
        """Insert what a SELECT gives: the columns of the stage, and when a row was created."""
        created = quote(c.COL_CREATED_AT)
        (row,) = self._connection.execute(
            f"INSERT INTO {table_of(key)} BY NAME SELECT * REPLACE"
            f" (coalesce({created}, $now::TIMESTAMPTZ) AS {created}),"
            f" $now::TIMESTAMPTZ AS {quote(c.COL_UPDATED_AT)},"
            f" $id::VARCHAR AS {quote(c.COL_MATERIALIZATION_ID)},"
            f" $commit AS {quote(layout.COL_COMMIT)} FROM ({source})",
            {"now": self._now, "id": materialization_id, "commit": commit},
        ).fetchall()
        return int(row[0])

    def _forget(self, spec: FeatureSpec) -> None:
        """Erase the history of the samples that are about to be deleted for good."""
        same = " AND ".join(f"r.{quote(n)} = h.{quote(n)}" for n in spec.id_columns)
        self._connection.execute(
            f"DELETE FROM {history_table(spec.key)} h WHERE EXISTS (SELECT 1 FROM"
            f" {table_of(spec.key)} r JOIN {_REMOVED} x ON r.rowid = x.rid WHERE {same})"
        )

    def _note(
        self,
        spec: FeatureSpec,
        version: str,
        result: WriteResult,
        materialization_id: str | None,
        *,
        kind: str = "write",
        watermark: Watermark | None = None,
    ) -> None:
        """Log the commit, and note what is known of the feature after it."""
        self._log(result, kind, version, materialization_id)
        before = self._catalog.entry(spec.key)
        erased = kind == "hard delete"
        entry = replace(
            self._after(before, result, spec, version, erased=erased), watermark=watermark
        )
        save(self._connection, spec.key, entry, known=before is not NOTHING_KNOWN)

    def _after(
        self,
        entry: Entry,
        result: WriteResult,
        spec: FeatureSpec,
        version: str,
        *,
        erased: bool = False,
    ) -> Entry:
        ended = result.updated > 0 or result.deleted > 0
        commits = entry.commits.after(result.commit, ended=ended, erased=erased)
        text = spec.model_dump_json()
        return replace(entry, version=version, spec=text, stored=True, commits=commits)

    def _log(
        self, result: WriteResult, kind: str, version: str | None, materialization_id: str | None
    ) -> None:
        counts = [result.new, result.updated, result.deleted]
        row = [result.commit, str(result.feature), kind, *counts, version, materialization_id]
        marks = ", ".join("?" * (len(row) + 1))
        self._connection.execute(
            f"INSERT INTO {CATALOG}.metaxy.commits VALUES ({marks})", [*row, self._now]
        )
