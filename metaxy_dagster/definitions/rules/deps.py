"""Deps: on whichever assets carry the upstream features, so that they order execution, too."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import dagster as dg

from metaxy_dagster.definitions import _compat
from metaxy_dagster.definitions.draft.drafts import TiedDraft
from metaxy_dagster.definitions.draft.findings import Fill
from metaxy_dagster.definitions.draft.rule import UnitRule
from metaxy_dagster.definitions.plan.plans import Change, Notice, NoticeKind

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator

    from metaxy_dagster.definitions.bindings.bindings import Bindings
    from metaxy_dagster.definitions.draft.drafts import AssetDraft, DepContext, UnitDraft
    from metaxy_dagster.definitions.repository.collect import Asset, Unit

__all__ = ["deps"]


_NO_ASSET: Final = "the parameter is the increment"


@UnitRule
def deps(bindings: Bindings, draft: UnitDraft) -> Iterator[Fill | Notice]:
    """The user's own deps, with references resolved, and those of the features that are missing.

    A dep that no input of the op is bound to yet gets an input of its own, which orders execution.
    """
    bound = {draft.deps.relative.get(key, key) for key in draft.inputs.values()}
    for asset in draft.assets:
        wanted = _wanted(asset)
        wanted.pop(bindings.now(asset.spec.key), None)
        yield from _merged(asset, wanted, draft.deps)
        draft.to_bind += _unbound(draft.unit, wanted, bound)
    # A second input for the key of each: Dagster asks for an asset only where all are values.
    draft.to_bind += [draft.inputs[name] for name in draft.loads]


def _wanted(asset: AssetDraft) -> dict[dg.AssetKey, dg.AssetDep]:
    if not isinstance(asset, TiedDraft):
        return {}
    return {dep.asset_key: dep for dep in asset.proposed.deps}


def _merged(
    asset: AssetDraft, wanted: dict[dg.AssetKey, dg.AssetDep], context: DepContext
) -> Iterator[Fill | Notice]:
    """The user's deps, followed by the wanted ones; a user's own AssetDep stays as it is."""
    spec = asset.spec
    changes: list[Change] = []
    result: dict[dg.AssetKey, dg.AssetDep] = {}
    covered: set[dg.AssetKey] = set()
    for dep in spec.deps:
        if dep.asset_key in context.dropped:
            changes.append(Change("dep", f"no {dep.asset_key.to_user_string()}", _NO_ASSET))
            continue
        targets = context.replaced.get(dep.asset_key, (dep.asset_key,))
        for key in targets:
            covered.add(context.relative.get(key, key))
            if key == dep.asset_key:
                result[key] = dep
            elif key not in result:
                result[key] = _compat.dep_with(dep, key=key)
                shown = f"{dep.asset_key.to_user_string()} → {key.to_user_string()}"
                changes.append(Change("reference", shown, "the asset that the key refers to"))
    for key, dep in wanted.items():
        if key in covered or key == spec.key:
            continue
        chosen, notice = _with_mapping(
            spec, dep, context.mappings.get(key), context.assets.get(key)
        )
        result[key] = chosen
        why = f"feature {asset.feature} depends on it"
        changes.append(Change("dep", key.to_user_string(), why))
        if notice is not None:
            yield notice
    if changes:
        yield Fill(asset, "deps", tuple(result.values()), tuple(changes))


def _with_mapping(
    spec: dg.AssetSpec,
    dep: dg.AssetDep,
    by_user: dg.PartitionMapping | None,
    upstream: Asset | None,
) -> tuple[dg.AssetDep, Notice | None]:
    if dep.partition_mapping is not None or by_user is not None:
        mapping = dep.partition_mapping or by_user
        return _compat.dep_with(dep, partition_mapping=mapping), None
    if upstream is None:
        return dep, None
    theirs, mine = upstream.spec.partitions_def, spec.partitions_def
    fault = _compat.partition_mapping_fault(mine, theirs)
    if fault is not None:
        message = (
            f"{upstream.name} is partitioned in another way: every partition depends on all of "
            "its partitions; declare an AssetDep with a partition mapping to narrow that"
        )
        dep = _compat.dep_with(dep, partition_mapping=dg.AllPartitionMapping())
        return dep, Notice(NoticeKind.PARTITIONS, message, spec.key.to_user_string())
    if (theirs is None) == (mine is None):
        return dep, None
    side = "upstream" if theirs is not None else "downstream"
    message = (
        f"only the {side} side of the new dep on {upstream.name} is partitioned: "
        "it covers all partitions"
    )
    return dep, Notice(NoticeKind.PARTITIONS, message, spec.key.to_user_string())


def _unbound(
    unit: Unit, deps: Iterable[dg.AssetKey], bound: Collection[dg.AssetKey]
) -> list[dg.AssetKey]:
    """The keys among new deps that need an input of their own to order execution.

    Assets of one op that always run together order themselves; where the op can be split, Dagster
    runs the parts as steps of their own, which the same kind of input orders.
    """
    if not unit.materializable:
        return []
    together = {spec.key for spec in unit.specs} if unit.moves_as_one else frozenset()
    return [key for key in dict.fromkeys(deps) if key not in bound and key not in together]
