"""Commits under names, for work that several processes must do as of one moment."""

from __future__ import annotations

import duckdb

from metaxy_dagster.errors import StoreError, shown
from metaxy_dagster.features import FeatureKey
from metaxy_dagster.stores.duckdb.file import layout
from metaxy_dagster.stores.duckdb.file.commits import Commit, known_as
from metaxy_dagster.stores.duckdb.sql.identifiers import CATALOG

__all__ = ["checked", "pin", "pinned"]

_PINS = f"{CATALOG}.metaxy.pins"
# The clock decides only when a name is forgotten; no work goes on for so long.
_KEPT = "INTERVAL 30 DAYS"


def checked(commit: object, newest: int, key: FeatureKey) -> int:
    """The commit, if there has been one of that number.

    One that brings its token is compared with the file's when that is read.

    Raises:
        StoreError: there has not.
    """
    if isinstance(commit, Commit) and commit.token is not None:
        return commit
    if isinstance(commit, bool) or not isinstance(commit, int) or not 0 <= commit <= newest:
        raise StoreError(
            "there is no commit of this number",
            feature=str(key),
            found=shown(commit),
            allowed=f"0 to {newest}",
            remedy="pass a number that store.pin(...) or a WriteResult gave, or leave as_of out",
        )
    return commit


def pin(connection: duckdb.DuckDBPyConnection, name: str) -> Commit:
    """Give a name to the newest commit, unless it was given to one before; tell which."""
    state = layout.ensure_format(connection)
    connection.execute("BEGIN TRANSACTION")
    connection.execute(
        f"CREATE TABLE IF NOT EXISTS {_PINS} (name VARCHAR NOT NULL, commit BIGINT NOT NULL,"
        " pinned_at TIMESTAMP WITH TIME ZONE NOT NULL)"
    )
    connection.execute(f"DELETE FROM {_PINS} WHERE pinned_at < now() - {_KEPT}")
    found = connection.execute(f"SELECT commit FROM {_PINS} WHERE name = ?", [name]).fetchall()
    commit = known_as(connection, int(found[0][0])) if found else state.newest
    if not found:
        connection.execute(f"INSERT INTO {_PINS} VALUES (?, ?, now())", [name, commit])
    connection.execute("COMMIT")
    return commit


def pinned(connection: duckdb.DuckDBPyConnection, name: str) -> Commit | None:
    """The commit that a name was given to."""
    try:
        found = connection.execute(f"SELECT commit FROM {_PINS} WHERE name = ?", [name]).fetchall()
    except (duckdb.CatalogException, duckdb.BinderException):
        return None
    return known_as(connection, int(found[0][0])) if found else None
