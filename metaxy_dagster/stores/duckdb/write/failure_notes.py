"""Failed samples in a file: noted, listed, counted and forgotten."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import narwhals as nw

from metaxy_dagster.features import FeatureKey, FeaturePlan
from metaxy_dagster.stores.duckdb.failures import failed_rows, quarantine
from metaxy_dagster.stores.duckdb.file import commits, identity, layout
from metaxy_dagster.stores.duckdb.file.catalog import read_catalog
from metaxy_dagster.stores.duckdb.file.connection import DuckDBFile
from metaxy_dagster.stores.duckdb.read import query
from metaxy_dagster.stores.duckdb.resolve import asked, source, views
from metaxy_dagster.stores.duckdb.sql.filtering import condition, parsed
from metaxy_dagster.stores.duckdb.sql.identifiers import quote
from metaxy_dagster.stores.duckdb.sql.provenance import Values
from metaxy_dagster.stores.failures import FailureResult, SampleError
from metaxy_dagster.stores.frames.failed import failed_samples
from metaxy_dagster.stores.frames.samples import typed_as
from metaxy_dagster.stores.increment import Increment

__all__ = ["FailureNotes"]


class FailureNotes:
    """The failed samples of a store in one file."""

    def __init__(self, file: DuckDBFile, max_attempts: int) -> None:
        self._file, self._max_attempts = file, max_attempts

    def record(
        self,
        plan: FeaturePlan,
        version: str,
        samples: Any,
        error: SampleError | Sequence[SampleError],
        *,
        increment: Increment,
        materialization_id: str | None,
    ) -> FailureResult:
        """Note samples that could not be computed.

        Raises:
            FrameError: samples that the increment did not ask for, or not one error per sample.
            StoreError: the history is another one than that of the increment.
        """
        key = plan.key
        asked.check_increment(increment, plan, version)
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
            identity.check_ids(read_catalog(connection, (), beside=[key]), plan.spec)
            noted = quarantine.record(
                connection,
                key,
                failed,
                delta,
                commit=state.newest if origin is None else origin.resolve.commit,
                version=version,
                limit=self._max_attempts,
                by_version=plan.is_root,
                materialization_id=materialization_id,
            )
        increment.note_failed(typed)
        return noted

    def list(self, plan: FeaturePlan, filters: object) -> nw.LazyFrame[Any]:
        """The samples that failed and were not computed since."""
        key, names = plan.key, views.sample_columns(plan)
        where, values = _chosen(key, names, filters)
        with self._file.connect("r") as connection:
            identity.check_ids(read_catalog(connection, (), beside=[key]), plan.spec)
            found = quarantine.failures(
                connection, key, names, where, values, limit=self._max_attempts
            )
        return query.lazy(found, self._file)

    def count(self, plan: FeaturePlan, increment: Increment | None) -> FailureResult:
        """How many they are, of all or of those that an increment lists; reads none of them."""
        key = plan.key
        with self._file.connect("r") as connection:
            known = read_catalog(connection, [key])
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

    def forget(self, plan: FeaturePlan, filters: object) -> int:
        """Forget failures; how many they were."""
        if not self._file.exists:
            return 0
        key = plan.key
        where, values = _chosen(key, views.sample_columns(plan), filters)
        with self._file.connect("w") as connection:
            layout.ensure_format(connection)
            identity.check_ids(read_catalog(connection, (), beside=[key]), plan.spec)
            return quarantine.forget(connection, key, where, values)


def _chosen(
    key: FeatureKey,
    names: Sequence[str],
    filters: object,
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
