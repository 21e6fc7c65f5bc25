"""A feature is forgotten, with all that was stored of it."""

from __future__ import annotations

import datetime as dt
from dataclasses import replace

import duckdb

from metaxy_dagster.features import FeatureKey
from metaxy_dagster.stores.duckdb.failures import quarantine
from metaxy_dagster.stores.duckdb.file.catalog import Catalog
from metaxy_dagster.stores.duckdb.file.entries import Entry, save
from metaxy_dagster.stores.duckdb.sql.identifiers import (
    empty_table,
    history_table,
    pending_table,
    table_of,
)
from metaxy_dagster.stores.duckdb.write.log import Log
from metaxy_dagster.stores.results import WriteResult

__all__ = ["drop"]


def drop(connection: duckdb.DuckDBPyConnection, key: FeatureKey, catalog: Catalog) -> None:
    """Forget a feature; its newest commits stay, so that no number is ever used twice.

    Args:
        connection: one that may write, not in a transaction.
        key: the feature.
        catalog: of the feature, as it is now.
    """
    entry = catalog.entry(key)
    failing = entry.failed and quarantine.is_there(connection, key)
    stored = entry.stored or entry.commits.emptied
    if not stored and not failing:
        return
    connection.execute("BEGIN TRANSACTION")
    if stored:
        _drop(
            connection, key, entry, Log(connection, catalog.commit.next(), dt.datetime.now(dt.UTC))
        )
    if failing:
        quarantine.erase(connection, key, "TRUE", {})
    connection.execute("COMMIT")


def _drop(connection: duckdb.DuckDBPyConnection, key: FeatureKey, entry: Entry, log: Log) -> None:
    tables = [table_of(key), history_table(key), pending_table(key)]
    tables += [empty_table(key)] if entry.commits.emptied else []
    for table in tables:
        connection.execute(f"DROP TABLE IF EXISTS {table}")
    commits = entry.commits.after(log.commit, ended=False, erased=True)
    left = Entry(commits=replace(commits, emptied=0, archived=0), failed=entry.failed)
    save(connection, key, left, known=True)
    log.note(WriteResult(key, log.commit, 0, 0, 0, 0), "drop", None, None)
