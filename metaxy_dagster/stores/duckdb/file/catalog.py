"""A snapshot's view of the file: which features it holds, and their rows as of one commit."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

import duckdb

from metaxy_dagster import constants as c
from metaxy_dagster.features import FeatureKey
from metaxy_dagster.stores.duckdb.file import layout
from metaxy_dagster.stores.duckdb.file.commits import Commit, check_history
from metaxy_dagster.stores.duckdb.file.connection import found_before
from metaxy_dagster.stores.duckdb.file.entries import NOTHING_KNOWN, Entry
from metaxy_dagster.stores.duckdb.file.retention import check_kept
from metaxy_dagster.stores.duckdb.sql.identifiers import columns, quote, table_of

__all__ = ["Catalog", "read_catalog", "remember", "selection"]

# Most data is known by what it was computed from; storing that twice would double the file.
_STANDS_FOR = {
    c.COL_DATA_VERSION: c.COL_PROVENANCE,
    c.COL_DATA_VERSION_BY_FIELD: c.COL_PROVENANCE_BY_FIELD,
}
# What calls that share a connection know: the newest commit, entries and tables by feature.
_NEWEST, _ENTRIES, _TABLES, _MARKED = "newest", "entries", "tables", "marked"


@dataclass(frozen=True)
class Catalog:
    """Some features' tables, and the commit as of which they are read.

    Attributes:
        tables: of the features that are stored.
        commit: the state that is read.
        entries: what is known of the features, also of those that were dropped.
        exists: whether the file has a layout; an empty store has none.
        marked: the types of sample columns of features of which nothing is stored, because all
            samples so far yielded nothing.
    """

    tables: Mapping[FeatureKey, layout.Table]
    commit: Commit
    entries: Mapping[FeatureKey, Entry] = field(default_factory=dict)
    exists: bool = True
    marked: Mapping[FeatureKey, Mapping[str, str]] = field(default_factory=dict)

    def get(self, key: FeatureKey) -> layout.Table | None:
        """What is stored of a feature; ``None`` if it was not written by ``commit``."""
        return self.tables.get(key)

    def entry(self, key: FeatureKey) -> Entry:
        """What is known of a feature as a whole."""
        return self.entries.get(key, NOTHING_KNOWN)

    def rows(self, key: FeatureKey, names: Sequence[str], *, raw: bool = False) -> str:
        """SQL for the rows that were current as of ``commit``.

        The history is read only if something was written since.

        Args:
            key: the feature.
            names: its columns.
            raw: data versions as they are stored: NULL where they are the provenance.
        """
        table = self.tables[key]
        selected = columns(names) if raw else selection(names)
        current = f"SELECT {selected} FROM {table_of(key)}"
        if table.commits.newest <= self.commit:
            return current
        begun = f"{quote(layout.COL_COMMIT)} <= {self.commit}"
        current = f"{current} WHERE {begun}"
        if table.commits.archived <= self.commit:
            return current
        (history,) = table.history
        return (
            f"{current} UNION ALL SELECT {selected} FROM {history} "
            f"WHERE {begun} AND {quote(layout.COL_ENDED)} > {self.commit}"
        )


def selection(names: Sequence[str]) -> str:
    """A list of stored columns; data versions that are not stored are the provenance."""
    return ", ".join(
        f"coalesce({quote(name)}, {quote(_STANDS_FOR[name])}) AS {quote(name)}"
        if name in _STANDS_FOR
        else quote(name)
        for name in names
    )


def read_catalog(
    connection: duckdb.DuckDBPyConnection,
    keys: Iterable[FeatureKey],
    commit: int | None = None,
    *,
    beside: Iterable[FeatureKey] = (),
) -> Catalog:
    """Describe some features, as of a commit or (by default) as of now.

    Args:
        connection: not in a transaction: looking for a table that is not there would abort it.
        keys: the features.
        commit: the state that will be read.
        beside: further features, of which only the entries are wanted.

    Raises:
        StoreError: the file is of a format that cannot be read, what is asked for was compacted
            away, or the commit is none of the file's.
    """
    found, wanted = found_before(connection), list(keys)
    asked = [*wanted, *beside]
    entries = found.setdefault(_ENTRIES, {})
    missing = [key for key in asked if key not in entries]
    if missing or _NEWEST not in found:
        state = layout.read_state(connection, missing)
        found[_NEWEST] = None if state is None else state.newest
        entries.update(dict.fromkeys(missing, NOTHING_KNOWN))
        entries.update({} if state is None else state.entries)
    newest: Commit | None = found[_NEWEST]
    if commit is not None:
        check_history(connection, commit, newest, feature=next(iter(asked), None))
    if newest is None:
        return Catalog({}, Commit(0), exists=False)
    at = newest if commit is None else commit if isinstance(commit, Commit) else Commit(commit)
    check_kept(connection, {key: entries[key].commits for key in wanted}, at)
    tables, marked = found.setdefault(_TABLES, {}), found.setdefault(_MARKED, {})
    for key in wanted:
        entry = entries[key]
        if entry.stored and key not in tables:
            tables[key] = layout.describe(connection, key, entry)
        elif not entry.stored and entry.commits.emptied and key not in marked:
            marked[key] = layout.describe_marks(connection, key)
    known = {key: tables[key] for key in wanted if key in tables}
    return Catalog(known, at, dict(entries), marked=dict(marked))


def remember(
    connection: duckdb.DuckDBPyConnection,
    before: Catalog,
    key: FeatureKey,
    entry: Entry,
    commit: int,
) -> None:
    """Spare the next calls that share a connection the questions that a write has answered.

    Args:
        connection: on which it was done.
        before: what was known then.
        key: the feature written.
        entry: what is known of it now.
        commit: of the write; 0 if it changed nothing.
    """
    found = found_before(connection)
    is_new = commit > before.commit
    found[_NEWEST] = Commit(commit, entry.commits.token) if is_new else before.commit
    found[_ENTRIES] = {**before.entries, key: entry}
    found[_MARKED] = {}
    found[_TABLES] = {
        one: table for one, table in before.tables.items() if one != key or not commit
    }
