"""Which asset carries which feature, and the feature graph that the pass works on."""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING

import dagster as dg

from metaxy_dagster.definitions.bindings.declared import Declared
from metaxy_dagster.definitions.bindings.remedies import undeclared
from metaxy_dagster.errors import DefinitionsError, FeatureError, MetaxyError
from metaxy_dagster.features.graph import FeatureGraph
from metaxy_dagster.keys import declares_feature, spec_from_metadata

if TYPE_CHECKING:
    from collections.abc import Mapping

    from metaxy_dagster.definitions.repository.collect import Asset, Scan
    from metaxy_dagster.features.keys import FeatureKey

__all__ = ["copied_graph", "declare"]


def copied_graph(features: object) -> FeatureGraph:
    """A graph of its own from whatever the ``features`` argument was.

    Args:
        features: a FeatureGraph, an iterable of specs or feature classes, or None for the
            current graph. It is not changed.

    Raises:
        DefinitionsError: it is something else.
        FeatureError: two of the specs declare one key differently.
    """
    if features is None:
        return FeatureGraph.current().copy()
    if isinstance(features, FeatureGraph):
        return features.copy()
    if isinstance(features, str | bytes) or not hasattr(features, "__iter__"):
        raise DefinitionsError(
            "features is not a collection of features",
            found=repr(features),
            allowed="a FeatureGraph, or an iterable of FeatureSpecs and feature classes",
            remedy="pass features=[MyFeature, ...], or leave it out for the current graph",
        )
    graph = FeatureGraph()
    for each in features:
        graph.add(each)
    return graph


def declare(
    scan: Scan,
    graph: FeatureGraph,
    targets: Mapping[dg.AssetKey, Mapping[dg.AssetKey, dg.AssetKey]],
) -> Declared:
    """Find the feature of every asset and add the inline declarations to the graph.

    Args:
        scan: the repository.
        graph: the features that are known; it is not changed. What ``metaxify`` read from the
            keys of one asset is read anew, now that all are seen.
        targets: per asset, the assets that its relative dep keys mean.

    Returns:
        Features by asset, assets by feature, and every fault found on the way.
    """
    errors: list[MetaxyError] = []
    by_asset = _named_features(scan, errors)
    carriers: defaultdict[FeatureKey, list[dg.AssetKey]] = defaultdict(list)
    for asset_key, feature in by_asset.items():
        carriers[feature].append(asset_key)
    known_keys = (*graph, *carriers)
    graph, earlier = graph.without_inline()
    by_own_key = {dg.AssetKey(list(key.parts)): key for key in known_keys}
    known = {**by_own_key, **by_asset}
    for asset_key in by_asset:
        asset = scan.assets[asset_key]
        if declares_feature(asset.metadata):
            candidates = _dep_candidates(asset, known, targets.get(asset_key, {}))
            _add_inline(graph, asset, candidates, errors)
    for spec in earlier:
        if spec.key not in graph:
            graph.add(spec, inline=True)
    for asset_key, feature in by_asset.items():
        if feature not in graph:
            _note_unknown(graph, feature, scan.assets[asset_key], errors)
    return Declared(
        graph=graph,
        named=by_asset,
        by_asset={key: feature for key, feature in by_asset.items() if feature in graph},
        by_own_key=by_own_key,
        carriers={key: tuple(assets) for key, assets in carriers.items()},
        errors=tuple(errors),
    )


def _named_features(scan: Scan, errors: list[MetaxyError]) -> dict[dg.AssetKey, FeatureKey]:
    found: dict[dg.AssetKey, FeatureKey] = {}
    for key, asset in scan.assets.items():
        if not asset.names_feature:
            continue
        errors += (fault for fault in asset.parsed.faults if isinstance(fault, FeatureError))
        if asset.keys.feature is not None:
            found[key] = asset.keys.feature
    return found


def _dep_candidates(
    asset: Asset,
    known: Mapping[dg.AssetKey, FeatureKey],
    targets: Mapping[dg.AssetKey, dg.AssetKey],
) -> list[FeatureKey]:
    """The features among an asset's Dagster deps, by asset or by the feature's own key."""
    keys = (targets.get(dep.asset_key, dep.asset_key) for dep in asset.spec.deps)
    found = {known[key] for key in keys if key in known}
    return sorted(found - {known[asset.key]})


def _add_inline(
    graph: FeatureGraph, asset: Asset, candidates: list[FeatureKey], errors: list[MetaxyError]
) -> None:
    try:
        spec = spec_from_metadata(asset.metadata, dep_candidates=candidates)
        if spec is not None:
            graph.add(spec)
    except MetaxyError as error:
        errors.append(error.located(asset=asset.name))


def _note_unknown(
    graph: FeatureGraph, feature: FeatureKey, asset: Asset, errors: list[MetaxyError]
) -> None:
    if any(error.asset == asset.name for error in errors):
        return  # its own declaration is at fault, and said so
    errors.append(undeclared(feature, graph, asset))
