"""Changes of samples in a file: written, deleted and dropped, each in one transaction."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import duckdb

from metaxy_dagster.features import FeatureKey, FeaturePlan, Filter
from metaxy_dagster.stores.duckdb.failures import failed_rows, quarantine
from metaxy_dagster.stores.duckdb.file import catalog, commits, identity, layout, looks
from metaxy_dagster.stores.duckdb.file.connection import DuckDBFile
from metaxy_dagster.stores.duckdb.resolve import empties, source, views
from metaxy_dagster.stores.duckdb.sql.distinct_texts import DistinctTexts
from metaxy_dagster.stores.duckdb.sql.filtering import condition, parsed
from metaxy_dagster.stores.duckdb.sql.identifiers import quote, table_of
from metaxy_dagster.stores.duckdb.sql.provenance import Values
from metaxy_dagster.stores.duckdb.write import arrival, drop, options, writer
from metaxy_dagster.stores.empties import empty_samples
from metaxy_dagster.stores.engine import Writing
from metaxy_dagster.stores.frames.checks import column_warnings
from metaxy_dagster.stores.frames.samples import named_samples
from metaxy_dagster.stores.results import WriteResult

__all__ = ["SampleWriter"]


class SampleWriter:
    """What changes the samples of a store in one file."""

    def __init__(self, file: DuckDBFile) -> None:
        self._file = file

    def write(self, frame: Any, asked: Writing) -> WriteResult:
        """Write samples, all or none of them.

        Raises:
            FrameError: the frame is refused; nothing was written.
            StoreError: the history is another one than that of the increment.
        """
        plan, increment, declared = asked.plan, asked.increment, asked.declared
        key = plan.key
        staged = arrival.prepare(
            plan, asked.version, frame, increment=increment, declared=declared, file=self._file
        )
        answered = source.answered_by(increment, self._file)
        resolved_at = source.resolved_at(increment, self._file)
        nothing = empty_samples(asked.empty, plan, increment, resolved_at)
        told = column_warnings(staged.user_columns, declared) if staged.table.num_rows else ()
        values, upstreams = Values(), [dep.upstream.key for dep in plan.deps]
        with self._file.connect("w") as connection:
            known = catalog.read_catalog(connection, [key], beside=upstreams)
            newest = known.commit if known.exists else None
            commits.check_history(connection, resolved_at or 0, newest, feature=key)
            identity.check_ids(known, plan.spec)
            table = known.get(key)
            # The table is looked for out here: a look at one that is not there ends a transaction.
            failing = known.entry(key).failed and quarantine.is_there(connection, key)
            how = options.Write(
                replace=asked.replace,
                scope=_condition(connection, table, parsed(asked.scope), values),
                scope_values=values,
                orphans=increment.whole.orphaned_ids
                if increment and asked.delete_orphaned
                else None,
                failed=failed_rows.leaving(connection, key, increment)
                if increment and asked.delete_failed and known.entry(key).failed
                else None,
                max_deleted_share=asked.max_deleted_share,
                materialization_id=asked.materialization_id,
                answered=answered,
                part=source.part_answered_by(increment, self._file),
                empty=nothing,
                versioned=asked.versioned,
                failing=views.sample_columns(plan) if failing else (),
            )
            applied = writer.Writer(connection, key, known)
            result = applied.write(staged, how)
            if self._file.looks:
                looks.keep(connection, self._file.looks)
        if not applied.entry.failed:
            catalog.remember(connection, known, key, applied.entry, result.commit)
        return replace(result, warnings=told)

    def delete(
        self, plan: FeaturePlan, version: str, filters: object, *, soft: bool
    ) -> WriteResult:
        """Delete the samples for which the filters hold, and what was found empty of them."""
        key, values = plan.key, Values()
        with self._file.connect("w") as connection:
            known = catalog.read_catalog(connection, [key])
            identity.check_ids(known, plan.spec)
            table, commits = known.get(key), known.entry(key).commits
            marks = empties.find_marks(connection, key, views.sample_columns(plan), commits)
            if table is None and marks is None:
                return WriteResult(key, 0, 0, 0, 0, 0)
            only, said = parsed(filters), f"feature {str(key)!r}"
            where = ending = None
            if table is not None:
                where = _condition(connection, table, only, values, *layout.STORED_COLUMNS)
            if marks is not None and marks.has(one for part in only for one in part.columns):
                names, bound = {name: quote(name) for name in marks.types}, Values()
                ended = condition(only, names, bound, where=said, types=marks.types)
                ending = (marks, ended, bound)
            applied = writer.Writer(connection, key, known)
            return applied.delete(plan.spec, version, where, values, soft=soft, marks=ending)

    def invalidate(self, plan: FeaturePlan, samples: Any) -> WriteResult:
        """Let stored samples be stale until they are written again.

        Raises:
            FrameError: no frame, or the sample columns are missing.
        """
        key, names = plan.key, views.sample_columns(plan)
        named = named_samples(samples, names=names, feature=str(key), what="samples")
        nothing = WriteResult(key, 0, 0, 0, 0, 0)
        # Read before the file is opened: a writer waits for its readers, itself included.
        if not named.num_rows or not self._file.exists:
            return nothing
        with self._file.connect("w") as connection:
            known = catalog.read_catalog(connection, [key])
            identity.check_ids(known, plan.spec)
            marks = empties.find_marks(connection, key, names, known.entry(key).commits)
            if known.get(key) is None and marks is None:
                return nothing
            applied = writer.Writer(connection, key, known)
            return applied.invalidate(plan.spec, names, named, marks)

    def drop(self, key: FeatureKey) -> None:
        """Forget a feature; one that is not stored is no error."""
        if not self._file.exists:
            return
        with self._file.connect("w") as connection:
            known = catalog.read_catalog(connection, [key])
            drop.drop(connection, key, known)


def _condition(
    connection: duckdb.DuckDBPyConnection,
    table: layout.Table | None,
    filters: Sequence[Filter],
    values: Values,
    *others: str,
) -> str:
    """Filters on the stored rows of a feature, by its columns and some others: for a WHERE."""
    if table is None:
        return "TRUE"
    return condition(
        filters,
        {name: quote(name) for name in (*table.columns, *others)},
        values,
        where=f"feature {str(table.key)!r}",
        types=table.types,
        exact=False,
        texts=DistinctTexts(connection, f"FROM {table_of(table.key)}"),
    )
