"""Inputs that an IO manager of the repository's own loads, reduced to what is pending."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from metaxy_dagster import constants as c
from metaxy_dagster.errors import RunError, UnwrittenError
from metaxy_dagster.late import pyarrow as pa
from metaxy_dagster.runtime import _compat
from metaxy_dagster.runtime.assets.feature_asset import FeatureAsset
from metaxy_dagster.runtime.assets.upstream_assets import windows_upstream
from metaxy_dagster.runtime.io.batching import batch_size
from metaxy_dagster.runtime.io.first_runs import may_be_left_out
from metaxy_dagster.runtime.io.inputs import Needed, resolve
from metaxy_dagster.runtime.io.io_manager import MetaxyIOManager
from metaxy_dagster.runtime.loading.conversion import empty_frame, has_empty_frame
from metaxy_dagster.runtime.partitions.scope import Scope
from metaxy_dagster.runtime.pinning import pin
from metaxy_dagster.runtime.work.current import StepWork, begin_work
from metaxy_dagster.runtime.work.limits import Limits
from metaxy_dagster.runtime.work.skipping import is_skipping, mark_idle
from metaxy_dagster.stores import Increment, frames
from metaxy_dagster.stores.counts import NEW, QUARANTINED, STALE, UNCHANGED

if TYPE_CHECKING:
    from dagster import InputContext

__all__ = ["KeptInput"]

_COMPUTED = (NEW, STALE, UNCHANGED, QUARANTINED)


@dataclass(frozen=True)
class KeptInput:
    """An input of a running step: a feature that another IO manager holds.

    Attributes:
        inner: the other one.
        ours: knows the features.
        context: of the input.
        asset: the asset that is loaded.
        step: the running step.
    """

    inner: Any
    ours: MetaxyIOManager
    context: InputContext
    asset: FeatureAsset
    step: _compat.Step

    def load(self) -> Any:
        """The value, in the type that the inner one gives; of a frame, the rows that are needed."""
        context, store = self.context, self.ours.store
        _compat.say_of_input(
            context, {c.KEY_FEATURE: str(self.asset.feature), c.KEY_STORE: store.display()}
        )
        keys = _compat.input_partition_keys(context)
        pinned = pin(store, self.step)
        with store.connected():
            try:
                need = self.ours.needed(context, self.asset, pinned=pinned, keys=keys)
            except UnwrittenError as error:
                self._unrecorded(f"{error.problem} ({error.remedy})")
                return self._value()
            idle = need is not None and may_be_left_out(need)
            before = store.newest_commits([self.asset.feature])
        if need is None or need.work.unrecorded is not None:
            return self._value()
        value = self._value() if need.all_rows else self._pending(need, keys, idle=idle)
        if need.work.unrecorded is None:
            self._look_again(need, before if pinned is None else None)
        return value

    def _value(self) -> Any:
        return self.inner.load_input(self.context)

    def _pending(self, need: Needed, keys: Sequence[str] | None, *, idle: bool) -> Any:
        """The rows that the pending samples are computed from."""
        name = self.context.name if self.context.has_input_name else "value"
        wanted = {output: self._wanted(output, increment) for output, increment in need.increments}
        if idle:
            mark_idle(self.step)
            nothing, found = self._nothing()
            if nothing:
                need.work.inputs[name] = lambda _: found
                return found
        value = self._value()
        if not frames.is_frame(value):
            self._unrecorded(
                f"what {type(self.inner).__name__} loads of it is no frame but a "
                f"{type(value).__name__}"
            )
            return value
        scope, by_key = self._scope(keys)
        feature = str(self.asset.feature)

        def part(rows: pa.Table) -> frames.Narrowed:
            ids = frames.distinct(rows.select(list(self._ids)))
            return frames.narrowed(
                value, ids, feature=feature, constants=scope.constants, by_key=by_key
            )

        tables = list(wanted.values())
        whole = part(tables[0] if len(tables) == 1 else pa.concat_tables(tables))
        if whole.missing.num_rows:
            self._told_missing(need, wanted, whole.missing)
        if batch_size(self.context) is not None and len(tables) == 1 and self.step.shared is None:
            ((output, _),) = need.increments
            need.work.inputs[name] = lambda batch: part(self._wanted(output, batch)).value
        need.work.narrowed = True
        return whole.value

    @property
    def _ids(self) -> tuple[str, ...]:
        return self.ours.store.graph[self.asset.feature].id_columns

    def _scope(self, keys: Sequence[str] | None) -> tuple[Scope, dict[str, Mapping[str, Any]]]:
        """The samples that are loaded, and what is the same in all rows of each partition."""
        context, asset = self.context, self.asset
        definition = context.asset_partitions_def if context.has_asset_partitions else None
        also = windows_upstream(None if definition is None else self.step.assets, context.asset_key)
        scope = asset.scope(keys, definition if keys is not None else None, also)
        if definition is None:
            return scope, {}
        parts = self.ours.partitions(context, asset, keys) or {}
        return scope, {key: part.constants for key, part in parts.items()}

    def _wanted(self, output: FeatureAsset, increment: Increment) -> pa.Table:
        """The ids of the upstream rows, and the columns by which these belong to samples."""
        columns = list(dict.fromkeys([*self._ids, *self._dep(output).source_columns.values()]))
        own = Scope.of_values(self.asset.keys.partition)
        rows = increment.upstream(self.asset.feature)
        if not set(columns) <= set(rows.collect_schema()):
            # While none was ever stored, no column is known but the ids.
            return pa.table({name: pa.nulls(0) for name in columns})
        rows = own.restrict(rows).select(columns)
        table: pa.Table = rows.collect(backend="pyarrow").to_native()
        return table

    def _dep(self, output: FeatureAsset) -> Any:
        plan = self.ours.store.graph.plan(output.feature)
        return next(dep for dep in plan.deps if dep.upstream.key == self.asset.feature)

    def _nothing(self) -> tuple[bool, Any]:
        """Whether nobody looks at the value, since no function is called with it; and a value."""
        op, kind = _compat.loading_op(self.context), self.context.dagster_type
        skipped = op is not None and (is_skipping(op) or batch_size(self.context) is not None)
        if not skipped or _compat.has_own_check(kind):
            return False, None
        if kind.typing_type is Any:
            return True, None
        if has_empty_frame(kind.typing_type):
            return True, empty_frame(kind.typing_type)
        return False, None

    def _told_missing(
        self, need: Needed, wanted: Mapping[FeatureAsset, pa.Table], missing: pa.Table
    ) -> None:
        """Samples of which rows are missing upstream are computed, but not recorded.

        Raises:
            RunError: the steps that would have to know of it run elsewhere.
        """
        found = (
            f"{missing.num_rows} samples are not in what {type(self.inner).__name__} holds of "
            f"feature {self.asset.feature}, for example {missing.slice(0, 3).to_pylist()}"
        )
        if self.step.shared is not None:
            raise RunError(
                "rows of an upstream are missing where it is stored",
                feature=str(self.asset.feature),
                found=found,
                remedy="compute them again: run the asset after store.invalidate(...), or adopt "
                "what is there",
            )
        for output, increment in need.increments:
            columns = self._dep(output).source_columns
            rows = frames.within(wanted[output], missing)
            groups = frames.distinct(
                rows.select(list(columns.values())).rename_columns(list(columns))
            )
            samples = increment.ids((NEW, STALE))
            need.work.doubt(output.asset_key, frames.within(samples, groups))
        self.context.log.warning("%s: they stay pending", found)

    def _look_again(self, need: Needed, before: Any) -> None:
        """Doubt what was pending for other reasons than now: somebody wrote it meanwhile.

        The value may be from before or after that, whatever the increment says.
        """
        store, work = self.ours.store, need.work
        if before is not None and store.newest_commits([self.asset.feature]) == before:
            return
        now = resolve(store, self.step, work.outputs, pinned=None)
        for output, increment in need.increments:
            changed = frames.without(
                _computed(increment, output), _computed(now[output.asset_key], output)
            )
            if changed.num_rows:
                names = list(increment.sample_columns)
                work.doubt(output.asset_key, changed.select(names))
                self.context.log.warning(
                    "feature %s was written while it was loaded: %d samples of %s stay pending",
                    self.asset.feature,
                    changed.num_rows,
                    output.feature,
                )

    def _unrecorded(self, reason: str) -> None:
        """Let the step run as it did before there was a metadata store.

        Raises:
            RunError: another input holds pending samples alone.
        """
        limits = Limits.of(self.ours.max_deleted_share, self.ours.failed_rows, self.step)
        work = begin_work(StepWork(self.step, self.ours.store, {}, {}, limits))
        if work.narrowed:
            raise RunError(
                "one input of the asset cannot be reduced to pending samples, and another one is",
                feature=str(self.asset.feature),
                found=reason,
                remedy=f'remove "{c.KEY_INPUT}": "{c.INPUT_INCREMENT}" from the asset that is '
                "computed",
            )
        work.unrecorded = f"feature {self.asset.feature}: {reason}"
        self.context.log.warning(
            "asset %s is loaded whole, and what is computed from it is not recorded: %s",
            self.asset.asset_key.to_user_string(),
            reason,
        )


def _computed(increment: Increment, output: FeatureAsset) -> pa.Table:
    """The samples that are computed, each with what it is computed from."""
    table = increment.delta
    statuses = (NEW, STALE) if output.increment else _COMPUTED
    wanted = pa.table({c.COL_STATUS: pa.array(statuses, table.column(c.COL_STATUS).type)})
    table = frames.within(table, wanted).select(
        [*increment.sample_columns, c.COL_PROVENANCE_BY_FIELD]
    )
    return table.flatten()
