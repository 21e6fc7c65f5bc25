"""Ops and graphs that several assets share: rewritten together, or left as they are."""

from __future__ import annotations

import hashlib
import re
from collections import defaultdict
from functools import partial
from typing import TYPE_CHECKING, Final

import dagster as dg

from metaxy_dagster.constants import KEY_OUTPUT
from metaxy_dagster.definitions.draft.drafts import BODY, OUTPUT, UnitDraft
from metaxy_dagster.definitions.draft.loads import load_changes
from metaxy_dagster.definitions.draft.rule import RepositoryRule
from metaxy_dagster.definitions.draft.shared_nodes import nodes_used_elsewhere
from metaxy_dagster.definitions.plan.node_plan import NodePlan
from metaxy_dagster.definitions.plan.plans import Notice, NoticeKind
from metaxy_dagster.definitions.rules.batching import cannot_be_batched
from metaxy_dagster.definitions.rules.own_bodies import cannot_be_recorded

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Sequence

    from metaxy_dagster.definitions.bindings.bindings import Bindings
    from metaxy_dagster.definitions.draft.draft import Draft
    from metaxy_dagster.errors import MetaxyError

__all__ = ["input_names", "sharing"]

_PREFIX: Final = "metaxy_dep__"
_NOT_IDENTIFIER: Final = re.compile(r"[^A-Za-z0-9_]")


@partial(RepositoryRule, of_assets=True)
def sharing(bindings: Bindings, draft: Draft) -> Iterator[Notice | MetaxyError]:
    """How ops and graphs are rewritten; units that share one are looked at together."""
    sharers: defaultdict[int, list[UnitDraft]] = defaultdict(list)
    for each in draft.units:
        if each.unit.executable and each.unit.definition is not None:
            sharers[id(each.unit.definition.node_def)].append(each)
    foreign: frozenset[int] | None = None
    for identity, group in sharers.items():
        if not any(each.rewrites for each in group):
            continue
        if foreign is None:
            foreign = nodes_used_elsewhere(bindings.scan)
        if identity in foreign:
            why = "its op is also used by a job or inside a graph"
            for each in group:
                yield from _leave_node(each, why)
            yield from _not_in_batches(group, why)
            continue
        if len({(each.batch_size, each.on_error) for each in group}) > 1:
            why = "its op is shared with assets that take other samples at once"
            yield from _not_in_batches(group, why)
        yield from _plan_node(group, draft)


def _plan_node(group: list[UnitDraft], whole: Draft) -> Iterator[Notice | MetaxyError]:
    node = group[0].unit.definition.node_def  # type: ignore[union-attr] # executable units only
    yield from _agreed(group)
    loads = group[0].loads
    keys = list(dict.fromkeys(key for draft in group for key in draft.to_bind))
    names = input_names(keys, {each.name for each in node.input_defs})
    routed = dict(group[0].routed)
    if any(draft.routed != routed for draft in group):
        routed = {}
        for draft in group:
            yield from _leave_routes(draft, "its op is shared with assets that store elsewhere")
    plan = NodePlan(
        nothing_inputs=tuple(sorted(names.values())),
        io_manager_keys=routed,
        loads=loads,
        clone_suffix=_suffix(node.name, group),
        skips=all(draft.skips for draft in group),
        batch_size=group[0].batch_size,
        own_body=group[0].own_body,
        on_error=group[0].on_error,
    )
    if not plan.skips:
        for draft in group:
            yield from _leave_body(draft, "its op is shared with assets that take all samples")
    if not plan:
        return
    for draft in group:
        if loads and draft.assets:
            draft.assets[0].changes += load_changes(loads)
        whole.nodes[draft.unit.index] = plan
        whole.node_inputs[draft.unit.index] = {names[key]: key for key in draft.to_bind}


def _agreed(group: list[UnitDraft]) -> Iterator[Notice | MetaxyError]:
    """Leave what the units of one node do not have in common."""
    if any(draft.loads != group[0].loads for draft in group):
        for draft in group:
            _leave_loads(draft)
    if any(draft.own_body != group[0].own_body for draft in group):
        for draft in group:
            yield from _leave_own_body(draft, "its op is shared with assets that are called apart")


def _leave_node(draft: UnitDraft, why: str) -> Iterator[Notice | MetaxyError]:
    _leave_loads(draft)
    if draft.to_bind:
        deps = ", ".join(key.to_user_string() for key in draft.to_bind)
        message = f"the dep on {deps} is lineage only and does not order execution: {why}"
        yield Notice(NoticeKind.LEFT_ALONE, message, draft.unit.label)
        draft.to_bind = []
    yield from _leave_routes(draft, why)
    yield from _leave_body(draft, why)
    yield from _leave_own_body(draft, why)


def _leave_own_body(draft: UnitDraft, why: str) -> Iterator[Notice | MetaxyError]:
    """Let a function be called as it was; of its increments other rules say the rest."""
    body, draft.own_body = draft.own_body, None
    if body is None:
        return
    for asset in draft.tied:
        asset.leave(BODY)
        if body.parameter is not None or asset.asset.keys.writes_itself:
            yield cannot_be_recorded(asset, why)
    for asset in draft.seen_making:
        asset.leave(OUTPUT)
        asset.attributes["metadata"] = {
            key: value for key, value in asset.metadata.items() if key != KEY_OUTPUT
        }
    draft.seen_making = []


def _not_in_batches(group: Sequence[UnitDraft], why: str) -> Iterator[MetaxyError]:
    for draft in group:
        if draft.batch_size is not None or draft.on_error is not None:
            (asset,) = draft.tied
            yield cannot_be_batched(asset, why)


def _leave_body(draft: UnitDraft, why: str) -> Iterator[Notice]:
    if not draft.skips:
        return
    message = f"its body also runs while nothing is pending: {why}"
    yield Notice(NoticeKind.BODY, message, draft.unit.label)
    draft.skips = False
    for asset in draft.assets:
        asset.leave(BODY)


def _leave_loads(draft: UnitDraft) -> None:
    """Let an external asset say what loads the features that no asset carries."""
    keys = {draft.inputs[name] for name in draft.loads}
    draft.to_bind = [key for key in draft.to_bind if key not in keys]
    draft.loads = {}


def _leave_routes(draft: UnitDraft, why: str) -> Iterator[Notice]:
    if not draft.routed:
        return
    yield Notice(NoticeKind.LEFT_ALONE, f"its IO manager stays: {why}", draft.unit.label)
    routed = {
        key
        for name, key in draft.unit.definition.node_keys_by_output_name.items()  # type: ignore[union-attr] # it has outputs
        if name in draft.routed
    }
    draft.routed.clear()
    for asset in draft.assets:
        if asset.spec.key in routed:
            asset.leave("io_manager_key")


def _suffix(name: str, group: Sequence[UnitDraft]) -> str:
    keys = sorted(spec.key.to_user_string() for draft in group for spec in draft.unit.specs)
    return hashlib.sha256("\n".join([name, *keys]).encode()).hexdigest()[:8]


def input_names(keys: Sequence[dg.AssetKey], taken: Collection[str]) -> dict[dg.AssetKey, str]:
    """Deterministic and collision-free input names: worker processes find the same ones.

    Example:
        >>> import dagster as dg
        >>> input_names([dg.AssetKey(["a", "b"]), dg.AssetKey("a_b")], taken=())
        {AssetKey(['a', 'b']): 'metaxy_dep__a_b', AssetKey(['a_b']): 'metaxy_dep__a_b_2'}
    """
    names: dict[dg.AssetKey, str] = {}
    used = set(taken)
    for key in sorted(keys):
        base = _PREFIX + _NOT_IDENTIFIER.sub("_", "_".join(key.path))
        name, number = base, 1
        while name in used:
            number += 1
            name = f"{base}_{number}"
        used.add(name)
        names[key] = name
    return names
