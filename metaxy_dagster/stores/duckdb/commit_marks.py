"""The newest commits of features, and whether the file ever saw one: a restored file did not."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable

import duckdb

from metaxy_dagster.features import FeatureKey
from metaxy_dagster.stores.duckdb.identifiers import CATALOG, literal
from metaxy_dagster.stores.protocol import CommitMark

__all__ = ["has_commit", "newest_commits"]

_COMMITS, _FEATURES = f"{CATALOG}.metaxy.commits", f"{CATALOG}.metaxy.features"
_NO_TABLES = (duckdb.CatalogException, duckdb.BinderException)


def newest_commits(
    connection: duckdb.DuckDBPyConnection, keys: Iterable[FeatureKey]
) -> dict[FeatureKey, CommitMark]:
    """The newest commit of each of these features that has one.

    Args:
        connection: not in a transaction: looking for a table that is not there would abort it.
        keys: the features.
    """
    named = {str(key): key for key in keys}
    if not named:
        return {}
    moments = f"SELECT %s(committed_at) FROM {_COMMITS} c WHERE c.feature = f.feature"
    sql = (
        f"SELECT feature, newest, epoch_us(({moments % 'max'} AND c.commit = f.newest)),"
        f" epoch_us(({moments % 'min'})) FROM {_FEATURES} f"
        f" WHERE feature IN ({', '.join(map(literal, named))}) AND newest > 0"
    )
    try:
        rows = connection.execute(sql).fetchall()
    except _NO_TABLES:
        return {}
    return {
        named[name]: CommitMark(int(number), _moment(at), _moment(first))
        for name, number, at, first in rows
    }


def has_commit(connection: duckdb.DuckDBPyConnection, mark: CommitMark) -> bool:
    """Whether the file may have seen a commit: false if a later state of the file was lost."""
    found = f"SELECT epoch_us(committed_at) FROM {_COMMITS} WHERE commit = {mark.number}"
    try:
        (newest,) = connection.execute(f"SELECT max(newest) FROM {_FEATURES}").fetchall()
        moments = [_moment(at) for (at,) in connection.execute(found).fetchall()]
    except _NO_TABLES:
        return False
    if newest[0] is None or newest[0] < mark.number:
        return False
    # Commits that a compaction forgot tell nothing.
    return not moments or mark.at is None or mark.at in moments


def _moment(microseconds: int | None) -> dt.datetime | None:
    if microseconds is None:
        return None
    return dt.datetime(1970, 1, 1, tzinfo=dt.UTC) + dt.timedelta(microseconds=microseconds)
