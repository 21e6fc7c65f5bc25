"""Stored samples as they are asked for: rows, counts and versions of features."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, cast

import duckdb
import narwhals as nw
import pyarrow as pa

from metaxy_dagster.errors import FeatureError, StoreError
from metaxy_dagster.features import FeatureKey, FeatureSpec, Filter
from metaxy_dagster.features.expressions import is_expression
from metaxy_dagster.stores.arguments import column_names
from metaxy_dagster.stores.duckdb.file import entries, identity
from metaxy_dagster.stores.duckdb.file.catalog import read_catalog
from metaxy_dagster.stores.duckdb.file.connection import DuckDBFile
from metaxy_dagster.stores.duckdb.file.session import Sessions
from metaxy_dagster.stores.duckdb.read import query, reader, snapshot, versions
from metaxy_dagster.stores.duckdb.sql.filtering import parsed
from metaxy_dagster.stores.duckdb.sql.identifiers import CATALOG, table_name
from metaxy_dagster.stores.engine import Readable
from metaxy_dagster.stores.scan import Scan

__all__ = ["SampleReader"]


class SampleReader:
    """The samples of a store in one file, as its sessions see them."""

    def __init__(self, file: DuckDBFile, sessions: Sessions) -> None:
        self._file, self._sessions = file, sessions

    def lazy(
        self, asked: Readable, filters: object, columns: Sequence[str] | None, *, history: bool
    ) -> nw.LazyFrame[Any]:
        """A frame over a snapshot, which opens the file only while it is collected.

        Raises:
            StoreError: unknown columns, or filters that cannot be used on them.
        """
        only, feature = _said(filters), str(asked[0].key)
        if only is not None:
            return self._lazy(asked, only, columns, history=history)
        frame = self._lazy(asked, (), None, history=history)
        try:
            frame = frame.filter(cast("nw.Expr", filters))
        except (nw.exceptions.NarwhalsError, duckdb.Error, TypeError, ValueError) as error:
            raise StoreError(
                "a narwhals expression cannot be used on this feature",
                feature=feature,
                found=str(error).partition("\n")[0],
                allowed=frame.collect_schema().names(),
                remedy="correct the expression, or write the condition as text",
            ) from error
        names = column_names(columns, feature=feature)
        return frame if names is None else frame.select(list(names))

    def _lazy(
        self,
        asked: Readable,
        filters: tuple[Filter, ...],
        columns: Sequence[str] | None,
        *,
        history: bool,
    ) -> nw.LazyFrame[Any]:
        found, read = self._snapshot(asked, filters, columns, history=history)
        return query.lazy(found, self._file, query=read)

    def scan(self, asked: Readable, filters: object, columns: Sequence[str] | None) -> Scan:
        """The same for an engine that asks for batches of some columns itself."""
        found, read = self._snapshot(asked, parsed(filters), columns, history=False)
        return snapshot.Restored(found, read.logical) if read.logical else found

    def _snapshot(
        self,
        asked: Readable,
        filters: tuple[Filter, ...],
        columns: Sequence[str] | None,
        *,
        history: bool,
    ) -> tuple[snapshot.Snapshot, query.Query]:
        spec, declared = asked
        names = column_names(columns, feature=str(spec.key))
        with self._file.connect("r") as connection:
            commit = self._sessions.commit(connection)
            read = reader.Read(spec, commit, names, filters, history, declared)
            found = read.query(connection)
            schema = reader.arrow_schema(connection, found)
        return snapshot.Snapshot(self._file, schema, read.query), found

    def table(self, asked: Readable, filters: object, columns: Sequence[str] | None) -> pa.Table:
        """One copy in memory."""
        spec, declared = asked
        names = column_names(columns, feature=str(spec.key))
        with self._file.connect("r") as connection:
            commit = self._sessions.commit(connection)
            read = reader.Read(spec, commit, names, parsed(filters), feature_class=declared)
            return query.fetch_restored(connection, read.query(connection))

    def count(self, asked: Readable, filters: object) -> int:
        """How many samples there are."""
        only = _said(filters)
        if only is None:
            frame = self.lazy(asked, filters, None, history=False).select(nw.len()).collect()
            return int(frame.item())
        with self._file.connect("r") as connection:
            read = reader.Read(asked[0], self._sessions.commit(connection), None, only)
            return reader.count(connection, read)

    def has(self, asked: Readable, filters: object) -> bool:
        """Whether the filters hold for any sample; what is not there is not looked for twice."""
        only, key = parsed(filters), asked[0].key
        with self._file.connect("r") as connection:
            known = read_catalog(connection, [key], self._sessions.snapshot)
            read = reader.Read(asked[0], known.commit, None, only)
            return reader.looked_for(connection, known, read, self._file.looks)

    def data_version(self, spec: FeatureSpec, filters: object) -> str:
        """One version for all samples, or for those for which the filters hold."""
        only = parsed(filters)
        with self._file.connect("r") as connection:
            known = read_catalog(connection, [spec.key], self._sessions.snapshot)
            identity.check_ids(known, spec)
            table, content = known.get(spec.key), versions.known_content(known, spec)
            if table is None:
                content = entries.Content(0, 0, 0)
            elif only or content is None:
                rows = reader.Read(spec, known.commit, None, only).query(connection)
                content = versions.content_of(connection, spec, table.kinds, rows)
        return versions.data_version(content)

    def schema(self, key: FeatureKey) -> Mapping[str, str]:
        """The user's columns and their DuckDB types."""
        with self._file.connect("r") as connection:
            table = read_catalog(connection, [key]).get(key)
        return {} if table is None else dict(table.types)

    def features(self) -> list[FeatureKey]:
        """The features that were written, in the order of their keys."""
        with self._file.connect("r") as connection:
            if not read_catalog(connection, ()).exists:
                return []
            rows = connection.execute(
                f"SELECT feature FROM {CATALOG}.metaxy.features WHERE stored ORDER BY 1"
            ).fetchall()
        return [FeatureKey(name) for (name,) in rows]

    def table_name(self, key: FeatureKey) -> str:
        """The table of a feature."""
        return table_name(key)


def _said(filters: object) -> tuple[Filter, ...] | None:
    """Filters as the store understands them; ``None`` for an expression that says more."""
    try:
        return parsed(filters)
    except FeatureError:
        if is_expression(filters):
            return None
        raise
