"""What a translator is told of one asset."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

    import dagster as dg

    from metaxy_dagster.features.graph import FeatureGraph
    from metaxy_dagster.features.keys import FeatureKey
    from metaxy_dagster.features.plan import FeaturePlan
    from metaxy_dagster.features.specs import FeatureSpec

__all__ = ["MetaxyTranslatorData"]


@dataclass(frozen=True, kw_only=True)
class MetaxyTranslatorData:
    """All that is known of one asset that carries a feature.

    Args:
        asset_key: the asset's key in the user's repository.
        graph: the features of this pass (a copy; not to be added to).
        spec: the feature's spec.
        plan: its joins, fields and parent fields.
        feature_class: its Python class, if it has one.
        feature_version: 32 hex digits over the feature and all that it depends on.
        code_version: 32 hex digits over the feature's own code versions.
        upstream: for each upstream feature the assets that carry it.
        project: the project's name, if one is set.
    """

    asset_key: dg.AssetKey
    graph: FeatureGraph
    spec: FeatureSpec
    plan: FeaturePlan
    feature_class: type | None
    feature_version: str
    code_version: str
    upstream: Mapping[FeatureKey, tuple[dg.AssetKey, ...]]
    project: str | None = None
