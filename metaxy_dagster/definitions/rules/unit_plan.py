"""Plans each object of a Definitions: specs, inputs, routes, in terms of its future keys."""

from __future__ import annotations

import hashlib
from collections import defaultdict
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Final

import dagster as dg

from metaxy_dagster.constants import KEY_COLUMN_LINEAGE
from metaxy_dagster.definitions import _compat
from metaxy_dagster.definitions.bindings.merge import Filled
from metaxy_dagster.definitions.bindings.references import renamed_lineage
from metaxy_dagster.definitions.plan.node_plan import NodePlan
from metaxy_dagster.definitions.plan.plans import (
    AssetPlan,
    Change,
    DefinitionPlan,
    Notice,
    NoticeKind,
)
from metaxy_dagster.definitions.rules.batching import cannot_be_batched, plan_batches
from metaxy_dagster.definitions.rules.loading import load_changes, loaded_by_key
from metaxy_dagster.definitions.rules.ordering import DepContext, input_names, merged_deps, unbound
from metaxy_dagster.definitions.rules.routing import Routes, route
from metaxy_dagster.definitions.rules.shared_nodes import nodes_used_elsewhere
from metaxy_dagster.definitions.rules.skipping import BODY, plan_body, why_not_pending

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from collections.abc import Set as AbstractSet

    from metaxy_dagster.definitions.bindings.unit_context import UnitContext
    from metaxy_dagster.definitions.repository.collect import Unit
    from metaxy_dagster.errors import MetaxyError
    from metaxy_dagster.features.keys import FeatureKey

__all__ = ["plan_units"]

_NO_DEPS: Final = DepContext({}, {}, {}, {})


@dataclass(eq=False)
class _Draft:
    """One unit while it is planned."""

    unit: Unit
    deps: DepContext
    routes: Routes
    assets: list[AssetPlan] = field(default_factory=list)
    inputs: dict[str, dg.AssetKey] = field(default_factory=dict)
    checks: dict[str, dg.AssetCheckSpec] = field(default_factory=dict)
    to_bind: list[dg.AssetKey] = field(default_factory=list)
    skips: bool = False
    batch_size: int | None = None
    loads: Mapping[str, _compat.Loaded] = field(default_factory=dict)
    touched: bool = False

    @property
    def rewrites(self) -> bool:
        """Whether its op or graph has to be another one."""
        routed = self.routes.outputs or self.loads
        return bool(self.to_bind or routed or self.skips or self.batch_size)


def plan_units(
    context: UnitContext, notices: list[Notice], errors: list[MetaxyError]
) -> tuple[DefinitionPlan, ...]:
    """Plan every unit of the repository; appends warnings to ``notices``, faults to ``errors``."""
    own_default = _compat.DEFAULT_IO_MANAGER_KEY in (context.scan.fields["resources"] or {})
    drafts = [
        _draft(context, unit, notices, errors, own_default=own_default)
        for unit in context.scan.units
    ]
    nodes = _nodes(context, drafts, notices, errors)
    return tuple(
        DefinitionPlan(
            unit=draft.unit,
            assets=tuple(draft.assets),
            keys=context.renames,
            input_keys={**draft.inputs, **nodes.bindings.get(draft.unit.index, {})},
            node=nodes.plans.get(draft.unit.index),
            checks=draft.checks,
            # Asked last: what was planned for a node may have been taken back.
            touched=draft.touched
            or draft.unit.index in nodes.plans
            or any(asset.changes for asset in draft.assets),
        )
        for draft in drafts
    )


def _draft(
    context: UnitContext,
    unit: Unit,
    notices: list[Notice],
    errors: list[MetaxyError],
    *,
    own_default: bool,
) -> _Draft:
    replaced = context.references.by_unit.get(unit.index, {})
    tied = [spec.key for spec in unit.specs if _is_tied(context, unit, spec.key)]
    loads = dict(loaded_by_key(unit, context.references.loaded, context.settings.io_manager_key))
    if not tied and not replaced and not context.renames and not loads:
        same = [AssetPlan(spec.key, None, spec) for spec in unit.specs]
        inputs = dict(unit.keys_by_input_name)
        return _Draft(unit, _NO_DEPS, Routes(), assets=same, inputs=inputs)
    deps = _dep_context(context, unit, replaced)
    features = {key: context.features[key] for key in tied}
    routes = route(unit, features, context.settings, own_default=own_default, loaded=context.loaded)
    draft = _Draft(unit, deps, routes, loads=loads)
    draft.inputs = {
        name: deps.replaced.get(key, (key,))[0] for name, key in unit.keys_by_input_name.items()
    }
    bound = {deps.relative.get(key, key) for key in draft.inputs.values()}
    for spec in unit.specs:
        plan, wanted = _asset(context, draft, spec, notices)
        draft.assets.append(plan)
        draft.to_bind += unbound(unit, wanted, bound)
    # A second input for the key of each: Dagster asks for an asset only where all are values.
    draft.to_bind += [draft.inputs[name] for name in loads]
    _plan_body(context, draft, tied, notices, errors)
    _checks(draft)
    draft.touched = bool(draft.checks) or draft.inputs != dict(unit.keys_by_input_name)
    return draft


def _plan_body(
    context: UnitContext,
    draft: _Draft,
    tied: Sequence[dg.AssetKey],
    notices: list[Notice],
    errors: list[MetaxyError],
) -> None:
    """Leave the body out while nothing is pending, and call it in batches where that is asked."""
    if not tied:
        return
    unit, assets = draft.unit, context.scan.assets
    key = next((k for k in tied if assets[k].keys.takes_increment), tied[0])
    upstreams = context.upstreams[key]
    inputs: dict[str, FeatureKey] = {}
    for name, bound in draft.inputs.items():
        if name in unit.arguments:
            feature = _feature_at(context, draft.deps.relative.get(bound, bound), upstreams)
            if feature is not None:
                inputs[name] = feature
    about: dict[str, Any] = {
        "inputs": inputs,
        "upstreams": upstreams,
        "settings": context.settings,
        "routed": draft.routes.outputs,
    }
    body = plan_body(unit, assets[key].keys, **about)
    if body.notice is not None:
        notices.append(body.notice)
    draft.skips = body.change is not None
    changes = [body.change] if body.change is not None else []
    for each in (assets[key] for key in tied if assets[key].keys.samples_per_batch):
        why_not = why_not_pending(unit, **about)
        found = plan_batches(unit, each, context.features[each.key], why_not=why_not)
        if isinstance(found, Change):
            draft.batch_size = each.keys.samples_per_batch
            changes.append(found)
        elif found is not None:
            errors.append(found)
    if changes:
        (asset,) = draft.assets
        draft.assets = [replace(asset, changes=(*asset.changes, *changes))]


def _feature_at(
    context: UnitContext, key: dg.AssetKey, upstreams: AbstractSet[FeatureKey]
) -> FeatureKey | None:
    """The feature of the asset that is going to have a key; or whose own key it is."""
    asset = context.assets_by_new_key.get(key)
    if asset is not None:
        return context.features.get(asset.key)
    return next((each for each in upstreams if each.parts == tuple(key.path)), None)


def _dep_context(
    context: UnitContext, unit: Unit, replaced: Mapping[dg.AssetKey, tuple[dg.AssetKey, ...]]
) -> DepContext:
    finals: dict[dg.AssetKey, tuple[dg.AssetKey, ...]] = {
        old: (new,) for old, new in context.renames.items()
    }
    finals |= {old: tuple(context.now(key) for key in keys) for old, keys in replaced.items()}
    relative = context.relative.get(unit.index, {})
    return DepContext(
        replaced=finals,
        relative={key: context.now(target) for key, target in relative.items()},
        mappings={
            dep.asset_key: dep.partition_mapping
            for spec in unit.specs
            for dep in spec.deps
            if dep.partition_mapping is not None
        },
        assets=context.assets_by_new_key,
    )


def _is_tied(context: UnitContext, unit: Unit, key: dg.AssetKey) -> bool:
    # A SourceAsset that stands beside the asset it names is not the one that carries the feature.
    return key in context.features and context.scan.assets[key].unit is unit


def _asset(
    context: UnitContext, draft: _Draft, spec: dg.AssetSpec, notices: list[Notice]
) -> tuple[AssetPlan, list[dg.AssetKey]]:
    """The plan of one asset, and the keys that it wants to wait for."""
    tied = _is_tied(context, draft.unit, spec.key)
    feature = context.features[spec.key] if tied else None
    filled = context.filled[spec.key] if tied else Filled()
    attributes: dict[str, Any] = dict(filled.attributes)
    changes = list(filled.changes)
    wanted = (
        {
            dep.asset_key: (dep, f"feature {feature} depends on it")
            for dep in context.proposals[spec.key].deps
        }
        if tied
        else {}
    )
    new_key = context.now(spec.key)
    if new_key != spec.key:
        attributes["key"] = new_key
        changes.insert(0, Change("key", new_key.to_user_string(), f"feature {feature}"))
    wanted.pop(new_key, None)
    deps = merged_deps(spec, wanted, draft.deps)
    if deps.changes:
        attributes["deps"] = deps.deps
        changes += deps.changes
    notices += deps.notices
    located = draft.routes.metadata.get(spec.key)
    if located:
        attributes["metadata"] = {**attributes.get("metadata", spec.metadata), **located}
    if spec.key in draft.routes.changes:
        changes.append(draft.routes.changes[spec.key])
    lineage = renamed_lineage(attributes.get("metadata", spec.metadata), context.renames)
    if lineage is not None:
        attributes["metadata"] = {**attributes.get("metadata", spec.metadata), **lineage}
        changes.append(Change("reference", KEY_COLUMN_LINEAGE, "renamed assets"))
    made = spec.replace_attributes(**attributes) if attributes else spec
    return AssetPlan(spec.key, feature, made, tuple(changes)), list(wanted)


def _checks(draft: _Draft) -> None:
    definition = draft.unit.definition
    if definition is None or not draft.unit.executable:
        return
    keys = {old: new[0] for old, new in draft.deps.replaced.items()}
    checks = {
        name: _compat.check_with_keys(check, keys)
        for name, check in definition.node_check_specs_by_output_name.items()
    }
    if any(
        checks[name] is not check
        for name, check in definition.node_check_specs_by_output_name.items()
    ):
        draft.checks = checks


@dataclass(eq=False)
class _Nodes:
    plans: dict[int, NodePlan] = field(default_factory=dict)
    bindings: dict[int, dict[str, dg.AssetKey]] = field(default_factory=dict)


def _nodes(
    context: UnitContext,
    drafts: Sequence[_Draft],
    notices: list[Notice],
    errors: list[MetaxyError],
) -> _Nodes:
    """How ops and graphs are rewritten; units that share one are looked at together."""
    sharers: defaultdict[int, list[_Draft]] = defaultdict(list)
    for draft in drafts:
        if draft.unit.executable and draft.unit.definition is not None:
            sharers[id(draft.unit.definition.node_def)].append(draft)
    foreign: frozenset[int] | None = None
    found = _Nodes()
    for identity, group in sharers.items():
        if not any(draft.rewrites for draft in group):
            continue
        if foreign is None:
            foreign = nodes_used_elsewhere(context.scan)
        if identity in foreign:
            why = "its op is also used by a job or inside a graph"
            for draft in group:
                _leave_node(draft, why, notices)
            errors += _not_in_batches(context, group, why)
            continue
        if len({draft.batch_size for draft in group}) > 1:
            why = "its op is shared with assets that take other samples at once"
            errors += _not_in_batches(context, group, why)
        _plan_node(group, found, notices)
    return found


def _plan_node(group: list[_Draft], found: _Nodes, notices: list[Notice]) -> None:
    node = group[0].unit.definition.node_def  # type: ignore[union-attr] # executable units only
    if any(draft.loads != group[0].loads for draft in group):
        for draft in group:
            _leave_loads(draft)
    loads = group[0].loads
    keys = list(dict.fromkeys(key for draft in group for key in draft.to_bind))
    names = input_names(keys, {each.name for each in node.input_defs})
    routes = dict(group[0].routes.outputs)
    if any(draft.routes.outputs != routes for draft in group):
        routes = {}
        for draft in group:
            _leave_routes(draft, "its op is shared with assets that store elsewhere", notices)
    plan = NodePlan(
        nothing_inputs=tuple(sorted(names.values())),
        io_manager_keys=routes,
        loads=loads,
        clone_suffix=_suffix(node.name, group),
        skips=all(draft.skips for draft in group),
        batch_size=group[0].batch_size,
    )
    if not plan.skips:
        for draft in group:
            _leave_body(draft, "its op is shared with assets that take all samples", notices)
    if not plan:
        return
    for draft in group:
        if loads and draft.assets:
            changes = (*draft.assets[0].changes, *load_changes(loads))
            draft.assets[0] = replace(draft.assets[0], changes=changes)
        found.plans[draft.unit.index] = plan
        found.bindings[draft.unit.index] = {names[key]: key for key in draft.to_bind}


def _leave_node(draft: _Draft, why: str, notices: list[Notice]) -> None:
    _leave_loads(draft)
    if draft.to_bind:
        deps = ", ".join(key.to_user_string() for key in draft.to_bind)
        message = f"the dep on {deps} is lineage only and does not order execution: {why}"
        notices.append(Notice(NoticeKind.LEFT_ALONE, message, draft.unit.label))
        draft.to_bind = []
    _leave_routes(draft, why, notices)
    _leave_body(draft, why, notices)


def _not_in_batches(
    context: UnitContext, group: Sequence[_Draft], why: str
) -> Iterator[MetaxyError]:
    for draft in group:
        if draft.batch_size is not None:
            (asset,) = draft.assets
            given, feature = context.scan.assets[asset.key], context.features[asset.key]
            yield cannot_be_batched(given, feature, why)


def _leave_body(draft: _Draft, why: str, notices: list[Notice]) -> None:
    if not draft.skips:
        return
    message = f"its body also runs while nothing is pending: {why}"
    notices.append(Notice(NoticeKind.BODY, message, draft.unit.label))
    draft.skips = False
    draft.assets = [_without(asset, BODY) for asset in draft.assets]


def _without(asset: AssetPlan, what: str) -> AssetPlan:
    """The plan of an asset without one of its changes."""
    changes = tuple(change for change in asset.changes if change.what != what)
    return replace(asset, changes=changes)


def _leave_loads(draft: _Draft) -> None:
    """Let an external asset say what loads the features that no asset carries."""
    keys = {draft.inputs[name] for name in draft.loads}
    draft.to_bind = [key for key in draft.to_bind if key not in keys]
    draft.loads = {}


def _leave_routes(draft: _Draft, why: str, notices: list[Notice]) -> None:
    if not draft.routes.outputs:
        return
    message = f"its IO manager stays: {why}"
    notices.append(Notice(NoticeKind.LEFT_ALONE, message, draft.unit.label))
    routed = {
        key
        for name, key in draft.unit.definition.node_keys_by_output_name.items()  # type: ignore[union-attr] # it has outputs
        if name in draft.routes.outputs
    }
    draft.routes.outputs.clear()
    draft.assets = [
        _without(asset, "io_manager_key") if asset.key in routed else asset
        for asset in draft.assets
    ]


def _suffix(name: str, group: Sequence[_Draft]) -> str:
    keys = sorted(spec.key.to_user_string() for draft in group for spec in draft.unit.specs)
    return hashlib.sha256("\n".join([name, *keys]).encode()).hexdigest()[:8]
