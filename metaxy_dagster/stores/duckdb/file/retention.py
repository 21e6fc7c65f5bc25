"""What was compacted away: the past that can no longer be read back, feature by feature."""

from __future__ import annotations

from collections.abc import Mapping

import duckdb

from metaxy_dagster.errors import StoreError
from metaxy_dagster.features import FeatureKey
from metaxy_dagster.stores.duckdb.file.entries import Commits
from metaxy_dagster.stores.duckdb.sql.identifiers import CATALOG, literal

__all__ = ["check_kept", "check_whole", "note"]

_COMPACTIONS = f"{CATALOG}.metaxy.compactions"


def note(connection: duckdb.DuckDBPyConnection, removed: Mapping[str, int], commit: int) -> None:
    """Note a compaction, inside its transaction.

    Args:
        connection: the open transaction.
        removed: by feature, the last commit that ended one of the rows removed.
        commit: of the compaction itself.
    """
    connection.execute(
        f"CREATE TABLE IF NOT EXISTS {_COMPACTIONS} (feature VARCHAR NOT NULL,"
        " kept_since BIGINT NOT NULL, commit BIGINT NOT NULL)"
    )
    for name, since in removed.items():
        # An older state that is lost stays lost. DuckDB 1.5.0 cannot tell the maximum of no rows
        # of a table that is new in the transaction.
        lost = connection.execute(
            f"SELECT kept_since FROM {_COMPACTIONS} WHERE feature = ?", [name]
        ).fetchall()
        connection.execute(
            f"INSERT INTO {_COMPACTIONS} VALUES (?, ?, ?)",
            [name, max([since, *(int(earlier) for (earlier,) in lost)]), commit],
        )
        connection.execute(
            f"DELETE FROM {_COMPACTIONS} WHERE feature = ? AND commit < ?", [name, commit]
        )


def check_kept(
    connection: duckdb.DuckDBPyConnection, commits: Mapping[FeatureKey, Commits], commit: int
) -> None:
    """Refuse to read features as of a commit of which not all rows are there any more.

    Args:
        connection: not in a transaction: looking for a table that is not there would abort it.
        commits: the newest ones of the features.
        commit: as of which they are to be read.

    Raises:
        StoreError: the history of one of them was compacted since.
    """
    names = [str(key) for key, newest in commits.items() if newest.erased > commit]
    if not names:
        return
    among = ", ".join(map(literal, names))
    try:
        rows = connection.execute(
            f"SELECT feature, kept_since FROM {_COMPACTIONS}"
            f" WHERE feature IN ({among}) AND kept_since > {commit} ORDER BY 1"
        ).fetchall()
    except (duckdb.CatalogException, duckdb.BinderException):
        return
    for name, since in rows:
        raise StoreError(
            "what is read here was compacted away, or got other ids, in the meantime",
            feature=name,
            found=f"the state as of commit {commit}",
            allowed=f"commit {since} or later",
            remedy="read or resolve again; to keep what is still in use for longer, compact with "
            "a longer older_than",
        )


def check_whole(connection: duckdb.DuckDBPyConnection, key: FeatureKey, commit: int) -> None:
    """Refuse to read rows as of a commit of which some were erased for good since.

    Raises:
        StoreError: they were deleted with their history, or the feature was dropped.
    """
    rows = connection.execute(
        f"SELECT kind FROM {CATALOG}.metaxy.commits WHERE feature = ? AND commit > ?"
        " AND kind IN ('hard delete', 'drop') LIMIT 1",
        [str(key), commit],
    ).fetchall()
    for (kind,) in rows:
        raise StoreError(
            "rows that are read here were erased for good in the meantime",
            feature=str(key),
            found=f"a {kind} after commit {commit}, as of which they are read",
            remedy="read again, which gives what is left; collect frames before rows are erased",
        )
