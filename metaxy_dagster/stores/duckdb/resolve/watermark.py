"""Watermarks: what was found out by an earlier resolve need not be found out again.

When samples of an increment are written, the store notes up to which commits everything about
the feature is known, and which samples were left unanswered. The next resolve looks only at
those, and at rows that were committed since. A watermark holds for one definition of the feature
alone, and is void when history was erased: then the full resolve is taken, which needs nothing.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import duckdb

from metaxy_dagster.features import FeatureKey, FeaturePlan
from metaxy_dagster.stores.counts import NEW, ORPHANED, QUARANTINED, STALE
from metaxy_dagster.stores.duckdb.failures.answered import Answered
from metaxy_dagster.stores.duckdb.file import layout
from metaxy_dagster.stores.duckdb.file.catalog import Catalog
from metaxy_dagster.stores.duckdb.file.entries import Commits, Entry, Watermark, history_of
from metaxy_dagster.stores.duckdb.resolve.empties import Marks
from metaxy_dagster.stores.duckdb.sql.identifiers import (
    columns,
    pending_table,
    quote,
    table_of,
)
from metaxy_dagster.stores.duckdb.sql.registering import register
from metaxy_dagster.stores.frames.encoding import hash_parts

__all__ = [
    "MAX_PENDING",
    "Done",
    "advance",
    "fingerprint",
    "is_behind",
    "is_erased",
    "read_watermark",
]

_KNOWN = "metaxy_known"
# Beyond this many unanswered samples, finding them again costs less than keeping note of them.
MAX_PENDING = 200_000


def fingerprint(plan: FeaturePlan, feature_version: str) -> str:
    """What a watermark depends on: fields, versions, filters, joins, lineage."""
    return hash_parts(
        [
            str(layout.FORMAT_VERSION),
            feature_version,
            plan.spec.model_dump_json(include={"key", "id_columns", "fields", "deps"}),
            *(f"{field.key}={','.join(map(str, field.parents))}" for field in plan.fields),
            # Upstreams tell by their own ids what they are joined and grouped on.
            *(f"{dep.source_columns!r} {dep.member_columns!r}" for dep in plan.deps),
        ]
    )


def read_watermark(plan: FeaturePlan, mark: str, catalog: Catalog) -> Watermark | None:
    """The watermark of a feature, if it may be used for a resolve as of the catalog's commit."""
    found = _stored(catalog, plan.key, mark)
    if found is None or max(found.upstream_commit, found.own_commit) > catalog.commit:
        return None
    upstreams = [catalog.entry(dep.upstream.key) for dep in plan.deps]
    if is_erased([catalog.entry(plan.key)], found.own_commit) or is_erased(
        upstreams, found.upstream_commit
    ):
        return None
    return found


def _stored(catalog: Catalog, key: FeatureKey, mark: str) -> Watermark | None:
    found = catalog.entry(key).watermark
    return found if found is not None and found.fingerprint == mark else None


def is_erased(entries: Iterable[Entry], since: int) -> bool:
    """Whether rows vanished without a trace in the history."""
    return any(entry.commits.erased > since for entry in entries)


def is_behind(catalog: Catalog, plan: FeaturePlan, answered: Answered) -> bool:
    """Whether a newer watermark is worth a write: upstreams moved, or the old one is void."""
    stored = _stored(catalog, plan.key, answered.fingerprint)
    if stored is None or is_erased([catalog.entry(plan.key)], stored.own_commit):
        return True
    newest = (catalog.entry(dep.upstream.key).commits.newest for dep in plan.deps)
    return any(commit > stored.upstream_commit for commit in newest)


@dataclass(frozen=True)
class Done:
    """Samples that need nothing more.

    Attributes:
        tables: whose rows name them.
        rows: of the tables together.
        by: the commit of the write itself, whose rows are what the increment asked for; 0 if it
            made none.
        one_each: whether each row is a sample for itself; children of one parent are not.
    """

    tables: Sequence[str]
    rows: int
    by: int
    one_each: bool


def advance(
    connection: duckdb.DuckDBPyConnection,
    key: FeatureKey,
    entry: Entry,
    answered: Answered,
    *,
    commit: int,
    done: Done,
    marks: Marks | None = None,
) -> Watermark | None:
    """What is known after a write, inside its transaction; to be kept with the feature.

    Args:
        connection: the open transaction.
        key: the feature written.
        entry: what was known of it before.
        answered: the increment that the write answers.
        commit: the newest commit.
        done: the samples that need nothing more.
        marks: those that there were before it, with ids in the types of the feature's table.
    """
    known = entry.watermark
    stored = known if known is not None and known.fingerprint == answered.fingerprint else None
    if stored is not None and stored.upstream_commit > answered.commit:
        # Somebody resolved later and knows more; this write counts as news to them.
        return known
    before = 0 if known is None else known.pending
    same = stored is not None and stored.upstream_commit == answered.commit
    since = stored.own_commit if stored is not None and same else answered.commit
    if entry.commits.erased > since:
        # Which samples somebody erased meanwhile is told by nothing: all must be looked at.
        if before:
            connection.execute(f"DROP TABLE IF EXISTS {pending_table(key)}")
        return None
    others = None
    if entry.commits.newest > since:
        others = _own_changes(key, entry.commits, answered.sample_columns, (since, commit), done.by)
        if marks is not None:
            others += f" UNION ALL {marks.changed(since, commit, but=done.by)}"
        others = _but(connection, others, done, answered.sample_columns)
    if stored is not None and same:
        left = _strike(connection, key, answered, done, before=before, others=others)
    elif answered.open_count > MAX_PENDING + done.rows:
        return known
    else:
        left = _list(connection, key, answered, done, before=before, others=others)
    if left > MAX_PENDING:
        connection.execute(f"DROP TABLE {pending_table(key)}")
        return None
    return Watermark(answered.fingerprint, answered.commit, commit, left)


def _strike(
    connection: duckdb.DuckDBPyConnection,
    key: FeatureKey,
    answered: Answered,
    done: Done,
    *,
    before: int,
    others: str | None,
) -> int:
    """Take what is done off the list of pending samples, and add what others did to it."""
    pending, names = pending_table(key), answered.sample_columns
    if not before and others is None:
        return 0
    if not before:
        connection.execute(f"CREATE OR REPLACE TABLE {pending} AS {others}")
        return _left(connection, key)
    for table in done.tables:
        on = " AND ".join(f"p.{quote(n)} = d.{quote(n)}" for n in names)
        connection.execute(
            f"DELETE FROM {pending} p WHERE EXISTS (SELECT 1 FROM {table} d WHERE {on})"
        )
    if others is not None:
        connection.execute(f"INSERT INTO {pending} {others}")
    return _left(connection, key)


def _list(
    connection: duckdb.DuckDBPyConnection,
    key: FeatureKey,
    answered: Answered,
    done: Done,
    *,
    before: int,
    others: str | None,
) -> int:
    """Make the list of pending samples anew."""
    pending, names = pending_table(key), answered.sample_columns
    # What was written is what was asked for, each sample once: if it is as many, it is all.
    is_all = done.one_each and not answered.lists_unchanged and done.rows == answered.open_count
    if others is None and (is_all or not answered.open_count):
        if before:
            connection.execute(f"DROP TABLE IF EXISTS {pending}")
        return 0
    register(connection, _KNOWN, answered.ids((NEW, STALE, ORPHANED, QUARANTINED)))
    open_samples = f"SELECT {columns(names)} FROM {_KNOWN}"
    for table in done.tables:
        open_samples = f"SELECT * FROM ({open_samples}) ANTI JOIN {table} USING ({columns(names)})"
    more = "" if others is None else f" UNION ALL {others}"
    connection.execute(f"CREATE OR REPLACE TABLE {pending} AS {open_samples}{more}")
    return _left(connection, key)


def _left(connection: duckdb.DuckDBPyConnection, key: FeatureKey) -> int:
    """How many samples are on the list; an empty one is not kept."""
    left = layout.count(connection, pending_table(key))
    if not left:
        connection.execute(f"DROP TABLE {pending_table(key)}")
    return left


def _but(
    connection: duckdb.DuckDBPyConnection, others: str, done: Done, names: Sequence[str]
) -> str | None:
    """What others did, but to samples of which this write has the last word."""
    if not done.one_each:
        return others
    for table in done.tables:
        others = f"SELECT * FROM ({others}) ANTI JOIN {table} USING ({columns(names)})"
    return others if layout.count(connection, f"({others})") else None


def _own_changes(
    key: FeatureKey, commits: Commits, names: Sequence[str], span: tuple[int, int], by: int
) -> str:
    """Samples of the feature that others wrote or deleted between two commits."""
    since, upto = span

    def within(column: str) -> str:
        name = quote(column)
        return f"{name} > {since} AND {name} <= {upto} AND {name} <> {by}"

    parts = [f"SELECT {columns(names)} FROM {table_of(key)} WHERE {within(layout.COL_COMMIT)}"]
    # What the write itself put into the history is not asked for.
    parts += [
        f"SELECT {columns(names)} FROM {table} WHERE {within(layout.COL_ENDED)}"
        for table in history_of(key, commits)
    ]
    return " UNION ALL ".join(parts)
