"""The commits of a file: the newest of a feature, those that were seen, and names for them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from metaxy_dagster.features import FeatureKey
from metaxy_dagster.stores.duckdb.file import catalog, commit_marks, pins
from metaxy_dagster.stores.duckdb.file.connection import DuckDBFile
from metaxy_dagster.stores.duckdb.sql.filtering import parsed
from metaxy_dagster.stores.results import CommitMark

__all__ = ["CommitLog"]


class CommitLog:
    """The commits of a store in one file."""

    def __init__(self, file: DuckDBFile) -> None:
        self._file = file

    def newest(
        self, keys: Sequence[FeatureKey], filters: object
    ) -> Mapping[FeatureKey, CommitMark]:
        """The newest commit of each feature, of those rows for which the filters hold."""
        only = parsed(filters)
        with self._file.connect("r") as connection:
            found = commit_marks.newest_commits(connection, keys)
            if not only:
                return found
            known = catalog.read_catalog(connection, list(found))
            tables = {key: known.get(key) for key in found}
            return commit_marks.within(connection, found, tables, only)

    def has(self, mark: CommitMark) -> bool:
        """Whether the file may have seen a commit."""
        with self._file.connect("r") as connection:
            return commit_marks.has_commit(connection, mark)

    def pin(self, name: str) -> int:
        """Give a name to the newest commit, unless it has one."""
        with self._file.connect("w") as connection:
            return pins.pin(connection, name)

    def pinned(self, name: str) -> int | None:
        """The commit that has a name."""
        with self._file.connect("r") as connection:
            return pins.pinned(connection, name)
