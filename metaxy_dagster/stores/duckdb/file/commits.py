"""Commits by more than their number, which a file that was put back uses again.

Every commit has a token of its own, drawn at random. Whatever looks at the store as of a commit
keeps both; what is of another history than the file has now is refused.
"""

from __future__ import annotations

import secrets
from typing import Self

import duckdb

from metaxy_dagster.errors import StoreError
from metaxy_dagster.features import FeatureKey
from metaxy_dagster.stores.duckdb.sql.identifiers import CATALOG

__all__ = ["Commit", "check_history", "keep_tokens", "known_as"]

_COMMITS = f"{CATALOG}.metaxy.commits"
# Of commits that are listed no more.
_TOKENS = f"{CATALOG}.metaxy.tokens"


class Commit(int):
    """The number of a commit, with what tells it from others of that number.

    Attributes:
        token: ``None`` where it is not known, and before the first commit.

    Example:
        >>> Commit(3, 12345) + 1, Commit(3, 12345).token
        (4, 12345)
    """

    token: int | None

    def __new__(cls, number: int, token: int | None = None) -> Self:
        """A commit that was made; see :meth:`next` for one that is to be."""
        made = super().__new__(cls, number)
        made.token = token
        return made

    def __getnewargs__(self) -> tuple[int, int | None]:  # type: ignore[override]  # int has one
        """Both go to another process."""
        return int(self), self.token

    def next(self) -> Commit:
        """The commit after this one."""
        return Commit(self + 1, secrets.randbits(63))


def known_as(connection: duckdb.DuckDBPyConnection, number: int) -> Commit:
    """The commit of a number in this file, which has the layout of this release."""
    for table in (_COMMITS, _TOKENS):
        try:
            rows = connection.execute(
                f"SELECT token FROM {table} WHERE commit = {number:d} LIMIT 1"
            ).fetchall()
        except (duckdb.CatalogException, duckdb.BinderException):
            break  # nothing was ever taken off the list
        if rows:
            return Commit(number, rows[0][0])
    return Commit(number)


def keep_tokens(connection: duckdb.DuckDBPyConnection, rows: str) -> None:
    """Keep the tokens of commits that are about to be taken off the list.

    Args:
        connection: an open transaction.
        rows: the commits: the list, and a condition.
    """
    connection.execute(
        f"CREATE TABLE IF NOT EXISTS {_TOKENS} (commit BIGINT NOT NULL, token BIGINT)"
    )
    connection.execute(f"INSERT INTO {_TOKENS} SELECT DISTINCT commit, token FROM {rows}")


def check_history(
    connection: duckdb.DuckDBPyConnection,
    commit: int,
    newest: Commit | None,
    *,
    feature: FeatureKey | None = None,
) -> None:
    """Refuse a commit that is not one of the file's.

    Args:
        connection: to the file, not in a transaction.
        commit: the commit; a number without a token is believed, if there is one so high.
        newest: the file's newest commit; ``None`` if it has no layout, or is not there.
        feature: what is looked at, or written.

    Raises:
        StoreError: the file was put back, deleted or made anew since.
    """
    if not commit:
        return
    token = commit.token if isinstance(commit, Commit) else None
    if newest is not None and commit <= newest:
        if token is None:
            return
        known = newest if commit == newest else known_as(connection, commit)
        if known.token == token:
            return
    raise StoreError(
        "the metadata store was put back to a backup, deleted or made anew in the meantime",
        feature=None if feature is None else str(feature),
        found=f"what was read or resolved as of commit {commit} of a history that is gone",
        allowed="what was read or resolved from the file as it is now",
        remedy="read or resolve again, and compute from that",
    )
