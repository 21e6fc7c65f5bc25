"""One call of a function that loads its inputs, or makes its data, itself."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import dagster as dg

from metaxy_dagster.features import FeatureKey
from metaxy_dagster.runtime import _compat
from metaxy_dagster.runtime.assets.feature_asset import FeatureAsset
from metaxy_dagster.runtime.assets.unwritten import check_upstreams, said_of, unwritten_upstreams
from metaxy_dagster.runtime.io.first_runs import may_be_left_out
from metaxy_dagster.runtime.io.inputs import Needed
from metaxy_dagster.runtime.io.io_manager import MetaxyIOManager
from metaxy_dagster.runtime.io.self_written import SelfWritten
from metaxy_dagster.runtime.work.current import StepWork, begin_work, increment_of, work_of
from metaxy_dagster.runtime.work.skipping import mark_idle

__all__ = ["OwnBody", "Turn"]


@dataclass(frozen=True)
class OwnBody:
    """How a function is called that is not given pending samples as frames alone.

    Attributes:
        io_manager_key: the resource that knows the features.
        takes: whether it asks for the increment, as a parameter or by ``mxd.pending``.
        returns: whether what it returns are rows of the feature: all of them, unless it asks.
        parameter: the parameter that is an Increment.
        skips: whether it may be left out while nothing is to be done.
    """

    io_manager_key: str
    takes: bool = False
    returns: bool = False
    parameter: str | None = None
    skips: bool = False


@dataclass
class Turn:
    """What is known of the call while it goes on.

    Attributes:
        body: how the function is called.
        execution: the context of the running step.
        work: what the step works on.
        manager: knows the features.
        self_written: the assets whose data the function makes itself.
        is_idle: whether there is nothing to be done.
    """

    body: OwnBody
    execution: Any
    work: StepWork
    manager: MetaxyIOManager
    self_written: list[SelfWritten] = field(default_factory=list)
    is_idle: bool = False

    @classmethod
    def begin(cls, body: OwnBody) -> Turn | None:
        """Resolve what is to be computed, before the function is called.

        Returns:
            None outside of a run, where features are stored in another way, and in steps that
            compute none from others.

        Raises:
            RunError: an upstream was never written to the store, though Dagster knows of it, and
                the function relies on what is pending; or the partitions cannot be recorded.
        """
        execution, step = _compat.current_execution(), _compat.current_step()
        manager = getattr(getattr(execution, "resources", None), body.io_manager_key, None)
        if step is None or not isinstance(manager, MetaxyIOManager):
            return None
        loaded = work_of(step)
        work = manager.begin(step, keep_unchanged=body.returns and not body.takes)
        if not work.increments:
            return None
        turn = cls(body, execution, work, manager)
        turn._begin(by_itself=loaded is None)
        return turn

    def _begin(self, *, by_itself: bool) -> None:
        work, graph = self.work, self.work.store.graph
        order = {key: at for at, key in enumerate(graph.topological_order(self._features))}
        made = [one for one in work.outputs if one.keys.writes_itself and self._is_derived(one)]
        above = {one.feature for one in made}
        self.self_written = [
            SelfWritten(work, one, above, preview=self.manager.enable_preview)
            for one in sorted(made, key=lambda one: order[one.feature])
        ]
        if by_itself and not self._knows_upstreams():
            return
        # What loads all by itself has something to do when samples go, too.
        self.is_idle = self._has_nothing_to_do(also_orphaned=by_itself or self.body.takes)
        if not self.is_idle:
            for each in self.self_written:
                each.begin()
        elif not self.body.skips and may_be_left_out(Needed(work, (), all_rows=True, idle=True)):
            mark_idle(work.step)

    @property
    def is_left_out(self) -> bool:
        """Whether the function is not called at all."""
        return self.is_idle and self.body.skips

    def resume(self) -> None:
        """Go on in another context of the event loop."""
        begin_work(self.work)

    def given(self, arguments: Mapping[str, Any]) -> dict[str, Any]:
        """The arguments of the function."""
        name = self.body.parameter
        if name is None:
            return dict(arguments)
        return {**arguments, name: increment_of(self.work, None, "are pending")}

    def end(self, results: Iterable[Any]) -> None:
        """Record what was done, once the function has ended without an error.

        Args:
            results: what it returned or yielded.
        """
        given = {self._asset_of(each) for each in results}
        for each in self.self_written:
            key = each.asset.asset_key
            if key in given or not self._is_optional(key):
                self._end(each)

    def left_out(self) -> Iterator[Any]:
        """The results in the place of those of the function."""
        self.execution.log.info("no sample is pending: the body is left out")
        for each in self.self_written:
            self._end(each)
        if self.work.step.shared is not None:
            yield dg.Output(None, self.execution.op_def.output_defs[0].name)
            return
        for key in self._in_order():
            yield dg.MaterializeResult(asset_key=key)

    def _end(self, each: SelfWritten) -> None:
        each.end(self.execution)
        self.manager.forget(self.work.step, each.asset.asset_key)

    def _knows_upstreams(self) -> bool:
        """Whether the store has what the samples are computed from.

        A function that loads all by itself runs as it did where it has not.
        """
        store, instance = self.work.store, self.execution.instance

        def neighbours() -> Any:
            return _compat.neighbours(self.execution)

        if self.body.takes or self.body.returns:
            check_upstreams(store, self._features, instance, neighbours, but=None)
        if not self.self_written:
            return True
        unwritten = unwritten_upstreams(
            store, self._features, instance, neighbours, but=self._features
        )
        for asset, event in unwritten:
            self.execution.log.warning("nothing is recorded: %s", said_of(asset, event))
        if unwritten:
            self.self_written = []
        return not unwritten

    def _has_nothing_to_do(self, *, also_orphaned: bool) -> bool:
        work = self.work
        if not all(one.increment for one in work.outputs) or not self._is_all_features():
            return False
        counts = [each.counts for each in work.increments.values()]
        if any(each.pending for each in counts):
            return False
        if self.body.skips:
            return not (also_orphaned and any(each.orphaned for each in counts))
        return True

    def _is_all_features(self) -> bool:
        """Whether all that is asked of the step is a feature with an increment."""
        if _compat.reports_checks(self.execution):
            return False
        return {one.asset_key for one in self.work.step.outputs} == self.work.increments.keys()

    @property
    def _features(self) -> list[FeatureKey]:
        return [one.feature for one in self.work.outputs]

    def _is_derived(self, asset: FeatureAsset) -> bool:
        return asset.asset_key in self.work.increments

    def _in_order(self) -> Iterator[dg.AssetKey]:
        """The assets of the step, upstreams first."""
        order = self.work.store.graph.topological_order(self._features)
        places = {key: at for at, key in enumerate(order)}
        for one in sorted(self.work.outputs, key=lambda one: places[one.feature]):
            yield one.asset_key

    def _is_optional(self, key: dg.AssetKey) -> bool:
        """Whether an asset is only made if its result is given."""
        definition = self.execution.assets_def
        if self.work.step.shared is not None:
            return False
        name = definition.get_output_name_for_asset_key(key)
        return not self.execution.op_def.output_def_named(name).is_required

    def _asset_of(self, result: Any) -> dg.AssetKey | None:
        """The asset that a result is of."""
        definition: dg.AssetsDefinition = self.execution.assets_def
        if self.work.step.shared is not None:
            return next(iter(definition.keys))
        if isinstance(result, dg.MaterializeResult):
            return result.asset_key or next(iter(definition.keys))
        if isinstance(result, dg.Output):
            return definition.node_keys_by_output_name.get(result.output_name)
        return None
