"""Writes: one transaction, one commit number, current state and history kept in step."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import duckdb
import pyarrow as pa

from metaxy_dagster import constants as c
from metaxy_dagster.errors import FrameError
from metaxy_dagster.features import FeatureKey, FeatureSpec
from metaxy_dagster.stores.duckdb import layout
from metaxy_dagster.stores.duckdb.bulk import column_clauses, compressed
from metaxy_dagster.stores.duckdb.identifiers import (
    CATALOG,
    columns,
    fold,
    history_table,
    pending_table,
    quote,
    table_name,
    table_of,
)
from metaxy_dagster.stores.duckdb.staging import STAGE, Staged, check_asked_for, stage
from metaxy_dagster.stores.duckdb.types import stored_types
from metaxy_dagster.stores.duckdb.watermark import Answered, advance, is_behind
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
    """

    def __init__(self, connection: duckdb.DuckDBPyConnection) -> None:
        self._connection = connection
        self._now = dt.datetime.now(dt.UTC)

    def write(self, staged: Staged, how: Write) -> WriteResult:
        """Stage, compare with what is stored, and commit what really changed.

        Raises:
            FrameError: types or columns that do not fit, or too much would be deleted.
        """
        layout.ensure_format(self._connection)
        with compressed(self._connection, staged.table, 1 + len(staged.plan.fields)):
            return self._write(staged, how)

    def _write(self, staged: Staged, how: Write) -> WriteResult:
        connection, key = self._connection, staged.plan.key
        connection.execute("BEGIN TRANSACTION")
        found = layout.tables(connection, layout.newest_commits(connection, [key])).get(key)
        if staged.is_nothing:
            return self._only_orphans(staged, how, found)
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
        self._mark_changed(staged, found)
        self._mark_removed(staged, how)
        updated = self._count(f"SELECT count(*) FROM {_REMOVED} WHERE NOT gone")
        deleted = self._count(f"SELECT count(*) FROM {_REMOVED} WHERE gone")
        changed = staged.table.num_rows
        if found is not None:
            changed = self._count(f"SELECT count(*) FROM {_CHANGED}")
        unchanged = staged.table.num_rows - changed
        new = changed - updated
        commit = 0
        if changed or deleted:
            commit = layout.last_commit(connection) + 1
            self._end(key, commit)
            written = self._insert(key, commit, how.materialization_id)
            if found is None:
                check_asked_for(connection, staged, written)
            if how.answered is not None:
                # Of a new feature, all that is stored was written now.
                done = [table_of(key) if found is None else STAGE]
                done += [] if how.orphans is None else [_ORPHANS]
                advance(connection, key, how.answered, commit, done, by=commit)
            result = WriteResult(key, commit, new, updated, unchanged, deleted)
            self._note(staged.plan.spec, staged.feature_version, result, how.materialization_id)
        connection.execute("COMMIT" if commit else "ROLLBACK")
        return WriteResult(key, commit, new, updated, unchanged, deleted)

    def _only_orphans(self, staged: Staged, how: Write, found: layout.Table | None) -> WriteResult:
        """An increment for which nothing was returned: the frame's columns tell nothing."""
        connection, spec = self._connection, staged.plan.spec
        connection.execute("ROLLBACK")
        result = WriteResult(spec.key, 0, 0, 0, 0, 0)
        if found is None:
            return result
        if how.orphans is not None and how.orphans.num_rows:
            connection.register(_ORPHANS, how.orphans)
            keys = columns(how.orphans.column_names)
            rows = f"SELECT r.rowid FROM {table_of(spec.key)} r SEMI JOIN {_ORPHANS} USING ({keys})"
            where = f"rowid IN ({rows})"
            result = self.delete(spec, staged.feature_version, where, {}, soft=True)
        if how.answered is not None and is_behind(connection, staged.plan, how.answered):
            connection.execute("BEGIN TRANSACTION")
            newest = layout.last_commit(connection)
            advance(connection, spec.key, how.answered, newest, (), by=result.commit)
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
        connection, key = self._connection, spec.key
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
        commit = layout.last_commit(connection) + 1
        if not soft:
            self._forget(spec)
        self._end(key, commit, keep=soft)
        result = WriteResult(key, commit, 0, 0, 0, deleted)
        self._note(spec, version, result, None, kind="delete" if soft else "hard delete")
        connection.execute("COMMIT")
        return result

    def drop(self, key: FeatureKey) -> None:
        """Forget a feature; its commits stay, so that no number is ever used twice."""
        connection = self._connection
        layout.ensure_format(connection)
        connection.execute("BEGIN TRANSACTION")
        if layout.tables(connection, layout.newest_commits(connection, [key])):
            commit, name = layout.last_commit(connection) + 1, str(key)
            for table in (table_of(key), history_table(key), pending_table(key)):
                connection.execute(f"DROP TABLE IF EXISTS {table}")
            for table in ("features", "watermarks"):
                connection.execute(
                    f"DELETE FROM {CATALOG}.metaxy.{table} WHERE feature = ?", [name]
                )
            row = [commit, name, "drop", 0, 0, 0, None, None, self._now]
            connection.execute(f"INSERT INTO {CATALOG}.metaxy.commits VALUES {_marks(row)}", row)
        connection.execute("COMMIT")

    def _count(self, sql: str, values: Mapping[str, object] | None = None) -> int:
        rows = self._connection.execute(sql, dict(values) if values else None).fetchall()
        return int(rows[0][0])

    def _mark_changed(self, staged: Staged, found: layout.Table | None) -> None:
        """Rows of the stage that are new or differ from what is stored in any way that counts."""
        if found is None:
            self._connection.execute(
                f"CREATE OR REPLACE TEMP VIEW {_CHANGED} AS SELECT *, NULL::BIGINT AS metaxy_rid,"
                f" NULL::TIMESTAMPTZ AS {quote(c.COL_CREATED_AT)} FROM {STAGE}"
            )
            return
        compared = [
            *staged.user_columns,
            c.COL_PROVENANCE,
            c.COL_DATA_VERSION,
            c.COL_FEATURE_VERSION,
        ]
        terms = [f"s.{quote(n)} IS NOT DISTINCT FROM r.{quote(n)}" for n in compared]
        present = {fold(name) for name in staged.user_columns}
        # A column that the frame dropped is emptied in every row that is written.
        terms += [f"r.{quote(n)} IS NULL" for n in found.columns if fold(n) not in present]
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
        if how.orphans is not None:
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

    def _insert(self, key: FeatureKey, commit: int, materialization_id: str | None) -> int:
        created = quote(c.COL_CREATED_AT)
        (row,) = self._connection.execute(
            f"INSERT INTO {table_of(key)} BY NAME SELECT * EXCLUDE (metaxy_rid) REPLACE"
            f" (coalesce({created}, $now::TIMESTAMPTZ) AS {created}),"
            f" $now::TIMESTAMPTZ AS {quote(c.COL_UPDATED_AT)},"
            f" $id::VARCHAR AS {quote(c.COL_MATERIALIZATION_ID)},"
            f" $commit AS {quote(layout.COL_COMMIT)} FROM {_CHANGED}",
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
        kind: str = "write",
    ) -> None:
        connection, name = self._connection, str(spec.key)
        counts = [result.new, result.updated, result.deleted]
        row = [result.commit, name, kind, *counts, version, materialization_id, self._now]
        connection.execute(f"INSERT INTO {CATALOG}.metaxy.commits VALUES {_marks(row)}", row)
        connection.execute(f"DELETE FROM {CATALOG}.metaxy.features WHERE feature = ?", [name])
        connection.execute(
            f"INSERT INTO {CATALOG}.metaxy.features VALUES (?, ?, ?, ?)",
            [name, table_name(spec.key), version, spec.model_dump_json()],
        )


def _marks(row: Sequence[object]) -> str:
    return f"({', '.join('?' * len(row))})"
