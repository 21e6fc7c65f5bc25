"""Makes the plan: reads a repository, decides what changes, finds every fault."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import dagster as dg

from metaxy_dagster.definitions import _compat
from metaxy_dagster.definitions.apply.rewrite import Rewriter
from metaxy_dagster.definitions.bindings.asset_metadata import metadata_faults
from metaxy_dagster.definitions.bindings.code_versions import bound_elsewhere, with_asset_versions
from metaxy_dagster.definitions.bindings.config_versions import with_default_inputs
from metaxy_dagster.definitions.bindings.declare import copied_graph, declare
from metaxy_dagster.definitions.bindings.declared import Declared
from metaxy_dagster.definitions.bindings.merge import Filled, fill
from metaxy_dagster.definitions.bindings.proposals import proposed_spec, translator_data
from metaxy_dagster.definitions.bindings.references import (
    References,
    Regroup,
    Relative,
    find_references,
    relative_targets,
)
from metaxy_dagster.definitions.bindings.remedies import in_keys
from metaxy_dagster.definitions.bindings.translator_data import MetaxyTranslatorData
from metaxy_dagster.definitions.bindings.unit_context import UnitContext
from metaxy_dagster.definitions.metaxify_plan import MetaxifyPlan
from metaxy_dagster.definitions.plan.chains import chains
from metaxy_dagster.definitions.plan.plans import Notice, NoticeKind
from metaxy_dagster.definitions.repository.collect import Scan, collect
from metaxy_dagster.definitions.repository.collector import collector_held
from metaxy_dagster.definitions.rules.additions import Additions, plan_additions
from metaxy_dagster.definitions.rules.automations import Automations, plan_automations
from metaxy_dagster.definitions.rules.conditions import fill_condition
from metaxy_dagster.definitions.rules.grouping import grouping_faults
from metaxy_dagster.definitions.rules.loading import Loads, lacks_an_asset
from metaxy_dagster.definitions.rules.mapping_faults import mapping_faults
from metaxy_dagster.definitions.rules.notices import general_notices
from metaxy_dagster.definitions.rules.parameters import parameter_faults
from metaxy_dagster.definitions.rules.partitions import partition_faults
from metaxy_dagster.definitions.rules.refusals import refusals
from metaxy_dagster.definitions.rules.resources import (
    Resources,
    configured_project,
    plan_resources,
    stored_in,
)
from metaxy_dagster.definitions.rules.selections import Selections
from metaxy_dagster.definitions.rules.unit_plan import plan_units
from metaxy_dagster.errors import DefinitionsError, MetaxyError
from metaxy_dagster.features.graph import FeatureGraph

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from metaxy_dagster.definitions.bindings.translator import MetaxyTranslator
    from metaxy_dagster.definitions.plan.plans import DefinitionPlan
    from metaxy_dagster.definitions.settings import MetaxifySettings

__all__ = ["Request", "make_plan"]


@dataclass(frozen=True, kw_only=True, eq=False)
class Request:
    """What a user asked for.

    Args:
        features: see :func:`metaxify_definitions`.
        store: likewise.
        translator: likewise.
        rename: whether feature assets take the keys of their features.
        with_resources: whether resources are added; a single decorated asset has none.
    """

    translator: MetaxyTranslator
    features: object = None
    store: object = None
    rename: bool = False
    with_resources: bool = True

    @property
    def settings(self) -> MetaxifySettings:
        """The translator's settings."""
        return self.translator.settings


@dataclass(eq=False)
class _Work:
    """Faults and warnings as they are found."""

    errors: list[MetaxyError] = field(default_factory=list)
    # Of one asset each: two assets may well be told the same.
    asset_errors: list[MetaxyError] = field(default_factory=list)
    notices: list[Notice] = field(default_factory=list)

    def note(self, found: Iterable[MetaxyError | Notice]) -> None:
        """Sort what a check yields."""
        for each in found:
            if isinstance(each, Notice):
                self.notices.append(each)
            else:
                self.asset_errors.append(each)


@collector_held()
@_compat.quiet()
def make_plan(defs: dg.Definitions, request: Request) -> MetaxifyPlan:
    """Plan the pass over a repository.

    Args:
        defs: the user's Definitions; not changed.
        request: what the user asked for.

    Returns:
        The plan, with every fault that was found in ``errors``.
    """
    work = _Work()
    scan = collect(defs)
    relative = relative_targets(scan)
    declared = _declared(scan, request, relative, work)
    _check_readable(scan, work)
    work.note(metadata_faults(scan, declared))
    _check_order(declared, work)
    request = _with_project(request, declared, work)
    resources = _resources(scan, declared, request, work)
    existing = scan.fields["resources"] or {}
    stored = stored_in(existing, resources, request.settings.io_manager_key)
    work.note(bound_elsewhere(stored.value, declared))
    context = _context(scan, declared, relative, request, work, store=stored.value)
    definitions = plan_units(context, work.notices, work.asset_errors)
    if stored.ours:
        _check_runs(context, declared, definitions, work)
    if not work.errors and not work.asset_errors:
        work.note(mapping_faults(definitions, declared.graph))
    found = chains(definitions)
    if found.circle:
        work.errors.append(_circle(found.circle))
    externals = _externals(context.references, declared, definitions, request, work)
    rewriter = Rewriter()
    automations, additions = Automations(), Additions()
    if not work.errors and not work.asset_errors:
        selections = Selections(definitions, externals, rewriter.rewrite, context.renames)
        automations = plan_automations(
            scan, definitions, selections, context.renames, request.settings.selection_drift
        )
        if request.with_resources:
            additions = plan_additions(context, definitions, declared.graph, selections, stored)
    work.errors += [*automations.errors, *additions.errors]
    work.notices += [*resources.notices, *automations.notices, *additions.notices]
    work.notices += general_notices(context, definitions, found.longest)
    return MetaxifyPlan(
        defs=defs,
        scan=scan,
        graph=declared.graph,
        definitions=definitions,
        externals=externals,
        resources=resources.values,
        resource_notes=tuple(resources.notes),
        automations=replace(
            automations.plan, notes=(*automations.plan.notes, *additions.sensor_notes)
        ),
        checks=tuple(additions.checks),
        check_notes=tuple(additions.check_notes),
        sensors=tuple(additions.sensors),
        rewriter=rewriter,
        longest_chain=found.longest,
        notices=tuple(work.notices),
        errors=(*_distinct(work.errors), *work.asset_errors),
    )


def _check_runs(
    context: UnitContext,
    declared: Declared,
    definitions: tuple[DefinitionPlan, ...],
    work: _Work,
) -> None:
    """What the library's own IO manager would refuse."""
    key = context.settings.io_manager_key
    work.note(partition_faults(definitions, context.scan.assets, key))
    relative = {
        index: {old: context.now(new) for old, new in targets.items()}
        for index, targets in context.relative.items()
    }
    loads = Loads(definitions, relative, declared.by_own_key, key)
    work.note(refusals(context, definitions, loads))
    existing = context.scan.fields["resources"] or {}
    work.note(parameter_faults(definitions, loads, context.settings, existing))


def _context(
    scan: Scan,
    declared: Declared,
    relative: Relative,
    request: Request,
    work: _Work,
    *,
    store: object,
) -> UnitContext:
    """All that is known once every feature has been looked at."""
    described = _described(scan, declared, request, work)
    renames = _renames(scan, declared, described, work) if request.rename else {}
    if renames:
        described = _described(scan, declared, request, work, renames)
    filled = {
        key: fill(scan.assets[key].spec, proposed, data)
        for key, (data, proposed) in described.items()
    }
    if request.with_resources and request.settings.pending_condition:
        for key, (data, _) in described.items():
            fill_condition(filled[key], scan.assets[key], data, store)
    for key, (data, _) in described.items():
        work.note(grouping_faults(scan.assets[key].name, data.plan, declared, scan))
    change = Regroup(keys=renames, groups=_new_groups(filled))
    references = find_references(scan, declared, relative, change)
    work.errors += references.errors
    return UnitContext(
        scan=scan,
        features={key: declared.by_asset[key] for key in described},
        proposals={key: proposed for key, (_, proposed) in described.items()},
        filled=filled,
        references=references,
        relative=relative,
        renames=renames,
        upstreams={
            key: frozenset(dep.upstream.key for dep in data.plan.deps)
            for key, (data, _) in described.items()
        },
        settings=request.settings,
    )


def _declared(scan: Scan, request: Request, before: Relative, work: _Work) -> Declared:
    try:
        graph = copied_graph(request.features)
    except MetaxyError as error:
        work.errors.append(error)
        graph = FeatureGraph()
    targets = {
        spec.key: before[unit.index]
        for unit in scan.units
        if unit.index in before
        for spec in unit.specs
    }
    declared = declare(scan, graph, targets)
    work.errors.extend(in_keys(error, declared, scan) for error in declared.errors)
    declared, notices = with_asset_versions(scan, declared, request.settings)
    work.note(notices)
    declared, found = with_default_inputs(scan, declared)
    work.note(found)
    return declared


def _check_readable(scan: Scan, work: _Work) -> None:
    work.errors.extend(
        DefinitionsError(
            f"Definitions.{name} was used up before the pass could read it",
            found="a generator, which Dagster reads once when Definitions is made and loses",
            allowed="a list",
            remedy=f"write Definitions({name}=list(...))",
        )
        for name in scan.used_up
    )


def _check_order(declared: Declared, work: _Work) -> None:
    try:
        declared.graph.topological_order()
    except MetaxyError as error:
        work.errors.append(error)


def _with_project(request: Request, declared: Declared, work: _Work) -> Request:
    settings = request.settings
    if settings.project is not None or not settings.enable_tags or not declared.by_asset:
        return request
    try:
        project = configured_project()
    except MetaxyError as error:
        work.errors.append(error)
        return request
    translator = replace(request.translator, settings=replace(settings, project=project))
    return replace(request, translator=translator)


def _described(
    scan: Scan,
    declared: Declared,
    request: Request,
    work: _Work,
    renames: Mapping[dg.AssetKey, dg.AssetKey] | None = None,
) -> dict[dg.AssetKey, tuple[MetaxyTranslatorData, dg.AssetSpec]]:
    """What each feature says of its assets; assets whose feature is at fault are left out."""
    renames = renames or {}
    found: dict[dg.AssetKey, tuple[MetaxyTranslatorData, dg.AssetSpec]] = {}
    for key, feature in declared.by_asset.items():
        try:
            data = translator_data(key, feature, declared, request.settings.project, renames)
            found[key] = (data, proposed_spec(request.translator, data))
        except MetaxyError as error:
            located = error.located(asset=scan.assets[key].name, feature=str(feature))
            work.errors.append(in_keys(located, declared, scan))
    return found


def _renames(
    scan: Scan,
    declared: Declared,
    described: Mapping[dg.AssetKey, tuple[MetaxyTranslatorData, dg.AssetSpec]],
    work: _Work,
) -> dict[dg.AssetKey, dg.AssetKey]:
    """Old to new keys: one bijective map, so that even a swap works."""
    wanted: dict[dg.AssetKey, dg.AssetKey] = {}
    by_new: defaultdict[dg.AssetKey, list[dg.AssetKey]] = defaultdict(list)
    for key, (_, proposed) in described.items():
        carriers = declared.carriers[declared.by_asset[key]]
        if len(carriers) > 1:
            message = f"keeps its key: {len(carriers)} assets carry its feature"
            work.notices.append(Notice(NoticeKind.RENAME, message, key.to_user_string()))
        elif proposed.key != key:
            wanted[key] = proposed.key
            by_new[proposed.key].append(key)
    for new, olds in by_new.items():
        holder = [new] if new in scan.assets and new not in wanted else []
        if len(olds) + len(holder) > 1:
            work.errors.append(
                DefinitionsError(
                    f"two assets would have the key {new.to_user_string()!r}",
                    asset=olds[0].to_user_string(),
                    found=", ".join(each.to_user_string() for each in (*olds, *holder)),
                    allowed="one asset per key",
                    remedy="give one feature another dagster/attributes.asset_key, "
                    'or use asset_keys="keep"',
                )
            )
            for old in olds:
                wanted.pop(old, None)
    return wanted


def _new_groups(filled: Mapping[dg.AssetKey, Filled]) -> dict[dg.AssetKey, str]:
    return {
        key: each.attributes["group_name"]
        for key, each in filled.items()
        if "group_name" in each.attributes
    }


def _resources(scan: Scan, declared: Declared, request: Request, work: _Work) -> Resources:
    wanted = bool(declared.by_asset) or request.store is not None
    if not request.with_resources or not wanted:
        return Resources()
    try:
        return plan_resources(
            scan.fields["resources"] or {},
            request.store,
            declared.graph,
            request.settings,
        )
    except MetaxyError as error:
        work.errors.append(error)
        return Resources()


def _externals(
    references: References,
    declared: Declared,
    definitions: Sequence[DefinitionPlan],
    request: Request,
    work: _Work,
) -> tuple[dg.AssetSpec, ...]:
    """External assets that have to exist for references to keep or find their meaning."""
    specs = [dg.AssetSpec(key) for key in references.captured]
    for key in references.loaded:
        if not any(lacks_an_asset(plan, key) for plan in definitions):
            continue
        feature = declared.by_own_key[key]
        try:
            data = translator_data(key, feature, declared, request.settings.project, {})
            proposed = proposed_spec(request.translator, data).replace_attributes(key=key, deps=[])
        except MetaxyError as error:
            work.errors.append(error.located(feature=str(feature)))
        else:
            specs.append(proposed.with_io_manager_key(request.settings.io_manager_key))
    return tuple(specs)


def _circle(keys: tuple[str, ...]) -> DefinitionsError:
    return DefinitionsError(
        "assets would wait for each other in a circle",
        asset=keys[0],
        found=" → ".join(keys),
        allowed="deps that lead from upstream to downstream only",
        remedy="remove one of these deps, or make the multi-asset among them subsettable",
    )


def _distinct(errors: list[MetaxyError]) -> list[MetaxyError]:
    """Each fault once: a feature's fault shows up again at everything downstream of it."""
    found: dict[tuple[Any, ...], MetaxyError] = {}
    for error in errors:
        found.setdefault(
            (type(error), error.problem, error.feature, str(error.found), error.remedy), error
        )
    return list(found.values())
