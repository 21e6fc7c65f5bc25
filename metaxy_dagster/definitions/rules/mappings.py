"""Partition mappings that would give one sample to several partitions, found before a run."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from metaxy_dagster.definitions.draft.rule import RepositoryRule
from metaxy_dagster.definitions.repository.planned_assets import PlannedAssets, some_keys
from metaxy_dagster.runtime.assets.feature_asset import FeatureAsset
from metaxy_dagster.runtime.assets.upstream_assets import upstream_assets
from metaxy_dagster.runtime.assets.upstream_partitions import Share, mapping_fault

if TYPE_CHECKING:
    from collections.abc import Iterator

    import dagster as dg

    from metaxy_dagster.definitions.bindings.bindings import Bindings
    from metaxy_dagster.definitions.draft.draft import Draft
    from metaxy_dagster.errors import MetaxyError
    from metaxy_dagster.features.plan import FeaturePlan

__all__ = ["mappings"]


@partial(RepositoryRule, sound=True, of_assets=True)
def mappings(bindings: Bindings, draft: Draft) -> Iterator[MetaxyError]:
    """Partition mappings that would make one sample a sample of several partitions."""
    definitions, graph = draft.definitions, bindings.graph
    assets = PlannedAssets({each.key: each.spec for plan in definitions for each in plan.assets})
    for plan in definitions:
        for each in plan.assets:
            definition = each.spec.partitions_def
            if each.feature is None or definition is None or not _has_mapping(each.spec):
                continue
            asset = FeatureAsset.required(each.key, each.spec.metadata)
            feature_plan = graph.plan(each.feature)
            if feature_plan.is_root or asset.partitions_fault(definition) is not None:
                continue
            fault = _first_fault(assets, asset, definition, feature_plan)
            if fault is not None:
                yield fault.located(asset=each.key.to_user_string(), feature=str(each.feature))


def _first_fault(
    assets: PlannedAssets,
    asset: FeatureAsset,
    definition: dg.PartitionsDefinition,
    plan: FeaturePlan,
) -> MetaxyError | None:
    for keys in some_keys(definition):
        upstreams = upstream_assets(assets, asset.asset_key, keys)
        share = Share(asset, asset.scope(keys, definition), upstreams, partitioned=True)
        fault = mapping_fault(plan, share)
        if fault is not None:
            return fault
    return None


def _has_mapping(spec: dg.AssetSpec) -> bool:
    """Whether the user chose one; those that Dagster infers give each sample one partition."""
    return any(dep.partition_mapping is not None for dep in spec.deps)
