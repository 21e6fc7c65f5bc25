"""The list of commits: what each of them did to its feature."""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass

import duckdb

from metaxy_dagster.stores.duckdb.file import layout
from metaxy_dagster.stores.duckdb.file.commits import Commit
from metaxy_dagster.stores.duckdb.sql.identifiers import CATALOG
from metaxy_dagster.stores.results import WriteResult

__all__ = ["Log"]


@dataclass(frozen=True)
class Log:
    """Where a transaction notes what its commit did.

    Args:
        connection: the transaction's.
        commit: its commit.
        now: when that was.
    """

    connection: duckdb.DuckDBPyConnection
    commit: Commit
    now: dt.datetime

    def note(
        self, result: WriteResult, kind: str, version: str | None, materialization_id: str | None
    ) -> None:
        """Add a line to the list."""
        kind = layout.KIND_EMPTY if result.empty else kind
        counts = [result.new, result.updated, result.deleted]
        row: list[object] = [result.commit, str(result.feature), kind, *counts, version]
        row += [materialization_id, self.now, self.commit.token]
        marks = ", ".join("?" * len(row))
        self.connection.execute(f"INSERT INTO {CATALOG}.metaxy.commits VALUES ({marks})", row)
