"""How many samples of an asset wait, without looking at any of them."""

from __future__ import annotations

from metaxy_dagster.runtime.feature_asset import FeatureAsset
from metaxy_dagster.runtime.inputs import column_kinds
from metaxy_dagster.runtime.scope import Scope
from metaxy_dagster.stores import Counts, MetadataStore

__all__ = ["pending_counts"]


def pending_counts(store: MetadataStore, asset: FeatureAsset, scope: Scope | None = None) -> Counts:
    """The new, stale and orphaned samples of an asset.

    Args:
        store: where its feature is.
        asset: the asset; where several feed one feature, only its own samples count.
        scope: the samples of some partitions; by default all of the asset's own.

    Returns:
        Zeros for a feature without upstreams: nothing says what it should hold.

    Raises:
        FeatureError: the store does not know the feature.
        StoreError: the store cannot be read.
    """
    plan = store.graph.plan(asset.feature)
    if plan.is_root:
        return Counts(0, 0, 0)
    chosen = asset.scope() if scope is None else scope
    with store.connected():
        kinds = column_kinds(store, plan) if chosen else {}
        filters = chosen.filters(kinds) if kinds else ()
        return store.resolve_update(asset.feature, filters=filters).counts
