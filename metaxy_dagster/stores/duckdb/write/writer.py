"""Writes: one transaction, one commit number, current state and history kept in step."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping, Sequence
from dataclasses import replace

import duckdb
import pyarrow as pa

from metaxy_dagster import constants as c
from metaxy_dagster.features import FeatureKey, FeaturePlan, FeatureSpec
from metaxy_dagster.stores.duckdb.failures import quarantine
from metaxy_dagster.stores.duckdb.file import layout
from metaxy_dagster.stores.duckdb.file.bulk import column_clauses, compressed
from metaxy_dagster.stores.duckdb.file.catalog import Catalog
from metaxy_dagster.stores.duckdb.file.entries import (
    NOTHING_KNOWN,
    Content,
    Entry,
    Watermark,
    save,
)
from metaxy_dagster.stores.duckdb.read.versions import moved
from metaxy_dagster.stores.duckdb.resolve.empties import (
    EMPTIED,
    Marks,
    NewMarks,
    collect,
    find_marks,
)
from metaxy_dagster.stores.duckdb.resolve.views import sample_columns
from metaxy_dagster.stores.duckdb.resolve.watermark import Done, advance, is_behind
from metaxy_dagster.stores.duckdb.sql.identifiers import (
    columns,
    empty_table,
    quote,
    table_of,
)
from metaxy_dagster.stores.duckdb.write import invalidation
from metaxy_dagster.stores.duckdb.write.advancing import advanced, commits_after
from metaxy_dagster.stores.duckdb.write.changed import CHANGED, mark_changed
from metaxy_dagster.stores.duckdb.write.log import Log
from metaxy_dagster.stores.duckdb.write.notes import had_types, noted
from metaxy_dagster.stores.duckdb.write.options import Write
from metaxy_dagster.stores.duckdb.write.removal import Removal
from metaxy_dagster.stores.duckdb.write.staged import STAGE, Staged
from metaxy_dagster.stores.duckdb.write.staging import check_asked_for, stage, unstage
from metaxy_dagster.stores.duckdb.write.types import stored_types
from metaxy_dagster.stores.results import WriteResult

__all__ = ["Writer"]

# Beyond so many rows the data version is found out when it is asked for.
_HASHED_AT_ONCE = 20_000


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
        self._next_commit = catalog.commit.next()
        self._now = dt.datetime.now(dt.UTC)
        self._log = Log(connection, self._next_commit, self._now)

    def write(self, staged: Staged, how: Write) -> WriteResult:
        """Stage, compare with what is stored, and commit what really changed.

        Raises:
            FrameError: types or columns that do not fit, or too much would be deleted.
        """
        if not self._catalog.exists:
            layout.create(self._connection)
        if staged.is_nothing:
            return self._without_rows(staged, how)
        with compressed(self._connection, staged.table, 1 + len(staged.plan.fields)):
            return self._write(staged, how)

    def _write(self, staged: Staged, how: Write) -> WriteResult:
        connection, key = self._connection, staged.plan.key
        found, marks = self._catalog.get(key), self._marks(staged.plan)
        staged = staged if found is None else staged.of_known(found.columns)
        connection.execute("BEGIN TRANSACTION")
        agreed = stored_types(connection, staged, found, replace=how.replace)
        types = {name: one.kind for name, one in agreed.items()}
        entries = [str(field.key) for field in staged.plan.fields]
        structs = {
            c.COL_PROVENANCE_BY_FIELD: entries,
            c.COL_DATA_VERSION_BY_FIELD: entries,
        }
        clauses = column_clauses(connection) if found is None else {}
        layout.ensure_table(
            connection, key, found=found, types=types, fields=structs, clauses=clauses
        )
        # Rows of a new feature go straight in; those that bring all they need are compared as
        # they are. Others are looked up in the increment, or among what is stored, once.
        once = found is None or (staged.delta is None and not staged.was_read)
        stage(connection, staged, agreed, once=once)
        before, self.entry = self.entry, noted(connection, self.entry, found, staged, agreed)
        empty = self._collect_empty(staged, how, marks, stage=STAGE)
        if found is None:
            result = self._insert_all(staged, how, empty)
        else:
            result = self._insert_changed(staged, how, empty)
        if not result.commit:
            connection.execute("ROLLBACK")
            self._remember_types(key, before)
            if how.failing:
                connection.execute("BEGIN TRANSACTION")
                self._settle(key, how, result)
                connection.execute("COMMIT")
            return result
        if marks is not None:
            marks.end(connection, result.commit, STAGE if found is None else CHANGED)
        spec, version = staged.plan.spec, staged.feature_version
        empty.keep(connection, result.commit, version, how.materialization_id)
        earlier = None if marks is None else marks.typed(types)
        watermark = self._advance(staged, how, result, earlier)
        content = self._content(spec, types, result, always=how.versioned)
        self._log.note(result, "write", version, how.materialization_id)
        self._note(spec, version, result, watermark=watermark, content=content)
        # The next write on this connection may stage in the other of the two ways.
        unstage(connection, once=once)
        self._settle(key, how, result)
        connection.execute("COMMIT")
        return result

    def _remember_types(self, key: FeatureKey, before: Entry) -> None:
        """Note what is now known of columns although no row changed; a file of an older format."""
        after, self.entry = self.entry, before
        if before.stored and before.types is None:
            self.entry = replace(before, types=after.types)
            save(self._connection, key, self.entry, known=True)

    def _insert_all(self, staged: Staged, how: Write, empty: NewMarks) -> WriteResult:
        """The first rows of a feature."""
        rows, key = staged.table.num_rows, staged.plan.key
        if not rows:
            return WriteResult(key, 0, 0, 0, 0, 0)
        created = f"SELECT *, NULL::TIMESTAMPTZ AS {quote(c.COL_CREATED_AT)} FROM {STAGE}"
        written = self._insert(key, created, self._next_commit, how.materialization_id)
        check_asked_for(self._connection, staged, written)
        return WriteResult(key, self._next_commit, rows, 0, 0, 0, empty.number)

    def _insert_changed(self, staged: Staged, how: Write, empty: NewMarks) -> WriteResult:
        """Compare the stage with what is stored, and bring that up to date."""
        key, rows = staged.plan.key, staged.table.num_rows
        same_spec = self.entry.spec == staged.plan.spec.model_dump_json()
        stored = self._catalog.tables[key]
        changed = mark_changed(self._connection, staged, stored, same_spec=same_spec)
        removal = self._removal(staged, how, changed)
        updated, deleted = removal.updated, removal.deleted
        commit = self._next_commit if changed or deleted or empty.number else 0
        if commit:
            removal.end(commit, self._now)
        if changed:
            source = f"SELECT * EXCLUDE (metaxy_rid) FROM {CHANGED}"
            self._insert(key, source, commit, how.materialization_id)
        new, unchanged = changed - updated, rows - changed
        return WriteResult(key, commit, new, updated, unchanged, deleted, empty.number)

    def _marks(self, plan: FeaturePlan) -> Marks | None:
        """Samples that were found empty before."""
        return find_marks(self._connection, plan.key, sample_columns(plan), self.entry.commits)

    def _collect_empty(
        self, staged: Staged, how: Write, marks: Marks | None, *, stage: str | None
    ) -> NewMarks:
        """Which samples the write finds empty."""
        key, names = staged.plan.key, staged.sample_columns
        if how.empty is None or staged.delta is None:
            return NewMarks(key, names, marks, 0)
        return collect(
            self._connection,
            key,
            staged.delta,
            how.empty,
            names=names,
            marks=marks,
            stage=stage,
            table=None if self._catalog.get(key) is None else table_of(key),
        )

    def _advance(
        self, staged: Staged, how: Write, result: WriteResult, marks: Marks | None
    ) -> Watermark | None:
        """What is known after a write of rows."""
        commits = commits_after(self.entry, self._next_commit, result)
        known = replace(self.entry, commits=commits)
        return advanced(
            self._connection,
            self._catalog,
            known,
            staged=staged,
            how=how,
            result=result,
            marks=marks,
        )

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
        had = had_types(self.entry)
        kinds = {name: [*had.get(name, ()), types[name]] for name in types}
        return moved(self._connection, spec, kinds, before, result.commit, ended=ended)

    def _without_rows(self, staged: Staged, how: Write) -> WriteResult:
        """An increment for which nothing was returned: the frame's columns tell nothing."""
        connection, spec, version = self._connection, staged.plan.spec, staged.feature_version
        found, marks = self._catalog.get(spec.key), self._marks(staged.plan)
        connection.execute("BEGIN TRANSACTION")
        empty = self._collect_empty(staged, how, marks, stage=None)
        deleted, entry = 0, self.entry
        if found is not None and how.deletes:
            removal = Removal(connection, spec.key, entry.commits)
            if how.replace:
                removal.add(how.scope, how.scope_values)
            removal.add_named(how)
            removal.guard(how)
            removal.end(self._next_commit, self._now)
            deleted = removal.deleted
        commit = self._next_commit if deleted or empty.number else 0
        result = WriteResult(spec.key, commit, 0, 0, 0, deleted, empty.number)
        if commit:
            empty.keep(connection, commit, version, how.materialization_id)
            content = None
            if found is not None:
                content = self._content(spec, found.types, result, always=how.versioned)
            self._log.note(result, "delete", version, how.materialization_id)
            mark = None if how.forgets(deleted) else entry.watermark
            self._note(spec, version, result, watermark=mark, content=content)
        answered = None if how.forgets(deleted) else how.answered
        if (
            found is not None
            and answered is not None
            and (empty.number or is_behind(self._catalog, staged.plan, answered))
        ):
            newest = commit or self._catalog.commit
            done = Done(() if how.empty is None else (EMPTIED,), 0, commit, one_each=False)
            earlier = None if marks is None else marks.typed(found.types)
            mark = advance(
                connection, spec.key, entry, answered, commit=newest, done=done, marks=earlier
            )
            self.entry = replace(self.entry, watermark=mark)
            save(connection, spec.key, self.entry, known=True)
        self._settle(spec.key, how, result)
        connection.execute("COMMIT")
        return result

    def _settle(self, key: FeatureKey, how: Write, result: WriteResult) -> None:
        """Forget failures of samples that were computed by now; within the same commit."""
        has_rows = self._catalog.get(key) or result.written or result.deleted
        table = table_of(key) if has_rows else None
        marked = empty_table(key) if result.empty else None
        names, answered = how.failing, how.answered
        quarantine.settle(
            self._connection, key, names, table=table, answered=answered, marked=marked
        )

    def delete(
        self,
        spec: FeatureSpec,
        version: str,
        where: str | None,
        values: Mapping[str, object],
        *,
        soft: bool,
        marks: tuple[Marks, str, Mapping[str, object]] | None = None,
    ) -> WriteResult:
        """Delete the stored rows for which a condition holds, with their history if not soft.

        Args:
            spec: the feature.
            version: its version.
            where: the condition; ``None`` if the feature has no rows.
            values: of the condition.
            soft: keep the rows in the history.
            marks: of samples that yielded nothing, and the condition for those to end, with its
                values.
        """
        connection, key, commit = self._connection, spec.key, self._next_commit
        connection.execute("BEGIN TRANSACTION")
        deleted = ended = 0
        if marks is not None:
            found, ending, bound = marks
            ended = found.end_where(connection, commit, ending, bound, keep=soft)
        if where is not None:
            removal = Removal(connection, key, self.entry.commits)
            removal.add(where, values)
            deleted = removal.deleted
            if deleted and not soft:
                removal.forget(spec)
            removal.end(commit, self._now, keep=soft)
        if not deleted and not ended:
            connection.execute("ROLLBACK")
            return WriteResult(key, 0, 0, 0, 0, 0)
        result, content = WriteResult(key, commit, 0, 0, 0, deleted), None
        if soft and where is not None:
            types = self._catalog.tables[key].types
            content = self._content(spec, types, result, always=False)
        self._log.note(result, "delete" if soft else "hard delete", version, None)
        mark = self.entry.watermark
        self._note(spec, version, result, watermark=mark, content=content, erased=not soft)
        connection.execute("COMMIT")
        return result

    def invalidate(
        self, spec: FeatureSpec, names: Sequence[str], samples: pa.Table, marks: Marks | None
    ) -> WriteResult:
        """Let stored samples count as computed from nothing that is known.

        They are named by the sample columns; ``marks`` are those of samples that yielded nothing.
        """
        connection, key, commit = self._connection, spec.key, self._next_commit
        stored, content = self._catalog.get(key), self.entry.content
        connection.execute("BEGIN TRANSACTION")
        invalidation.name_samples(connection, samples)
        ended = marks is not None and invalidation.end_marks(connection, marks, commit)
        updated = invalidation.invalidate(connection, stored, names, commit, self._now)
        if not updated and not ended:
            connection.execute("ROLLBACK")
            return WriteResult(key, 0, 0, 0, 0, 0)
        result = WriteResult(key, commit, 0, updated, 0, 0)
        if stored is not None and updated:
            content = self._content(spec, stored.types, result, always=False)
        self._log.note(result, "invalidate", self.entry.version, None)
        # Its rows were not written under another spec; a watermark takes them for news.
        commits = commits_after(self.entry, commit, result)
        self.entry = replace(self.entry, commits=commits, content=content)
        save(connection, key, self.entry, known=True)
        connection.execute("COMMIT")
        return result

    def _removal(self, staged: Staged, how: Write, changed: int) -> Removal:
        """The stored rows that end with this write: superseded ones, and deleted ones."""
        key = staged.plan.key
        superseded = f"SELECT metaxy_rid AS rid FROM {CHANGED} WHERE metaxy_rid IS NOT NULL"
        removal = Removal(self._connection, key, self.entry.commits, superseded)
        ids = columns(staged.plan.spec.id_columns)
        table = table_of(key)
        kept = f"SELECT r.rowid FROM {table} r SEMI JOIN {STAGE} USING ({ids})"
        known = staged.table.num_rows - changed + removal.updated
        if how.replace and layout.count(self._connection, table) > known:
            removal.add(f"({how.scope}) AND rowid NOT IN ({kept})", how.scope_values)
        removal.add_named(how)
        if parents := staged.parent_columns:
            # Children under an older provenance of their parent go with it.
            keys, one = columns(parents), quote(c.COL_PROVENANCE)
            rows = (
                f"SELECT r.rowid FROM {table} r JOIN (SELECT {keys}, list({one}) AS written"
                f" FROM {STAGE} GROUP BY {keys}) USING ({keys})"
                f" WHERE NOT list_contains(written, r.{one})"
            )
            removal.add(f"rowid IN ({rows}) AND rowid NOT IN ({kept})")
        removal.guard(how)
        return removal

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
        before = self.entry
        commits = commits_after(before, self._next_commit, result, erased=erased)
        self.entry = replace(
            before,
            version=version,
            spec=spec.model_dump_json(),
            stored=before.stored or result.new > 0,
            commits=commits,
            watermark=watermark,
            content=content,
        )
        known = self._catalog.entry(spec.key) is not NOTHING_KNOWN
        save(self._connection, spec.key, self.entry, known=known)
