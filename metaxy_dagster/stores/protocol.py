"""The metadata store: what every store does, whatever holds the rows."""

from __future__ import annotations

import abc
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, TypeAlias

from metaxy_dagster import constants as c
from metaxy_dagster.features import CoercibleToFeatureKey, FeatureKey, FeaturePlan, Filter
from metaxy_dagster.features.class_columns import ClassColumns
from metaxy_dagster.late import narwhals as nw
from metaxy_dagster.stores import frames
from metaxy_dagster.stores.arguments import check_flags, check_how, check_run, column_names
from metaxy_dagster.stores.engine import Writing
from metaxy_dagster.stores.failures import FailureResult, SampleError
from metaxy_dagster.stores.increment import Increment
from metaxy_dagster.stores.readable import ReadableStore
from metaxy_dagster.stores.results import Adoption, AlterResult, WriteMode, WriteResult
from metaxy_dagster.stores.running import run_id

__all__ = ["MetadataStore"]

_Filters: TypeAlias = "str | Filter | nw.Expr | Sequence[str | Filter | nw.Expr] | None"
_ByFeature: TypeAlias = (
    "str | Filter | nw.Expr | Sequence[str | Filter | nw.Expr] | Mapping[Any, Any] | None"
)


class MetadataStore(ReadableStore):
    """A place that remembers samples and what they were computed from.

    ``with store:`` reads, all from one snapshot; ``with store.open("w"):`` also writes. Outside
    a session every call stands for itself. No session keeps a file or a lock between calls.

    Example:
        >>> import metaxy_dagster as mxd
        >>> isinstance(mxd.DuckDBMetadataStore("m.duckdb"), MetadataStore)
        True
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
        columns: Sequence[str] | None = None,
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
            columns: keep these alone, beside the id columns, where the data itself is stored
                elsewhere; versions are still those of all columns of the frame. Names that the
                frame lacks are passed over.

        Returns:
            What changed; rows that are stored just so are left alone.

        Raises:
            FrameError: the frame is refused; nothing was written.
            StoreError: the store cannot be written, or was put back to a backup, deleted or made
                anew since the increment was resolved.
        """
        key, plan = self._writable(feature)
        flags = (delete_orphaned, delete_failed, versioned)
        check_how(key, mode, max_deleted_share, materialization_id, flags)
        declared = ClassColumns.of(self.graph.feature_class(key))
        told: tuple[str, ...] = ()
        kept = column_names(columns, feature=str(key))
        if kept is not None:
            rows = frames.to_rows(frame, str(key))
            frame = frames.kept_rows(
                rows,
                plan,
                kept,
                declared,
                answers=increment is not None,
                stored=self.schema(key),
            )
            told, declared = frames.column_warnings(rows.schema.names, declared), ClassColumns()
        asked = Writing(
            plan=plan,
            version=self.graph.feature_version(key),
            declared=declared,
            increment=increment,
            empty=empty,
            replace=mode == c.WRITE_REPLACE,
            scope=scope,
            delete_orphaned=delete_orphaned,
            delete_failed=delete_failed,
            max_deleted_share=max_deleted_share,
            materialization_id=materialization_id or run_id(),
            versioned=versioned,
        )
        result = self._engine.writer.write(frame, asked)
        return replace(result, warnings=(*told, *result.warnings)) if told else result

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
        key, plan = self._writable(feature)
        check_flags(soft=soft)
        version = self.graph.feature_version(key)
        return self._engine.writer.delete(plan, version, filters, soft=soft)

    def invalidate(self, feature: CoercibleToFeatureKey, samples: Any) -> WriteResult:
        """Let stored samples be stale until they are written again, whatever is upstream.

        To compute them once more; and before something changes outside of the store that they
        stand for: if the process dies halfway, they are pending, even when what they are
        computed from has changed and changed back. They stay as they are otherwise. Samples that
        were found empty are pending again, those that are not stored are passed over.

        Args:
            feature: key, spec or class.
            samples: a frame, or rows as dictionaries, with the id columns (in an expansion those
                of the parent); such as ``increment.pending``, or what :meth:`read` gave.

        Returns:
            What changed: ``updated`` samples, or no commit if there was nothing to do.

        Raises:
            FrameError: no frame, or the columns are missing; nothing was written.
            StoreError: the store cannot be written.

        Example:
            >>> import metaxy_dagster as mxd, tempfile, pyarrow as pa
            >>> graph = mxd.FeatureGraph()
            >>> _ = graph.add(mxd.FeatureSpec("image", id_columns=["id"]))
            >>> _ = graph.add(mxd.FeatureSpec("score", id_columns=["id"], deps=["image"]))
            >>> store = mxd.DuckDBMetadataStore(f"{tempfile.mkdtemp()}/m.duckdb", graph=graph)
            >>> _ = store.write("image", pa.table({"id": [1, 2], "path": ["a", "b"]}))
            >>> _ = store.adopt("score", pa.table({"id": [1, 2], "score": [0.5, 0.1]}))
            >>> store.invalidate("score", [{"id": 2}]).updated
            1
            >>> store.resolve_update("score").counts.stale
            1
        """
        _, plan = self._writable(feature)
        return self._engine.writer.invalidate(plan, samples)

    @abc.abstractmethod
    def alter(
        self,
        feature: CoercibleToFeatureKey,
        *,
        columns: Mapping[str, Any],
        dry_run: bool = False,
    ) -> AlterResult:
        """Change the types of stored columns, without dropping their history."""

    def drop(self, feature: CoercibleToFeatureKey) -> None:
        """Forget a feature with all its samples and history; a feature not stored is no error."""
        key = FeatureKey(feature)
        self._engine.sessions.require_writable(key)
        self._engine.writer.drop(key)

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
        check_flags(keep_unchanged=keep_unchanged)
        return self._engine.resolver.resolve(
            self.graph,
            key,
            samples=samples,
            filters=filters,
            stale_when=stale_when,
            keep_unchanged=keep_unchanged,
            as_of=as_of,
        )

    def adopt(
        self,
        feature: CoercibleToFeatureKey,
        frame: Any,
        *,
        columns: Sequence[str] | None = None,
        dry_run: bool = False,
    ) -> Adoption:
        """Take rows that exist already as computed at the current versions.

        For what was computed before this library came, or outside of it: rows get the provenance
        of what is upstream now, so that no increment asks for their samples. Adopt upstreams
        first. Rows that nothing upstream calls for, and those that share their ids, are left out
        and counted; samples without a row stay pending.

        Args:
            feature: key, spec or class.
            frame: the rows, with the id columns, and in an expansion those of the parent.
            columns: as for :meth:`write`.
            dry_run: tell what would be taken, and write nothing.

        Raises:
            FrameError: the frame is refused; nothing was written.
            StoreError: the store cannot be read or written.

        Example:
            >>> import metaxy_dagster as mxd, tempfile, pyarrow as pa
            >>> graph = mxd.FeatureGraph()
            >>> _ = graph.add(mxd.FeatureSpec("image", id_columns=["id"]))
            >>> _ = graph.add(mxd.FeatureSpec("score", id_columns=["id"], deps=["image"]))
            >>> store = mxd.DuckDBMetadataStore(f"{tempfile.mkdtemp()}/m.duckdb", graph=graph)
            >>> _ = store.adopt("image", pa.table({"id": [1, 2], "path": ["a", "b"]}))
            >>> found = store.adopt("score", pa.table({"id": [2, 3], "score": [0.5, 0.1]}))
            >>> found.adopted, found.unexpected, found.pending
            (1, 1, 1)
        """
        from metaxy_dagster.stores.adoption import adopt  # noqa: PLC0415 - pyarrow.compute is slow to import

        check_flags(dry_run=dry_run)
        plan = self._plan(feature)[1] if dry_run else self._writable(feature)[1]
        return adopt(self, plan, frame, columns=columns, dry_run=dry_run)

    # Samples that failed

    def record_failures(
        self,
        feature: CoercibleToFeatureKey,
        samples: Any,
        error: SampleError | Sequence[SampleError],
        *,
        increment: Increment,
        materialization_id: str | None = None,
    ) -> FailureResult:
        """Note samples that could not be computed.

        A sample that has failed ``max_attempts`` times is quarantined: increments leave it out
        until what it is computed from changes, or :meth:`retry` is called. Writing it ends that.

        Args:
            feature: key, spec or class.
            samples: a frame, or rows as dictionaries, with the increment's sample columns.
            error: what went wrong, as text or an exception; one for all, or one per sample.
            increment: for which the samples were to be computed.
            materialization_id: stored with each failure; by default the Dagster run in which
                the call is made.

        Raises:
            FrameError: samples that the increment did not ask for, or not one error per sample.
            StoreError: the store cannot be written, or was put back to a backup, deleted or made
                anew since the increment was resolved.
        """
        key, plan = self._writable(feature)
        check_run(materialization_id)
        return self._engine.failures.record(
            plan,
            self.graph.feature_version(key),
            samples,
            error,
            increment=increment,
            materialization_id=materialization_id or run_id(),
        )

    def failures(
        self,
        feature: CoercibleToFeatureKey,
        *,
        filters: _Filters = None,
    ) -> nw.LazyFrame[Any]:
        """The samples that failed and were not computed since, the most recent first.

        Args:
            feature: key, spec or class.
            filters: as for :meth:`retry`: those that it would forget.

        Returns:
            Sample columns, ``metaxy_error_type``, ``metaxy_error``, ``metaxy_attempts``,
            ``metaxy_quarantined`` (left out of increments while nothing changes),
            ``metaxy_failed_at`` and ``metaxy_materialization_id``.
        """
        return self._engine.failures.list(self._plan(feature)[1], filters)

    def failed(
        self, feature: CoercibleToFeatureKey, *, increment: Increment | None = None
    ) -> FailureResult:
        """How many samples failed and were not computed since; reads none of them.

        Args:
            feature: key, spec or class.
            increment: count only samples that it lists as stale or quarantined: those that may
                have rows of an earlier computation.
        """
        return self._engine.failures.count(self._plan(feature)[1], increment)

    def retry(
        self,
        feature: CoercibleToFeatureKey,
        *,
        filters: _Filters = None,
    ) -> int:
        """Forget failures, so that quarantined samples become pending again.

        Args:
            feature: key, spec or class.
            filters: only those for which these hold, by the columns of :meth:`failures`, such as
                ``"metaxy_error_type = 'TimeoutError'"``.

        Returns:
            How many failures were forgotten.
        """
        return self._engine.failures.forget(self._writable(feature)[1], filters)

    def _writable(self, feature: CoercibleToFeatureKey) -> tuple[FeatureKey, FeaturePlan]:
        key, plan = self._plan(feature)
        self._engine.sessions.require_writable(key)
        return key, plan
