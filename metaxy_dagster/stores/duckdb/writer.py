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
from metaxy_dagster.features.columns import fold
from metaxy_dagster.stores.duckdb import layout
from metaxy_dagster.stores.duckdb.bulk import column_clauses, compressed
from metaxy_dagster.stores.duckdb.catalog import Catalog
from metaxy_dagster.stores.duckdb.entries import NOTHING_KNOWN, Content, Entry, Watermark, save
from metaxy_dagster.stores.duckdb.identifiers import (
    CATALOG,
    columns,
    history_table,
    pending_table,
    quote,
    table_of,
)
from metaxy_dagster.stores.duckdb.staging import STAGE, Staged, check_asked_for, stage
from metaxy_dagster.stores.duckdb.types import stored_types
from metaxy_dagster.stores.duckdb.versions import moved
from metaxy_dagster.stores.duckdb.watermark import Answered, Done, advance, is_behind
from metaxy_dagster.stores.protocol import WriteResult

__all__ = ["Write", "Writer"]

_CHANGED = "metaxy_changed"
_REMOVED = "metaxy_removed"
_ORPHANS = "metaxy_orphans"
# Beyond so many rows the data version is found out when it is asked for.
_HASHED_AT_ONCE = 20_000


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
        versioned: note the data version, however many rows must be hashed for it.
    """

    replace: bool = False
    scope: str = "TRUE"
    scope_values: Mapping[str, object] | None = None
    orphans: pa.Table | None = None
    max_deleted_share: float | None = None
    materialization_id: str | None = None
    answered: Answered | None = None
    versioned: bool = False


class Writer:
    """Applies a staged frame, or a deletion, to one feature on an open connection.

    Whatever raises leaves the transaction open; closing the connection undoes it.

    Args:
        connection: one that may write, not in a transaction.
        key: the feature.
        catalog: of the feature, as it is now, and the entries of its upstreams.

    Attributes:
        entry: what is known of the feature, brought up to date by what is done.
    """

    def __init__(
        self, connection: duckdb.DuckDBPyConnection, key: FeatureKey, catalog: Catalog
    ) -> None:
        self.entry = catalog.entry(key)
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
        spec, version, watermark = staged.plan.spec, staged.feature_version, self.entry.watermark
        if how.answered is not None:
            watermark = self._advance(staged, how, how.answered, result)
        content = self._content(spec, types, result, always=how.versioned)
        self._log(result, "write", version, how.materialization_id)
        self._note(spec, version, result, watermark=watermark, content=content)
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
        changed = self._mark_changed(staged)
        updated, deleted = self._mark_removed(staged, how)
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
        return advance(self._connection, key, self.entry, answered, commit=result.commit, done=done)

    def _content(
        self, spec: FeatureSpec, types: Mapping[str, str], result: WriteResult, *, always: bool
    ) -> Content | None:
        """What the feature holds now, if it is known or may be looked up."""
        found, before = self._catalog.get(spec.key), self.entry.content
        if found is None:
            before = Content(0, 0, 0)
        elif any(found.types[name] != types[name] for name in spec.id_columns):
            # In another type, ids may hash to something else.
            before = None
        changed = result.new + 2 * result.updated + result.deleted
        if not always and (before is None or changed > _HASHED_AT_ONCE):
            return None
        ended = result.updated > 0 or result.deleted > 0
        return moved(self._connection, spec, types, before, result.commit, ended=ended)

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
            newest, done = self._catalog.commit + (result.commit > 0), Done(by=result.commit)
            mark = advance(connection, spec.key, self.entry, how.answered, commit=newest, done=done)
            self.entry = replace(self.entry, watermark=mark)
            save(connection, spec.key, self.entry, known=True)
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
        deleted = self._count(
            f"CREATE OR REPLACE TEMP TABLE {_REMOVED} AS SELECT rowid AS rid, TRUE AS gone"
            f" FROM {table_of(key)} WHERE {where}",
            values,
        )
        if not deleted:
            connection.execute("ROLLBACK")
            return WriteResult(key, 0, 0, 0, 0, 0)
        if not soft:
            self._forget(spec)
        self._end(key, commit, keep=soft)
        result = WriteResult(key, commit, 0, 0, 0, deleted)
        content = None
        if soft:
            types = self._catalog.tables[key].types
            content = self._content(spec, types, result, always=False)
        self._log(result, "delete" if soft else "hard delete", version, None)
        mark = self.entry.watermark
        self._note(spec, version, result, watermark=mark, content=content, erased=not soft)
        connection.execute("COMMIT")
        return result

    def drop(self, key: FeatureKey) -> None:
        """Forget a feature; its newest commits stay, so that no number is ever used twice."""
        connection, entry = self._connection, self.entry
        if not entry.stored:
            return
        connection.execute("BEGIN TRANSACTION")
        for table in (table_of(key), history_table(key), pending_table(key)):
            connection.execute(f"DROP TABLE IF EXISTS {table}")
        commits = entry.commits.after(self._next_commit, ended=False, erased=True)
        self.entry = Entry(commits=commits, failed=entry.failed)
        save(connection, key, self.entry, known=True)
        self._log(WriteResult(key, self._next_commit, 0, 0, 0, 0), "drop", None, None)
        connection.execute("COMMIT")

    def _count(self, sql: str, values: Mapping[str, object] | None = None) -> int:
        """Run a statement that gives one number: a count, or how many rows it put in."""
        rows = self._connection.execute(sql, dict(values) if values else None).fetchall()
        return int(rows[0][0])

    def _mark_changed(self, staged: Staged) -> int:
        """Count rows of the stage that are new, or differ from what is stored in what matters."""
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
        return self._count(
            f"CREATE OR REPLACE TEMP TABLE {_CHANGED} AS SELECT s.*, r.rowid AS metaxy_rid,"
            f" r.{quote(c.COL_CREATED_AT)} AS {quote(c.COL_CREATED_AT)} FROM {STAGE} s"
            f" LEFT JOIN {table_of(staged.plan.key)} r ON {ids}"
            f" WHERE r.rowid IS NULL OR NOT ({' AND '.join(terms)})"
        )

    def _mark_removed(self, staged: Staged, how: Write) -> tuple[int, int]:
        """Count the stored rows that end with this commit: superseded ones, and deleted ones."""
        table, gone = table_of(staged.plan.key), 0
        updated = self._count(
            f"CREATE OR REPLACE TEMP TABLE {_REMOVED} AS SELECT metaxy_rid AS rid, FALSE AS gone"
            f" FROM {_CHANGED} WHERE metaxy_rid IS NOT NULL"
        )
        ids = columns(staged.plan.spec.id_columns)
        kept = f"SELECT r.rowid FROM {table} r SEMI JOIN {STAGE} USING ({ids})"
        if how.replace:
            gone += self._remove(
                f"({how.scope}) AND rowid NOT IN ({kept})", table, how.scope_values
            )
        if how.orphans is not None and how.orphans.num_rows:
            self._connection.register(_ORPHANS, how.orphans)
            keys = columns(how.orphans.column_names)
            rows = f"SELECT r.rowid FROM {table} r SEMI JOIN {_ORPHANS} USING ({keys})"
            gone += self._remove(f"rowid IN ({rows})", table)
        if parents := staged.parent_columns:
            # Children under an older provenance of their parent go with it.
            keys, one = columns(parents), quote(c.COL_PROVENANCE)
            rows = (
                f"SELECT r.rowid FROM {table} r JOIN (SELECT {keys}, list({one}) AS written"
                f" FROM {STAGE} GROUP BY {keys}) USING ({keys})"
                f" WHERE NOT list_contains(written, r.{one})"
            )
            gone += self._remove(f"rowid IN ({rows}) AND rowid NOT IN ({kept})", table)
        self._guard(staged, how, gone)
        return updated, gone

    def _remove(
        self, condition: str, table: str, values: Mapping[str, object] | None = None
    ) -> int:
        return self._count(
            f"INSERT INTO {_REMOVED} SELECT rowid, TRUE FROM {table} WHERE {condition}"
            f" AND rowid NOT IN (SELECT rid FROM {_REMOVED})",
            values,
        )

    def _guard(self, staged: Staged, how: Write, gone: int) -> None:
        if how.max_deleted_share is None or not how.replace or not gone:
            return
        table = table_of(staged.plan.key)
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
        *,
        watermark: Watermark | None,
        content: Content | None,
        erased: bool = False,
    ) -> None:
        """Keep what is known of the feature after a commit."""
        before, ended = self.entry, result.updated > 0 or result.deleted > 0
        self.entry = replace(
            before,
            version=version,
            spec=spec.model_dump_json(),
            stored=True,
            commits=before.commits.after(result.commit, ended=ended, erased=erased),
            watermark=watermark,
            content=content,
        )
        save(self._connection, spec.key, self.entry, known=before is not NOTHING_KNOWN)

    def _log(
        self, result: WriteResult, kind: str, version: str | None, materialization_id: str | None
    ) -> None:
        counts = [result.new, result.updated, result.deleted]
        row = [result.commit, str(result.feature), kind, *counts, version, materialization_id]
        marks = ", ".join("?" * (len(row) + 1))
        self._connection.execute(
            f"INSERT INTO {CATALOG}.metaxy.commits VALUES ({marks})", [*row, self._now]
        )
