"""The embedded metadata store: one DuckDB file, no server, no extension, no network."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, TypeAlias

from metaxy_dagster import constants as c
from metaxy_dagster.features import (
    CoercibleToFeatureKey,
    FeatureGraph,
    FeatureKey,
    FeatureSpec,
    Filter,
)
from metaxy_dagster.features.class_columns import ClassColumns
from metaxy_dagster.features.run_inputs import has_unknown_inputs, inputs_within, with_inputs
from metaxy_dagster.late import late_modules
from metaxy_dagster.late import narwhals as nw
from metaxy_dagster.stores.arguments import check_flags, check_mapping
from metaxy_dagster.stores.duckdb.reading import ReadableStore
from metaxy_dagster.stores.duckdb.sql.chosen import chosen_rows
from metaxy_dagster.stores.duckdb.sql.filtering import FilterLike, condition, parsed
from metaxy_dagster.stores.duckdb.sql.identifiers import quote, table_of
from metaxy_dagster.stores.duckdb.sql.provenance import Values
from metaxy_dagster.stores.empties import empty_samples
from metaxy_dagster.stores.frames.checks import check_how, column_warnings
from metaxy_dagster.stores.increment import Increment
from metaxy_dagster.stores.protocol import AlterResult, WriteMode, WriteResult
from metaxy_dagster.stores.running import run_id

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

    from metaxy_dagster.stores.duckdb.failures import failed_rows, quarantine
    from metaxy_dagster.stores.duckdb.file import catalog, commits, identity, layout, pins
    from metaxy_dagster.stores.duckdb.resolve import empties, source, views
    from metaxy_dagster.stores.duckdb.resolve import full as resolve
    from metaxy_dagster.stores.duckdb.sql import distinct_texts
    from metaxy_dagster.stores.duckdb.write import altering, arrival, drop, writer
    from metaxy_dagster.stores.duckdb.write import options as write
else:
    arrival, catalog, commits, empties, layout, pins, quarantine = late_modules(
        __package__,
        *(
            "write.arrival",
            "file.catalog",
            "file.commits",
            "resolve.empties",
            "file.layout",
            "file.pins",
            "failures.quarantine",
        ),
    )
    drop, resolve, source, views = late_modules(
        __package__, "write.drop", "resolve.full", "resolve.source", "resolve.views"
    )
    altering, distinct_texts, failed_rows, identity, write, writer = late_modules(
        __package__,
        "write.altering",
        "sql.distinct_texts",
        "failures.failed_rows",
        "file.identity",
        "write.options",
        "write.writer",
    )

__all__ = ["DuckDBMetadataStore"]

_Filters: TypeAlias = "FilterLike | nw.Expr | Sequence[FilterLike | nw.Expr] | None"
_ByFeature: TypeAlias = (
    "FilterLike | nw.Expr | Sequence[FilterLike | nw.Expr] | Mapping[Any, Any] | None"
)


class DuckDBMetadataStore(ReadableStore):
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
        delete_failed: bool = False,
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
            delete_orphaned: also delete the increment's orphaned samples; those of the whole, if
                it is a batch.
            delete_failed: also delete the rows that an earlier computation made of samples of
                the increment that failed, and were not computed since.
            max_deleted_share: refuse a replace that would delete more than this share.
            materialization_id: stored with each written row; by default the Dagster run in
                which the call is made.
            scope: with ``"replace"``, only stored samples for which this holds are deleted.
            versioned: note the data version of the feature, however many rows must be hashed for
                it; by default this is done while few are. Later looks at it cost nothing then.

        Returns:
            What changed; rows that are stored just so are left alone.

        Raises:
            FrameError: the frame is refused; nothing was written.
            StoreError: the store cannot be written, or was put back to a backup, deleted or made
                anew since the increment was resolved.
        """
        key, plan = self._plan(feature)
        self._sessions.require_writable(key)
        flags = (delete_orphaned, delete_failed, versioned)
        check_how(key, mode, max_deleted_share, materialization_id, flags)
        written_by = materialization_id or run_id()
        version = self.graph.feature_version(key)
        declared = ClassColumns.of(self.graph.feature_class(key))
        staged = arrival.prepare(
            plan, version, frame, increment=increment, declared=declared, file=self._file
        )
        answered = source.answered_by(increment, self._file)
        resolved_at = source.resolved_at(increment, self._file)
        nothing = empty_samples(empty, plan, increment, resolved_at)
        told = column_warnings(staged.user_columns, declared) if staged.table.num_rows else ()
        values, upstreams = Values(), [dep.upstream.key for dep in plan.deps]
        with self._file.connect("w") as connection:
            known = catalog.read_catalog(connection, [key], beside=upstreams)
            newest = known.commit if known.exists else None
            commits.check_history(connection, resolved_at or 0, newest, feature=key)
            identity.check_ids(known, plan.spec)
            table = known.get(key)
            # The table is looked for out here: a look at one that is not there ends a transaction.
            failing = known.entry(key).failed and quarantine.is_there(connection, key)
            how = write.Write(
                replace=mode == c.WRITE_REPLACE,
                scope=_condition(connection, table, parsed(scope), values),
                scope_values=values,
                orphans=increment.whole.orphaned_ids if increment and delete_orphaned else None,
                failed=failed_rows.leaving(connection, key, increment)
                if increment and delete_failed and known.entry(key).failed
                else None,
                max_deleted_share=max_deleted_share,
                materialization_id=written_by,
                answered=answered,
                empty=nothing,
                versioned=versioned,
                failing=views.sample_columns(plan) if failing else (),
            )
            applied = writer.Writer(connection, key, known)
            result = applied.write(staged, how)
        if not applied.entry.failed:
            catalog.remember(connection, known, key, applied.entry, result.commit)
        return replace(result, warnings=told)

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
        check_flags(soft=soft)
        values = Values()
        with self._file.connect("w") as connection:
            known = catalog.read_catalog(connection, [key])
            identity.check_ids(known, plan.spec)
            table, commits = known.get(key), known.entry(key).commits
            marks = empties.find_marks(connection, key, views.sample_columns(plan), commits)
            if table is None and marks is None:
                return WriteResult(key, 0, 0, 0, 0, 0)
            only, said = parsed(filters), f"feature {str(key)!r}"
            where = ending = None
            if table is not None:
                where = _condition(connection, table, only, values, *layout.STORED_COLUMNS)
            if marks is not None and marks.has(one for part in only for one in part.columns):
                names, bound = {name: quote(name) for name in marks.types}, Values()
                ended = condition(only, names, bound, where=said, types=marks.types)
                ending = (marks, ended, bound)
            version = self.graph.feature_version(key)
            applied = writer.Writer(connection, key, known)
            return applied.delete(plan.spec, version, where, values, soft=soft, marks=ending)

    def alter(
        self,
        feature: CoercibleToFeatureKey,
        *,
        columns: Mapping[str, Any],
        dry_run: bool = False,
    ) -> AlterResult:
        """Change the types of stored columns, in the history as well.

        Provenance stays as it is, so nothing downstream is stale by it. Types widen by themselves
        where no value can be lost, and structs grow; this is for everything else.

        Args:
            feature: key, spec or class.
            columns: the new type of each, as text of DuckDB's (``"BIGINT"``) or as a pyarrow type.
            dry_run: tell what would happen, and change nothing.

        Returns:
            Types before and after, and how many values are other ones than before.

        Raises:
            StoreError: no such column or type, or values that the type cannot hold.

        Example:
            >>> import metaxy_dagster as mxd, tempfile, pyarrow as pa
            >>> graph = mxd.FeatureGraph()
            >>> _ = graph.add(mxd.FeatureSpec("image", id_columns=["id"]))
            >>> store = mxd.DuckDBMetadataStore(f"{tempfile.mkdtemp()}/m.duckdb", graph=graph)
            >>> _ = store.write("image", pa.table({"id": [1], "height": ["720"]}))
            >>> store.alter("image", columns={"height": "INTEGER"}).columns
            {'height': ('VARCHAR', 'INTEGER')}
        """
        key, plan = self._plan(feature)
        self._sessions.require_writable(key)
        check_flags(dry_run=dry_run)
        check_mapping("columns", columns)
        with self._file.connect("w") as connection:
            known = catalog.read_catalog(connection, [key])
            return altering.alter(connection, plan.spec, known, columns, dry_run=dry_run)

    def drop(self, feature: CoercibleToFeatureKey) -> None:
        """Forget a feature with all its samples and history; a feature not stored is no error."""
        key = FeatureKey(feature)
        self._sessions.require_writable(key)
        if not self._file.exists:
            return
        with self._file.connect("w") as connection:
            known = catalog.read_catalog(connection, [key])
            drop.drop(connection, key, known)

    # Resolving

    def resolve_update(
        self,
        feature: CoercibleToFeatureKey,
        *,
        samples: Any = None,
        filters: _ByFeature = None,
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
            filters: look only at samples for which these hold. Or a mapping of features to
                filters, each in that feature's own columns: samples are expected of those rows of
                an upstream for which its filters hold, and those of the feature itself tell which
                stored samples are orphaned when nothing calls for them.
            stale_when: stored samples for which these hold count as stale.
            keep_unchanged: list samples that need nothing too, so that a full recompute can be
                written with its provenance.
            as_of: a commit, to look at the store as it was then; see :meth:`pin`.

        Raises:
            FrameError: a root without samples, or samples that are not valid.
            FeatureError: the feature or one of its upstreams is not known.
            StoreError: there is no such commit yet, or a mapping names another feature.

        Example:
            >>> import metaxy_dagster as mxd, tempfile, pyarrow as pa
            >>> graph = mxd.FeatureGraph()
            >>> _ = graph.add(mxd.FeatureSpec("event", id_columns=["id"]))
            >>> _ = graph.add(mxd.FeatureSpec("clean", id_columns=["id"], deps=["event"]))
            >>> store = mxd.DuckDBMetadataStore(f"{tempfile.mkdtemp()}/m.duckdb", graph=graph)
            >>> _ = store.write("event", pa.table({"id": [1, 2, 3], "hour": [7, 7, 8]}))
            >>> store.resolve_update("clean", filters={"event": "hour = 7"}).counts.new
            2
        """
        key = FeatureKey(feature)
        graph = self._as_last_computed(key)
        plan, version = graph.plan(key), graph.feature_version(key)
        check_flags(keep_unchanged=keep_unchanged)
        whole, by_feature = chosen_rows(filters, plan)
        expected = arrival.prepare_samples(plan, version, samples)
        commit, held, known = self._sessions.snapshot, None, None
        if commit is None or self._sessions.has_failures(key):
            involved = [key, *(dep.upstream.key for dep in plan.deps)]
            with self._file.connect("r") as connection:
                known = catalog.read_catalog(connection, (), commit, beside=involved)
                identity.check_upstream_ids(known, plan)
                commit = known.commit
                if known.entry(key).failed:
                    names, only = views.sample_columns(plan), version if plan.is_root else None
                    held = quarantine.held(
                        connection, key, names, limit=self._max_attempts, version=only
                    )
        if as_of is not None:
            commit = pins.checked(as_of, commit, key)
            if not isinstance(commit, commits.Commit):
                with self._file.connect("r") as connection:
                    commit = commits.known_as(connection, commit)
        asked = resolve.Resolve(
            plan,
            version,
            commit,
            expected,
            whole,
            parsed(stale_when),
            keep_unchanged,
            self._max_share,
            {dep.upstream.key: self.graph.feature_class(dep.upstream.key) for dep in plan.deps},
            by_feature,
        )
        # What was read of the file already may tell that nothing is pending.
        is_settled = known is not None and as_of is None and asked.is_settled(known)
        found = source.DuckDBIncrementSource(self._file, asked, is_settled)
        return Increment(key, found if held is None else quarantine.WithoutQuarantined(found, held))

    def _as_last_computed(self, key: FeatureKey) -> FeatureGraph:
        """The features; what only a run could tell is taken to be as in the last one."""
        graph = self.graph
        if key not in graph or not has_unknown_inputs(graph[key]) or not self._file.exists:
            return graph
        with self._file.connect("r") as connection:
            spec = catalog.read_catalog(connection, [key]).entry(key).spec
        found = None if spec is None else inputs_within(FeatureSpec.model_validate_json(spec))
        return graph if found is None else with_inputs(graph, {key: found})


def _condition(
    connection: DuckDBPyConnection,
    table: layout.Table | None,
    filters: Sequence[Filter],
    values: Values,
    *others: str,
) -> str:
    """Filters on the stored rows of a feature, by its columns and some others: for a WHERE."""
    if table is None:
        return "TRUE"
    return condition(
        filters,
        {name: quote(name) for name in (*table.columns, *others)},
        values,
        where=f"feature {str(table.key)!r}",
        types=table.types,
        exact=False,
        texts=distinct_texts.DistinctTexts(connection, f"FROM {table_of(table.key)}"),
    )
