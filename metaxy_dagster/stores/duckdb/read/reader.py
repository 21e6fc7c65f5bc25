"""Reads: the rows of one feature as of a commit, with their system columns."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import duckdb
import pyarrow as pa

from metaxy_dagster import constants as c
from metaxy_dagster.errors import StoreError
from metaxy_dagster.features import FeatureKey, FeatureSpec, Filter
from metaxy_dagster.features.columns import fold
from metaxy_dagster.stores.duckdb.file import layout
from metaxy_dagster.stores.duckdb.file.catalog import Catalog, read_catalog, selection
from metaxy_dagster.stores.duckdb.file.declared import declared_types, no_rows, system_types
from metaxy_dagster.stores.duckdb.file.looks import Looks, looked_until
from metaxy_dagster.stores.duckdb.file.retention import check_whole
from metaxy_dagster.stores.duckdb.read.query import Query, fetch
from metaxy_dagster.stores.duckdb.sql.distinct_texts import DistinctTexts
from metaxy_dagster.stores.duckdb.sql.filtering import condition
from metaxy_dagster.stores.duckdb.sql.identifiers import columns, quote
from metaxy_dagster.stores.duckdb.sql.provenance import Values
from metaxy_dagster.stores.duckdb.sql.registering import register
from metaxy_dagster.stores.frames.encoding import hash_parts

__all__ = ["Read", "arrow_schema", "count", "looked_for"]

# To look at fewer rows again costs less than to write down that they were looked at.
_WORTH_NOTING = 50_000

_NO_DELETION = f"NULL::TIMESTAMPTZ AS {quote(c.COL_DELETED_AT)}"


@dataclass(frozen=True)
class Read:
    """What to read of a feature.

    Attributes:
        spec: the feature.
        commit: the state that is read.
        names: the columns wanted; ``None`` for all, system columns included.
        filters: only rows for which these hold.
        history: also rows that were superseded or deleted by then.
        feature_class: tells the columns of a feature that was never written.
    """

    spec: FeatureSpec
    commit: int
    names: tuple[str, ...] | None = None
    filters: tuple[Filter, ...] = ()
    history: bool = False
    feature_class: type | None = None

    @property
    def declared(self) -> Mapping[str, str]:
        """The columns that are known of the feature before it was ever written."""
        return declared_types(self.spec, self.feature_class)

    @property
    def key(self) -> FeatureKey:
        """The feature's key."""
        return self.spec.key

    def query(self, connection: duckdb.DuckDBPyConnection) -> Query:
        """The SELECT; of no rows if the feature was not written by then."""
        catalog = read_catalog(connection, [self.key], self.commit)
        if catalog.entry(self.key).commits.erased > self.commit:
            check_whole(connection, self.key, self.commit)
        table = catalog.get(self.key)
        if table is None:
            return Query(self._empty(catalog.marked.get(self.key, {})))
        available = (*table.columns, *c.SYSTEM_COLUMNS)
        names = self._checked(available)
        values = Values()
        rows = self._rows(catalog, table)
        where = condition(
            self.filters,
            {name: quote(name) for name in available},
            values,
            where=f"feature {str(self.key)!r}",
            types=table.types,
            exact=False,
            texts=DistinctTexts(connection, rows),
        )
        query = Query(f"SELECT {columns(names)} FROM ({rows}) WHERE {where}", values)
        return query.told(*table.told(dict(zip(names, names, strict=True))))

    def _rows(self, catalog: Catalog, table: layout.Table) -> str:
        stored = (*table.columns, *(n for n in c.SYSTEM_COLUMNS if n != c.COL_DELETED_AT))
        current = f"SELECT *, {_NO_DELETION} FROM ({catalog.rows(self.key, stored)})"
        if not self.history or not table.history:
            return current
        commit = quote(layout.COL_COMMIT)
        (past,) = table.history
        ended = (
            f"SELECT {selection((*stored, c.COL_DELETED_AT))} FROM {past}"
            f" WHERE {quote(layout.COL_ENDED)} <= {self.commit} AND {commit} <= {self.commit}"
        )
        return f"{ended} UNION ALL {current}"

    def _empty(self, marked: Mapping[str, str]) -> str:
        """No rows of a feature that was never written, with the columns that are known of it."""
        known = {**self.declared, **marked, **system_types(self.spec)}
        names = self._asked(tuple(known))
        folded = {fold(name): name for name in known}
        return no_rows({n: known.get(folded.get(fold(n), n), "VARCHAR") for n in names})

    def _asked(self, available: tuple[str, ...]) -> tuple[str, ...]:
        """The columns that were named; all by default."""
        if self.names is None:
            return available
        if not self.names:
            raise StoreError(
                "no column was asked for",
                feature=str(self.key),
                allowed=list(available),
                remedy="name at least one column, or leave columns= out",
            )
        return self.names

    def _checked(self, available: tuple[str, ...]) -> tuple[str, ...]:
        folded = {fold(name): name for name in available}
        wanted = self._asked(available)
        missing = [name for name in wanted if fold(name) not in folded]
        if missing:
            raise StoreError(
                "columns were asked for that the feature does not have",
                feature=str(self.key),
                found=missing,
                allowed=list(available),
                remedy="correct the column names",
            )
        return tuple(dict.fromkeys(folded[fold(name)] for name in wanted))


def arrow_schema(connection: duckdb.DuckDBPyConnection, query: Query) -> pa.Schema:
    """Names and types of a query's result, without running it."""
    limited = replace(query, sql=f"SELECT * FROM ({query.sql}) LIMIT 0")
    for name, table in query.tables.items():
        register(connection, name, table)
    relation = connection.sql(limited.sql, params=dict(query.values) or None)
    return relation.to_arrow_table().schema


def looked_for(
    connection: duckdb.DuckDBPyConnection, catalog: Catalog, read: Read, looks: Looks
) -> bool:
    """Whether the filters of a read hold for any row; what is not there is noted.

    Args:
        connection: an open one.
        catalog: of the feature, as of the commit.
        read: whose filters.
        looks: what is noted.
    """
    key, table, entry = read.key, catalog.get(read.key), catalog.entry(read.key)
    if table is None:
        return False
    named = sorted({name for one in read.filters for name in one.columns})
    kinds = (table.types.get(table.column_named(name) or "") for name in named)
    wanted = hash_parts([repr(read.filters), *kinds])
    at = catalog.commit
    since = looked_until(connection, key, wanted, entry=entry, commit=at, looks=looks)
    if entry.commits.newest <= since:
        return False
    commit = quote(layout.COL_COMMIT)
    rows = catalog.rows(key, (*table.columns, layout.COL_COMMIT))
    rows = f"SELECT * FROM ({rows}) WHERE {commit} > {since}"
    values = Values()
    where = condition(
        read.filters,
        {name: quote(name) for name in table.columns},
        values,
        where=f"feature {str(key)!r}",
        types=table.types,
        exact=False,
        texts=DistinctTexts(connection, rows),
    )
    found = f"SELECT count(*) AS looked, count(*) FILTER ({where}) AS held FROM ({rows})"
    ((looked, held),) = connection.execute(found, dict(values) or None).fetchall()
    if not held and looked >= _WORTH_NOTING:
        looks[key, wanted] = at
    return bool(held)


def count(connection: duckdb.DuckDBPyConnection, read: Read) -> int:
    """How many rows a read would give."""
    query = read.query(connection)
    counted = replace(query, sql=f"SELECT count(*) AS n FROM ({query.sql})")
    return int(fetch(connection, counted).column("n")[0].as_py())
