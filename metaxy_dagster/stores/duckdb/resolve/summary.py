"""What an event tells of a feature, with as few questions to the file as there are answers."""

from __future__ import annotations

from dataclasses import dataclass

import duckdb

from metaxy_dagster import constants as c
from metaxy_dagster.features import FeatureSpec, Filter
from metaxy_dagster.stores.duckdb.failures.failed_rows import counted
from metaxy_dagster.stores.duckdb.file.catalog import read_catalog
from metaxy_dagster.stores.duckdb.file.entries import Content
from metaxy_dagster.stores.duckdb.file.identity import check_ids
from metaxy_dagster.stores.duckdb.file.layout import count
from metaxy_dagster.stores.duckdb.read.query import Query, fetch
from metaxy_dagster.stores.duckdb.read.versions import content_of, data_version, known_content
from metaxy_dagster.stores.duckdb.sql.distinct_texts import DistinctTexts
from metaxy_dagster.stores.duckdb.sql.filtering import condition
from metaxy_dagster.stores.duckdb.sql.identifiers import columns, quote
from metaxy_dagster.stores.duckdb.sql.provenance import Values
from metaxy_dagster.stores.failures import FailureResult
from metaxy_dagster.stores.frames.logical import restore
from metaxy_dagster.stores.results import FeatureSummary

__all__ = ["Summarise"]


@dataclass(frozen=True)
class Summarise:
    """What to find out of a feature.

    Attributes:
        spec: the feature.
        commit: the state that is looked at; ``None`` for the newest.
        filters: the samples that the data version is of.
        preview: how many rows to show.
        limit: attempts that a sample has.
        sample_columns: those that name a sample of an increment.
    """

    spec: FeatureSpec
    commit: int | None
    filters: tuple[Filter, ...]
    preview: int
    limit: int
    sample_columns: tuple[str, ...]

    def run(self, connection: duckdb.DuckDBPyConnection) -> FeatureSummary:
        """Ask the file."""
        spec, key = self.spec, self.spec.key
        catalog = read_catalog(connection, [key], self.commit)
        check_ids(catalog, spec)
        failed = FailureResult(key, 0, 0)
        if catalog.entry(key).failed:
            failed = counted(
                connection,
                key,
                self.sample_columns,
                stored=catalog.get(key) is not None,
                limit=self.limit,
            )
        table = catalog.get(key)
        if table is None:
            return FeatureSummary({}, 0, 0, data_version(Content(0, 0, 0)), None, failed)
        rows = catalog.rows(key, (*table.columns, c.COL_DATA_VERSION))
        values = Values()
        where = condition(
            self.filters,
            {name: quote(name) for name in table.columns},
            values,
            where=f"feature {str(key)!r}",
            types=table.types,
            exact=False,
            texts=DistinctTexts(connection, rows),
        )
        whole = known_content(catalog, spec)
        content = whole
        if self.filters or content is None:
            chosen = Query(f"SELECT * FROM ({rows}) WHERE {where}", values)
            content = content_of(connection, spec, table.kinds, chosen)
        stored = content.rows if whole is None else whole.rows
        if self.filters and whole is None:
            stored = count(connection, f"({rows})")
        shown = f"SELECT {columns(table.columns)} FROM ({rows}) ORDER BY {columns(spec.id_columns)}"
        return FeatureSummary(
            dict(table.types),
            stored,
            content.rows,
            data_version(content),
            restore(fetch(connection, Query(f"{shown} LIMIT {self.preview}")), table.logical),
            failed,
        )
