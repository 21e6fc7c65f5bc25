"""Which samples may have changed since a watermark; all others are as they were."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import duckdb

from metaxy_dagster.features import DepPlan, FeatureKey, FeaturePlan
from metaxy_dagster.stores.duckdb.file import layout
from metaxy_dagster.stores.duckdb.file.catalog import Catalog
from metaxy_dagster.stores.duckdb.file.entries import Watermark
from metaxy_dagster.stores.duckdb.resolve.empties import Marks
from metaxy_dagster.stores.duckdb.sql.identifiers import (
    columns,
    pending_table,
    quote,
    table_of,
)

__all__ = ["CANDIDATES", "find_candidates", "has_news", "known_samples"]

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
    parts = [f"SELECT {columns(keys)} FROM {pending_table(plan.key)}"] if mark.pending else []
    named = {name: name for name in keys}
    if own.commits.newest > mark.own_commit:
        parts += _changed(own, named, mark.own_commit)
        if marks is not None:
            parts.append(marks.typed(own.types).changed(mark.own_commit))
    for dep in plan.deps:
        table = catalog.get(dep.upstream.key)
        if table is None or table.commits.newest <= mark.upstream_commit:
            continue
        found = list(_of_upstream(plan, dep, keys, catalog, mark))
        if not found:
            return None
        parts += found
    if not parts:
        # News of upstreams that are not stored any more.
        return None
    known = " AND ".join(f"{quote(name)} IS NOT NULL" for name in keys)
    ((number,),) = connection.execute(
        f"CREATE OR REPLACE TEMP TABLE {CANDIDATES} AS SELECT {columns(keys)}"
        f" FROM ({' UNION '.join(parts)}) WHERE {known}"
    ).fetchall()
    if number > max_share * known_samples(connection, plan.key, catalog, marks):
        return None
    return int(number)


def known_samples(
    connection: duckdb.DuckDBPyConnection, key: FeatureKey, catalog: Catalog, marks: Marks | None
) -> int:
    """How many samples of a feature something is known of."""
    content = catalog.entry(key).content
    rows = layout.count(connection, table_of(key)) if content is None else content.rows
    return (
        rows if marks is None else rows + layout.count(connection, f"({marks.of(catalog.commit)})")
    )


def _changed(table: layout.Table, names: dict[str, str], since: int) -> list[str]:
    """The rows of a feature that began or ended after a commit: ``names`` is here -> there."""
    selected = ", ".join(f"{quote(there)} AS {quote(here)}" for here, there in names.items())
    return [
        f"SELECT {selected} FROM {table_of(table.key)} WHERE {quote(layout.COL_COMMIT)} > {since}",
        *(
            f"SELECT {selected} FROM {history} WHERE {quote(layout.COL_ENDED)} > {since}"
            for history in table.history
        ),
    ]


def _of_upstream(
    plan: FeaturePlan, dep: DepPlan, keys: Sequence[str], catalog: Catalog, mark: Watermark
) -> Iterator[str]:
    """The samples that an upstream's changed rows touch; nothing if they cannot be told."""
    upstream = catalog.tables[dep.upstream.key]
    changed = _changed(upstream, dict(dep.source_columns), mark.upstream_commit)
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
    if catalog.get(finest.upstream.key) is not None:
        source = ", ".join(
            f"{quote(there)} AS {quote(here)}" for here, there in finest.source_columns.items()
        )
        rows = f"SELECT {source} FROM {table_of(finest.upstream.key)}"
        yield f"SELECT {columns(keys)} FROM ({rows}) SEMI JOIN ({touched}) USING ({on})"
