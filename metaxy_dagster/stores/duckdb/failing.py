"""The side of a store that remembers what could not be computed."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, TypeAlias

from metaxy_dagster.features import CoercibleToFeatureKey, FeatureKey
from metaxy_dagster.late import late_modules
from metaxy_dagster.late import narwhals as nw
from metaxy_dagster.stores.arguments import check_run
from metaxy_dagster.stores.duckdb.base import FileStore
from metaxy_dagster.stores.duckdb.sql.filtering import FilterLike, condition, parsed
from metaxy_dagster.stores.duckdb.sql.identifiers import quote
from metaxy_dagster.stores.duckdb.sql.provenance import Values
from metaxy_dagster.stores.failures import FailureResult, SampleError, failed_samples
from metaxy_dagster.stores.frames.samples import typed_as
from metaxy_dagster.stores.increment import Increment
from metaxy_dagster.stores.running import run_id

if TYPE_CHECKING:
    from metaxy_dagster.stores.duckdb.failures import failed_rows, quarantine
    from metaxy_dagster.stores.duckdb.file import catalog, commits, identity, layout
    from metaxy_dagster.stores.duckdb.read import query
    from metaxy_dagster.stores.duckdb.resolve import asked, source, views
else:
    asked, catalog, commits, failed_rows, identity, layout = late_modules(
        __package__,
        "resolve.asked",
        "file.catalog",
        "file.commits",
        "failures.failed_rows",
        "file.identity",
        "file.layout",
    )
    quarantine, query, source, views = late_modules(
        __package__, "failures.quarantine", "read.query", "resolve.source", "resolve.views"
    )

__all__ = ["FailureStore"]

_Filters: TypeAlias = "FilterLike | nw.Expr | Sequence[FilterLike | nw.Expr] | None"


class FailureStore(FileStore):
    """A store in one file that notes failed samples."""

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
        key, plan = self._plan(feature)
        self._sessions.require_writable(key)
        asked.check_increment(increment, plan, self.graph.feature_version(key))
        check_run(materialization_id)
        failed = failed_samples(samples, error, names=increment.sample_columns, feature=str(key))
        if not failed.num_rows:
            return FailureResult(key, 0, 0)
        # Read before the file is opened: a writer waits for its readers, itself included.
        origin, delta = source.origin(increment.source), increment.delta
        typed = typed_as(failed.select(increment.sample_columns), delta, feature=str(key))
        with self._file.connect("w") as connection:
            state = layout.ensure_format(connection)
            asked_at = source.resolved_at(increment, self._file)
            commits.check_history(connection, asked_at or 0, state.newest, feature=key)
            identity.check_ids(catalog.read_catalog(connection, (), beside=[key]), plan.spec)
            noted = quarantine.record(
                connection,
                key,
                failed,
                delta,
                commit=state.newest if origin is None else origin.resolve.commit,
                version=self.graph.feature_version(key),
                limit=self._max_attempts,
                by_version=plan.is_root,
                materialization_id=materialization_id or run_id(),
            )
        increment.note_failed(typed)
        return noted

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
        key, plan = self._plan(feature)
        names = views.sample_columns(plan)
        where, values = _chosen(key, names, filters)
        with self._file.connect("r") as connection:
            identity.check_ids(catalog.read_catalog(connection, (), beside=[key]), plan.spec)
            found = quarantine.failures(
                connection, key, names, where, values, limit=self._max_attempts
            )
        return query.lazy(found, self._file)

    def failed(
        self, feature: CoercibleToFeatureKey, *, increment: Increment | None = None
    ) -> FailureResult:
        """How many samples failed and were not computed since; reads none of them.

        Args:
            feature: key, spec or class.
            increment: count only samples that it lists as stale or quarantined: those that may
                have rows of an earlier computation.
        """
        key, plan = self._plan(feature)
        with self._file.connect("r") as connection:
            known = catalog.read_catalog(connection, [key])
            identity.check_ids(known, plan.spec)
            # A feature of which nothing was ever written may have failed before that was noted.
            if known.entry(key).commits.newest and not known.entry(key).failed:
                return FailureResult(key, 0, 0)
            listed = None if increment is None else increment.ids(failed_rows.WITH_ROWS)
            return failed_rows.counted(
                connection,
                key,
                views.sample_columns(plan),
                stored=known.get(key) is not None,
                listed=listed,
                limit=self._max_attempts,
            )

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
        key, plan = self._plan(feature)
        self._sessions.require_writable(key)
        if not self._file.exists:
            return 0
        where, values = _chosen(key, views.sample_columns(plan), filters)
        with self._file.connect("w") as connection:
            layout.ensure_format(connection)
            identity.check_ids(catalog.read_catalog(connection, (), beside=[key]), plan.spec)
            return quarantine.forget(connection, key, where, values)


def _chosen(
    key: FeatureKey,
    names: Sequence[str],
    filters: _Filters,
) -> tuple[str, Values]:
    """Filters as a condition on the failures ``o``, with its values."""
    values = Values()
    columns = (*names, *quarantine.SHOWN)
    where = condition(
        parsed(filters),
        {name: f"o.{quote(name)}" for name in columns},
        values,
        where=f"the failures of feature {str(key)!r}",
    )
    return where, values
