"""Features whose functions make the data themselves: what is known of them before and after."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from metaxy_dagster import constants as c
from metaxy_dagster.errors import RunError
from metaxy_dagster.features.columns import fold
from metaxy_dagster.late import pyarrow as pa
from metaxy_dagster.runtime import _compat
from metaxy_dagster.runtime.assets.feature_asset import FeatureAsset
from metaxy_dagster.runtime.assets.unwritten import warn_of_lost_commits
from metaxy_dagster.runtime.assets.upstream_assets import windows_upstream
from metaxy_dagster.runtime.events.event_metadata import feature_state, write_metadata
from metaxy_dagster.runtime.events.partition_events import partition_metadata, with_run_totals
from metaxy_dagster.runtime.io.inputs import resolve
from metaxy_dagster.runtime.io.output import own_rows
from metaxy_dagster.runtime.located import located
from metaxy_dagster.runtime.partitions.scope import Scope
from metaxy_dagster.runtime.work.current import StepWork
from metaxy_dagster.runtime.work.failures import note_reported, stop_for_failed
from metaxy_dagster.stores import Increment, WriteResult, frames
from metaxy_dagster.stores.counts import NEW, STALE
from metaxy_dagster.stores.results import CommitMark

if TYPE_CHECKING:
    from metaxy_dagster.features import FeatureGraph, FeatureKey

__all__ = ["SelfWritten"]

_PLACE, _ORDER = "metaxy_place", "metaxy_order"


class SelfWritten:
    """One asset of a step whose function makes its data itself.

    Before the function is called, the samples that it may change are made stale: if the process
    dies halfway they are pending, even when what they are computed from has changed back. When it
    has ended, they are recorded as computed from what was there when it began.

    Args:
        work: what the step works on.
        asset: the asset.
        above: the features that the same function makes, too.
        preview: whether events show rows, where the asset does not say it.
    """

    def __init__(
        self, work: StepWork, asset: FeatureAsset, above: Collection[FeatureKey], *, preview: bool
    ) -> None:
        self.asset = asset
        self._work = work
        self._scope: Scope = work.outputs[asset]
        upstream = dict.fromkeys(work.store.graph.upstream(asset.feature))
        self._inside = [key for key in upstream if key in above]
        self._outside = [key for key in upstream if key not in above]
        self._preview = preview if asset.keys.preview is None else asset.keys.preview
        self._begun: Mapping[FeatureKey, CommitMark] | None = None

    @property
    def increment(self) -> Increment:
        """What is pending of it."""
        return self._work.increments[self.asset.asset_key]

    def begin(self) -> None:
        """Let the samples be pending until they are recorded; upstreams first.

        Raises:
            RunError: the partitions of the samples could not be recorded.
        """
        store, feature = self._work.store, self.asset.feature
        with located(self.asset.asset_key):
            if self._inside:
                # What the function is about to change of these is stale here, too.
                self._work.increments[self.asset.asset_key] = self._resolved()
            self._check_columns()
            for samples in (self.increment.ids((STALE,)), self.increment.orphaned_ids):
                if samples.num_rows:
                    store.invalidate(feature, samples)
        self._begun = store.newest_commits([feature, *self._outside])

    def end(self, execution: Any) -> None:
        """Record what was pending, and let the materialization say so.

        Args:
            execution: the context of the running step.
        """
        work, asset = self._work, self.asset
        with located(asset.asset_key):
            if work.step.shared is not None:
                note_reported(work.store, work.step, self.increment)
            result = self._recorded()
            work.recorded.add(asset.asset_key)
            stop_for_failed(work.store, asset, self.increment, work.limits)
            self._tell(execution, result)

    def _recorded(self) -> WriteResult:
        """Write the samples, unless the function wrote some to the store itself."""
        store, feature, answered = self._work.store, self.asset.feature, self.increment
        if self._begun is None and not answered.open_count:
            return WriteResult(feature, 0, 0, 0, 0, 0)
        now = store.newest_commits([feature, *self._outside])
        rows: Any = frames.no_rows()
        begun = now if self._begun is None else self._begun
        if now.get(feature) == begun.get(feature):
            if self._inside and now == begun:
                # It saw what it made itself of the upstreams, which is recorded by now.
                answered = self._resolved()
            rows = self._rows(answered)
        elif not self._is_written():
            # Some were reported to be empty: these are pending no more.
            rows = frames.within(self._rows(answered), self._resolved().ids((NEW, STALE)))
        failed = self.increment.failed
        if failed is not None and len(rows):
            rows = frames.without(rows, failed)
        return store.write(
            feature,
            own_rows(rows if len(rows) else frames.no_rows(), self.asset, self._scope),
            increment=answered,
            delete_orphaned=True,
            delete_failed=self._work.limits.of_failed(self.asset) == c.FAILED_DELETE,
            materialization_id=self._work.step.run_id,
        )

    def _is_written(self) -> bool:
        """Whether rows of samples that were pending have been stored since."""
        samples = self.increment.ids((NEW, STALE))
        names = list(self.increment.sample_columns)
        stored = self._work.store.read(
            self.asset.feature, columns=names, filters=f"{c.COL_FEATURE_VERSION} IS NOT NULL"
        )
        found: pa.Table = stored.select(names).collect(backend="pyarrow").to_native()
        return (
            bool(samples.num_rows and found.num_rows) and frames.within(samples, found).num_rows > 0
        )

    def _resolved(self) -> Increment:
        """What is pending of it now."""
        step, outputs = self._work.step, {self.asset: self._scope}
        return resolve(self._work.store, step, outputs, pinned=None)[self.asset.asset_key]

    def _rows(self, increment: Increment) -> pa.Table:
        """The pending samples, with the columns by which they are found again."""
        ids = increment.ids((NEW, STALE))
        wanted = {fold(name) for name in self._scope.columns}
        wanted |= _asked_downstream(self._work.store.graph, self.asset.feature)
        wanted -= {fold(name) for name in ids.column_names}
        if not wanted or not ids.num_rows:
            return self._with_stored(ids)
        frame = increment.pending
        also = [name for name in frame.collect_schema() if fold(name) in wanted]
        if also:
            found = frame.select(*ids.column_names, *also).collect(backend="pyarrow")
            ids = found.to_native()
        return self._with_stored(ids)

    def _with_stored(self, rows: pa.Table) -> pa.Table:
        """The same with the other columns that are stored, as they are: an earlier run had them."""
        store, feature, names = self._work.store, self.asset.feature, self.increment.sample_columns
        present = {fold(name) for name in (*rows.column_names, *self._scope.constants)}
        other = [name for name in store.schema(feature) if fold(name) not in present]
        if not other or not rows.num_rows:
            return rows
        found = store.read(feature, columns=[*names, *other]).collect(backend="pyarrow")
        return _beside(rows, found.to_native(), names, other)

    def _check_columns(self) -> None:
        """Refuse at once what could not be recorded afterwards."""
        if not self.increment.counts.pending:
            return
        constants = {fold(name) for name in self._scope.constants}
        unknown = {name for name in self._scope.columns if fold(name) not in constants}
        if not unknown:
            return
        known = {fold(name) for name in self.increment.pending.collect_schema()}
        missing = sorted(name for name in unknown if fold(name) not in known)
        if missing:
            raise RunError(
                "the run covers several partitions, and nothing says which sample belongs to which",
                feature=str(self.asset.feature),
                found=f"no column {missing} among the ids and the columns upstream",
                allowed=f'"{c.KEY_PARTITION_BY}" of a column that the upstream has, too; or one '
                "partition a run",
                remedy="give the asset backfill_policy=dg.BackfillPolicy.multi_run(), or name the "
                f'column of the upstream in "{c.KEY_PARTITION_BY}"',
            )

    def _tell(self, execution: Any, result: WriteResult) -> None:
        work, asset, scope = self._work, self.asset, self._scope
        step, store = work.step, work.store
        output = next(each for each in step.outputs if each.asset_key == asset.asset_key)
        keys, definition = output.partition_keys, output.partitions_def
        also = windows_upstream(None if keys is None else step.assets, asset.asset_key)
        warn_of_lost_commits(store, execution.instance, asset.asset_key, execution.log)
        written = {step.run_id: result.written}
        with store.connected():
            state = feature_state(store, asset.feature, scope, preview=self._preview)
        apart = partition_metadata(store, asset, keys, definition, also=also, written=written)
        rows = state.metadata.get(c.KEY_PARTITION_ROW_COUNT, state.metadata[c.KEY_ROW_COUNT])
        said = {
            **write_metadata(result, self.increment.counts),
            c.KEY_UNCHANGED: max(0, rows - result.written),
            **state.metadata,
        }
        if apart and _compat.add_partition_metadata(None, asset.asset_key, apart):
            said = with_run_totals(said, len(apart))
        _compat.tell_of_asset(execution, asset.asset_key, said, state.data_version)
        execution.log.info(
            "feature %s: %d samples are recorded as done, %d deleted",
            asset.feature,
            result.written,
            result.deleted,
        )


def _beside(
    rows: pa.Table, stored: pa.Table, names: Sequence[str], other: Sequence[str]
) -> pa.Table:
    """The rows with columns of others of the same ids; null where there are none."""
    keyed = stored.select(names).cast(rows.select(names).schema)
    places = keyed.append_column(_PLACE, pa.array(range(keyed.num_rows), pa.int64()))
    mine = rows.select(names).append_column(_ORDER, pa.array(range(rows.num_rows), pa.int64()))
    joined = mine.join(places, list(names), join_type="left outer").sort_by(_ORDER)
    taken = stored.select(other).combine_chunks().take(joined.column(_PLACE).combine_chunks())
    for name in other:
        rows = rows.append_column(name, taken.column(name))
    return rows


def _asked_downstream(graph: FeatureGraph, feature: FeatureKey) -> set[str]:
    """The columns by which features that are computed from this one look for its samples."""
    found: set[str] = set()
    for key in graph.downstream(feature):
        spec = graph[key]
        for dep in spec.deps:
            if dep.feature == feature:
                named = {*spec.id_columns, *(dep.lineage.on or ()), *(dep.select or ())}
                named |= {name for one in dep.filters for name in one.columns}
                found |= {fold(dep.name_upstream(name)) for name in named}
    return found
