"""The embedded metadata store: one DuckDB file, no server, no extension, no network."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, TypeAlias

from metaxy_dagster import constants as c
from metaxy_dagster.errors import StoreError
from metaxy_dagster.features import CoercibleToFeatureKey, FeatureKey
from metaxy_dagster.late import late_modules
from metaxy_dagster.late import narwhals as nw
from metaxy_dagster.late import pyarrow as pa
from metaxy_dagster.stores.checks import declared_columns
from metaxy_dagster.stores.duckdb.compactable import CompactableStore
from metaxy_dagster.stores.duckdb.filtering import FilterLike, condition, parsed
from metaxy_dagster.stores.duckdb.identifiers import (
    CATALOG,
    empty_table,
    quote,
    table_name,
    table_of,
)
from metaxy_dagster.stores.duckdb.provenance import Values
from metaxy_dagster.stores.empties import empty_samples
from metaxy_dagster.stores.increment import Increment
from metaxy_dagster.stores.protocol import FeatureSummary, WriteMode, WriteResult

if TYPE_CHECKING:
    from metaxy_dagster.stores.duckdb import (
        catalog,
        empties,
        entries,
        layout,
        pins,
        quarantine,
        query,
        reader,
        resolve,
        snapshot,
        source,
        staging,
        summary,
        versions,
        views,
        write,
        writer,
    )
else:
    catalog, empties, entries, layout, pins, quarantine, query, reader = late_modules(
        __package__,
        *("catalog", "empties", "entries", "layout", "pins", "quarantine", "query", "reader"),
    )
    # The snapshot brings pandas.
    resolve, snapshot, source, staging, summary, versions, views, write, writer = late_modules(
        __package__,
        *("resolve", "snapshot", "source", "staging", "summary", "versions", "views"),
        *("write", "writer"),
    )

__all__ = ["DuckDBMetadataStore"]

_Filters: TypeAlias = "FilterLike | Sequence[FilterLike] | nw.Expr | None"


class DuckDBMetadataStore(CompactableStore):
    """Samples and their provenance in one DuckDB file.

    Several processes of one machine may use the file at once: every call opens it under an
    operating-system lock, does its work and closes it. A frame that was read stays usable.

    Args:
        path: the file; made, with its directory, by the first write.
        graph: the features; by default the current :class:`FeatureGraph` at each call.
        lock_timeout: seconds to wait for other processes of ours.
        settings: DuckDB settings, such as ``{"memory_limit": "2GB", "threads": 2}``.
        max_incremental_share: up to this share of a feature's samples, resolving looks only at
            what changed since the last time; above it, and with 0 always, at everything.
        max_attempts: how often a sample may fail before increments leave it out; 0 for any number.

    Example:
        >>> import metaxy_dagster as mxd, tempfile, pyarrow as pa
        >>> graph = mxd.FeatureGraph()
        >>> _ = graph.add(mxd.FeatureSpec("image", id_columns=["id"]))
        >>> store = mxd.DuckDBMetadataStore(f"{tempfile.mkdtemp()}/m.duckdb", graph=graph)
        >>> with store.open("w"):
        ...     result = store.write("image", pa.table({"id": [1, 2], "path": ["a", "b"]}))
        >>> result.new, result.unchanged
        (2, 0)
        >>> with store:
        ...     frame = store.read("image", columns=["id", "path"])
        >>> frame.collect().to_native().to_pylist()
        [{'id': 1, 'path': 'a'}, {'id': 2, 'path': 'b'}]
    """

    # Writing

    def write(
        self,
        feature: CoercibleToFeatureKey,
        frame: Any,
        *,
        increment: Increment | None = None,
        empty: Any = None,
        mode: WriteMode = "upsert",
        delete_orphaned: bool = False,
        max_deleted_share: float | None = None,
        materialization_id: str | None = None,
        scope: _Filters = None,
        versioned: bool = False,
    ) -> WriteResult:
        """Write samples, all or none of them, in one transaction.

        Args:
            feature: key, spec or class.
            frame: one row per sample, anything narwhals accepts: the id columns, any others, and
                for a derived feature the provenance columns of its increment, unless
                ``increment`` is given. A root's provenance is the content of its columns.
            increment: the increment that the frame was computed from; its provenance is
                brought to the rows by id.
            empty: samples of the increment that were computed and yielded nothing: a frame or
                dictionaries with the increment's sample columns, or ``"rest"`` for all pending
                ones that the frame lacks and that were not reported as failed. Rows that are
                stored of them end. They are pending again when what they are computed from
                changes.
            mode: ``"upsert"`` adds and updates; with ``"replace"`` the frame is the whole state
                and stored samples that it lacks are deleted.
            delete_orphaned: also delete the increment's orphaned samples.
            max_deleted_share: refuse a replace that would delete more than this share.
            materialization_id: stored with each written row.
            scope: with ``"replace"``, only stored samples for which this holds are deleted.
            versioned: note the data version of the feature, however many rows must be hashed for
                it; by default this is done while few are. Later looks at it cost nothing then.

        Returns:
            What changed; rows that are stored just so are left alone.

        Raises:
            FrameError: the frame is refused; nothing was written.
            StoreError: the store cannot be written.
        """
        key, plan = self._plan(feature)
        self._sessions.require_writable(key)
        if mode not in c.WRITE_MODES:
            raise StoreError(
                "this is no way to write",
                feature=str(key),
                found=mode,
                allowed=list(c.WRITE_MODES),
                remedy="leave mode out, or correct it",
            )
        version = self.graph.feature_version(key)
        declared = declared_columns(self.graph.feature_class(key))
        staged = staging.prepare(plan, version, frame, increment=increment, declared=declared)
        answered = source.answered_by(increment, self._file)
        resolved_at = source.resolved_at(increment, self._file)
        nothing = empty_samples(empty, plan, increment, resolved_at)
        values = Values()
        upstreams = [dep.upstream.key for dep in plan.deps]
        with self._file.connect("w") as connection:
            known = catalog.read_catalog(connection, [key], beside=upstreams)
            table, where = known.get(key), "TRUE"
            if table is not None and scope is not None:
                names = {name: quote(name) for name in table.columns}
                where = condition(
                    parsed(scope),
                    names,
                    values,
                    where=f"feature {str(key)!r}",
                    types=table.types,
                )
            how = write.Write(
                replace=mode == c.WRITE_REPLACE,
                scope=where,
                scope_values=values,
                orphans=increment.orphaned_ids if increment and delete_orphaned else None,
                max_deleted_share=max_deleted_share,
                materialization_id=materialization_id,
                answered=answered,
                empty=nothing,
                versioned=versioned,
            )
            applied = writer.Writer(connection, key, known)
            result = applied.write(staged, how)
            if applied.entry.failed:
                changed = result.written or result.deleted
                quarantine.settle(
                    connection,
                    key,
                    views.sample_columns(plan),
                    table=table_of(key) if table is not None or changed else None,
                    answered=how.answered,
                    marked=empty_table(key) if result.empty else None,
                )
        if not applied.entry.failed:
            catalog.remember(connection, known, key, applied.entry, result.commit)
        return result

    def delete(
        self, feature: CoercibleToFeatureKey, *, filters: _Filters = None, soft: bool = True
    ) -> WriteResult:
        """Delete the stored samples for which the filters hold (all of them without filters).

        Samples that were found empty are pending again if the filters hold for them: they have
        no other columns than those of the increment, so a filter on others holds for none.

        Args:
            feature: key, spec or class.
            filters: as in :meth:`read`.
            soft: keep them in the history; else erase them there too.
        """
        key, plan = self._plan(feature)
        self._sessions.require_writable(key)
        values = Values()
        with self._file.connect("w") as connection:
            known = catalog.read_catalog(connection, [key])
            table, commits = known.get(key), known.entry(key).commits
            marks = empties.find_marks(connection, key, views.sample_columns(plan), commits)
            if table is None and marks is None:
                return WriteResult(key, 0, 0, 0, 0, 0)
            only, said = parsed(filters), f"feature {str(key)!r}"
            where = ending = None
            if table is not None:
                names = {name: quote(name) for name in (*table.columns, *layout.STORED_COLUMNS)}
                where = condition(only, names, values, where=said, types=table.types)
            if marks is not None and marks.has(one for part in only for one in part.columns):
                names, bound = {name: quote(name) for name in marks.types}, Values()
                ended = condition(only, names, bound, where=said, types=marks.types)
                ending = (marks, ended, bound)
            version = self.graph.feature_version(key)
            applied = writer.Writer(connection, key, known)
            return applied.delete(plan.spec, version, where, values, soft=soft, marks=ending)

    def drop(self, feature: CoercibleToFeatureKey) -> None:
        """Forget a feature with all its samples and history; a feature not stored is no error."""
        key = FeatureKey(feature)
        self._sessions.require_writable(key)
        if not self._file.exists:
            return
        with self._file.connect("w") as connection:
            known = catalog.read_catalog(connection, [key])
            writer.Writer(connection, key, known).drop(key)
            if known.entry(key).failed:
                quarantine.forget(connection, key, "TRUE", {})

    # Reading

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
        _, plan = self._plan(feature)
        expression = filters if isinstance(filters, nw.Expr) else None
        with self._file.connect("r") as connection:
            read = reader.Read(
                plan.spec,
                self._sessions.commit(connection),
                None if columns is None or expression is not None else tuple(columns),
                () if expression is not None else parsed(filters),
                history,
                self.graph.feature_class(plan.key),
            )
            schema = reader.arrow_schema(connection, read.query(connection))
        frame = query.lazy(snapshot.Snapshot(self._file, schema, read.query), self._file)
        if expression is not None:
            frame = frame.filter(expression)
            return frame.select(list(columns)) if columns is not None else frame
        return frame

    def read_table(
        self,
        feature: CoercibleToFeatureKey,
        *,
        filters: FilterLike | Sequence[FilterLike] | None = None,
        columns: Sequence[str] | None = None,
    ) -> pa.Table:
        """As :meth:`read`, at once: one copy in memory, as an Arrow table."""
        spec, names = self._plan(feature)[1].spec, None if columns is None else tuple(columns)
        declared = self.graph.feature_class(spec.key)
        with self._file.connect("r") as connection:
            commit = self._sessions.commit(connection)
            read = reader.Read(spec, commit, names, parsed(filters), feature_class=declared)
            return query.fetch(connection, read.query(connection))

    def count(self, feature: CoercibleToFeatureKey, *, filters: _Filters = None) -> int:
        """How many samples are stored."""
        if isinstance(filters, nw.Expr):
            frame = self.read(feature, filters=filters).select(nw.len()).collect()
            return int(frame.item())
        spec = self._plan(feature)[1].spec
        with self._file.connect("r") as connection:
            read = reader.Read(spec, self._sessions.commit(connection), None, parsed(filters))
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
            table, content = known.get(spec.key), versions.known_content(known, spec)
            if table is None:
                content = entries.Content(0, 0, 0)
            elif only or content is None:
                rows = reader.Read(spec, known.commit, None, only).query(connection)
                content = versions.content_of(connection, spec, table.types, rows)
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
        spec, only = self._plan(feature)[1].spec, parsed(filters)
        commit = self._sessions.snapshot
        with self._file.connect("r") as connection:
            look = summary.Summarise(spec, commit, only, preview, self._max_attempts)
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

    def table_name(self, feature: CoercibleToFeatureKey) -> str:
        """The table that a person who opens the file with SQL finds the feature in."""
        return table_name(FeatureKey(feature))

    # Resolving

    def resolve_update(
        self,
        feature: CoercibleToFeatureKey,
        *,
        samples: Any = None,
        filters: _Filters = None,
        stale_when: _Filters = None,
        keep_unchanged: bool = False,
        as_of: int | None = None,
    ) -> Increment:
        """Find the samples that are new, stale or orphaned, as of now.

        Args:
            feature: key, spec or class.
            samples: for a feature without upstreams, a frame with the samples that there should
                be; their provenance is ``metaxy_provenance_by_field`` or the content of the
                columns.
            filters: look only at samples for which these hold.
            stale_when: stored samples for which these hold count as stale.
            keep_unchanged: list samples that need nothing too, so that a full recompute can be
                written with its provenance.
            as_of: a commit, to look at the store as it was then; see :meth:`pin`.

        Raises:
            FrameError: a root without samples, or samples that are not valid.
            FeatureError: the feature or one of its upstreams is not known.
            StoreError: there is no such commit yet.
        """
        key, plan = self._plan(feature)
        version = self.graph.feature_version(key)
        expected = staging.prepare_samples(plan, version, samples)
        commit, held = self._sessions.snapshot, None
        if commit is None or self._sessions.has_failures(key):
            involved = [key, *(dep.upstream.key for dep in plan.deps)]
            with self._file.connect("r") as connection:
                known = catalog.read_catalog(connection, (), commit, beside=involved)
                commit = known.commit
                if known.entry(key).failed:
                    names, only = views.sample_columns(plan), version if plan.is_root else None
                    held = quarantine.held(
                        connection, key, names, limit=self._max_attempts, version=only
                    )
        if as_of is not None:
            commit = pins.checked(as_of, commit, key)
        asked = resolve.Resolve(
            plan,
            version,
            commit,
            expected,
            parsed(filters),
            parsed(stale_when),
            keep_unchanged,
            self._max_share,
            {dep.upstream.key: self.graph.feature_class(dep.upstream.key) for dep in plan.deps},
        )
        found = source.DuckDBIncrementSource(self._file, asked)
        return Increment(key, found if held is None else quarantine.WithoutQuarantined(found, held))
