"""The newest commits of features, and whether the file ever saw one: a restored file did not."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable, Mapping, Sequence

import duckdb

from metaxy_dagster.features import FeatureKey, Filter
from metaxy_dagster.stores.duckdb.file.layout import COL_COMMIT, COL_ENDED, Table
from metaxy_dagster.stores.duckdb.sql.filtering import condition
from metaxy_dagster.stores.duckdb.sql.identifiers import (
    CATALOG,
    literal,
    quote,
    table_of,
)
from metaxy_dagster.stores.duckdb.sql.provenance import Values
from metaxy_dagster.stores.results import CommitMark

__all__ = ["has_commit", "newest_commits", "within"]

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


def within(
    connection: duckdb.DuckDBPyConnection,
    marks: Mapping[FeatureKey, CommitMark],
    tables: Mapping[FeatureKey, Table | None],
    filters: Sequence[Filter],
) -> dict[FeatureKey, CommitMark]:
    """The newest commits that touched samples for which filters hold.

    Args:
        connection: not in a transaction.
        marks: the newest commits of the features.
        tables: what is stored of them.
        filters: by columns of theirs; a feature that lacks one keeps its newest commit.
    """
    found = dict(marks)
    wanted = [column for one in filters for column in one.columns]
    for key, table in tables.items():
        if table is None or any(table.column_named(name) is None for name in wanted):
            continue
        values = Values()
        where = condition(
            filters,
            {name: quote(name) for name in table.columns},
            values,
            where=f"feature {str(key)!r}",
            types=table.types,
        )
        newest = f"SELECT max({quote(COL_COMMIT)}) AS n FROM {table_of(key)} WHERE {where}"
        for history in table.history:
            newest += f" UNION ALL SELECT max({quote(COL_ENDED)}) FROM {history} WHERE {where}"
        sql = (
            f"SELECT commit, epoch_us(committed_at) FROM {_COMMITS}"
            f" WHERE commit = (SELECT max(n) FROM ({newest}))"
        )
        rows = connection.execute(sql, dict(values) or None).fetchall()
        del found[key]
        if rows:
            found[key] = CommitMark(int(rows[0][0]), _moment(rows[0][1]), marks[key].first)
    return found


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
