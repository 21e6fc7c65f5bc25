"""What the file knows of each feature as a whole: one row of ``metaxy.features``.

All that a call has to know before it begins stands in that row, so that one short query tells it:
the newest commits, the watermark, and whether there are failed samples to look at.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import duckdb

from metaxy_dagster.features import FeatureKey
from metaxy_dagster.stores.duckdb.file.commits import Commit
from metaxy_dagster.stores.duckdb.sql.identifiers import (
    CATALOG,
    history_table,
    literal,
    table_name,
)

__all__ = [
    "NOTHING_KNOWN",
    "Commits",
    "Content",
    "Entry",
    "State",
    "Watermark",
    "history_of",
    "read_entries",
    "save",
    "set_failed",
]

_FEATURES = f"{CATALOG}.metaxy.features"


@dataclass(frozen=True)
class Commits:
    """The newest commits of one feature; 0 where there is none.

    Attributes:
        newest: whatever it did.
        ended: the last one that superseded or deleted a row.
        erased: the last one that left no trace of what it did in the history.
        emptied: the last one that found samples empty; 0 also if the feature was dropped since.
        archived: the last one that put rows into the history; 0 if there is no such table.
        token: of the newest.
    """

    newest: int = 0
    ended: int = 0
    erased: int = 0
    emptied: int = 0
    archived: int = 0
    token: int | None = None

    def after(
        self,
        commit: Commit,
        *,
        ended: bool,
        erased: bool = False,
        emptied: bool = False,
        archived: bool = False,
    ) -> Commits:
        """The newest commits when one more was made."""
        return Commits(
            commit,
            commit if ended else self.ended,
            commit if erased else self.erased,
            commit if emptied else self.emptied,
            commit if archived else self.archived,
            commit.token,
        )


@dataclass(frozen=True)
class Watermark:
    """Up to where everything is known of a feature.

    Attributes:
        fingerprint: of the definition for which it holds.
        upstream_commit: later commits of the upstreams are news.
        own_commit: later commits of the feature itself are news.
        pending: how many samples were left unanswered; they stand in a table, if there are any.
    """

    fingerprint: str
    upstream_commit: int
    own_commit: int
    pending: int


@dataclass(frozen=True)
class Content:
    """What a feature holds, as sums that a write can bring up to date.

    Attributes:
        rows: how many samples.
        low: sum of the lower halves of the 128-bit hashes of their ids and data versions.
        high: sum of the upper halves.
    """

    rows: int
    low: int
    high: int

    def __add__(self, other: Content) -> Content:
        """Both together."""
        return Content(self.rows + other.rows, self.low + other.low, self.high + other.high)

    def __sub__(self, other: Content) -> Content:
        """What is left without the other."""
        return Content(self.rows - other.rows, self.low - other.low, self.high - other.high)


@dataclass(frozen=True)
class Entry:
    """The row of one feature.

    Attributes:
        version: of the feature when it was last written.
        spec: the same, as JSON.
        stored: whether it has tables; not before its first write, and not after it was dropped.
        commits: its newest commits.
        failed: whether samples of it failed and were not computed since.
        watermark: what an earlier resolve found out.
        content: what it holds, if that was found out.
        types: what its columns were before they were stored; see ``stores.logical``.
        had: the types that columns had before they widened, as JSON.
    """

    version: str | None = None
    spec: str | None = None
    stored: bool = False
    commits: Commits = Commits()
    failed: bool = False
    watermark: Watermark | None = None
    content: Content | None = None
    types: str | None = None
    had: str | None = None


# Of a feature that was never written.
NOTHING_KNOWN = Entry()


@dataclass(frozen=True)
class State:
    """The file as it is now.

    Attributes:
        newest: the newest commit; 0 for an empty store.
        entries: of the features asked for, as far as there are any, and of all that have failures.
    """

    newest: Commit
    entries: Mapping[FeatureKey, Entry]


_COMMITS = ", ".join(field.name for field in dataclasses.fields(Commits))
_WATERMARK = "fingerprint, upstream_commit, own_commit, pending"
_CONTENT = "content_rows, content_low, content_high"
_TYPES = "types, had"
_COLUMNS = f"feature_version, spec, stored, failed, {_COMMITS}, {_WATERMARK}, {_CONTENT}, {_TYPES}"
_OF_ENTRY = ", ".join(f"e.{name}" for name in _COLUMNS.split(", "))


def read_entries(
    connection: duckdb.DuckDBPyConnection, keys: Iterable[FeatureKey]
) -> tuple[int | None, State]:
    """The format of the file, and its state.

    Raises:
        duckdb.Error: the file has no such table, or one of another format.
    """
    named = {str(key): key for key in keys}
    among = f"feature IN ({', '.join(map(literal, named))})" if named else "FALSE"
    rows = connection.execute(
        f"SELECT f.version, n.newest, n.token, feature, {_OF_ENTRY}"
        f" FROM (SELECT max(version) AS version FROM {CATALOG}.metaxy.format) f,"
        f" (SELECT coalesce(max(newest), 0) AS newest, arg_max(token, newest) AS token"
        f" FROM {_FEATURES}) n"
        f" LEFT JOIN (SELECT * FROM {_FEATURES} WHERE {among} OR failed) e ON TRUE"
    ).fetchall()
    entries = {
        named.get(name) or FeatureKey(name): _entry(*columns)
        for _, _, _, name, *columns in rows
        if name is not None
    }
    version, newest, token = rows[0][:3]
    return version, State(Commit(newest, token), entries)


def _entry(  # noqa: PLR0917 - the columns of a row, in their order
    version: str | None,
    spec: str | None,
    stored: bool,  # noqa: FBT001
    failed: bool,  # noqa: FBT001
    newest: int,
    ended: int,
    erased: int,
    emptied: int,
    archived: int,
    token: int | None,
    fingerprint: str | None,
    *numbers: Any,
) -> Entry:
    mark = None if fingerprint is None else Watermark(fingerprint, *numbers[:3])
    content = None if numbers[3] is None else Content(*numbers[3:6])
    commits = Commits(newest, ended, erased, emptied, archived, token)
    return Entry(version, spec, stored, commits, failed, mark, content, *numbers[6:])


def history_of(key: FeatureKey, commits: Commits) -> tuple[str, ...]:
    """The history table of a feature, if it has one: it is made when a first row ends."""
    return (history_table(key),) if commits.archived else ()


def save(
    connection: duckdb.DuckDBPyConnection, key: FeatureKey, entry: Entry, *, known: bool
) -> None:
    """Write a feature's row.

    Args:
        connection: an open transaction.
        key: the feature.
        entry: what is known of it now.
        known: whether there is a row of it already.
    """
    mark = (None,) * 4 if entry.watermark is None else dataclasses.astuple(entry.watermark)
    content = (None,) * 3 if entry.content is None else dataclasses.astuple(entry.content)
    row = [
        *(entry.version, entry.spec, entry.stored, entry.failed),
        *dataclasses.astuple(entry.commits),
        *mark,
        *content,
        *(entry.types, entry.had),
    ]
    if known:
        assignments = ", ".join(f"{name} = ?" for name in _COLUMNS.split(", "))
        connection.execute(
            f"UPDATE {_FEATURES} SET {assignments} WHERE feature = ?", [*row, str(key)]
        )
        return
    connection.execute(
        f"INSERT INTO {_FEATURES} (feature, table_name, {_COLUMNS})"
        f" VALUES ({', '.join('?' * (len(row) + 2))})",
        [str(key), table_name(key), *row],
    )


def set_failed(connection: duckdb.DuckDBPyConnection, key: FeatureKey, *, failed: bool) -> None:
    """Note whether there are failures of a feature."""
    (found,) = connection.execute(
        f"UPDATE {_FEATURES} SET failed = ? WHERE feature = ?", [failed, str(key)]
    ).fetchall()
    if failed and not found[0]:
        save(connection, key, Entry(failed=True), known=False)
