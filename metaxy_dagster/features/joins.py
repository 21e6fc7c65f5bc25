"""Joins: on which columns a feature meets its upstreams, by the rules of their lineage."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from metaxy_dagster.errors import FeatureError
from metaxy_dagster.features.deps import FeatureDep
from metaxy_dagster.features.model import did_you_mean
from metaxy_dagster.features.specs import FeatureSpec

__all__ = ["Join", "join"]


@dataclass(frozen=True, slots=True)
class Join:
    """A dependency with its join columns, by their names in the feature."""

    dep: FeatureDep
    columns: tuple[str, ...]


def join(spec: FeatureSpec, upstreams: Sequence[FeatureSpec]) -> tuple[Join, ...]:
    """Find the join columns of every dependency, and check that they fit together.

    Args:
        spec: the feature.
        upstreams: the specs of its dependencies, in their order.

    Raises:
        FeatureError: the id columns and the lineage contradict each other.
    """
    joins = tuple(
        Join(dep, _columns(spec, dep, upstream))
        for dep, upstream in zip(spec.deps, upstreams, strict=True)
    )
    if joins:
        _check_optional(spec, joins)
        _check_covered(spec, joins)
        _check_connected(spec, joins)
    return joins


def _columns(spec: FeatureSpec, dep: FeatureDep, upstream: FeatureSpec) -> tuple[str, ...]:
    ids = tuple(map(dep.name_here, upstream.id_columns))
    on = dep.lineage.on
    if dep.lineage.type == "identity":
        _require_own(
            spec,
            dep,
            ids,
            "use LineageRelationship.aggregation(on=[...]) if several upstream samples give one,"
            " LineageRelationship.expansion(on=[...]) if one gives several, or rename={...} if the"
            " columns only have other names",
        )
        chosen = ids
    elif dep.lineage.type == "aggregation":
        chosen = tuple(name for name in ids if name in spec.id_columns) if on is None else on
        _require_own(spec, dep, chosen, "group by id columns of this feature")
        if not chosen:
            raise FeatureError(
                f"the aggregation of {str(dep.feature)!r} has no column to group by",
                feature=str(spec.key),
                found=f"no id column in common: {_listed(spec.id_columns)} here,"
                f" {_listed(ids)} upstream",
                remedy=f"write LineageRelationship.aggregation(on={list(spec.id_columns)}), with"
                " columns that the upstream stores",
            )
    else:
        chosen = ids if on is None else on
        _require_own(spec, dep, chosen, "add the parent's columns to id_columns, or rename them")
        left_out = [name for name in ids if name not in chosen]
        if left_out:
            raise FeatureError(
                f"the expansion of {str(dep.feature)!r} does not tell one parent from another",
                feature=str(spec.key),
                found=f"on={list(chosen)} lacks the upstream's id columns {_listed(left_out)}",
                remedy=f"write LineageRelationship.expansion(on={list(ids)})",
            )
    return tuple(name for name in spec.id_columns if name in chosen)


def _require_own(spec: FeatureSpec, dep: FeatureDep, names: Iterable[str], remedy: str) -> None:
    foreign = [name for name in names if name not in spec.id_columns]
    if foreign:
        raise FeatureError(
            f"{dep.lineage.type} lineage from {str(dep.feature)!r} joins on columns that are not"
            " id columns of this feature",
            feature=str(spec.key),
            found=_listed(foreign),
            allowed=_listed(spec.id_columns),
            remedy=did_you_mean(foreign[0], spec.id_columns, remedy),
        )


def _check_covered(spec: FeatureSpec, joins: Sequence[Join]) -> None:
    """Without an expansion, upstream samples must determine every id column."""
    if any(one.dep.lineage.type == "expansion" for one in joins):
        return
    known = {name for one in joins for name in one.columns}
    unknown = [name for name in spec.id_columns if name not in known]
    if unknown:
        raise FeatureError(
            "no upstream gives some id columns their values",
            feature=str(spec.key),
            found=_listed(unknown),
            allowed=f"id columns that upstreams share: {_listed(sorted(known))}",
            remedy="declare the upstream that gives one sample to many with"
            f" LineageRelationship.expansion(on={_listed(sorted(known))}), name the columns in"
            " LineageRelationship.aggregation(on=[...]), or drop them from id_columns",
        )


def _check_optional(spec: FeatureSpec, joins: Sequence[Join]) -> None:
    """An optional upstream adds to samples that others decide, unless all are optional."""
    required = {name for one in joins if not one.dep.optional for name in one.columns}
    allowed = required or set(joins[0].columns)
    for one in joins:
        if not one.dep.optional or (
            set(one.columns) <= allowed if required else set(one.columns) == allowed
        ):
            continue
        raise FeatureError(
            f"the optional upstream {str(one.dep.feature)!r} joins on columns that the required"
            " upstreams do not give"
            if required
            else "all upstreams are optional and do not join on the same columns",
            feature=str(spec.key),
            found=f"{_listed(one.columns)} from {str(one.dep.feature)!r}",
            allowed=_listed(sorted(allowed)),
            remedy="drop optional=True from the upstream that decides which samples exist",
        )


def _check_connected(spec: FeatureSpec, joins: Sequence[Join]) -> None:
    """Refuse a cross product: from one upstream, shared columns must lead to every other."""
    required = [one for one in joins if not one.dep.optional]
    by_column: dict[str, list[Join]] = {}
    for one in required:
        for name in one.columns:
            by_column.setdefault(name, []).append(one)
    reached: set[str] = set()
    waiting = list(required[0].columns) if required else []
    while waiting:
        name = waiting.pop()
        if name not in reached:
            reached.add(name)
            waiting.extend(other for one in by_column.pop(name) for other in one.columns)
    apart = [one for one in required if not reached.intersection(one.columns)]
    if apart:
        raise FeatureError(
            "two required upstreams share no id column, directly or through others: every sample"
            " of one would meet every sample of the other",
            feature=str(spec.key),
            found=f"{str(required[0].dep.feature)!r} joins on {_listed(required[0].columns)},"
            f" {str(apart[0].dep.feature)!r} on {_listed(apart[0].columns)}",
            remedy="add an upstream that has both columns, or rename columns that mean the same",
        )


def _listed(names: Iterable[str]) -> str:
    return f"[{', '.join(map(repr, names))}]"
