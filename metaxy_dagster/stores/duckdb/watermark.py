"""Watermarks: what was found out by an earlier resolve need not be found out again.

When samples of an increment are written, the store notes up to which commits everything about
the feature is known, and which samples were left unanswered. The next resolve looks only at
those, and at rows that were committed since. A watermark holds for one definition of the feature
alone, and is void when history was erased: then the full resolve is taken, which needs nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import duckdb
import pyarrow as pa

from metaxy_dagster.features import FeatureKey, FeaturePlan
from metaxy_dagster.stores.counts import NEW, ORPHANED, QUARANTINED, STALE
from metaxy_dagster.stores.duckdb import layout
from metaxy_dagster.stores.duckdb.catalog import Catalog
from metaxy_dagster.stores.duckdb.identifiers import (
    CATALOG,
    columns,
    history_table,
    pending_table,
    quote,
    table_of,
)
from metaxy_dagster.stores.encoding import hash_parts

__all__ = ["Answered", "Watermark", "advance", "fingerprint", "is_behind", "read_watermark"]

_KNOWN = "metaxy_known"
# Beyond this many unanswered samples, finding them again costs less than keeping note of them.
_MAX_PENDING = 200_000


@dataclass(frozen=True)
class Watermark:
    """Up to where everything is known.

    Attributes:
        upstream_commit: later commits of the upstreams are news.
        own_commit: later commits of the feature itself are news.
    """

    upstream_commit: int
    own_commit: int


@dataclass(frozen=True)
class Answered:
    """The increment that a write answers, whole or in part.

    Attributes:
        fingerprint: of the feature's definition.
        commit: as of which it was resolved.
        sample_columns: what names its rows.
        open_count: how many samples of it are not simply unchanged.
        ids: gives the sample columns of samples with certain statuses.
    """

    fingerprint: str
    commit: int
    sample_columns: tuple[str, ...]
    open_count: int
    ids: Callable[[Sequence[int]], pa.Table]


def fingerprint(plan: FeaturePlan, feature_version: str) -> str:
    """What a watermark depends on: fields, versions, filters, joins, lineage."""
    return hash_parts(
        [
            str(layout.FORMAT_VERSION),
            feature_version,
            plan.spec.model_dump_json(include={"key", "id_columns", "fields", "deps"}),
            *(f"{field.key}={','.join(map(str, field.parents))}" for field in plan.fields),
        ]
    )


def read_watermark(
    connection: duckdb.DuckDBPyConnection, plan: FeaturePlan, mark: str, catalog: Catalog
) -> Watermark | None:
    """The watermark of a feature, if it may be used for a resolve as of the catalog's commit."""
    found = _stored(connection, plan.key, mark)
    if found is None or max(found.upstream_commit, found.own_commit) > catalog.commit:
        return None
    upstreams = [dep.upstream.key for dep in plan.deps]
    if _erased(catalog, [plan.key], found.own_commit) or _erased(
        catalog, upstreams, found.upstream_commit
    ):
        return None
    return found


def _stored(connection: duckdb.DuckDBPyConnection, key: FeatureKey, mark: str) -> Watermark | None:
    rows = connection.execute(
        f"SELECT upstream_commit, own_commit FROM {CATALOG}.metaxy.watermarks"
        " WHERE feature = ? AND fingerprint = ?",
        [str(key), mark],
    ).fetchall()
    return Watermark(*rows[0]) if rows else None


def _erased(catalog: Catalog, keys: Iterable[FeatureKey], since: int) -> bool:
    """Whether rows vanished without a trace in the history."""
    return any(key in catalog.commits and catalog.commits[key].erased > since for key in keys)


def is_behind(connection: duckdb.DuckDBPyConnection, plan: FeaturePlan, answered: Answered) -> bool:
    """Whether the upstreams moved since the watermark, so that a newer one is worth a write."""
    stored = _stored(connection, plan.key, answered.fingerprint)
    if stored is None:
        return True
    commits = layout.newest_commits(connection, [dep.upstream.key for dep in plan.deps])
    return any(one.newest > stored.upstream_commit for one in commits.values())


def advance(
    connection: duckdb.DuckDBPyConnection,
    key: FeatureKey,
    answered: Answered,
    commit: int,
    done: Sequence[str],
    *,
    by: int | None = None,
) -> None:
    """Note what is known after a write, inside its transaction.

    Args:
        connection: the open transaction.
        key: the feature written.
        answered: the increment that the write answers.
        commit: the newest commit.
        done: tables whose rows name the samples that need nothing more.
        by: the commit of the write itself, whose rows are what the increment asked for.
    """
    stored = _stored(connection, key, answered.fingerprint)
    if stored is not None and stored.upstream_commit > answered.commit:
        # Somebody resolved later and knows more; this write counts as news to them.
        return
    names = answered.sample_columns
    same = stored is not None and stored.upstream_commit == answered.commit
    since = stored.own_commit if stored is not None and same else answered.commit
    others = _own_changes(key, names, (since, commit), by)
    pending = pending_table(key)
    if same:
        for table in done:
            on = " AND ".join(f"p.{quote(n)} = d.{quote(n)}" for n in names)
            connection.execute(
                f"DELETE FROM {pending} p WHERE EXISTS (SELECT 1 FROM {table} d WHERE {on})"
            )
        connection.execute(f"INSERT INTO {pending} {others}")
    else:
        written = sum(layout.count(connection, table) for table in done)
        if answered.open_count > _MAX_PENDING + written:
            return
        connection.register(_KNOWN, answered.ids((NEW, STALE, ORPHANED, QUARANTINED)))
        open_samples = f"SELECT {columns(names)} FROM {_KNOWN}"
        for table in done:
            open_samples = (
                f"SELECT * FROM ({open_samples}) ANTI JOIN {table} USING ({columns(names)})"
            )
        connection.execute(
            f"CREATE OR REPLACE TABLE {pending} AS {open_samples} UNION ALL {others}"
        )
    _save(connection, key, answered, commit)


def _own_changes(
    key: FeatureKey, names: Sequence[str], span: tuple[int, int], by: int | None
) -> str:
    """Samples of the feature that others wrote or deleted between two commits."""
    since, upto = span

    def within(column: str) -> str:
        others = "" if by is None else f" AND {quote(column)} <> {by}"
        return f"{quote(column)} > {since} AND {quote(column)} <= {upto}{others}"

    return (
        f"SELECT {columns(names)} FROM {table_of(key)} WHERE {within(layout.COL_COMMIT)} UNION ALL"
        f" SELECT {columns(names)} FROM {history_table(key)} WHERE {within(layout.COL_ENDED)}"
    )


def _save(
    connection: duckdb.DuckDBPyConnection, key: FeatureKey, answered: Answered, commit: int
) -> None:
    watermarks = f"{CATALOG}.metaxy.watermarks"
    connection.execute(f"DELETE FROM {watermarks} WHERE feature = ?", [str(key)])
    if layout.count(connection, pending_table(key)) > _MAX_PENDING:
        connection.execute(f"DROP TABLE {pending_table(key)}")
        return
    connection.execute(
        f"INSERT INTO {watermarks} VALUES (?, ?, ?, ?)",
        [str(key), answered.fingerprint, answered.commit, commit],
    )
