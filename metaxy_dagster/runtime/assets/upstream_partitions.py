"""Which rows of its upstreams a run takes: those of the partitions that Dagster maps to its own."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import dagster as dg

from metaxy_dagster.errors import AssetError
from metaxy_dagster.features import DepPlan, FeatureKey, FeaturePlan, Filter
from metaxy_dagster.features.columns import fold
from metaxy_dagster.runtime.assets.feature_asset import FeatureAsset
from metaxy_dagster.runtime.assets.upstream_assets import UpstreamAsset
from metaxy_dagster.runtime.partitions.choice import Choice
from metaxy_dagster.runtime.partitions.scope import Scope
from metaxy_dagster.runtime.partitions.undecided import require_decided
from metaxy_dagster.stores import MetadataStore

__all__ = ["Filters", "Share", "filters_of", "mapping_fault"]

_AGGREGATION = "aggregation"


@dataclass(frozen=True)
class Share:
    """What one run of one asset is about.

    Attributes:
        asset: the asset.
        scope: its own samples in the run.
        upstreams: the assets that it depends on, with the partitions that the run is mapped to.
        partitioned: whether the run is of partitions; else it is of all samples.
    """

    asset: FeatureAsset
    scope: Scope
    upstreams: tuple[UpstreamAsset, ...] = ()
    partitioned: bool = False


@dataclass(frozen=True)
class _Taken:
    """What a run takes of one upstream asset.

    Attributes:
        asset: the upstream asset.
        scope: which of its samples.
        mapped: whether Dagster's mapping says which partitions these are.
        shared: whether other partitions than those of the run take some of them too.
        everything: its partitions, where all are taken.
    """

    asset: FeatureAsset
    scope: Scope
    mapped: bool
    shared: bool
    everything: dg.PartitionsDefinition[Any] | None = None


Filters = tuple[Filter, ...] | Mapping[FeatureKey, tuple[Filter, ...]]


def filters_of(store: MetadataStore, plan: FeaturePlan, share: Share) -> Filters:
    """What a resolve is told of the samples of a run.

    Args:
        store: where the features are.
        plan: the feature and its upstreams.
        share: what the run is about.

    Returns:
        Filters for each upstream, and for what is stored of the feature itself; or on all
        samples, where an upstream that may be absent has the column that tells.

    Raises:
        AssetError: several partitions take the same samples, and nothing tells them apart; or
            there are values of which nobody can tell to which partition they belong.
    """
    if not share.scope and not any(one.keys is not None for one in share.upstreams):
        return ()
    taken = _taken(share)
    fault = mapping_fault(plan, share, taken)
    if fault is not None:
        raise fault
    scopes: dict[FeatureKey, Scope] = {}
    told: set[str] = set()
    apart = unknown = False
    all_optional = all(dep.dep.optional for dep in plan.deps)
    for dep in plan.deps:
        key, of_dep = dep.upstream.key, taken.get(dep.upstream.key, [])
        schema = store.schema(key)
        columns = list(_telling(dep, share.scope, schema, of_dep))
        scope = _any(of_dep) & share.scope.of_columns(dict(columns))
        scopes[key] = scopes[key] & scope if key in scopes else scope
        if not dep.dep.optional or all_optional:
            told.update(fold(here) for here, _ in columns)
            unknown = unknown or not schema
            apart = apart or (bool(of_dep) and all(t.mapped and not t.shared for t in of_dep))
    wanted = {fold(column) for column in share.scope.columns}
    if not any(t.mapped for each in taken.values() for t in each) and not wanted <= told:
        return _of_samples(store, plan, share.scope)
    contributed = {fold(column) for column in share.asset.keys.partition}
    if not unknown and not (wanted <= told or (apart and contributed <= told)):
        raise _untold(share, taken, wanted - told)
    if share.scope and store.schema(plan.key):
        scopes[plan.key] = share.scope
    for key, scope in scopes.items():
        require_decided(store, key, scope)
    return {key: scope.filters(store.schema(key)) for key, scope in scopes.items() if scope}


def mapping_fault(
    plan: FeaturePlan, share: Share, taken: Mapping[FeatureKey, Sequence[_Taken]] | None = None
) -> AssetError | None:
    """Why an asset's partitions cannot be told apart, whatever is stored; ``None`` if they may be.

    A stored sample is of one partition. Where an upstream partition feeds several, its samples
    must say by a column of their own of which of these they are.

    Args:
        plan: the feature and its upstreams.
        share: a run of some partitions.
        taken: what the run takes of the upstreams, if that was found out before.
    """
    taken = _taken(share) if taken is None else taken
    required = [dep for dep in plan.deps if not dep.dep.optional] or list(plan.deps)
    of_deps = [(dep, taken.get(dep.upstream.key, [])) for dep in required]
    if any(each and all(t.mapped and not t.shared for t in each) for _, each in of_deps):
        return None
    for dep, each in of_deps:
        for here, one, there in _same_columns(dep, share.scope, each):
            if not _is_finer(share.scope, here, one, there):
                return _mapping_error(share, one, here, "of other partitions than its own")
            if share.asset.increment and _goes_beyond(share.scope, here, one, there):
                beyond = "of other partitions too, which are no samples of this one's increment"
                return _mapping_error(share, one, here, beyond)
    return None


def _same_columns(
    dep: DepPlan, scope: Scope, taken: Sequence[_Taken]
) -> Iterator[tuple[str, _Taken, str]]:
    """Where an upstream asset calls its partition column as the asset calls its own."""
    for one in taken:
        for there in one.asset.keys.partition_by.values() if one.mapped and one.shared else ():
            here = fold(dep.dep.name_here(there))
            yield from ((column, one, there) for column in scope.columns if fold(column) == here)


def _goes_beyond(scope: Scope, here: str, taken: _Taken, there: str) -> bool:
    """Whether a run takes upstream partitions that have nothing in common with its own."""
    if taken.everything is not None:
        return True
    own = [one for one in scope.choices if fold(one.column) == fold(here)]
    theirs = [one for one in taken.scope.choices if fold(one.column) == fold(there)]
    return any(one.reaches_beyond(own) for one in theirs)


def _mapping_error(share: Share, taken: _Taken, column: str, what: str) -> AssetError:
    upstream = taken.asset.asset_key.to_user_string()
    return AssetError(
        f"the partition mapping gives the asset samples {what}, so that one sample would be of "
        "several partitions",
        asset=share.asset.asset_key.to_user_string(),
        feature=str(share.asset.feature),
        found=f"partitions of {upstream!r} feed several of this asset, by the column {column!r}",
        allowed="mappings by which an upstream partition feeds one partition; or, with "
        '"metaxy/input": "all", several partitions with the own one among them',
        remedy=f"map each partition of {upstream!r} to one, leave the asset unpartitioned, or "
        'read the others with "metaxy/input": "all"',
    )


def _taken(share: Share) -> dict[FeatureKey, list[_Taken]]:
    found: dict[FeatureKey, list[_Taken]] = {}
    for one in _all_taken(share):
        found.setdefault(one.asset.feature, []).append(one)
    return found


def _of_samples(store: MetadataStore, plan: FeaturePlan, scope: Scope) -> tuple[Filter, ...]:
    """The scope as filters of samples; none where there is nothing yet that has columns."""
    kinds: dict[str, str] = {}
    for dep in plan.deps:
        for name, kind in store.schema(dep.upstream.key).items():
            kinds[dep.dep.name_here(name)] = kind
    kinds.update(store.schema(plan.key))
    return scope.filters(kinds) if kinds else ()


def _all_taken(share: Share) -> Iterator[_Taken]:
    for upstream in share.upstreams:
        asset = FeatureAsset.of(upstream.asset_key, upstream.metadata)
        definition = upstream.partitions_def
        if asset is None or asset.feature == share.asset.feature:
            continue
        if definition is None or asset.partitions_fault(definition) is not None:
            yield _Taken(asset, asset.scope(), mapped=False, shared=share.partitioned)
        elif upstream.keys is None:
            yield _Taken(
                asset,
                asset.scope(),
                mapped=share.partitioned,
                shared=share.partitioned,
                everything=definition,
            )
        else:
            scope = asset.scope(upstream.keys, definition, upstream.also)
            yield _Taken(asset, scope, mapped=True, shared=upstream.shared)


def _any(taken: Sequence[_Taken]) -> Scope:
    """The rows that any of the assets of a feature gives; all, where none is of partitions."""
    if not any(one.mapped and one.everything is None for one in taken):
        return Scope()
    found = taken[0].scope
    for one in taken[1:]:
        found |= one.scope
    return found


def _telling(
    dep: DepPlan, scope: Scope, schema: Mapping[str, str], taken: Sequence[_Taken]
) -> Iterator[tuple[str, str]]:
    """Columns of a scope that an upstream has, by which its rows are told apart: here, there."""
    offered = {fold(dep.dep.name_here(there)): there for there in schema}
    joined = {fold(name) for name in dep.join_columns}
    for here in scope.columns:
        there = offered.get(fold(here))
        if there is None or (dep.lineage_type == _AGGREGATION and fold(here) not in joined):
            continue
        keeps = [one for one in taken if _is_partition_column(one, there)]
        if all(_is_finer(scope, here, one, there) for one in keeps):
            yield here, there


def _is_partition_column(taken: _Taken, there: str) -> bool:
    columns = {fold(column) for column in taken.asset.keys.partition_by.values()}
    return taken.mapped and fold(there) in columns


def _is_finer(scope: Scope, here: str, taken: _Taken, there: str) -> bool:
    """Whether the run's own partitions lie within those upstream, which others share."""
    if not taken.shared:
        return False
    own = [one for one in scope.choices if fold(one.column) == fold(here)]
    if taken.everything is not None:
        return _is_like(own, taken.everything)
    theirs = [one for one in taken.scope.choices if fold(one.column) == fold(there)]
    return all(any(other.covers(one) for other in theirs) for one in own)


def _is_like(own: Sequence[Choice], definition: dg.PartitionsDefinition[Any]) -> bool:
    """Whether choices are of keys that a definition may have, too."""
    if isinstance(definition, dg.TimeWindowPartitionsDefinition):
        return all(one.times is not None for one in own)
    if isinstance(definition, dg.MultiPartitionsDefinition):
        return False
    return all(one.times is None for one in own)


def _untold(
    share: Share, taken: Mapping[FeatureKey, Sequence[_Taken]], missing: set[str]
) -> AssetError:
    named = [one.asset.asset_key.to_user_string() for each in taken.values() for one in each]
    return AssetError(
        "nothing tells which samples of the upstreams are of the partitions of this run: other "
        "partitions of the asset take the same ones",
        asset=share.asset.asset_key.to_user_string(),
        feature=str(share.asset.feature),
        found=f"no upstream has the column {', '.join(sorted(missing))}; taken from {named}",
        allowed="an upstream partition that feeds one partition, or a column that says which",
        remedy="store the column upstream, choose a partition mapping that gives each upstream "
        "partition to one partition, or leave the asset unpartitioned",
    )
