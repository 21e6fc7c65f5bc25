"""Filters of a resolve: on its samples, or on the rows of single features."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TypeAlias

from metaxy_dagster.errors import StoreError
from metaxy_dagster.features import FeatureKey, FeaturePlan, Filter
from metaxy_dagster.stores.duckdb.sql.filtering import parsed

__all__ = ["ByFeature", "chosen_rows"]

ByFeature: TypeAlias = Mapping[FeatureKey, tuple[Filter, ...]]


def chosen_rows(filters: object, plan: FeaturePlan) -> tuple[tuple[Filter, ...], ByFeature]:
    """The filters on all samples, and those on the rows of single features.

    Args:
        filters: as ``resolve_update`` takes them.
        plan: the feature and its upstreams.

    Raises:
        StoreError: a mapping names a feature that is neither the feature nor an upstream of it,
            or something is no filter.
        FeatureError: a mapping names something that is no feature's key.
    """
    if not isinstance(filters, Mapping):
        return parsed(filters), {}
    known = [plan.key, *(dep.upstream.key for dep in plan.deps)]
    found: dict[FeatureKey, tuple[Filter, ...]] = {}
    for name, given in filters.items():
        key = FeatureKey(name)
        if key not in known:
            raise StoreError(
                "filters by feature name a feature that is not looked at",
                feature=str(plan.key),
                found=str(key),
                allowed=[str(one) for one in known],
                remedy="name upstreams, or the feature itself for what is stored of it",
            )
        if only := parsed(given):
            found[key] = (*found.get(key, ()), *only)
    return (), found
