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
from metaxy_dagster.runtime.assets.unwritten import check_upstreams, check_written
from metaxy_dagster.runtime.assets.upstream_assets import windows_upstream
from metaxy_dagster.runtime.calling import known_instance
from metaxy_dagster.runtime.io.batching import batch_size, first_batch
from metaxy_dagster.runtime.io.elsewhere import kept_by
from metaxy_dagster.runtime.io.first_runs import may_be_left_out
from metaxy_dagster.runtime.io.inputs import (
    Needed,
    begun_at,
    is_optional,
    load_frame,
    needed,
    produced,
    resolve,
)
from metaxy_dagster.runtime.io.recording import Recording, recording
from metaxy_dagster.runtime.loading.conversion import Source
from metaxy_dagster.runtime.loading.parameters import UNANNOTATED, Parameter
from metaxy_dagster.runtime.located import located
from metaxy_dagster.runtime.partitions.scope import Scope
from metaxy_dagster.runtime.pinning import pin
from metaxy_dagster.runtime.work.current import StepWork, begin_work, work_of
from metaxy_dagster.runtime.work.increments import StepIncrements
from metaxy_dagster.runtime.work.limits import Limits
from metaxy_dagster.runtime.work.run_inputs import within_run_of
from metaxy_dagster.runtime.work.skipping import mark_idle
from metaxy_dagster.stores import Increment, MetadataStore

__all__ = ["MetaxyIOManager"]


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
            partitions = self.partitions(context, asset, keys) if wanted.by_partition else None

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
                need = self.needed(context, asset, pinned=pinned, keys=keys)
                if step is not None and need is not None and may_be_left_out(need):
                    mark_idle(step)
                loaded = load_frame(asset, scope, need, self.store)
                if size is None:
                    return made(loaded.rows)
                return first_batch(loaded, made, wanted.name, size)

    def partitions(
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
        work = None if step is None else work_of(step)
        if obj is None and work is not None and asset.asset_key in work.recorded:
            return  # its function has made it, and all is said
        with located(context.asset_key), within_run_of(context):
            output = self.recording(context, asset)
            # Collected before the store is locked: a lazy frame runs the user's code. The rest
            # of a large one is collected by the write, before it locks the store.
            output.record(None if obj is None else output.rows(obj))

    def recording(
        self, context: dg.OutputContext, asset: FeatureAsset, taken: Increment | None = None
    ) -> Recording:
        """An output of a running step, on its way into the store.

        Args:
            context: of the output.
            asset: the asset that it is.
            taken: the increment that it answers, if others answer it, too.
        """
        return recording(
            context,
            asset,
            store=self.store,
            increments=self._increments,
            limits=self._limits(_compat.running_step(context)),
            preview=self.enable_preview,
            taken=taken,
        )

    def needed(
        self,
        context: dg.InputContext,
        asset: FeatureAsset,
        *,
        pinned: int | None,
        keys: Sequence[str] | None,
    ) -> Needed | None:
        """What the running step needs of a feature; ``None`` if it computes nothing from it.

        Args:
            context: of the input.
            asset: the asset that is loaded.
            pinned: the commit as of which; ``None`` for now.
            keys: the partitions that are loaded; ``None`` for all.

        Raises:
            RunError: the feature was never written to the store, though it was materialized.
        """
        step = _compat.running_step(context)
        self._check_written(context, asset, step, keys)
        found = needed(
            self.store,
            asset,
            step=step,
            pinned=pinned,
            increments=self._increments,
            limits=self._limits(step),
            batch_size=batch_size(context),
        )
        if found is not None:
            _note_elsewhere(found.work, context.step_context)
        return found

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
        begun = begun_at(self.store, step, outputs)
        increments = self._increments.resolved(
            step,
            lambda: resolve(
                self.store, step, outputs, pinned=pinned, keep_unchanged=keep_unchanged
            ),
        )
        limits = self._limits(step)
        work = begin_work(StepWork(step, self.store, outputs, increments, limits, begun))
        _note_elsewhere(work, _compat.current_execution())
        return work

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

    def _limits(self, step: _compat.Step | None) -> Limits:
        return Limits.of(self.max_deleted_share, self.failed_rows, step)


def _note_elsewhere(work: StepWork, step: Any) -> None:
    outputs = (output.asset_key for output in work.outputs)
    work.elsewhere = frozenset(key for key in outputs if kept_by(step, key) is not None)
