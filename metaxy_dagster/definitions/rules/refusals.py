"""What every run would refuse, or do in vain, asked of the finished plan."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

import dagster as dg

from metaxy_dagster.constants import (
    INPUT_INCREMENT,
    KEY_INPUT,
    KEY_PARTITION_BY,
    RESOURCE_STORE,
)
from metaxy_dagster.definitions import _compat
from metaxy_dagster.definitions.draft.loads import handler_of
from metaxy_dagster.definitions.draft.rule import RepositoryRule
from metaxy_dagster.definitions.plan.plans import Notice, NoticeKind
from metaxy_dagster.definitions.rules.own_writes import (
    ASKING,
    gives_nothing,
    needed_resources,
    own_write,
    words_of,
)
from metaxy_dagster.errors import DefinitionsError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from metaxy_dagster.definitions.bindings.bindings import Bindings
    from metaxy_dagster.definitions.draft.draft import Draft
    from metaxy_dagster.definitions.draft.loads import Load
    from metaxy_dagster.definitions.plan.plans import AssetPlan, DefinitionPlan
    from metaxy_dagster.definitions.repository.collect import Asset
    from metaxy_dagster.errors import MetaxyError
    from metaxy_dagster.features.keys import FeatureKey

__all__ = ["refusals"]


@partial(RepositoryRule, of_assets=True)
def refusals(bindings: Bindings, draft: Draft) -> Iterator[MetaxyError | Notice]:
    """Feature assets that could never do what they say.

    A fault where no run can succeed, or a key can have no effect; a warning where that depends on
    code that cannot be seen.
    """
    if not draft.stored.ours:
        return
    io_manager_key = bindings.settings.io_manager_key
    for plan in draft.definitions:
        tied = [each for each in plan.assets if each.feature is not None]
        if not tied:
            continue
        handlers = {each.key: handler_of(plan, each.key) for each in tied}
        ours = [each for each in tied if handlers[each.key] == io_manager_key]
        upstreams = {
            load.feature: load
            for load in draft.loads.of(plan)
            if load.feature is not None and load.manager == io_manager_key
        }
        internal = {each.asset: each for each in _internal(bindings, plan, ours)}
        yield from internal.values()
        for each in tied:
            asset = bindings.scan.assets[each.key]
            handler = handlers[each.key]
            yield from _unpartitioned(asset, each, handler, io_manager_key)
            # Said already: what cannot be called in batches for one of the reasons below, too.
            if asset.name in internal or asset.keys.samples_per_batch is not None:
                continue
            if asset.keys.takes_increment:
                yield from _vain_increment(bindings, plan, each, handler, upstreams)
            elif handler is None or gives_nothing(plan.unit):
                yield from own_write(bindings, plan, each)
            elif handler == io_manager_key:
                yield from _without_provenance(bindings, plan, each, upstreams)


def _internal(
    bindings: Bindings, plan: DefinitionPlan, ours: Sequence[AssetPlan]
) -> Iterator[MetaxyError | Notice]:
    """Assets of one op that are computed from each other: what is pending is looked up before."""
    by_feature = {each.feature: each for each in ours}
    for each in ours:
        above = [by_feature[up] for up in sorted(bindings.upstreams[each.key]) if up in by_feature]
        if not above or gives_nothing(plan.unit):
            continue
        names = ", ".join(other.key.to_user_string() for other in above)
        if not plan.unit.moves_as_one:
            message = (
                f"it is computed from {names}, of the same multi-asset: a run of both is refused, "
                "since the samples of one are looked up before the other is written; run them "
                "one after the other"
            )
            yield Notice(NoticeKind.BODY, message, each.key.to_user_string())
            continue
        yield _fault(
            each,
            "it is computed from a feature of the same multi-asset, whose new samples are not "
            "stored yet when those of this one are looked up",
            found=f"one op makes {names} and {each.key.to_user_string()}",
            allowed="features of one op that are computed from other assets only",
            remedy="make it an asset of its own that takes "
            f"{names} as an argument; or declare both by the same deps",
        )


def _unpartitioned(
    asset: Asset, each: AssetPlan, handler: str | None, io_manager_key: str
) -> Iterator[MetaxyError | Notice]:
    if not asset.keys.partition_by or asset.spec.partitions_def is not None:
        return
    columns = dict(asset.keys.partition_by)
    column: object = columns.get("", columns)
    if handler == io_manager_key:
        yield _fault(
            each,
            f'metadata "{KEY_PARTITION_BY}" is for assets with partitions',
            found=f'"{KEY_PARTITION_BY}": {column!r} on an asset without any',
            allowed=f'"{KEY_PARTITION_BY}" together with partitions_def',
            remedy=f'give the asset a partitions_def, or remove "{KEY_PARTITION_BY}"',
        )
    elif handler is None:
        message = f'"{KEY_PARTITION_BY}" does nothing: the asset has no partitions'
        yield Notice(NoticeKind.PARTITIONS, message, asset.name)


def _vain_increment(
    bindings: Bindings,
    plan: DefinitionPlan,
    each: AssetPlan,
    handler: str | None,
    upstreams: Mapping[FeatureKey, Load],
) -> Iterator[MetaxyError | Notice]:
    """``"metaxy/input": "increment"`` where nothing could give or take one."""
    mine = bindings.upstreams[each.key]
    key, wanted = bindings.settings.io_manager_key, f'"{KEY_INPUT}": "{INPUT_INCREMENT}"'
    about = f"metadata {wanted} does nothing"
    if not plan.unit.materializable:
        message = f"{wanted} does nothing: no function of this repository computes the asset"
        yield Notice(NoticeKind.METADATA, message, each.key.to_user_string())
        return
    if handler is not None and handler != key:
        yield _fault(
            each,
            f"{about}: what the asset returns bypasses the IO manager that would add it to the "
            "samples that are stored",
            found=f"the IO manager {handler!r}",
            allowed=f"{key!r}, which outputs of feature assets get unless they chose another",
            remedy=(
                "have its output routed (io_routing, an io_manager bound to the asset and an op "
                "that others use too stand in the way)"
                if handler == _compat.DEFAULT_IO_MANAGER_KEY
                else "drop the asset's own IO manager"
            )
            + f', or remove "{KEY_INPUT}"',
        )
    elif not mine:
        yield _fault(
            each,
            f"{about}: its feature is computed from no other feature",
            found="no upstream feature",
            allowed="an asset that takes assets with features as arguments",
            remedy='give the upstream assets features ("metaxy/feature", "metaxy/id_columns"), '
            f'name them in "metaxy/deps", or remove "{KEY_INPUT}"',
        )
    elif not mine & upstreams.keys():
        if handler is None and words_of(plan.unit) & ASKING:
            message = f"{about}: its function asks the store itself; remove it"
            yield Notice(NoticeKind.METADATA, message, each.key.to_user_string())
            return
        names = ", ".join(sorted(map(str, mine)))
        yield _fault(
            each,
            f"{about}: none of its arguments is an upstream feature that {key!r} loads",
            found=_taken(plan, upstreams),
            allowed=f"an argument for an asset of {names}",
            remedy=f'take the upstream asset as an argument, or remove "{KEY_INPUT}" and ask '
            "store.resolve_update(...) in the function",
        )
    elif handler is None or gives_nothing(plan.unit):
        yield from own_write(bindings, plan, each)


def _without_provenance(
    bindings: Bindings,
    plan: DefinitionPlan,
    each: AssetPlan,
    upstreams: Mapping[FeatureKey, Load],
) -> Iterator[MetaxyError | Notice]:
    """A derived feature whose function sees no upstream: nobody knows what its rows are made of."""
    mine = bindings.upstreams[each.key]
    if not mine or mine & upstreams.keys() or gives_nothing(plan.unit):
        return
    names = ", ".join(sorted(map(str, mine)))
    needed = needed_resources(plan.unit) - {bindings.settings.io_manager_key}
    remedy = (
        "take the upstream assets as arguments; or take the resource "
        f'"{RESOURCE_STORE}" and return what store.resolve_update(...) gave, with its '
        'provenance columns; or set "metaxy/deps": [] if it is computed from none of them'
    )
    node = plan.unit.definition.node_def if plan.unit.definition is not None else None
    if RESOURCE_STORE in needed or words_of(plan.unit) & ASKING:
        return
    if needed or isinstance(node, dg.GraphDefinition):
        message = (
            f"none of its arguments is an upstream feature ({names}): unless it asks the store "
            f"what is pending, what it returns is refused; {remedy}"
        )
        yield Notice(NoticeKind.BODY, message, each.key.to_user_string())
        return
    yield _fault(
        each,
        f"its feature is computed from {names}, but none of its arguments is: the provenance of "
        "what it returns would be unknown",
        found=_taken(plan, upstreams),
        allowed=f"an argument for an asset of {names}",
        remedy=remedy,
    )


def _taken(plan: DefinitionPlan, upstreams: Mapping[FeatureKey, Load]) -> str:
    unit = plan.unit
    taken = list(unit.arguments)
    loaded = {load.name for load in upstreams.values()}
    other = [name for name in taken if name not in loaded]
    if not taken:
        return "no argument for an asset"
    return "arguments: " + ", ".join(
        name + (" (loaded by another IO manager, or no feature)" if name in other else "")
        for name in taken
    )


def _fault(each: AssetPlan, problem: str, **words: Any) -> DefinitionsError:
    return DefinitionsError(
        problem, asset=each.key.to_user_string(), feature=str(each.feature), **words
    )
