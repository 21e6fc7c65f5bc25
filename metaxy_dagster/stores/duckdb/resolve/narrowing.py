"""Which samples the filters of a resolve are about; all others need no look.

A resolve of one partition would else find and hash what is expected of the whole feature, to leave
out nearly all of it. Here only ids and the columns of the filters are read.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import duckdb

from metaxy_dagster.features import FeatureKey, FeaturePlan, Filter
from metaxy_dagster.features.columns import fold
from metaxy_dagster.stores.duckdb.file import layout
from metaxy_dagster.stores.duckdb.file.catalog import Catalog
from metaxy_dagster.stores.duckdb.read.query import Query
from metaxy_dagster.stores.duckdb.resolve.candidates import CANDIDATES, known_samples
from metaxy_dagster.stores.duckdb.resolve.views import UpstreamView, joined_views, sample_columns
from metaxy_dagster.stores.duckdb.sql.chosen import ByFeature
from metaxy_dagster.stores.duckdb.sql.distinct_texts import DistinctTexts
from metaxy_dagster.stores.duckdb.sql.filtering import condition
from metaxy_dagster.stores.duckdb.sql.identifiers import columns, quote
from metaxy_dagster.stores.duckdb.sql.provenance import Values

__all__ = ["Narrowing"]


@dataclass(frozen=True)
class Narrowing:
    """The filters of a resolve, before any hash is made.

    Attributes:
        plan: the feature, which has upstreams.
        filters: on its samples.
        by_feature: on the rows of single upstreams, and of the stored feature.
        classes: of the upstreams.
        catalog: which features are stored.
    """

    plan: FeaturePlan
    filters: tuple[Filter, ...]
    by_feature: ByFeature
    classes: Mapping[FeatureKey, type | None]
    catalog: Catalog

    def collect(self, connection: duckdb.DuckDBPyConnection, max_share: float) -> int | None:
        """Put the samples into the temporary table of candidates.

        Args:
            connection: where the table is made.
            max_share: of the stored samples, up to which it is worth it.

        Returns:
            Their number; ``None`` without filters, or if all or too many are concerned.
        """
        own = self.catalog.get(self.plan.key)
        # Of a feature of which nothing is stored, the query narrows itself down.
        if own is None or not (self.filters or self.by_feature):
            return None
        chosen = self._chosen(own, connection)
        number = layout.number(
            connection,
            f"CREATE OR REPLACE TEMP TABLE {CANDIDATES} AS {chosen.sql}",
            chosen.values,
        )
        if number > max_share * known_samples(connection, self.plan.key, self.catalog, None):
            return None
        return number

    def _chosen(self, own: layout.Table, connection: duckdb.DuckDBPyConnection) -> Query:
        """Samples that are expected in scope, or stored in scope.

        A sample that is called for in one partition and stored in another is looked at from both.
        """
        values, keys, kinds = Values(), sample_columns(self.plan), dict[str, str]()
        wanted = {fold(name) for one in self.filters for name in one.columns}
        clauses = []
        for index, dep in enumerate(self.plan.deps):
            key = dep.upstream.key
            chosen, cls = self.by_feature.get(key, ()), self.classes.get(key)
            view = UpstreamView(self.plan, index, self.catalog, cls, chosen, connection)
            kinds.update(view.kinds())
            extra = [name for name in view.user_columns() if fold(name) in wanted]
            clauses.append(f"{view.name} AS ({view.sql(values, extra)})")
        scope = condition(
            self.filters,
            {name: quote(name) for name in (*keys, *kinds)},
            values,
            where=f"the increment of {str(self.plan.key)!r}",
            types=kinds | {name: own.types[name] for name in keys},
            exact=False,
        )
        present = "".join(f" AND {quote(name)} IS NOT NULL" for name in keys)
        return Query(
            f"WITH {', '.join(clauses)} SELECT {columns(keys)} FROM {joined_views(self.plan)}"
            f" WHERE {scope}{present}{self._stored(own, connection, values)}",
            values,
        )

    def _stored(
        self, own: layout.Table, connection: duckdb.DuckDBPyConnection, values: Values
    ) -> str:
        """The stored samples in scope, as one more part of a union."""
        if any(own.column_named(name) is None for one in self.filters for name in one.columns):
            # Upstream columns that are not stored tell nothing of what is orphaned.
            return ""
        rows = self.catalog.rows(self.plan.key, own.columns)
        stored = condition(
            (*self.filters, *self.by_feature.get(self.plan.key, ())),
            {name: quote(name) for name in own.types},
            values,
            where=f"feature {str(self.plan.key)!r}",
            types=own.types,
            exact=False,
            texts=DistinctTexts(connection, rows),
        )
        return f" UNION SELECT {columns(sample_columns(self.plan))} FROM ({rows}) WHERE {stored}"
