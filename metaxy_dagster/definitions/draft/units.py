"""From units to drafts of them, and from these to their plans."""

from __future__ import annotations

from typing import TYPE_CHECKING

from metaxy_dagster.definitions.draft.drafts import AssetDraft, DepContext, UnitDraft
from metaxy_dagster.definitions.draft.loads import loaded_by_key
from metaxy_dagster.definitions.plan.plans import AssetPlan, DefinitionPlan

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    import dagster as dg

    from metaxy_dagster.definitions.bindings.bindings import Bindings
    from metaxy_dagster.definitions.bindings.references import References
    from metaxy_dagster.definitions.draft.drafts import TiedDraft
    from metaxy_dagster.definitions.plan.node_plan import NodePlan
    from metaxy_dagster.definitions.repository.collect import Unit

__all__ = ["opened", "planned"]


def opened(
    bindings: Bindings, references: References, tied: Mapping[dg.AssetKey, TiedDraft]
) -> Iterator[UnitDraft]:
    """The drafts of all units.

    Args:
        bindings: the repository and its features.
        references: keys to be replaced.
        tied: the drafts of assets with features.

    Yields:
        One per unit, in their order.
    """
    loaded = _loaded(bindings, references)
    io_manager_key = bindings.settings.io_manager_key
    for unit in bindings.scan.units:
        replaced = references.by_unit.get(unit.index, {})
        # A SourceAsset that stands beside the asset it names is not the one with the feature.
        own = {
            spec.key: tied[spec.key]
            for spec in unit.specs
            if spec.key in tied and tied[spec.key].asset.unit is unit
        }
        loads = dict(loaded_by_key(unit, references.loaded, io_manager_key))
        bound = {
            name: key
            for name, key in unit.keys_by_input_name.items()
            if not own or name not in unit.increments
        }
        if not own and not replaced and not bindings.renames and not loads:
            yield UnitDraft(unit=unit, inputs=bound, active=False)
            continue
        deps = _dep_context(bindings, unit, replaced)
        yield UnitDraft(
            unit=unit,
            inputs={name: deps.replaced.get(key, (key,))[0] for name, key in bound.items()},
            assets=[own.get(spec.key) or AssetDraft(spec=spec) for spec in unit.specs],
            deps=deps,
            loaded=loaded,
            loads=loads,
        )


def planned(
    draft: UnitDraft,
    renames: Mapping[dg.AssetKey, dg.AssetKey],
    node: NodePlan | None,
    bindings: Mapping[str, dg.AssetKey],
) -> DefinitionPlan:
    """The plan of a unit, when all is said of it.

    Args:
        draft: the unit.
        renames: old to new keys.
        node: how its op or graph is rewritten.
        bindings: what the new inputs of that are bound to.
    """
    unit = draft.unit
    assets = [_planned_asset(each) for each in draft.assets]
    if not assets:
        assets = [AssetPlan(spec.key, None, spec) for spec in unit.specs]
    return DefinitionPlan(
        unit=unit,
        assets=tuple(assets),
        keys=renames,
        input_keys={**draft.inputs, **bindings},
        node=node,
        checks=draft.checks,
        resources=draft.resources,
        # Asked last: what was planned for a node may have been taken back.
        touched=node is not None
        or bool(draft.checks)
        or bool(draft.resources)
        or draft.inputs != dict(unit.keys_by_input_name)
        or any(asset.changes for asset in assets),
    )


def _planned_asset(draft: AssetDraft) -> AssetPlan:
    spec = draft.spec
    made = spec.replace_attributes(**draft.attributes) if draft.attributes else spec
    return AssetPlan(spec.key, draft.feature, made, tuple(draft.changes))


def _dep_context(
    bindings: Bindings, unit: Unit, replaced: Mapping[dg.AssetKey, tuple[dg.AssetKey, ...]]
) -> DepContext:
    finals: dict[dg.AssetKey, tuple[dg.AssetKey, ...]] = {
        old: (new,) for old, new in bindings.renames.items()
    }
    finals |= {old: tuple(bindings.now(key) for key in keys) for old, keys in replaced.items()}
    return DepContext(
        replaced=finals,
        relative=bindings.relative_now.get(unit.index, {}),
        mappings={
            dep.asset_key: dep.partition_mapping
            for spec in unit.specs
            for dep in spec.deps
            if dep.partition_mapping is not None
        },
        assets=bindings.assets_by_new_key,
        dropped=frozenset(unit.increments.values()) - unit.value_inputs,
    )


def _loaded(bindings: Bindings, references: References) -> frozenset[dg.AssetKey]:
    """The assets that arguments are loaded from, by the keys that they have now."""
    found: set[dg.AssetKey] = set()
    if not bindings.data:
        return frozenset()
    for unit in bindings.scan.units:
        relative = bindings.relative.get(unit.index, {})
        replaced = references.by_unit.get(unit.index, {})
        for key in unit.value_inputs:
            found.update(replaced.get(key, (relative.get(key, key),)))
    return frozenset(found)
