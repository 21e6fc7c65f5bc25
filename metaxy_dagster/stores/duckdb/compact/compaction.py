"""Compaction: history that nobody needs any more is removed, and its space is given back.

Rows of the history are kept as long as a frame, an increment or a pin may still be read as of a
commit at which they were valid; a horizon says how long that is. What is stored now is never
touched. Numbers of commits are never used twice.

The file is written anew beside the old one and takes its place in one step, under the write lock:
a process that is killed at any moment leaves the old file or the new one.
"""

from __future__ import annotations

import contextlib
import datetime as dt
import json
import os
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import duckdb

from metaxy_dagster.errors import StoreError
from metaxy_dagster.features import FeatureKey
from metaxy_dagster.stores.compaction_result import CompactionResult
from metaxy_dagster.stores.duckdb.file import layout, retention
from metaxy_dagster.stores.duckdb.file.aftermath import once_stored
from metaxy_dagster.stores.duckdb.file.commits import Commit, keep_tokens
from metaxy_dagster.stores.duckdb.file.connection import DuckDBFile
from metaxy_dagster.stores.duckdb.file.forked import forked_error
from metaxy_dagster.stores.duckdb.file.spelling import log_of
from metaxy_dagster.stores.duckdb.sql.identifiers import (
    BLOCKS,
    CATALOG,
    columns,
    empty_table,
    history_table,
    literal,
    quote,
)

__all__ = ["compact"]

_FRESH = "metaxy_fresh"
_COMMITS = f"{CATALOG}.metaxy.commits"
_ENDED = quote(layout.COL_ENDED)
# Where a file that is open cannot be replaced.
_IS_WINDOWS = os.name == "nt"


@dataclass(frozen=True)
class _Excess:
    """What can be removed of one feature's history."""

    key: FeatureKey
    table: str
    condition: str
    rows: int
    kept: int
    ended: int
    # Nothing is left: the table goes as well.
    drops: bool = False


def compact(
    file: DuckDBFile,
    *,
    older_than: dt.timedelta,
    before: int | None,
    keep_versions: int,
    rewrite: bool,
    dry_run: bool,
) -> CompactionResult:
    """Compact a file; the arguments are those of :meth:`DuckDBMetadataStore.compact`."""
    size = file.place.stat().st_size if file.exists else 0
    if not size:
        return CompactionResult(0, 0, {}, {}, 0, 0, 0)
    if rewrite and not dry_run and file.is_forked:
        raise forked_error(file.path, "so that no other file can take its place")
    with file.connect("r" if dry_run else "w") as connection:
        state = layout.read_state(connection)
        if state is None:
            # A file that nothing was written to: it has no history.
            return CompactionResult(0, 0, {}, {}, 0, size, size)
        horizon = _horizon(connection, state.newest, older_than, before)
        found = list(_excess(connection, horizon, keep_versions))
        removed, kept = _summed(found)
        commit = 0
        if dry_run:
            commits = layout.count(connection, _needless(horizon))
        else:
            commit, commits = _remove(connection, found, horizon, state.newest)
            # Where nothing was removed, to write the file anew is all that was asked.
            removed_some = bool(commit or commits)
            with _once_removed(file) if removed_some else contextlib.nullcontext():
                if rewrite:
                    _rewrite(file, connection)
                else:
                    connection.execute(f"CHECKPOINT {CATALOG}")
    after = size
    with _once_removed(file):
        after = file.place.stat().st_size
    return CompactionResult(commit, horizon, removed, kept, commits, size, after)


def _once_removed(file: DuckDBFile) -> contextlib.AbstractContextManager[None]:
    return once_stored(file.path, "its space was not given back; compact it again")


def _horizon(
    connection: duckdb.DuckDBPyConnection,
    newest: int,
    older_than: dt.timedelta,
    before: int | None,
) -> int:
    """The oldest commit as of which everything must still be readable."""
    try:
        moment = dt.datetime.now(dt.UTC) - older_than
    except OverflowError:
        # Before there was a calendar, let alone a commit.
        moment = dt.datetime.min.replace(tzinfo=dt.UTC)
    # The state that the first recent commit changed was still to be seen within the time.
    (row,) = connection.execute(
        f"SELECT min(commit) - 1 FROM {_COMMITS} WHERE committed_at > ?", [moment]
    ).fetchall()
    found: list[int] = [newest, *(() if row[0] is None or not older_than else (int(row[0]),))]
    if before is not None:
        found.append(before)
    with contextlib.suppress(duckdb.CatalogException, duckdb.BinderException):
        pinned = connection.execute(f"SELECT min(commit) FROM {CATALOG}.metaxy.pins").fetchall()
        found += [int(commit) for (commit,) in pinned if commit is not None]
    return min(found)


def _excess(
    connection: duckdb.DuckDBPyConnection, horizon: int, keep_versions: int
) -> Iterator[_Excess]:
    rows = connection.execute(
        f"SELECT feature, spec FROM {CATALOG}.metaxy.features WHERE archived > 0 ORDER BY 1"
    ).fetchall()
    for name, spec in rows:
        key = FeatureKey(name)
        table = history_table(key)
        condition = f"{_ENDED} <= {horizon}"
        if keep_versions:
            ids = columns(json.loads(spec)["id_columns"])
            condition += (
                f" AND rowid IN (SELECT rowid FROM {table} QUALIFY row_number() OVER"
                f" (PARTITION BY {ids} ORDER BY {_ENDED} DESC, rowid DESC) > {keep_versions})"
            )
        (found,) = connection.execute(
            f"SELECT count(*) FILTER ({condition}), count(*),"
            f" coalesce(max({_ENDED}) FILTER ({condition}), 0) FROM {table}"
        ).fetchall()
        removed, total, ended = map(int, found)
        if total:
            kept = total - removed
            yield _Excess(key, table, condition, removed, kept, ended, drops=not kept)
    marked = connection.execute(
        f"SELECT feature FROM {CATALOG}.metaxy.features WHERE emptied > 0 ORDER BY 1"
    ).fetchall()
    for (name,) in marked:
        # Of samples that yielded nothing; there is no row to keep a version of.
        yield from _excess_marks(connection, FeatureKey(name), horizon)


def _excess_marks(
    connection: duckdb.DuckDBPyConnection, key: FeatureKey, horizon: int
) -> Iterator[_Excess]:
    table, condition = empty_table(key), f"{_ENDED} <= {horizon}"
    (found,) = connection.execute(
        f"SELECT count(*) FILTER ({condition}), count({_ENDED}),"
        f" coalesce(max({_ENDED}) FILTER ({condition}), 0) FROM {table}"
    ).fetchall()
    removed, total, ended = map(int, found)
    if total:
        yield _Excess(key, table, condition, removed, total - removed, ended)


def _summed(found: list[_Excess]) -> tuple[dict[FeatureKey, int], dict[FeatureKey, int]]:
    """Rows that go and rows that stay, by feature."""
    removed: dict[FeatureKey, int] = {}
    kept: dict[FeatureKey, int] = {}
    for one in found:
        kept[one.key] = kept.get(one.key, 0) + one.kept
        if one.rows:
            removed[one.key] = removed.get(one.key, 0) + one.rows
    return removed, kept


def _needless(horizon: int) -> str:
    """The commits that nothing needs: neither recent, nor the newest of its kind for a feature."""
    ended = "updated > 0 OR deleted > 0"
    erased = f"kind NOT IN ('write', 'delete', '{layout.KIND_EMPTY}')"
    newest = (
        f"SELECT max(commit) FROM {_COMMITS} UNION ALL SELECT unnest([max(commit),"
        f" max(commit) FILTER ({ended}), max(commit) FILTER ({erased})])"
        f" FROM {_COMMITS} GROUP BY feature"
    )
    return (
        f"{_COMMITS} WHERE commit <= {horizon}"
        f" AND commit NOT IN (SELECT * FROM ({newest}) n(c) WHERE c IS NOT NULL)"
    )


def _remove(
    connection: duckdb.DuckDBPyConnection, found: list[_Excess], horizon: int, newest: Commit
) -> tuple[int, int]:
    """Remove rows and commits in one transaction: the commit's number, and how many it removed."""
    removed: dict[str, int] = {}
    for one in found:
        if one.rows:
            removed[str(one.key)] = max(one.ended, removed.get(str(one.key), 0))
    connection.execute("BEGIN TRANSACTION")
    commit = newest.next() if removed else Commit(0)
    for one in found:
        if one.drops:
            connection.execute(f"DROP TABLE {one.table}")
            connection.execute(
                f"UPDATE {CATALOG}.metaxy.features SET archived = 0 WHERE feature = ?",
                [str(one.key)],
            )
        elif one.rows:
            connection.execute(f"DELETE FROM {one.table} WHERE {one.condition}")
    now = dt.datetime.now(dt.UTC)
    for name in removed:
        # Of a kind that makes watermarks void: rows are gone that a later resolve would look for.
        row = [commit, name, "compact", 0, 0, 0, None, None, now, commit.token]
        connection.execute(f"INSERT INTO {_COMMITS} VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)", row)
        connection.execute(
            f"UPDATE {CATALOG}.metaxy.features SET newest = ?, erased = ?, token = ?"
            " WHERE feature = ?",
            [commit, commit, commit.token, name],
        )
    if removed:
        retention.note(connection, removed, commit)
    needless = _needless(horizon)
    trimmed = layout.count(connection, needless)
    if trimmed:
        keep_tokens(connection, needless)
    connection.execute(f"DELETE FROM {needless}")
    connection.execute("COMMIT")
    return commit, trimmed


def _rewrite(file: DuckDBFile, connection: duckdb.DuckDBPyConnection) -> None:
    """Put a fresh copy in the place of the file; the connection is attached to it afterwards."""
    target, spelt = file.place, file.spelt()
    fresh = spelt.with_name(f"{spelt.name}.compacting")
    attach = f"ATTACH {literal(str(spelt))} AS {CATALOG} (TYPE duckdb)"
    connection.execute(f"CHECKPOINT {CATALOG}")
    if log_of(target).exists():
        # What a writer left that was killed in the middle of its commit: DuckDB passes over it, and
        # clears it away only when there is something to write back.
        touched = f"{CATALOG}.metaxy.touched"
        connection.execute(
            f"BEGIN; CREATE TABLE {touched} (i INTEGER); DROP TABLE {touched}; COMMIT"
        )
        connection.execute(f"CHECKPOINT {CATALOG}")
    _discard(fresh)
    try:
        _copy(connection, fresh)
        shutil.copymode(target, fresh)
        if log_of(target).exists() or log_of(fresh).exists():
            raise StoreError(
                "the store was not written anew, because its log could not be written back",
                found=f"{log_of(target).name} or {log_of(fresh).name}",
                remedy="try again when no other program has the file open",
            )
        if _IS_WINDOWS:
            connection.execute(f"DETACH {CATALOG}")
        try:
            _replace(fresh, target)
        finally:
            # Only now: nobody may come to write to a file that is about to go.
            if not _IS_WINDOWS:
                connection.execute(f"DETACH {CATALOG}")
            connection.execute(attach)
    except OSError as error:
        raise StoreError(
            f"the metadata store at {str(file.path)!r} was not written anew",
            found=error,
            remedy="make room and allow writing beside the file; nothing of the store was lost",
        ) from error
    finally:
        _discard(fresh)


def _copy(connection: duckdb.DuckDBPyConnection, fresh: Path) -> None:
    rows = connection.execute(
        "SELECT tags['storage_version'] FROM duckdb_databases() WHERE database_name = ?", [CATALOG]
    ).fetchall()
    # The same, so that whatever could read the file still can.
    version = literal(str(rows[0][0]).rstrip("+"))
    options = f"TYPE duckdb, STORAGE_VERSION {version}, {BLOCKS}"
    connection.execute(f"ATTACH {literal(str(fresh))} AS {_FRESH} ({options})")
    try:
        connection.execute(f"COPY FROM DATABASE {CATALOG} TO {_FRESH}")
        connection.execute(f"CHECKPOINT {_FRESH}")
    finally:
        connection.execute(f"DETACH {_FRESH}")


def _replace(fresh: Path, target: Path) -> None:
    """From one moment to the next; and for good, also when the power fails."""
    with fresh.open("rb+") as written:
        os.fsync(written.fileno())
    fresh.replace(target)
    with contextlib.suppress(OSError):
        folder = os.open(target.parent, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)


def _discard(fresh: Path) -> None:
    """Remove a copy that did not take the place of the file, also one of a killed process."""
    for path in (fresh, log_of(fresh)):
        path.unlink(missing_ok=True)
