"""Which samples may have changed since a watermark; all others are as they were."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import duckdb

from metaxy_dagster.features import DepPlan, FeatureKey, FeaturePlan
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

__all__ = [
    "CANDIDATES",
    "changed_since",
    "find_candidates",
    "has_ids",
    "has_news",
    "known_samples",
]

CANDIDATES = "metaxy_candidates"


def has_news(plan: FeaturePlan, catalog: Catalog, mark: Watermark) -> bool:
    """Whether anything may have changed since a watermark, or was left unanswered by it."""
    newest = (catalog.entry(dep.upstream.key).commits.newest for dep in plan.deps)
    return (
        mark.pending > 0
        or catalog.entry(plan.key).commits.newest > mark.own_commit
        or any(commit > mark.upstream_commit for commit in newest)
    )


def find_candidates(
    connection: duckdb.DuckDBPyConnection,
    plan: FeaturePlan,
    keys: Sequence[str],
    catalog: Catalog,
    *,
    mark: Watermark,
    max_share: float,
    marks: Marks | None = None,
) -> int | None:
    """Collect the candidates in a temporary table, which is not made if there can be none.

    Args:
        connection: where the table is made.
        plan: the feature.
        keys: its sample columns.
        catalog: which features are stored.
        mark: since when.
        max_share: of the samples that need nothing to be known, up to which candidates are worth
            it.
        marks: samples that yielded nothing.

    Returns:
        Their number, or ``None`` if they cannot be told, or are too many to be worth it.
    """
    own = catalog.get(plan.key)
    if own is None:
        return None
    if not has_news(plan, catalog, mark):
        return 0
    known = None if marks is None else marks.typed(own.types)
    parts = changed_since(plan, keys, catalog.entry, mark, known)
    if not parts:
        # They cannot be told, or are news of upstreams that are not stored any more.
        return None
    ((number,),) = connection.execute(
        f"CREATE OR REPLACE TEMP TABLE {CANDIDATES} AS SELECT {columns(keys)}"
        f" FROM ({' UNION '.join(parts)}) WHERE {has_ids(keys)}"
    ).fetchall()
    if number > max_share * known_samples(connection, plan.key, catalog, marks):
        return None
    return int(number)


def has_ids(keys: Sequence[str]) -> str:
    """A condition for rows that name a sample."""
    return " AND ".join(f"{quote(name)} IS NOT NULL" for name in keys)


def changed_since(
    plan: FeaturePlan,
    keys: Sequence[str],
    entry: Callable[[FeatureKey], Entry],
    mark: Watermark,
    marks: Marks | None,
) -> list[str]:
    """SELECTs of the samples that may need something, as nothing else than a watermark tells.

    Args:
        plan: the feature, which is stored.
        keys: its sample columns.
        entry: what is known of each feature.
        mark: since when.
        marks: samples that yielded nothing, with ids in the types of the feature's table.

    Returns:
        None at all if they cannot be told.
    """
    own = entry(plan.key).commits
    parts = [f"SELECT {columns(keys)} FROM {pending_table(plan.key)}"] if mark.pending else []
    if own.newest > mark.own_commit:
        named = {name: name for name in keys}
        parts += _changed(plan.key, own, named, mark.own_commit)
        if marks is not None:
            parts.append(marks.changed(mark.own_commit))
    for dep in plan.deps:
        upstream = entry(dep.upstream.key)
        if not upstream.stored or upstream.commits.newest <= mark.upstream_commit:
            continue
        found = list(_of_upstream(plan, dep, keys, entry, mark.upstream_commit))
        if not found:
            return []
        parts += found
    return parts


def known_samples(
    connection: duckdb.DuckDBPyConnection, key: FeatureKey, catalog: Catalog, marks: Marks | None
) -> int:
    """How many samples of a feature something is known of."""
    content = catalog.entry(key).content
    rows = layout.count(connection, table_of(key)) if content is None else content.rows
    return (
        rows if marks is None else rows + layout.count(connection, f"({marks.of(catalog.commit)})")
    )


def _changed(key: FeatureKey, commits: Commits, names: dict[str, str], since: int) -> list[str]:
    """The rows of a feature that began or ended after a commit: ``names`` is here -> there."""
    selected = ", ".join(f"{quote(there)} AS {quote(here)}" for here, there in names.items())
    return [
        f"SELECT {selected} FROM {table_of(key)} WHERE {quote(layout.COL_COMMIT)} > {since}",
        *(
            f"SELECT {selected} FROM {history} WHERE {quote(layout.COL_ENDED)} > {since}"
            for history in history_of(key, commits)
        ),
    ]


def _of_upstream(
    plan: FeaturePlan,
    dep: DepPlan,
    keys: Sequence[str],
    entry: Callable[[FeatureKey], Entry],
    since: int,
) -> Iterator[str]:
    """The samples that an upstream's changed rows touch; nothing if they cannot be told."""
    key = dep.upstream.key
    changed = _changed(key, entry(key).commits, dict(dep.source_columns), since)
    if set(dep.join_columns) == set(keys):
        yield from changed
        return
    # A coarser upstream: its samples here are those that an upstream has under it of which every
    # sample needs a row; an optional one may lack it. What is stored beside these was orphaned
    # before, and is listed as such.
    required = (one for one in plan.deps if not one.dep.optional)
    finest = next((one for one in required if set(one.join_columns) == set(keys)), None)
    if finest is None or dep.lineage_type == "aggregation":
        return
    touched = " UNION ".join(changed)
    on = columns(dep.join_columns)
    if entry(finest.upstream.key).stored:
        source = ", ".join(
            f"{quote(there)} AS {quote(here)}" for here, there in finest.source_columns.items()
        )
        rows = f"SELECT {source} FROM {table_of(finest.upstream.key)}"
        yield f"SELECT {columns(keys)} FROM ({rows}) SEMI JOIN ({touched}) USING ({on})"
