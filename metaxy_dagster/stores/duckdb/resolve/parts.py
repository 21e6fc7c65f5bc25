"""What the answer to an increment of a part of a feature tells of the whole.

Whoever resolves with filters looks at some samples alone. Which others need something is still
known: it is no more than what was left unanswered, and what has changed since. All of that but
what was written now goes on the list of the watermark, so that a look at the whole costs what
changed, also where only parts are ever computed.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import duckdb

from metaxy_dagster.features import FeatureKey, FeaturePlan
from metaxy_dagster.stores.duckdb.file.entries import Entry, Watermark
from metaxy_dagster.stores.duckdb.resolve.candidates import changed_since, has_ids
from metaxy_dagster.stores.duckdb.resolve.empties import Marks
from metaxy_dagster.stores.duckdb.resolve.views import AGGREGATION
from metaxy_dagster.stores.duckdb.resolve.watermark import MAX_PENDING, is_erased
from metaxy_dagster.stores.duckdb.sql.chosen import ByFeature
from metaxy_dagster.stores.duckdb.sql.identifiers import columns, pending_table, quote

__all__ = ["AnsweredPart", "advance_part", "settles"]


@dataclass(frozen=True)
class AnsweredPart:
    """The increment that a write answers, if it does not look at all samples.

    Attributes:
        fingerprint: of the feature's definition.
        commit: as of which it was resolved.
        sample_columns: what names its rows.
        settles: whether what is written for it is what the whole calls for; not where upstream
            rows that were left out of it may belong to the same sample.
    """

    fingerprint: str
    commit: int
    sample_columns: tuple[str, ...]
    settles: bool


def settles(plan: FeaturePlan, by_feature: ByFeature) -> bool:
    """Whether samples get the provenance that a look at all of them would give them."""
    # A group may lose members, and a sample what it can do without.
    chosen = [dep for dep in plan.deps if by_feature.get(dep.upstream.key)]
    return not any(dep.dep.optional or dep.lineage_type == AGGREGATION for dep in chosen)


def advance_part(
    connection: duckdb.DuckDBPyConnection,
    plan: FeaturePlan,
    entry: Callable[[FeatureKey], Entry],
    part: AnsweredPart,
    *,
    commit: int,
    done: Sequence[str],
    marks: Marks | None = None,
) -> Watermark | None:
    """What is known after a write, inside its transaction; to be kept with the feature.

    Args:
        connection: the open transaction.
        plan: the feature written.
        entry: what is known of each feature, of this one with the commit of the write.
        part: the increment that the write answers.
        commit: of the write.
        done: tables that name the samples it answers.
        marks: those that there were before it, with ids in the types of the feature's table.
    """
    known = entry(plan.key).watermark
    since = _known(plan, entry, part)
    if since is None:
        # Somebody resolved later and knows more; this write counts as news to them.
        return known
    names = part.sample_columns
    found = changed_since(plan, names, entry, since, marks)
    if not found or _is_beyond(connection, found):
        return known
    settled = done if part.settles else ()
    before, pending = 0 if known is None else known.pending, pending_table(plan.key)
    left = _count(connection, _without(found, names, settled))
    if not left:
        if before:
            connection.execute(f"DROP TABLE IF EXISTS {pending}")
    elif since.pending and not _count(connection, _without(found[1:], names, settled)):
        for table in settled:
            on = " AND ".join(f"p.{quote(n)} = d.{quote(n)}" for n in names)
            connection.execute(
                f"DELETE FROM {pending} p WHERE EXISTS (SELECT 1 FROM {table} d WHERE {on})"
            )
    else:
        rows = _without(found, names, settled)
        connection.execute(f"CREATE OR REPLACE TABLE {pending} AS {rows}")
    return Watermark(part.fingerprint, part.commit, commit, left)


def _known(
    plan: FeaturePlan, entry: Callable[[FeatureKey], Entry], part: AnsweredPart
) -> Watermark | None:
    """Since when changes are to be listed; ``None`` if more is known than the part tells."""
    stored = entry(plan.key).watermark
    # Before the first commit, nothing needed anything.
    nothing = Watermark(part.fingerprint, 0, 0, 0)
    if stored is None or stored.fingerprint != part.fingerprint:
        return nothing
    upstreams = [entry(dep.upstream.key) for dep in plan.deps]
    if is_erased([entry(plan.key)], stored.own_commit) or is_erased(
        upstreams, stored.upstream_commit
    ):
        return nothing
    return None if stored.upstream_commit > part.commit else stored


def _is_beyond(connection: duckdb.DuckDBPyConnection, found: Sequence[str]) -> bool:
    """Whether the list would be longer than a look at everything is worth; stops counting then."""
    rows = f"SELECT 1 FROM ({' UNION ALL '.join(found)}) LIMIT {MAX_PENDING + 1}"
    return _count(connection, rows) > MAX_PENDING


def _without(found: Sequence[str], names: Sequence[str], settled: Sequence[str]) -> str:
    """Of samples, those that the tables do not name, each once."""
    if not found:
        return "SELECT NULL WHERE FALSE"
    rows = f"SELECT DISTINCT {columns(names)} FROM ({' UNION ALL '.join(found)})"
    rows += f" WHERE {has_ids(names)}"
    for table in settled:
        rows = f"SELECT * FROM ({rows}) ANTI JOIN {table} USING ({columns(names)})"
    return rows


def _count(connection: duckdb.DuckDBPyConnection, rows: str) -> int:
    ((number,),) = connection.execute(f"SELECT count(*) FROM ({rows})").fetchall()
    return int(number)
