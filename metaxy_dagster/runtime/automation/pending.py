"""How many samples of an asset wait, without looking at any of them."""

from __future__ import annotations

from metaxy_dagster.runtime.assets.feature_asset import FeatureAsset
from metaxy_dagster.runtime.assets.upstream_assets import UpstreamAsset
from metaxy_dagster.runtime.assets.upstream_partitions import Share, filters_of
from metaxy_dagster.runtime.partitions.scope import Scope
from metaxy_dagster.stores import Counts, MetadataStore

__all__ = ["pending_counts", "share_of"]


def share_of(
    asset: FeatureAsset, scope: Scope | None = None, upstreams: tuple[UpstreamAsset, ...] = ()
) -> Share:
    """What is looked at of an asset.

    Args:
        asset: the asset; where several feed one feature, only its own samples count.
        scope: the samples of some partitions; by default all of the asset's own.
        upstreams: the assets that it depends on, with the partitions that these are mapped to.
    """
    chosen = asset.scope() if scope is None else scope
    return Share(asset, chosen, upstreams, partitioned=scope is not None)


def pending_counts(store: MetadataStore, of: FeatureAsset | Share) -> Counts:
    """The new, stale and orphaned samples of an asset.

    Args:
        store: where its feature is.
        of: an asset, or some of its samples, from :func:`share_of`.

    Returns:
        Zeros for a feature without upstreams: nothing says what it should hold.

    Raises:
        FeatureError: the store does not know the feature.
        StoreError: the store cannot be read.
    """
    share = of if isinstance(of, Share) else share_of(of)
    feature = share.asset.feature
    plan = store.graph.plan(feature)
    if plan.is_root:
        return Counts(0, 0, 0)
    with store.connected():
        filters = filters_of(store, plan, share)
        return store.resolve_update(feature, filters=filters).counts
