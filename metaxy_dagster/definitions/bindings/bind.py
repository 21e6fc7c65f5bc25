"""Ties the assets of a repository to their features, and asks the translator about each."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import replace
from typing import TYPE_CHECKING

from metaxy_dagster.definitions.bindings.bindings import Bindings, Step
from metaxy_dagster.definitions.bindings.code_versions import with_asset_versions
from metaxy_dagster.definitions.bindings.config_versions import with_default_inputs
from metaxy_dagster.definitions.bindings.declare import copied_graph, declare
from metaxy_dagster.definitions.bindings.proposals import proposed_spec, translator_data
from metaxy_dagster.definitions.bindings.references import relative_targets
from metaxy_dagster.definitions.bindings.remedies import in_keys
from metaxy_dagster.definitions.plan.plans import Notice, NoticeKind
from metaxy_dagster.errors import DefinitionsError, MetaxyError
from metaxy_dagster.features.graph import FeatureGraph
from metaxy_dagster.stores.config import load_config

if TYPE_CHECKING:
    from collections.abc import Mapping

    import dagster as dg

    from metaxy_dagster.definitions.bindings.declared import Declared
    from metaxy_dagster.definitions.bindings.references import Relative
    from metaxy_dagster.definitions.bindings.request import Request
    from metaxy_dagster.definitions.bindings.translator_data import MetaxyTranslatorData
    from metaxy_dagster.definitions.repository.collect import Scan

__all__ = ["bind"]

_Found = list[Notice | MetaxyError]
_Described = dict["dg.AssetKey", tuple["MetaxyTranslatorData", "dg.AssetSpec"]]


def bind(scan: Scan, request: Request) -> Bindings:
    """Find the feature of every asset, and what the feature says of it.

    Args:
        scan: the repository.
        request: what the user asked for.

    Returns:
        The bindings, with what was found to be wrong on the way; assets whose feature is at
        fault are not tied.
    """
    found: dict[Step, _Found] = {step: [] for step in Step}
    relative = relative_targets(scan)
    declared = _declared(scan, request, relative, found)
    request = _with_project(request, declared, found[Step.PROJECT])
    described = _described(scan, declared, request, {}, found[Step.PROPOSALS])
    renames: dict[dg.AssetKey, dg.AssetKey] = {}
    if request.rename:
        renames = _renames(scan, declared, described, found[Step.RENAMES])
    if renames:
        described = _described(scan, declared, request, renames, found[Step.RENAMES])
    return Bindings(
        scan=scan,
        declared=declared,
        relative=relative,
        data={key: data for key, (data, _) in described.items()},
        proposals={key: proposed for key, (_, proposed) in described.items()},
        renames=renames,
        request=request,
        found=found,
    )


def _declared(
    scan: Scan, request: Request, before: Relative, found: Mapping[Step, _Found]
) -> Declared:
    faults = found[Step.DECLARATIONS]
    try:
        graph = copied_graph(request.features)
    except MetaxyError as error:
        faults.append(error)
        graph = FeatureGraph()
    targets = {
        spec.key: before[unit.index]
        for unit in scan.units
        if unit.index in before
        for spec in unit.specs
    }
    declared = declare(scan, graph, targets)
    faults += [in_keys(error, declared, scan) for error in declared.errors]
    declared, notices = with_asset_versions(scan, declared, request.settings)
    declared, more = with_default_inputs(scan, declared)
    found[Step.VERSIONS].extend([*notices, *more])
    return declared


def _with_project(request: Request, declared: Declared, found: _Found) -> Request:
    """The request with the project that the nearest configuration names, if there is one."""
    settings = request.settings
    if settings.project is not None or not settings.enable_tags or not declared.by_asset:
        return request
    try:
        config = load_config()
    except MetaxyError as error:
        found.append(error)
        return request
    project = config.project if config is not None else None
    translator = replace(request.translator, settings=replace(settings, project=project))
    return replace(request, translator=translator)


def _described(
    scan: Scan,
    declared: Declared,
    request: Request,
    renames: Mapping[dg.AssetKey, dg.AssetKey],
    found: _Found,
) -> _Described:
    """What each feature says of its assets; assets whose feature is at fault are left out."""
    described: _Described = {}
    for key, feature in declared.by_asset.items():
        try:
            data = translator_data(key, feature, declared, request.settings.project, renames)
            described[key] = (data, proposed_spec(request.translator, data))
        except MetaxyError as error:
            located = error.located(asset=scan.assets[key].name, feature=str(feature))
            found.append(in_keys(located, declared, scan))
    return described


def _renames(
    scan: Scan, declared: Declared, described: _Described, found: _Found
) -> dict[dg.AssetKey, dg.AssetKey]:
    """Old to new keys: one bijective map, so that even a swap works."""
    wanted: dict[dg.AssetKey, dg.AssetKey] = {}
    by_new: defaultdict[dg.AssetKey, list[dg.AssetKey]] = defaultdict(list)
    for key, (_, proposed) in described.items():
        carriers = declared.carriers[declared.by_asset[key]]
        if len(carriers) > 1:
            message = f"keeps its key: {len(carriers)} assets carry its feature"
            found.append(Notice(NoticeKind.RENAME, message, key.to_user_string()))
        elif proposed.key != key:
            wanted[key] = proposed.key
            by_new[proposed.key].append(key)
    for new, olds in by_new.items():
        holder = [new] if new in scan.assets and new not in wanted else []
        if len(olds) + len(holder) > 1:
            found.append(
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
