"""Deps that order execution: which are wanted, and which inputs bind them to an op."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

import dagster as dg

from metaxy_dagster.definitions import _compat
from metaxy_dagster.definitions.plan.plans import Change, Notice, NoticeKind

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping, Sequence

    from metaxy_dagster.definitions.repository.collect import Asset, Unit

__all__ = ["DepContext", "Deps", "input_names", "merged_deps", "unbound"]

_PREFIX: Final = "metaxy_dep__"
_NOT_IDENTIFIER: Final = re.compile(r"[^A-Za-z0-9_]")


@dataclass(frozen=True, eq=False)
class DepContext:
    """What the deps of a unit's assets are merged with.

    Args:
        replaced: dep keys to be replaced.
        relative: what the remaining relative keys mean, so that they are not doubled.
        mappings: partition mappings that the user set on any asset of the same op.
        assets: all assets, for their partitions.
    """

    replaced: Mapping[dg.AssetKey, tuple[dg.AssetKey, ...]]
    relative: Mapping[dg.AssetKey, dg.AssetKey]
    mappings: Mapping[dg.AssetKey, dg.PartitionMapping]
    assets: Mapping[dg.AssetKey, Asset]


@dataclass(frozen=True, eq=False)
class Deps:
    """The deps of one asset after the pass.

    Args:
        deps: all of them, the user's own first and in their order.
        changes: what was added or replaced.
        notices: partition mappings that had to be chosen.
    """

    deps: tuple[dg.AssetDep, ...]
    changes: list[Change] = field(default_factory=list)
    notices: list[Notice] = field(default_factory=list)


def merged_deps(
    spec: dg.AssetSpec,
    wanted: Mapping[dg.AssetKey, tuple[dg.AssetDep, str]],
    context: DepContext,
) -> Deps:
    """The user's deps, with references resolved, followed by the wanted ones that are missing.

    Args:
        spec: the asset as the user wrote it.
        wanted: by asset key, the dep to add and why.
        context: what they are merged with.

    Returns:
        The merged deps; a user's own AssetDep always stays as it is.
    """
    changes: list[Change] = []
    notices: list[Notice] = []
    result: dict[dg.AssetKey, dg.AssetDep] = {}
    covered: set[dg.AssetKey] = set()
    for dep in spec.deps:
        targets = context.replaced.get(dep.asset_key, (dep.asset_key,))
        for key in targets:
            covered.add(context.relative.get(key, key))
            if key == dep.asset_key:
                result[key] = dep
            elif key not in result:
                result[key] = _compat.dep_with(dep, key=key)
                shown = f"{dep.asset_key.to_user_string()} → {key.to_user_string()}"
                changes.append(Change("reference", shown, "the asset that the key refers to"))
    for key, (dep, why) in wanted.items():
        if key in covered or key == spec.key:
            continue
        chosen, notice = _with_mapping(
            spec, dep, context.mappings.get(key), context.assets.get(key)
        )
        result[key] = chosen
        changes.append(Change("dep", key.to_user_string(), why))
        if notice is not None:
            notices.append(notice)
    return Deps(tuple(result.values()), changes, notices)


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


def unbound(
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
