"""The features of a repository, and the assets that carry them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

    import dagster as dg

    from metaxy_dagster.errors import MetaxyError
    from metaxy_dagster.features.graph import FeatureGraph
    from metaxy_dagster.features.keys import FeatureKey

__all__ = ["Declared"]


@dataclass(frozen=True, eq=False)
class Declared:
    """The features of a repository and who carries them.

    Args:
        graph: a copy of the user's features together with those declared on assets.
        named: the feature of each asset that names one, declared or not.
        by_asset: the feature of each asset that can be tied to one.
        by_own_key: the features by the asset key that equals their own key.
        carriers: the assets of each feature, in the order in which they were found.
        errors: what was wrong with the declarations.
        plain: the graph as it was declared, where assets added their code versions to it.
    """

    graph: FeatureGraph
    named: Mapping[dg.AssetKey, FeatureKey]
    by_asset: Mapping[dg.AssetKey, FeatureKey]
    by_own_key: Mapping[dg.AssetKey, FeatureKey]
    carriers: Mapping[FeatureKey, tuple[dg.AssetKey, ...]]
    errors: tuple[MetaxyError, ...]
    plain: FeatureGraph | None = None
