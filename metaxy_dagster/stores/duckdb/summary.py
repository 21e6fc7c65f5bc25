"""What an event tells of a feature, with as few questions to the file as there are answers."""

from __future__ import annotations

from dataclasses import dataclass

import duckdb

from metaxy_dagster import constants as c
from metaxy_dagster.features import FeatureSpec, Filter
from metaxy_dagster.stores.duckdb import quarantine
from metaxy_dagster.stores.duckdb.catalog import read_catalog
from metaxy_dagster.stores.duckdb.filtering import condition
from metaxy_dagster.stores.duckdb.identifiers import columns, quote
from metaxy_dagster.stores.duckdb.provenance import Values
from metaxy_dagster.stores.duckdb.query import Query, fetch
from metaxy_dagster.stores.duckdb.reader import versioned
from metaxy_dagster.stores.encoding import hash_parts
from metaxy_dagster.stores.failures import FailureResult
from metaxy_dagster.stores.protocol import FeatureSummary

__all__ = ["Summarise"]

_NO_ROWS = (0, 0, 0)


@dataclass(frozen=True)
class Summarise:
    """What to find out of a feature.

    Attributes:
        spec: the feature.
        commit: the state that is looked at; ``None`` for the newest.
        filters: the samples that the data version is of.
        preview: how many rows to show.
        limit: attempts that a sample has.
    """

    spec: FeatureSpec
    commit: int | None
    filters: tuple[Filter, ...]
    preview: int
    limit: int

    def run(self, connection: duckdb.DuckDBPyConnection) -> FeatureSummary:
        """Ask the file."""
        spec, key = self.spec, self.spec.key
        catalog = read_catalog(connection, [key], self.commit)
        failed = FailureResult(key, 0, 0)
        if catalog.entry(key).failed:
            failed = quarantine.counted(connection, key, limit=self.limit)
        table = catalog.get(key)
        if table is None:
            return FeatureSummary({}, 0, 0, hash_parts(map(str, _NO_ROWS)), None, failed)
        rows = catalog.rows(key, (*table.columns, c.COL_DATA_VERSION))
        values = Values()
        where = condition(
            self.filters,
            {name: quote(name) for name in table.columns},
            values,
            where=f"feature {str(key)!r}",
            types=table.types,
        )
        chosen = f"SELECT * FROM ({rows}) WHERE {where}"
        (numbers,) = connection.execute(
            versioned(spec, table.types, chosen), dict(values) or None
        ).fetchall()
        stored = numbers[0]
        if self.filters:
            ((stored,),) = connection.execute(f"SELECT count(*) FROM ({rows})").fetchall()
        shown = f"SELECT {columns(table.columns)} FROM ({rows}) ORDER BY {columns(spec.id_columns)}"
        return FeatureSummary(
            dict(table.types),
            int(stored),
            int(numbers[0]),
            hash_parts(map(str, numbers)),
            fetch(connection, Query(f"{shown} LIMIT {self.preview}")),
            failed,
        )
