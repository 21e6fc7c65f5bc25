"""What the translator is told of each asset, and what it proposes."""

from __future__ import annotations

from typing import TYPE_CHECKING

import dagster as dg

from metaxy_dagster.definitions import _compat
from metaxy_dagster.definitions.bindings.translator import feature_asset_key
from metaxy_dagster.definitions.bindings.translator_data import MetaxyTranslatorData
from metaxy_dagster.errors import DefinitionsError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from metaxy_dagster.definitions.bindings.declared import Declared
    from metaxy_dagster.definitions.bindings.translator import MetaxyTranslator
    from metaxy_dagster.features.keys import FeatureKey

__all__ = ["proposed_spec", "translator_data"]


def translator_data(
    key: dg.AssetKey,
    feature: FeatureKey,
    declared: Declared,
    project: str | None,
    renames: Mapping[dg.AssetKey, dg.AssetKey],
) -> MetaxyTranslatorData:
    """All that a translator is told of one asset.

    Args:
        key: the asset.
        feature: its feature.
        declared: the features and their assets.
        project: the project's name, if one is set.
        renames: old to new keys.

    Raises:
        FeatureError: the feature, or one upstream of it, is not valid.
    """
    graph = declared.graph
    plan = graph.plan(feature)
    upstream: dict[FeatureKey, tuple[dg.AssetKey, ...]] = {}
    for dep in plan.deps:
        carriers = declared.carriers.get(dep.upstream.key)
        keys = carriers or (feature_asset_key(dep.upstream),)
        upstream[dep.upstream.key] = tuple(renames.get(each, each) for each in keys)
    return MetaxyTranslatorData(
        asset_key=key,
        graph=graph,
        spec=plan.spec,
        plan=plan,
        feature_class=graph.feature_class(feature),
        feature_version=graph.feature_version(feature),
        code_version=graph.code_version(feature),
        upstream=upstream,
        project=project,
    )


def proposed_spec(translator: MetaxyTranslator, data: MetaxyTranslatorData) -> dg.AssetSpec:
    """What the translator makes of it.

    Raises:
        DefinitionsError: nothing that Dagster takes.
    """
    try:
        with _compat.quiet():
            proposed = translator.get_asset_spec(data)
    except _compat.DAGSTER_ERRORS as error:
        raise DefinitionsError(
            "Dagster refuses what the feature says of its asset",
            found=" ".join(str(error).split()),
            remedy="correct the feature's dagster/attributes, or the translator",
        ) from error
    if not isinstance(proposed, dg.AssetSpec):
        raise DefinitionsError(
            "the translator's get_asset_spec returned no AssetSpec",
            found=repr(proposed),
            allowed="a dagster.AssetSpec",
            remedy="return super().get_asset_spec(data) with attributes replaced",
        )
    return proposed
