"""A snapshot's view of the file: which features it holds, and their rows as of one commit."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import duckdb

from metaxy_dagster.features import FeatureKey
from metaxy_dagster.stores.duckdb import layout
from metaxy_dagster.stores.duckdb.identifiers import columns, history_table, quote, table_of

__all__ = ["Catalog", "read_catalog"]


@dataclass(frozen=True)
class Catalog:
    """Some features' tables, and the commit as of which they are read."""

    tables: Mapping[FeatureKey, layout.Table]
    commit: int

    def get(self, key: FeatureKey) -> layout.Table | None:
        """What is stored of a feature; ``None`` if it was not written by ``commit``."""
        return self.tables.get(key)

    def rows(self, key: FeatureKey, names: Sequence[str]) -> str:
        """SQL for the rows that were current as of ``commit``.

        The history is read only if something was written since.
        """
        table = self.tables[key]
        selected = columns(names)
        current = f"SELECT {selected} FROM {table_of(key)}"
        if table.last_commit <= self.commit:
            return current
        begun = f"{quote(layout.COL_COMMIT)} <= {self.commit}"
        current = f"{current} WHERE {begun}"
        if table.last_ended <= self.commit:
            return current
        return (
            f"{current} UNION ALL SELECT {selected} FROM {history_table(key)} "
            f"WHERE {begun} AND {quote(layout.COL_ENDED)} > {self.commit}"
        )


def read_catalog(
    connection: duckdb.DuckDBPyConnection,
    keys: Iterable[FeatureKey],
    commit: int | None = None,
) -> Catalog:
    """Describe some features, as of a commit or (by default) as of now."""
    if layout.read_format(connection) is None:
        return Catalog({}, 0)
    as_of = layout.last_commit(connection) if commit is None else commit
    return Catalog(layout.tables(connection, keys), as_of)
