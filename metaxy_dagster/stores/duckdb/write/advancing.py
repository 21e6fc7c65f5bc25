"""The watermark of a feature after a write of rows."""

from __future__ import annotations

from dataclasses import replace

import duckdb

from metaxy_dagster.stores.duckdb.file.catalog import Catalog
from metaxy_dagster.stores.duckdb.file.commits import Commit
from metaxy_dagster.stores.duckdb.file.entries import NOTHING_KNOWN, Commits, Entry, Watermark
from metaxy_dagster.stores.duckdb.resolve.empties import EMPTIED, Marks
from metaxy_dagster.stores.duckdb.resolve.parts import advance_part
from metaxy_dagster.stores.duckdb.resolve.watermark import Done, advance, fingerprint
from metaxy_dagster.stores.duckdb.sql.identifiers import table_of
from metaxy_dagster.stores.duckdb.sql.registering import register
from metaxy_dagster.stores.duckdb.write.options import Write
from metaxy_dagster.stores.duckdb.write.removal import ORPHANS
from metaxy_dagster.stores.duckdb.write.staged import STAGE, Staged
from metaxy_dagster.stores.results import WriteResult

__all__ = ["advanced", "commits_after"]


def commits_after(
    known: Entry, commit: Commit, result: WriteResult, *, erased: bool = False
) -> Commits:
    """The newest commits of a feature with that of a write."""
    ended = result.updated > 0 or result.deleted > 0
    return known.commits.after(
        commit,
        ended=ended,
        erased=erased,
        emptied=result.empty > 0,
        archived=ended and not erased,
    )


def advanced(
    connection: duckdb.DuckDBPyConnection,
    catalog: Catalog,
    known: Entry,
    *,
    staged: Staged,
    how: Write,
    result: WriteResult,
    marks: Marks | None,
) -> Watermark | None:
    """What is known after a write of rows, inside its transaction.

    Args:
        connection: the open transaction.
        catalog: of the feature and its upstreams, before the write.
        known: what is known of the feature, with the commit of the write.
        staged: the rows.
        how: the increment that they answer, and what else is done.
        result: what was written.
        marks: of samples that yielded nothing before, with ids in the types of the table.
    """
    if how.forgets(result.deleted):
        return None
    key, rows, commit = staged.plan.key, staged.table.num_rows, result.commit
    # Of a new feature, all that is stored was written now.
    tables = [STAGE if catalog.get(key) is not None else table_of(key)]
    tables += [] if how.empty is None else [EMPTIED]
    if how.part is not None and how.part.fingerprint == fingerprint(
        staged.plan, staged.feature_version
    ):
        entries = {**catalog.entries, key: known}
        return advance_part(
            connection,
            staged.plan,
            lambda one: entries.get(one, NOTHING_KNOWN),
            how.part,
            commit=commit,
            done=tables,
            marks=marks,
        )
    if how.answered is None:
        return known.watermark
    if how.orphans is not None and how.orphans.num_rows:
        register(connection, ORPHANS, how.orphans)
        tables.append(ORPHANS)
        rows += how.orphans.num_rows
    one_each = how.answered.sample_columns == staged.plan.spec.id_columns and how.empty is None
    done = Done(tables, rows, commit, one_each)
    before = replace(known, commits=catalog.entry(key).commits)
    return advance(connection, key, before, how.answered, commit=commit, done=done, marks=marks)
