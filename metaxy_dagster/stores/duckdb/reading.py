"""The side of a store that is read: rows, counts, versions and summaries of features."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, TypeAlias, cast

from metaxy_dagster.errors import FeatureError, StoreError, shown
from metaxy_dagster.features import CoercibleToFeatureKey, FeatureKey, Filter
from metaxy_dagster.features.columns import in_order
from metaxy_dagster.features.expressions import is_expression
from metaxy_dagster.late import duckdb as engine
from metaxy_dagster.late import late_modules
from metaxy_dagster.late import narwhals as nw
from metaxy_dagster.late import pyarrow as pa
from metaxy_dagster.stores.arguments import check_flags, column_names, is_whole
from metaxy_dagster.stores.duckdb.migratable import MigratableStore
from metaxy_dagster.stores.duckdb.sql.filtering import FilterLike, parsed
from metaxy_dagster.stores.duckdb.sql.identifiers import CATALOG, table_name
from metaxy_dagster.stores.protocol import CommitMark, FeatureSummary
from metaxy_dagster.stores.scan import Scan

if TYPE_CHECKING:
    from metaxy_dagster.stores.duckdb.file import catalog, commit_marks, entries, identity
    from metaxy_dagster.stores.duckdb.read import query, reader, snapshot, versions
    from metaxy_dagster.stores.duckdb.resolve import summary, views
else:
    # The snapshot brings pandas.
    catalog, commit_marks, entries, identity, query, reader, snapshot = late_modules(
        __package__,
        *(
            "file.catalog",
            "file.commit_marks",
            "file.entries",
            "file.identity",
            "read.query",
            "read.reader",
            "read.snapshot",
        ),
    )
    summary, versions, views = late_modules(
        __package__, "resolve.summary", "read.versions", "resolve.views"
    )

__all__ = ["ReadableStore"]

_Filters: TypeAlias = "FilterLike | nw.Expr | Sequence[FilterLike | nw.Expr] | None"


class ReadableStore(MigratableStore):
    """A store in one file that can be read."""

    def read(
        self,
        feature: CoercibleToFeatureKey,
        *,
        filters: _Filters = None,
        columns: Sequence[str] | None = None,
        history: bool = False,
    ) -> nw.LazyFrame[Any]:
        """Read samples as they are now; the frame stays usable after the session.

        Args:
            feature: key, spec or class.
            filters: text such as ``"height > 720"``, several of them, or a narwhals expression.
            columns: which columns; all of them, system columns included, by default.
            history: also superseded and deleted rows, oldest first.

        Returns:
            A lazy frame over a snapshot. It opens the file only while it is collected, and only
            the columns and rows that are needed then are read.

        Raises:
            StoreError: unknown columns, or the file cannot be read.
        """
        check_flags(history=history)
        only = _said(filters)
        if only is not None:
            return self._lazy(feature, only, columns, history=history)
        frame = self._lazy(feature, (), None, history=history)
        try:
            frame = frame.filter(cast("nw.Expr", filters))
        except (nw.exceptions.NarwhalsError, engine.Error, TypeError, ValueError) as error:
            raise StoreError(
                "a narwhals expression cannot be used on this feature",
                feature=str(FeatureKey(feature)),
                found=str(error).partition("\n")[0],
                allowed=frame.collect_schema().names(),
                remedy="correct the expression, or write the condition as text",
            ) from error
        names = column_names(columns, feature=str(FeatureKey(feature)))
        return frame if names is None else frame.select(list(names))

    def scan(
        self,
        feature: CoercibleToFeatureKey,
        *,
        filters: _Filters = None,
        columns: Sequence[str] | None = None,
    ) -> Scan:
        """As :meth:`read`, for an engine that asks for batches of some columns itself."""
        found, asked = self._snapshot(feature, parsed(filters), columns, history=False)
        return snapshot.Restored(found, asked.logical) if asked.logical else found

    def _lazy(
        self,
        feature: CoercibleToFeatureKey,
        filters: tuple[Filter, ...],
        columns: Sequence[str] | None,
        *,
        history: bool,
    ) -> nw.LazyFrame[Any]:
        found, asked = self._snapshot(feature, filters, columns, history=history)
        return query.lazy(found, self._file, query=asked)

    def _snapshot(
        self,
        feature: CoercibleToFeatureKey,
        filters: tuple[Filter, ...],
        columns: Sequence[str] | None,
        *,
        history: bool,
    ) -> tuple[snapshot.Snapshot, query.Query]:
        spec = self._plan(feature)[1].spec
        names = column_names(columns, feature=str(spec.key))
        declared = self.graph.feature_class(spec.key)
        with self._file.connect("r") as connection:
            commit = self._sessions.commit(connection)
            read = reader.Read(spec, commit, names, filters, history, declared)
            asked = read.query(connection)
            schema = reader.arrow_schema(connection, asked)
        return snapshot.Snapshot(self._file, schema, read.query), asked

    def read_table(
        self,
        feature: CoercibleToFeatureKey,
        *,
        filters: _Filters = None,
        columns: Sequence[str] | None = None,
    ) -> pa.Table:
        """As :meth:`read`, at once: one copy in memory, as an Arrow table."""
        spec = self._plan(feature)[1].spec
        names = column_names(columns, feature=str(spec.key))
        declared = self.graph.feature_class(spec.key)
        with self._file.connect("r") as connection:
            commit = self._sessions.commit(connection)
            read = reader.Read(spec, commit, names, parsed(filters), feature_class=declared)
            return query.fetch_restored(connection, read.query(connection))

    def count(self, feature: CoercibleToFeatureKey, *, filters: _Filters = None) -> int:
        """How many samples are stored."""
        only = _said(filters)
        if only is None:
            frame = self.read(feature, filters=filters).select(nw.len()).collect()
            return int(frame.item())
        spec = self._plan(feature)[1].spec
        with self._file.connect("r") as connection:
            read = reader.Read(spec, self._sessions.commit(connection), None, only)
            return reader.count(connection, read)

    def data_version(self, feature: CoercibleToFeatureKey, *, filters: _Filters = None) -> str:
        """One version for a feature, or a part of it, exact and independent of the order of rows.

        Any addition, deletion or change of a data version moves it; an identical rewrite does not.

        Args:
            feature: key, spec or class.
            filters: only samples for which these hold count, as text or parsed.
        """
        spec = self._plan(feature)[1].spec
        only = parsed(filters)
        with self._file.connect("r") as connection:
            known = catalog.read_catalog(connection, [spec.key], self._sessions.snapshot)
            identity.check_ids(known, spec)
            table, content = known.get(spec.key), versions.known_content(known, spec)
            if table is None:
                content = entries.Content(0, 0, 0)
            elif only or content is None:
                rows = reader.Read(spec, known.commit, None, only).query(connection)
                content = versions.content_of(connection, spec, table.kinds, rows)
        return versions.data_version(content)

    def summary(
        self, feature: CoercibleToFeatureKey, *, filters: _Filters = None, preview: int = 5
    ) -> FeatureSummary:
        """Schema, number, data version and first samples of a feature, found out at once.

        Args:
            feature: key, spec or class.
            filters: the samples that the data version is of, as text or parsed.
            preview: how many samples to show.
        """
        if not is_whole(preview) or preview < 0:
            raise StoreError(
                "preview is no number of samples",
                found=shown(preview),
                allowed="0 or more",
                remedy="correct preview, or leave it out",
            )
        plan, only = self._plan(feature)[1], parsed(filters)
        commit, samples = self._sessions.snapshot, tuple(views.sample_columns(plan))
        with self._file.connect("r") as connection:
            look = summary.Summarise(plan.spec, commit, only, preview, self._max_attempts, samples)
            return look.run(connection)

    def schema(self, feature: CoercibleToFeatureKey) -> Mapping[str, str]:
        """The user's columns and their DuckDB types; empty if the feature was never written."""
        key = FeatureKey(feature)
        with self._file.connect("r") as connection:
            table = catalog.read_catalog(connection, [key]).get(key)
        return {} if table is None else dict(table.types)

    def features(self) -> list[FeatureKey]:
        """The features that were written, in the order of their keys."""
        with self._file.connect("r") as connection:
            if not catalog.read_catalog(connection, ()).exists:
                return []
            rows = connection.execute(
                f"SELECT feature FROM {CATALOG}.metaxy.features WHERE stored ORDER BY 1"
            ).fetchall()
        return [FeatureKey(name) for (name,) in rows]

    def newest_commits(
        self,
        features: Sequence[CoercibleToFeatureKey],
        *,
        filters: _Filters = None,
    ) -> Mapping[FeatureKey, CommitMark]:
        """The newest commit of each of these features that was ever written.

        Args:
            features: keys, specs or classes.
            filters: only commits that brought, changed or deleted samples for which these hold;
                any commit of a feature that lacks their columns.
        """
        named = cast("tuple[CoercibleToFeatureKey, ...]", in_order(features, "features"))
        keys, only = [FeatureKey(one) for one in named], parsed(filters)
        with self._file.connect("r") as connection:
            found = commit_marks.newest_commits(connection, keys)
            if not only:
                return found
            known = catalog.read_catalog(connection, list(found))
            tables = {key: known.get(key) for key in found}
            return commit_marks.within(connection, found, tables, only)

    def has_commit(self, mark: CommitMark) -> bool:
        """Whether the store may have seen a commit; not if it was put back to an older state."""
        if not isinstance(mark, CommitMark):
            raise StoreError(
                "what was passed is no mark of a commit",
                found=shown(mark),
                allowed="what store.newest_commits(…) gave, or CommitMark.of(text)",
                remedy="pass one of these",
            )
        with self._file.connect("r") as connection:
            return commit_marks.has_commit(connection, mark)

    def table_name(self, feature: CoercibleToFeatureKey) -> str:
        """The table that a person who opens the file with SQL finds the feature in."""
        return table_name(FeatureKey(feature))


def _said(filters: object) -> tuple[Filter, ...] | None:
    """Filters as the store understands them; ``None`` for an expression that says more."""
    try:
        return parsed(filters)
    except FeatureError:
        if is_expression(filters):
            return None
        raise
