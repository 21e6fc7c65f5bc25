"""An output of a running step on its way into the store, and what Dagster is told of it."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import dagster as dg

from metaxy_dagster import constants as c
from metaxy_dagster.runtime import _compat
from metaxy_dagster.runtime.assets.feature_asset import FeatureAsset
from metaxy_dagster.runtime.assets.unwritten import warn_of_lost_commits, warn_of_upstreams
from metaxy_dagster.runtime.assets.upstream_assets import windows_upstream
from metaxy_dagster.runtime.calling import known_instance
from metaxy_dagster.runtime.events.event_metadata import feature_state, write_metadata
from metaxy_dagster.runtime.events.first_run import told_at_first
from metaxy_dagster.runtime.events.partition_events import partition_metadata, with_run_totals
from metaxy_dagster.runtime.io.batching import in_batches, with_batches
from metaxy_dagster.runtime.io.inputs import resolve_shared
from metaxy_dagster.runtime.io.internal import listed, looked_up_again
from metaxy_dagster.runtime.io.output import Answer, own_rows, write_output
from metaxy_dagster.runtime.partitions.scope import Scope
from metaxy_dagster.runtime.work.current import StepWork, work_of
from metaxy_dagster.runtime.work.failures import note_reported, stop_for_failed
from metaxy_dagster.runtime.work.increments import StepIncrements
from metaxy_dagster.runtime.work.limits import Limits
from metaxy_dagster.stores import Increment, MetadataStore, WriteResult, frames

if TYPE_CHECKING:
    from dagster import OutputContext

__all__ = ["Recording", "recording"]

_AT_ONCE = 10_000
#: What is said of the store's own table, where the data is in another place.
_OF_THE_STORE = (c.KEY_TABLE_NAME, c.KEY_URI, c.KEY_COLUMN_SCHEMA, c.KEY_PREVIEW)


@dataclass(frozen=True)
class Recording:
    """An output on its way into the store.

    Attributes:
        store: where to.
        context: of the output.
        asset: the asset, and what its metadata says.
        step: the running step; ``None`` outside of a run.
        keys: its partitions in this run; ``None`` if it has none.
        definition: of the partitions.
        also: the time windows by which assets upstream are partitioned.
        scope: the samples that are the asset's own in this run.
        increment: that it answers; ``None`` for a root.
        limits: how far a write may go.
        preview: whether events may show rows.
        waits: whether samples that were not known when the inputs were loaded are left out.
    """

    store: MetadataStore
    context: OutputContext
    asset: FeatureAsset
    step: _compat.Step | None
    keys: Sequence[str] | None
    definition: dg.PartitionsDefinition[Any] | None
    also: Sequence[dg.TimeWindowPartitionsDefinition]
    scope: Scope
    increment: Increment | None
    limits: Limits
    preview: bool
    waits: bool = False

    @property
    def work(self) -> StepWork | None:
        """What the step works on, if it has loaded features."""
        return None if self.step is None else work_of(self.step)

    def rows(self, frame: Any) -> frames.Rows:
        """What was returned, as rows with the columns of their partition.

        Raises:
            FrameError: it is no frame, or has rows of other partitions.
        """
        rows = own_rows(frame, self.asset, self.scope)
        if not self.waits or self.increment is None:
            return rows
        return listed(rows, self.increment, self.context.log)

    def record(self, frame: frames.Rows | None, answer: Answer | None = None) -> None:
        """Write rows, and tell Dagster what changed.

        Args:
            frame: of :meth:`rows`; ``None`` where nothing was returned.
            answer: how they answer the increment, where something is to be said of it.

        Raises:
            FrameError: the rows are refused; nothing was written.
        """
        context, asset, increment = self.context, self.asset, self.increment
        answer = self.answer() if answer is None else answer
        events: dict[str, Any] = {}
        written: dict[str, int] = {}
        with _at_once(self.store, frame):
            if frame is not None:
                result = with_batches(self.step, self.write(frame, answer))
                counts = increment.counts if increment is not None else None
                events = write_metadata(result, counts)
                written = {context.run_id: result.written}
            if increment is not None:
                stop_for_failed(self.store, asset, increment, self.limits)
            with self.store.connected():
                self._warn()
                state = feature_state(self.store, asset.feature, self.scope, preview=self.preview)
            apart = partition_metadata(
                self.store, asset, self.keys, self.definition, also=self.also, written=written
            )
        if frame is not None:
            context.log.info("%s", _summary(result))
            for told in result.warnings:
                context.log.warning("feature %s: %s", result.feature, told)
        if asset.increment and frame is not None:
            # Of an increment the frame holds none of the samples that needed nothing.
            rows = state.metadata.get(c.KEY_PARTITION_ROW_COUNT, state.metadata[c.KEY_ROW_COUNT])
            events[c.KEY_UNCHANGED] = max(0, rows - result.written)
        said = {**events, **state.metadata, **told_at_first(context, self.store.graph)}
        if apart and _compat.add_partition_metadata(context, asset.asset_key, apart):
            said = with_run_totals(said, len(apart))
        context.add_output_metadata(self._sayable(said, answer))
        _compat.set_data_version(context, state.data_version)

    def write(self, frame: frames.Rows, answer: Answer) -> WriteResult:
        """Write rows, and tell nobody; the arguments are those of :meth:`record`."""
        result = write_output(
            self.store,
            self.asset,
            frame,
            scope=self.scope,
            increment=self.increment,
            run_id=self.context.run_id,
            limits=self.limits,
            batched=in_batches(self.step),
            answer=answer,
        )
        early = min(answer.announced, result.updated)
        return replace(result, new=result.new + early, updated=result.updated - early)

    def answer(self) -> Answer:
        """How rows answer the increment, as far as the step has noted it."""
        work = self.work
        doubtful = None if work is None else work.doubtful.get(self.asset.asset_key)
        return Answer(doubtful=doubtful)

    def _sayable(self, said: Mapping[str, Any], answer: Answer) -> dict[str, Any]:
        """Without what somebody else says, or knows better."""
        if answer.columns is None and not answer.elsewhere:
            return dict(said)
        known = {*_OF_THE_STORE, *self.context.get_logged_metadata()}
        return {name: value for name, value in said.items() if name not in known}

    def _warn(self) -> None:
        """Say what Dagster knows of and the store does not have."""
        context, asset = self.context, self.asset
        instance, log = known_instance(context), context.log
        warn_of_lost_commits(self.store, instance, asset.asset_key, log)
        if self.increment is None:
            warn_of_upstreams(
                self.store,
                asset.feature,
                instance,
                lambda: _compat.neighbours(context.step_context),
                log,
            )


def recording(
    context: OutputContext,
    asset: FeatureAsset,
    *,
    store: MetadataStore,
    increments: StepIncrements,
    limits: Limits,
    preview: bool,
    taken: Increment | None = None,
) -> Recording:
    """An output as it is to be recorded.

    Args:
        context: of the output.
        asset: the asset that it is.
        store: where to.
        increments: of the running steps; the one that it answers is taken from them, unless
            ``taken`` is given.
        limits: how far a write may go.
        preview: whether events may show rows, where the asset does not say it.
        taken: the increment, which has other answers to come.
    """
    step = _compat.running_step(context)
    partitioned = context.has_asset_partitions
    keys = context.asset_partition_keys if partitioned else None
    definition = context.asset_partitions_def if partitioned else None
    also = windows_upstream(
        None if step is None or not partitioned else step.assets, context.asset_key
    )
    increment, waits = taken or _taken(store, step, asset, increments), False
    work = None if step is None else work_of(step)
    if increment is not None and work is not None:
        increment, waits = looked_up_again(work, asset, increment)
    own = asset.keys.preview
    return Recording(
        store,
        context,
        asset,
        step,
        keys,
        definition,
        also,
        asset.scope(keys, definition, also),
        increment,
        limits,
        preview if own is None else own,
        waits,
    )


def _taken(
    store: MetadataStore, step: _compat.Step | None, asset: FeatureAsset, increments: StepIncrements
) -> Increment | None:
    """The increment that an output answers, and what is known to have failed of it."""
    if step is None:
        return None
    increment = increments.taken(step, asset.asset_key, lambda: resolve_shared(store, step))
    if increment is not None and step.shared is not None and asset.unreturned_empty:
        note_reported(store, step, increment)
    return increment


def _at_once(
    store: MetadataStore, frame: frames.Rows | None
) -> contextlib.AbstractContextManager[object]:
    """Write and look in one go; a large frame is hashed before others are kept waiting."""
    # A reader does not know how many rows it has.
    if getattr(frame, "num_rows", _AT_ONCE + 1) > _AT_ONCE:
        return contextlib.nullcontext()
    return store.connected("w")


def _summary(result: WriteResult) -> str:
    return (
        f"feature {result.feature}: {result.new} new, {result.updated} updated, "
        f"{result.unchanged} unchanged, {result.deleted} deleted"
        + (f", {result.empty} empty" if result.empty else "")
    )
