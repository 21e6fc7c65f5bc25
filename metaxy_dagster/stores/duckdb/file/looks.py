"""What was looked for among all rows of a feature and is not there, as of a commit.

Later looks for the same begin at that commit: rows that it had do not change without another one.
What was found out while the file was read is kept by the next write of the same store.
"""

from __future__ import annotations

from collections.abc import MutableMapping
from typing import TypeAlias

import duckdb

from metaxy_dagster.features import FeatureKey
from metaxy_dagster.stores.duckdb.file.commits import Commit, known_as
from metaxy_dagster.stores.duckdb.file.entries import Entry
from metaxy_dagster.stores.duckdb.sql.identifiers import CATALOG

__all__ = ["Looks", "keep", "looked_until"]

#: By feature and by what was looked for: the commit as of which it was not there.
Looks: TypeAlias = MutableMapping[tuple[FeatureKey, str], Commit]

_LOOKS = f"{CATALOG}.metaxy.looks"


def looked_until(
    connection: duckdb.DuckDBPyConnection,
    key: FeatureKey,
    wanted: str,
    *,
    entry: Entry,
    commit: int,
    looks: Looks,
) -> int:
    """The commit as of which something is known not to be there; 0 if nothing is known.

    Args:
        connection: not in a transaction: looking for a table that is not there would abort it.
        key: the feature.
        wanted: what is looked for.
        entry: what is known of the feature.
        commit: the state that is looked at.
        looks: what was found out since the last write.
    """
    noted = looks.get((key, wanted))
    if noted is not None and _is_known(connection, noted) and _holds(entry, noted, commit):
        return noted
    try:
        rows = connection.execute(
            f"SELECT as_of FROM {_LOOKS} WHERE feature = ? AND wanted = ?", [str(key), wanted]
        ).fetchall()
    except (duckdb.CatalogException, duckdb.BinderException):
        return 0
    found = int(rows[0][0]) if rows else 0
    return found if _holds(entry, found, commit) else 0


def _holds(entry: Entry, since: int, commit: int) -> bool:
    """Of an older state, and of rows that were made anew since, it says nothing."""
    return entry.commits.erased <= since <= commit


def keep(connection: duckdb.DuckDBPyConnection, looks: Looks) -> None:
    """Write down what was found out; what belongs to a history that is gone is let go of.

    Args:
        connection: one that may write, not in a transaction.
        looks: is empty afterwards.
    """
    found = {one: commit for one, commit in looks.items() if _is_known(connection, commit)}
    looks.clear()
    if not found:
        return
    connection.execute("BEGIN TRANSACTION")
    connection.execute(
        f"CREATE TABLE IF NOT EXISTS {_LOOKS} (feature VARCHAR NOT NULL, wanted VARCHAR NOT NULL,"
        " as_of BIGINT NOT NULL)"
    )
    for (key, wanted), commit in found.items():
        named = [str(key), wanted]
        connection.execute(f"DELETE FROM {_LOOKS} WHERE feature = ? AND wanted = ?", named)
        connection.execute(f"INSERT INTO {_LOOKS} VALUES (?, ?, ?)", [*named, commit])
    connection.execute("COMMIT")


def _is_known(connection: duckdb.DuckDBPyConnection, commit: Commit) -> bool:
    return commit.token is not None and known_as(connection, commit).token == commit.token
