"""The IO manager: features in, features out, and only pending samples where that is asked for."""

# Annotations are not postponed here: Dagster reads ResourceDependency when the class is made.

import contextlib
from collections.abc import Iterator, Sequence
from typing import Any

import dagster as dg
from pydantic import Field, PrivateAttr, field_validator

from metaxy_dagster import constants as c
from metaxy_dagster.features.shares import SHARE_RULE
from metaxy_dagster.runtime import _compat
from metaxy_dagster.runtime.assets.feature_asset import FeatureAsset
from metaxy_dagster.runtime.assets.unwritten import (
    check_upstreams,
    check_written,
    warn_of_lost_commits,
    warn_of_upstreams,
)
from metaxy_dagster.runtime.assets.upstream_assets import windows_upstream
from metaxy_dagster.runtime.calling import known_instance
from metaxy_dagster.runtime.events.event_metadata import feature_state, write_metadata
from metaxy_dagster.runtime.events.first_run import told_at_first
from metaxy_dagster.runtime.events.partition_events import partition_metadata, with_run_totals
from metaxy_dagster.runtime.io.batching import batch_size, first_batch, in_batches, with_batches
from metaxy_dagster.runtime.io.inputs import (
    is_optional,
    load_frame,
    produced,
    resolve,
    resolve_shared,
)
from metaxy_dagster.runtime.io.output import own_rows, write_output
from metaxy_dagster.runtime.loading.conversion import Source
from metaxy_dagster.runtime.loading.parameters import UNANNOTATED, Parameter
from metaxy_dagster.runtime.located import located
from metaxy_dagster.runtime.partitions.scope import Scope
from metaxy_dagster.runtime.pinning import pin
from metaxy_dagster.runtime.work.current import StepWork, begin_work, work_of
from metaxy_dagster.runtime.work.failures import note_reported, stop_for_failed
from metaxy_dagster.runtime.work.increments import StepIncrements
from metaxy_dagster.runtime.work.limits import Limits
from metaxy_dagster.runtime.work.run_inputs import within_run_of
from metaxy_dagster.stores import Increment, MetadataStore, WriteResult, frames

__all__ = ["MetaxyIOManager"]

_AT_ONCE = 10_000


class MetaxyIOManager(dg.ConfigurableIOManager):
    """Reads and writes assets that are features.

    An input is loaded as the type that its parameter is annotated with (a narwhals lazy frame by
    default): all samples, or with ``"metaxy/input": "increment"`` on the asset only those that
    its pending samples are computed from. What the asset returns is written with the provenance
    of what it was given, whatever happened upstream meanwhile. A partitioned asset reads and
    writes the samples of its partitions, which the column ``partition_by`` names.

    Example:
        >>> import dagster as dg, metaxy_dagster as mxd
        >>> store = mxd.MetaxyStoreFromConfigResource(path="metaxy.duckdb")
        >>> resources = {"store": store, "metaxy_io_manager": MetaxyIOManager(store=store)}
    """

    store: dg.ResourceDependency[MetadataStore]
    max_deleted_share: float = Field(
        default=0.5,
        ge=0,
        le=1,
        description="Refuse to replace a feature when more than this share would be deleted; "
        "an asset's metaxy/max_deleted_share, and a run tag of that name, say otherwise.",
    )

    failed_rows: str = Field(
        default=c.FAILED_KEEP,
        description="What becomes of rows that an earlier run made of samples that fail: keep "
        "them, delete them, or raise when the others are written; an asset's "
        "metaxy/failed_rows says otherwise.",
    )

    unannotated: str = Field(
        default="narwhals",
        description="What a parameter without an annotation gets: narwhals (a lazy frame), polars, "
        "polars_lazy, pandas, pyarrow or duckdb.",
    )

    @field_validator("unannotated")
    @classmethod
    def _kind(cls, value: str) -> str:
        if value not in UNANNOTATED:
            message = f"one of {', '.join(UNANNOTATED)}, not {value!r}"
            raise ValueError(message)
        return value

    enable_preview: bool = Field(
        default=True,
        description="Show some rows, and the samples that failed, in events; an asset's "
        "metaxy/preview says otherwise.",
    )

    @field_validator("failed_rows")
    @classmethod
    def _known(cls, value: str) -> str:
        if value not in c.FAILED_MODES:
            message = f"one of {', '.join(c.FAILED_MODES)}, not {value!r}"
            raise ValueError(message)
        return value

    @field_validator("max_deleted_share", mode="before")
    @classmethod
    def _number(cls, value: object) -> object:
        if isinstance(value, bool):
            message = f"a share is {SHARE_RULE}, not {value}"
            raise ValueError(message)  # noqa: TRY004 - what pydantic takes for a refusal
        return value

    # Dagster gives the inputs and outputs of a step to one object.
    _increments: StepIncrements = PrivateAttr(default_factory=StepIncrements)

    @contextlib.contextmanager
    def yield_for_execution(self, context: dg.InitResourceContext) -> Iterator[Any]:
        """Called by Dagster around the steps that use this object.

        Dagster 1.11 and early releases of 1.12 enter a bare store that another resource has, as
        if it were to be closed after the run: a session that reads, around steps that write.
        """
        with self.store.without_session(), super().yield_for_execution(context) as manager:
            yield manager

    def load_input(self, context: dg.InputContext) -> Any:
        """Load a feature for a parameter.

        Raises:
            RunError: the asset is tied to no feature, the annotated type is none of a frame, or
                nothing says which column holds the partition.
            StoreError: the store cannot be read.
        """
        asset = FeatureAsset.required(context.asset_key, _compat.input_metadata(context))
        step, size = _compat.running_step(context), batch_size(context)
        with located(context.asset_key), within_run_of(context):
            keys = _compat.input_partition_keys(context)
            definition = context.asset_partitions_def if keys is not None else None
            assets = None if step is None or keys is None else step.assets
            scope = asset.scope(keys, definition, windows_upstream(assets, context.asset_key))
            key, wanted = asset.asset_key.to_user_string(), Parameter.of(context, self.unannotated)
            partitions = self._partitions(context, asset, keys) if wanted.by_partition else None

            def made(rows: Source) -> Any:
                return wanted.made(rows, asset=key, partitions=partitions)

            pinned = pin(self.store, step)
            _compat.say_of_input(
                context,
                {
                    c.KEY_FEATURE: str(asset.feature),
                    c.KEY_STORE: self.store.display(),
                    c.KEY_TABLE_NAME: self.store.table_name(asset.feature),
                },
            )
            # Nothing of the user's runs in here, so the file may be kept open.
            with self.store.connected():
                self._check_written(context, asset, step, keys)
                loaded = load_frame(
                    self.store,
                    asset,
                    scope,
                    step=step,
                    pinned=pinned,
                    increments=self._increments,
                    limits=self._limits(step),
                    batch_size=size,
                )
                if size is None:
                    return made(loaded.rows)
                return first_batch(loaded, made, wanted.name, size)

    def _partitions(
        self, context: dg.InputContext, asset: FeatureAsset, keys: Sequence[str] | None
    ) -> dict[str, Scope] | None:
        """The samples of each partition that an input is loaded for."""
        if not context.has_asset_partitions:
            return None
        definition = context.asset_partitions_def
        if keys is None:
            keys = definition.get_partition_keys(dynamic_partitions_store=context.instance)
        step = _compat.running_step(context)
        also = windows_upstream(None if step is None else step.assets, context.asset_key)
        return {key: asset.scope([key], definition, also) for key in keys}

    def handle_output(self, context: dg.OutputContext, obj: Any) -> None:
        """Write what an asset returned, and tell Dagster what changed.

        Raises:
            RunError: the asset is tied to no feature, or nothing says which column holds the
                partition.
            FrameError: what was returned is refused; nothing was written.
        """
        metadata = {**context.definition_metadata, **context.asset_spec.metadata}
        asset = FeatureAsset.required(context.asset_key, metadata)
        step = _compat.running_step(context)
        partitioned = context.has_asset_partitions
        work = None if step is None else work_of(step)
        if obj is None and work is not None and asset.asset_key in work.recorded:
            return  # its function has made it, and all is said
        with located(context.asset_key), within_run_of(context):
            keys = context.asset_partition_keys if partitioned else None
            definition = context.asset_partitions_def if partitioned else None
            assets = None if step is None or not partitioned else step.assets
            also = windows_upstream(assets, context.asset_key)
            scope = asset.scope(keys, definition, also)
            increment = self._taken(step, asset)
            events: dict[str, Any] = {}
            written: dict[str, int] = {}
            # Collected before the store is locked: a lazy frame runs the user's code. The rest
            # of a large one is collected by the write, before it locks the store.
            frame = None if obj is None else own_rows(obj, asset, scope)
            with _at_once(self.store, frame):
                if frame is not None:
                    result = write_output(
                        self.store,
                        asset,
                        frame,
                        scope=scope,
                        increment=increment,
                        run_id=context.run_id,
                        limits=self._limits(step),
                        batched=in_batches(step),
                    )
                    result = with_batches(step, result)
                    counts = increment.counts if increment is not None else None
                    events = write_metadata(result, counts)
                    written = {context.run_id: result.written}
                if increment is not None:
                    stop_for_failed(self.store, asset, increment, self._limits(step))
                with self.store.connected():
                    self._warn(context, asset, resolved=increment is not None)
                    state = feature_state(
                        self.store,
                        asset.feature,
                        scope,
                        preview=self.enable_preview
                        if asset.keys.preview is None
                        else asset.keys.preview,
                    )
                apart = partition_metadata(
                    self.store, asset, keys, definition, also=also, written=written
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
        context.add_output_metadata(said)
        _compat.set_data_version(context, state.data_version)

    def begin(self, step: _compat.Step, *, keep_unchanged: bool) -> StepWork:
        """What a step works on, also where no input of it is a feature.

        Args:
            step: the running step.
            keep_unchanged: list samples that need nothing too, if no input had it resolved.
        """
        found = work_of(step)
        if found is not None:
            return found
        outputs = produced(step)
        pinned = pin(self.store, step)
        increments = self._increments.resolved(
            step,
            lambda: resolve(
                self.store, step, outputs, pinned=pinned, keep_unchanged=keep_unchanged
            ),
        )
        return begin_work(StepWork(step, self.store, outputs, increments, self._limits(step)))

    def forget(self, step: _compat.Step, asset_key: dg.AssetKey) -> None:
        """Let go of what was pending of an asset that no output is to answer any more."""
        self._increments.taken(step, asset_key, dict)

    def _check_written(
        self,
        context: dg.InputContext,
        asset: FeatureAsset,
        step: _compat.Step | None,
        keys: Sequence[str] | None,
    ) -> None:
        """Refuse what would be read as empty though Dagster knows materializations of it."""
        instance, features = known_instance(context), [o.feature for o in produced(step)]
        check_written(
            self.store,
            asset,
            instance,
            context.log,
            keys=keys,
            definition=context.asset_partitions_def if context.has_asset_partitions else None,
            optional=is_optional(self.store, step, asset),
        )
        if instance is not None:
            check_upstreams(
                self.store,
                features,
                instance,
                lambda: _compat.neighbours(context.step_context),
                but=asset.feature,
            )

    def _warn(self, context: dg.OutputContext, asset: FeatureAsset, *, resolved: bool) -> None:
        """Say what Dagster knows of and the store does not have."""
        instance, log = known_instance(context), context.log
        warn_of_lost_commits(self.store, instance, asset.asset_key, log)
        if not resolved:
            warn_of_upstreams(
                self.store,
                asset.feature,
                instance,
                lambda: _compat.neighbours(context.step_context),
                log,
            )

    def _limits(self, step: _compat.Step | None) -> Limits:
        return Limits.of(self.max_deleted_share, self.failed_rows, step)

    def _taken(self, step: _compat.Step | None, asset: FeatureAsset) -> Increment | None:
        """The increment that an output answers, and what is known to have failed of it."""
        if step is None:
            return None
        increment = self._increments.taken(
            step, asset.asset_key, lambda: resolve_shared(self.store, step)
        )
        if increment is not None and step.shared is not None and asset.unreturned_empty:
            note_reported(self.store, step, increment)
        return increment


def _at_once(
    store: MetadataStore, frame: "frames.Rows | None"
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
