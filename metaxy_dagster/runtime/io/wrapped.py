"""IO managers of a repository's own: data stays where it is, and less of it is computed."""

from __future__ import annotations

import contextlib
import inspect
from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import dagster as dg

from metaxy_dagster import constants as c
from metaxy_dagster.runtime import _compat
from metaxy_dagster.runtime.assets.feature_asset import FeatureAsset
from metaxy_dagster.runtime.io.elsewhere import StoresElsewhere
from metaxy_dagster.runtime.io.io_manager import MetaxyIOManager
from metaxy_dagster.runtime.io.kept_batches import WaitingBatches
from metaxy_dagster.runtime.io.kept_inputs import KeptInput
from metaxy_dagster.runtime.io.kept_outputs import KeptOutput
from metaxy_dagster.runtime.located import located
from metaxy_dagster.runtime.work.current import StepWork, work_of
from metaxy_dagster.runtime.work.run_inputs import within_run_of
from metaxy_dagster.stores import Increment

if TYPE_CHECKING:
    from dagster import InitResourceContext, InputContext, OutputContext

_Name = tuple[str, tuple[str, int], dg.AssetKey]

__all__ = ["WrappedDefinition", "WrappedIOManager", "wrapped"]


def wrapped(inner: Any, io_manager_key: str = c.RESOURCE_IO_MANAGER) -> WrappedDefinition:
    """An IO manager that stores where another one does, and computes pending samples only.

    Whatever is no feature goes to the other one as it did. It takes the same configuration and
    the same resources, and the library's own IO manager besides.

    Args:
        inner: an IO manager as a repository gives it: an object, a configurable one, a definition.
        io_manager_key: the resource that is the library's IO manager.

    Returns:
        A definition to be put in the place of ``inner``, under the same key. What is wrapped
        already is returned as it is.

    Example:
        >>> import dagster as dg, metaxy_dagster as mxd
        >>> resources = {
        ...     "io_manager": wrapped(dg.FilesystemIOManager(base_dir="data")),
        ...     "metaxy_io_manager": mxd.MetaxyIOManager(store=mxd.DuckDBMetadataStore("m.duckdb")),
        ... }
        >>> sorted(resources["io_manager"].required_resource_keys)
        ['metaxy_io_manager']
    """
    if isinstance(inner, WrappedDefinition):
        return inner
    return WrappedDefinition(inner, io_manager_key)


class WrappedDefinition(dg.IOManagerDefinition):
    """The definition of a wrapped IO manager; :func:`wrapped` makes it.

    Attributes:
        inner: what is wrapped, as it was given.
    """

    def __init__(self, inner: Any, io_manager_key: str) -> None:
        made = _compat.resource_definition(inner)
        self.inner = inner
        self._made = made
        self._key = io_manager_key
        super().__init__(
            resource_fn=_maker(made, io_manager_key),
            config_schema=made.config_schema,
            description=made.description,
            required_resource_keys={*made.required_resource_keys, io_manager_key},
            version=made.version,
            input_config_schema=getattr(made, "input_config_schema", None),
            output_config_schema=getattr(made, "output_config_schema", None),
        )

    def get_required_resource_keys(
        self, resource_defs: Mapping[str, dg.ResourceDefinition]
    ) -> frozenset[str]:
        """All that Dagster makes before it: what the inner one nests, and ours."""
        return frozenset({*self._made.get_required_resource_keys(resource_defs), self._key})

    def get_resource_requirements(self, source_key: str | None) -> Iterator[Any]:
        """What must be there, as Dagster asks for it when definitions are checked."""
        own = dg.ResourceDefinition(lambda: None, required_resource_keys={self._key})
        yield from self._made.get_resource_requirements(source_key)
        yield from own.get_resource_requirements(source_key)

    def copy_for_configured(self, description: str | None, config_schema: Any) -> WrappedDefinition:
        """The same around a configured copy of the inner one."""
        copied = self._made.copy_for_configured(description, config_schema)
        return WrappedDefinition(copied, self._key)


def _maker(made: dg.ResourceDefinition, key: str) -> Any:
    """The function of the resource: it makes the inner one as Dagster would."""

    def wrapped_io_manager(context: InitResourceContext) -> Any:
        ours = getattr(context.resources, key)
        found: Any = _compat.made_by(made, context)
        if inspect.isgenerator(found):
            return _generated(ours, found)
        if isinstance(found, contextlib.ContextDecorator):
            return _entered(ours, found)
        return WrappedIOManager(found, ours)

    return wrapped_io_manager


def _generated(ours: MetaxyIOManager, found: Any) -> Iterator[Any]:
    """One value is made before, and what follows is run after the steps."""
    with contextlib.closing(found):
        for value in found:
            yield WrappedIOManager(value, ours)


@contextlib.contextmanager
def _entered(ours: MetaxyIOManager, found: Any) -> Iterator[Any]:
    with found as value:
        yield WrappedIOManager(value, ours)


class WrappedIOManager(dg.IOManager, StoresElsewhere):
    """An IO manager of a repository's own, and the library's beside it.

    Whoever holds it as a resource finds the attributes and methods of the inner one on it.

    Args:
        inner: stores and loads values.
        ours: knows the features.
    """

    def __init__(self, inner: Any, ours: MetaxyIOManager) -> None:
        self._inner = inner
        self._ours = ours
        self._batches: dict[_Name, WaitingBatches] = {}

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__") or name in {"_inner", "_ours", "_batches"}:
            raise AttributeError(name)  # of a copy that is being made
        return getattr(self._inner, name)

    def load_input(self, context: InputContext) -> Any:
        """Load a value; of a feature, what the pending samples of the step are computed from."""
        asset = self._loaded(context)
        step = None if asset is None else _compat.running_step(context)
        if asset is None or step is None:
            return self._inner.load_input(context)
        with located(asset.asset_key), within_run_of(context):
            return KeptInput(self._inner, self._ours, context, asset, step).load()

    def handle_output(self, context: OutputContext, obj: Any) -> None:
        """Store a value; of a feature, the whole of it, of which the step computed some samples."""
        asset, step = self._stored(context), _compat.running_step(context)
        work = None if step is None else work_of(step)
        recorded = asset is not None and work is not None and asset.asset_key in work.recorded
        if asset is None or step is None or recorded:
            self._inner.handle_output(context, obj)
            return
        with located(asset.asset_key), within_run_of(context):
            # As before, a table may be replaced by any other, unless the asset says otherwise.
            found = self._ours.recording(context, asset)
            found = replace(found, limits=replace(found.limits, max_deleted_share=1.0))
            output = KeptOutput(self._inner, found)
            waiting = self._waiting(output.output.work, asset)
            if waiting is None:
                output.store(obj)
            else:
                output.store(*waiting.taken(obj))

    def store_batch(
        self, work: StepWork, asset: FeatureAsset, batch: Increment, result: Any
    ) -> None:
        """Take what a function returned for a batch; it is stored now, or with later ones."""
        step = dg.OpExecutionContext.get().get_step_execution_context()
        waiting = self._batches.setdefault(_name(work, asset), WaitingBatches(batch))
        waiting.add(batch, result)
        if waiting.is_due:
            with waiting.storing():
                context = _compat.output_context(step, asset.asset_key)
                taken = work.increments[asset.asset_key]
                output = self._ours.recording(context, asset, taken)
                KeptOutput(self._inner, output, is_batch=True).store(*waiting.taken(None))

    def _waiting(self, work: StepWork | None, asset: FeatureAsset) -> WaitingBatches | None:
        return None if work is None else self._batches.pop(_name(work, asset), None)

    def _loaded(self, context: InputContext) -> FeatureAsset | None:
        if not context.has_asset_key:
            return None
        return FeatureAsset.of(context.asset_key, _compat.input_metadata(context))

    def _stored(self, context: OutputContext) -> FeatureAsset | None:
        if not context.has_asset_key:
            return None
        metadata = {**(context.definition_metadata or {}), **context.asset_spec.metadata}
        return FeatureAsset.of(context.asset_key, metadata)


def _name(work: StepWork, asset: FeatureAsset) -> _Name:
    """An output of one attempt of one step."""
    return work.step.run_id, work.step.attempt, asset.asset_key
