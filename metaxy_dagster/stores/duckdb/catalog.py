"""A snapshot's view of the file: which features it holds, and their rows as of one commit."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

import duckdb

from metaxy_dagster import constants as c
from metaxy_dagster.features import FeatureKey
from metaxy_dagster.stores.duckdb import layout
from metaxy_dagster.stores.duckdb.connection import found_before
from metaxy_dagster.stores.duckdb.identifiers import columns, history_table, quote, table_of
from metaxy_dagster.stores.duckdb.retention import check_kept

__all__ = ["Catalog", "read_catalog", "selection"]

# Most data is known by what it was computed from; storing that twice would double the file.
_STANDS_FOR = {
    c.COL_DATA_VERSION: c.COL_PROVENANCE,
    c.COL_DATA_VERSION_BY_FIELD: c.COL_PROVENANCE_BY_FIELD,
}
# What is found out of the file as a whole, beside that of features under their keys.
_FORMAT, _COMMIT = "format", "commit"


@dataclass(frozen=True)
class Catalog:
    """Some features' tables, and the commit as of which they are read.

    Attributes:
        tables: of the features that are stored.
        commit: the state that is read.
        commits: of the features that were ever written, also those that were dropped.
    """

    tables: Mapping[FeatureKey, layout.Table]
    commit: int
    commits: Mapping[FeatureKey, layout.Commits] = field(default_factory=dict)

    def get(self, key: FeatureKey) -> layout.Table | None:
        """What is stored of a feature; ``None`` if it was not written by ``commit``."""
        return self.tables.get(key)

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
        if table.commits.ended <= self.commit:
            return current
        return (
            f"{current} UNION ALL SELECT {selected} FROM {history_table(key)} "
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
) -> Catalog:
    """Describe some features, as of a commit or (by default) as of now."""
    found = found_before(connection)
    if _FORMAT not in found:
        found[_FORMAT] = layout.read_format(connection)
    if found[_FORMAT] is None:
        return Catalog({}, 0)
    if commit is None:
        if _COMMIT not in found:
            found[_COMMIT] = layout.last_commit(connection)
        commit = found[_COMMIT]
    wanted = list(keys)
    missing = [key for key in wanted if key not in found]
    if missing:
        commits = layout.newest_commits(connection, missing)
        tables = layout.tables(connection, commits)
        found.update((key, (commits.get(key), tables.get(key))) for key in missing)
    newest = {key: found[key][0] for key in wanted if found[key][0] is not None}
    check_kept(connection, newest, commit)
    stored = {key: found[key][1] for key in wanted if found[key][1] is not None}
    return Catalog(stored, commit, newest)
