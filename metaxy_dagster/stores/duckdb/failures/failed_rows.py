"""Rows that an earlier computation made of samples that have failed since.

A failed sample keeps the row that it had, until something computes it or somebody lets it go:
whoever reads the feature gets what was true before.
"""

from __future__ import annotations

from collections.abc import Sequence

import duckdb
import pyarrow as pa

from metaxy_dagster import constants as c
from metaxy_dagster.features import FeatureKey
from metaxy_dagster.stores.counts import QUARANTINED, STALE
from metaxy_dagster.stores.duckdb.read.query import Query, fetch
from metaxy_dagster.stores.duckdb.sql.identifiers import (
    columns,
    quarantine_table,
    quote,
    same_ids,
    table_of,
)
from metaxy_dagster.stores.duckdb.sql.registering import register
from metaxy_dagster.stores.failures import FailureResult
from metaxy_dagster.stores.increment import Increment

__all__ = ["WITH_ROWS", "counted", "leaving"]

_LISTED = "metaxy_listed"
# Samples of an increment with these statuses may have rows, and may have failed.
WITH_ROWS = (STALE, QUARANTINED)


def counted(
    connection: duckdb.DuckDBPyConnection,
    key: FeatureKey,
    names: Sequence[str],
    *,
    stored: bool,
    limit: int,
    listed: pa.Table | None = None,
) -> FailureResult:
    """How many samples failed and were not computed since.

    Args:
        connection: not in a transaction: looking for a table that is not there would abort it.
        key: the feature.
        names: its sample columns.
        stored: whether there is a table of its rows.
        limit: attempts that a sample has; 0 for any number.
        listed: count these samples only.
    """
    full = f"count(*) FILTER ({quote(c.COL_ATTEMPTS)} >= {limit})" if limit else "0"
    rows = f"SELECT 1 FROM {table_of(key)} t WHERE {same_ids(names, 'o', 't')}"
    old = f"count(*) FILTER (EXISTS ({rows}))" if stored else "0"
    where = "TRUE"
    if listed is not None:
        register(connection, _LISTED, listed)
        where = f"EXISTS (SELECT 1 FROM {_LISTED} l WHERE {same_ids(names, 'o', 'l')})"
    sql = f"SELECT count(*), {full}, {old} FROM {quarantine_table(key)} o WHERE {where}"
    try:
        (row,) = connection.execute(sql).fetchall()
    except (duckdb.CatalogException, duckdb.BinderException):
        return FailureResult(key, 0, 0)
    return FailureResult(key, *map(int, row))


def leaving(
    connection: duckdb.DuckDBPyConnection, key: FeatureKey, increment: Increment
) -> pa.Table:
    """The samples of an increment that may have rows, and have failed and not been computed since.

    Args:
        connection: not in a transaction.
        key: the feature, of which samples have failed.
        increment: which samples may go.
    """
    names = list(increment.sample_columns)
    register(connection, _LISTED, increment.ids(WITH_ROWS))
    noted = f"SELECT 1 FROM {quarantine_table(key)} o WHERE {same_ids(names, 'o', 'l')}"
    sql = f"SELECT {columns(names)} FROM {_LISTED} l WHERE EXISTS ({noted})"
    return fetch(connection, Query(sql, {}))
