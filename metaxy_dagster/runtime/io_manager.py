"""The IO manager: features in, features out, and only pending samples where that is asked for."""

# Annotations are not postponed here: Dagster reads ResourceDependency when the class is made.

from typing import Any

import dagster as dg
import narwhals as nw
from pydantic import Field, PrivateAttr

from metaxy_dagster.features import FeatureKey
from metaxy_dagster.runtime import _compat
from metaxy_dagster.runtime.conversion import convert
from metaxy_dagster.runtime.events import feature_metadata, write_metadata
from metaxy_dagster.runtime.feature_asset import FeatureAsset
from metaxy_dagster.runtime.output import located, needs_increment, write_output
from metaxy_dagster.stores import Increment, MetadataStore, WriteResult

__all__ = ["MetaxyIOManager"]

_Step = tuple[str, str, int]


class MetaxyIOManager(dg.ConfigurableIOManager):
    """Reads and writes assets that are features.

    An input is loaded as the type that its parameter is annotated with (a narwhals lazy frame by
    default): all samples, or with ``"metaxy/input": "increment"`` on the asset only those that
    its pending samples are computed from. What the asset returns is written with the provenance
    of what it was given, whatever happened upstream meanwhile.

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
        description="Refuse to replace a feature when more than this share would be deleted.",
    )

    # Resolved once per attempt at a step; Dagster gives the step's inputs and outputs to one
    # object.
    _increments: dict[_Step, dict[FeatureKey, Increment]] = PrivateAttr(default_factory=dict)

    def load_input(self, context: dg.InputContext) -> Any:
        """Load a feature for a parameter.

        Raises:
            RunError: the asset is tied to no feature, or the annotated type is none of a frame.
            StoreError: the store cannot be read.
        """
        asset = FeatureAsset.required(context.asset_key, _compat.input_metadata(context))
        name = asset.asset_key.to_user_string()
        with located(context.asset_key):
            frame = self._frame(context, asset)
            annotation = context.dagster_type.typing_type
            return convert(frame, annotation, asset=name, name=context.name)

    def handle_output(self, context: dg.OutputContext, obj: Any) -> None:
        """Write what an asset returned, and tell Dagster what changed.

        Raises:
            RunError: the asset is tied to no feature.
            FrameError: what was returned is refused; nothing was written.
        """
        metadata = {**context.definition_metadata, **context.asset_spec.metadata}
        asset = FeatureAsset.required(context.asset_key, metadata)
        increments = self._increments.get(_compat.attempt(context), {})
        increment = increments.pop(asset.feature, None)
        if not increments:
            self._increments.pop(_compat.attempt(context), None)
        with located(context.asset_key):
            events: dict[str, Any] = {}
            if obj is not None:
                result = write_output(
                    self.store,
                    asset,
                    obj,
                    increment=increment,
                    run_id=context.run_id,
                    max_deleted_share=self.max_deleted_share,
                )
                counts = increment.counts if increment is not None else None
                events = write_metadata(result, counts)
                context.log.info("%s", _summary(result))
            events |= feature_metadata(self.store, asset.feature)
            version = self.store.data_version(asset.feature)
        context.add_output_metadata(events)
        _compat.set_data_version(context, version)

    def _frame(self, context: dg.InputContext, asset: FeatureAsset) -> nw.LazyFrame[Any]:
        """The rows that the running step needs of an upstream."""
        needed = [
            (output, self._increment(context, output))
            for output in self._outputs(context)
            if any(
                dep.upstream.key == asset.feature
                for dep in self.store.graph.plan(output.feature).deps
            )
        ]
        if not needed:
            stored = list(self.store.schema(asset.feature))
            columns = stored or self.store.graph[asset.feature].id_columns
            return self.store.read(asset.feature, columns=columns)
        if not all(output.increment for output, _ in needed):
            return needed[0][1].upstream(asset.feature, all_rows=True)
        frames = [increment.upstream(asset.feature) for _, increment in needed]
        if len(frames) == 1:
            return frames[0]
        collected = [frame.collect(backend="pyarrow") for frame in frames]
        ids = list(self.store.graph[asset.feature].id_columns)
        return nw.concat(collected).unique(subset=ids, maintain_order=True).lazy()

    def _outputs(self, context: dg.InputContext) -> list[FeatureAsset]:
        """The features that the running step is to produce and that have upstreams."""
        found = [FeatureAsset.of(*item) for item in _compat.step_outputs(context).items()]
        return [asset for asset in found if asset and needs_increment(self.store, asset)]

    def _increment(self, context: dg.InputContext, asset: FeatureAsset) -> Increment:
        increments = self._increments.setdefault(_compat.attempt(context), {})
        if asset.feature not in increments:
            outputs = self._outputs(context)
            # Samples that need nothing are listed too where the step may return them: it got
            # all rows, or the pending rows of another of its features.
            keep = len(outputs) > 1 or not asset.increment
            increments[asset.feature] = self.store.resolve_update(
                asset.feature, keep_unchanged=keep
            )
        return increments[asset.feature]


def _summary(result: WriteResult) -> str:
    return (
        f"feature {result.feature}: {result.new} new, {result.updated} updated, "
        f"{result.unchanged} unchanged, {result.deleted} deleted"
    )
