"""Asset checks that the pass attaches to feature assets."""

from __future__ import annotations

from collections import defaultdict
from functools import partial
from typing import TYPE_CHECKING

import dagster as dg

from metaxy_dagster.constants import CHECKS_NONE, KEY_CHECK, KEY_CHECKS
from metaxy_dagster.definitions import _compat
from metaxy_dagster.definitions.draft.findings import Added
from metaxy_dagster.definitions.draft.rule import RepositoryRule
from metaxy_dagster.definitions.plan.plans import Change, Notice, NoticeKind
from metaxy_dagster.keys import check_names
from metaxy_dagster.runtime.assets.feature_asset import FeatureAsset
from metaxy_dagster.runtime.automation.checks import feature_checks, op_name

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from metaxy_dagster.definitions.bindings.bindings import Bindings
    from metaxy_dagster.definitions.draft.draft import Draft
    from metaxy_dagster.definitions.plan.plans import DefinitionPlan

__all__ = ["checks"]

#: What makes sense of features that are computed from others only.
_DERIVED = frozenset({"pending", "orphaned"})


@partial(RepositoryRule, sound=True, whole=True)
def checks(bindings: Bindings, draft: Draft) -> Iterator[Added | Notice]:
    """The checks that assets or the settings ask for, where they are not there yet.

    A check of the user's own keeps its name: the one that is attached beside it takes another.
    The schema is not checked of what an IO manager of the repository's own stores: the store does
    not have its columns.
    """
    assets, definitions, settings = bindings.scan.assets, draft.definitions, bindings.settings
    wanted = [
        (asset, assets[asset.key].keys)
        for plan in definitions
        for asset in plan.assets
        if asset.feature is not None
    ]
    if settings.checks == CHECKS_NONE and all(own.checks is None for _, own in wanted):
        return
    present = _present(definitions)
    kept = {each.planned.key: each.kept.name for each in draft.handled if each.kept is not None}
    taken = _node_names(definitions)
    for asset, own in wanted:
        tied = FeatureAsset.tied(asset.spec.key, own)
        if tied is None:
            continue
        kinds = check_names(settings.checks) if own.checks is None else own.checks
        if own.checks is None and bindings.graph.plan(tied.feature).is_root:
            kinds = tuple(kind for kind in kinds if kind not in _DERIVED)
        if "schema" in kinds and asset.key in kept:
            kinds = tuple(kind for kind in kinds if kind != "schema")
            message = f"its schema is not checked: {kept[asset.key]} has its columns, not the store"
            yield Notice(NoticeKind.IO_MANAGER, message, asset.key.to_user_string())
        there = present[asset.spec.key]
        names = {
            kind if kind not in there else f"metaxy_{kind}": kind
            for kind in kinds
            if kind not in there.values()
        }
        if names:
            name = op_name(asset.spec.key, taken)
            made = feature_checks(tied, names, store_resource_key=draft.stored.key, op_name=name)
            why = "the setting checks" if own.checks is None else KEY_CHECKS
            change = Change("checks", ", ".join(names), why)
            yield Added("checks", asset.spec.key.to_user_string(), made, change)


def _present(
    definitions: Sequence[DefinitionPlan],
) -> defaultdict[dg.AssetKey, dict[str, object]]:
    """Per asset the names of its checks, and which of ours each of them is."""
    found: defaultdict[dg.AssetKey, dict[str, object]] = defaultdict(dict)
    for plan in definitions:
        definition = plan.unit.definition
        if definition is None or not plan.unit.executable:
            continue
        specs: Mapping[str, dg.AssetCheckSpec] = {
            **definition.node_check_specs_by_output_name,
            **plan.checks,
        }
        for spec in specs.values():
            kind = spec.metadata.get(KEY_CHECK)
            found[spec.asset_key][spec.name] = getattr(kind, "value", kind)
    return found


def _node_names(definitions: Sequence[DefinitionPlan]) -> set[str]:
    """The names of all ops and graphs: a run cannot have two of one name."""
    nodes = [
        plan.unit.definition.node_def
        for plan in definitions
        if plan.unit.definition is not None and plan.unit.executable
    ]
    inner = (
        each
        for node in nodes
        if isinstance(node, dg.GraphDefinition)
        for each in _compat.inner_nodes(node)
    )
    return {node.name for node in (*nodes, *inner)}
