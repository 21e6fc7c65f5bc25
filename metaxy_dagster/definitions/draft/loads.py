"""What is loaded for which argument, and by which IO manager, after the pass."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import dagster as dg

from metaxy_dagster.constants import KEY_FEATURE
from metaxy_dagster.definitions import _compat
from metaxy_dagster.definitions.draft.storage import stored_by
from metaxy_dagster.definitions.plan.plans import Change
from metaxy_dagster.keys import named_feature

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping, Sequence

    from metaxy_dagster.definitions.bindings.bindings import Bindings
    from metaxy_dagster.definitions.bindings.references import Relative
    from metaxy_dagster.definitions.plan.plans import AssetPlan, DefinitionPlan
    from metaxy_dagster.definitions.repository.collect import Unit
    from metaxy_dagster.features.keys import FeatureKey

__all__ = ["Load", "Loads", "handler_of", "lacks_an_asset", "load_changes", "loaded_by_key"]


@dataclass(frozen=True, eq=False)
class Load:
    """One argument of an op or a graph that an asset is loaded for.

    Args:
        name: the argument.
        plan: what takes it.
        source: the asset that is loaded; None if the repository does not have it.
        feature: the feature that is loaded, if it is one.
        parameters: the inputs of ops that the argument leads to; one, unless it is a graph's.
        manager: the IO manager that loads it.
        maker: the object that defines what is loaded.
    """

    name: str
    plan: DefinitionPlan
    source: AssetPlan | None
    feature: FeatureKey | None
    parameters: tuple[tuple[dg.OpDefinition, dg.InputDefinition], ...]
    manager: str
    maker: Unit | None

    def knows_features(self, bindings: Bindings) -> bool:
        """Whether what loads it knows what is pending."""
        return bindings.knows_features(self.manager, self.plan.unit, self.maker)


class Loads:
    """The loads of a whole repository.

    Args:
        definitions: the planned units.
        relative: what relative keys mean, by their new names.
        own_keys: features by the asset keys that equal their own keys, for those without assets.
        io_manager_key: the IO manager that these are loaded by.
    """

    def __init__(
        self,
        definitions: Sequence[DefinitionPlan],
        relative: Relative,
        own_keys: Mapping[dg.AssetKey, FeatureKey],
        io_manager_key: str,
    ) -> None:
        self._relative = relative
        self._own_keys = own_keys
        self._io_manager_key = io_manager_key
        self._assets: dict[dg.AssetKey, tuple[AssetPlan, str, Unit]] = {}
        for plan in definitions:
            for asset in plan.assets:
                known = asset.spec.key in self._assets
                if not known or plan.unit.materializable:
                    self._assets[asset.spec.key] = (asset, _loader(plan, asset), plan.unit)

    def of(self, plan: DefinitionPlan) -> Iterator[Load]:
        """What is loaded for the arguments of one unit."""
        definition = plan.unit.definition
        if definition is None or not plan.unit.executable:
            return
        relative = self._relative.get(plan.unit.index, {})
        for name, old in plan.unit.arguments.items():
            bound = plan.input_keys.get(name, old)
            key = relative.get(bound, bound)
            unknown = (None, _compat.DEFAULT_IO_MANAGER_KEY, None)
            source, manager, maker = self._assets.get(key, unknown)
            feature = source.feature if source is not None else self._own_keys.get(key)
            if source is None and feature is not None:
                manager = self._io_manager_key
            parameters = tuple(_compat.destinations(definition.node_def, name))
            chosen = {each.input_manager_key for _, each in parameters} - {None}
            if len(chosen) == 1:
                manager = str(chosen.pop())
            yield Load(name, plan, source, feature, parameters, manager, maker)


def loaded_by_key(
    unit: Unit, keys: Collection[dg.AssetKey], io_manager_key: str
) -> Iterator[tuple[str, _compat.Loaded]]:
    """The arguments that take a feature by its own key, which no asset of the repository has.

    The input itself says what loads it, and of what: an external asset of that key would meet
    the real one where the definitions of another pass are merged with these.

    Args:
        unit: what is planned.
        keys: such keys of features.
        io_manager_key: what loads features.
    """
    if not keys or unit.definition is None or not unit.executable:
        return
    if not _compat.may_lack_assets():
        return
    for name, key in unit.arguments.items():
        if key in keys and not _is_also_awaited(unit, key):
            yield name, (io_manager_key, {KEY_FEATURE: key.to_user_string()})


def load_changes(loads: Mapping[str, _compat.Loaded]) -> Iterator[Change]:
    """The same in words."""
    for name, (manager, metadata) in loads.items():
        why = f"no asset here carries the feature {named_feature(metadata)}"
        yield Change("input_manager_key", f"{manager} for {name!r}", why)


def lacks_an_asset(plan: DefinitionPlan, key: dg.AssetKey) -> bool:
    """Whether an argument of a unit would find no way to a feature that no asset carries."""
    loads = plan.node.loads if plan.node is not None else {}
    return any(
        bound == key and name not in loads and not _is_also_awaited(plan.unit, key)
        for name, bound in plan.unit.arguments.items()
    )


def _is_also_awaited(unit: Unit, key: dg.AssetKey) -> bool:
    """Whether the op waits for the key by an input of its own: an earlier pass gave it one."""
    bound = unit.keys_by_input_name
    return any(key == bound[name] for name in bound.keys() - unit.arguments.keys())


def handler_of(plan: DefinitionPlan, key: dg.AssetKey) -> str | None:
    """The IO manager that handles what an asset returns; None where nothing is handled."""
    routed = plan.node.io_manager_keys if plan.node is not None else {}
    return stored_by(plan.unit, key, routed)


def _loader(plan: DefinitionPlan, asset: AssetPlan) -> str:
    """The IO manager that loads an asset."""
    named = asset.spec.metadata.get(_compat.IO_MANAGER_METADATA_KEY)
    if named is not None and not plan.unit.materializable:
        return str(getattr(named, "value", named))
    if plan.node is not None and plan.unit.definition is not None:
        for name, key in plan.unit.definition.node_keys_by_output_name.items():
            if key == asset.key and name in plan.node.io_manager_keys:
                return plan.node.io_manager_keys[name]
    return _compat.output_manager(plan.unit.definition, asset.key)
