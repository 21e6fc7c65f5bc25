"""The same rewrite for one asset: a decorator over an asset definition or a spec."""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import replace
from typing import Any, TypeVar, overload

import dagster as dg

from metaxy_dagster.constants import KEY_FEATURE
from metaxy_dagster.definitions import _compat
from metaxy_dagster.definitions.bindings.declare import copied_graph
from metaxy_dagster.definitions.bindings.request import Request
from metaxy_dagster.definitions.bindings.translator import MetaxyTranslator
from metaxy_dagster.definitions.planner import make_plan
from metaxy_dagster.definitions.record import note_plan
from metaxy_dagster.definitions.transform import chosen_translator
from metaxy_dagster.errors import DefinitionsError
from metaxy_dagster.features.graph import FeatureGraph
from metaxy_dagster.features.keys import CoercibleToFeatureKey, FeatureKey
from metaxy_dagster.features.specs import FeatureSpec
from metaxy_dagster.keys import declares_feature, named_feature

__all__ = ["metaxify"]

A = TypeVar("A", dg.AssetsDefinition, dg.AssetSpec)


@overload
def metaxify(
    asset: A,
    *,
    feature: CoercibleToFeatureKey | None = ...,
    features: object = ...,
    translator: MetaxyTranslator | None = ...,
    inject_code_version: bool = ...,
) -> A: ...


@overload
def metaxify(
    asset: None = ...,
    *,
    feature: CoercibleToFeatureKey | None = ...,
    features: object = ...,
    translator: MetaxyTranslator | None = ...,
    inject_code_version: bool = ...,
) -> Callable[[A], A]: ...


def metaxify(
    asset: Any = None,
    *,
    feature: CoercibleToFeatureKey | None = None,
    features: object = None,
    translator: MetaxyTranslator | None = None,
    inject_code_version: bool = True,
) -> Any:
    """Tie one asset to its feature; the asset takes the feature's key.

    Bare, called, or with a feature: ``@metaxify``, ``@metaxify()``, ``@metaxify(feature=X)``;
    above ``@dagster.asset`` or any other definition, or as a function on an AssetSpec. It sees
    this one asset only, so upstream features are deps on *their* keys and IO managers stay as
    they are: :func:`metaxify_definitions` does both for a whole repository, and may follow.

    As a feature class does, the asset's feature registers on the graph that is current where it
    is defined, so that runs know it. An asset whose metadata keys name no ``metaxy/deps`` depends
    on those of its deps that are features by then: define upstream assets first.

    Args:
        asset: the definition or spec.
        feature: a feature class, spec or key; without it, the asset's ``"metaxy/feature"``
            metadata names it.
        features: the features to look it up in; by default the current graph.
        translator: says what the feature brings to the asset.
        inject_code_version: whether an asset without a code version gets the feature's.

    Returns:
        A new definition or spec of the same kind.

    Raises:
        DefinitionsError: this is no asset, or ``feature`` is given for several assets at once.
        MetaxyErrorGroup: the feature is unknown, or anything else is wrong with it.

    Example:
        >>> import dagster as dg
        >>> from metaxy_dagster.features import FeatureGraph, FeatureSpec
        >>> faces = FeatureSpec("video/faces", id_columns=["video_id"])
        >>> with FeatureGraph().use():
        ...     @metaxify(feature=faces)
        ...     @dg.asset
        ...     def detect(): ...
        >>> detect.key, detect.get_asset_spec().kinds
        (AssetKey(['video', 'faces']), {'metaxy'})
    """
    if asset is None:
        return functools.partial(
            metaxify,
            feature=feature,
            features=features,
            translator=translator,
            inject_code_version=inject_code_version,
        )
    if not isinstance(asset, dg.AssetsDefinition | dg.AssetSpec):
        raise DefinitionsError(
            "this is no asset",
            found=f"{type(asset).__name__}: {asset!r}",
            allowed="an asset definition or an AssetSpec",
            remedy="put @metaxify above @dagster.asset; use metaxify_definitions for Definitions",
        )
    chosen = chosen_translator(translator, None, inject_code_version=inject_code_version)
    made, graph = _metaxified(asset, feature, copied_graph(features), chosen)
    _register(made, graph, beside=features is not None)
    return made


def _metaxified(
    asset: Any, feature: Any, graph: FeatureGraph, translator: MetaxyTranslator
) -> tuple[dg.AssetsDefinition | dg.AssetSpec, FeatureGraph]:
    """The asset after the pass over it alone, and the features that the pass knew."""
    tied = asset if feature is None else _tied(asset, feature, graph)
    settings = replace(translator.settings, io_routing="off")
    request = Request(
        features=graph,
        translator=replace(translator, settings=settings),
        rename=True,
        with_resources=False,
    )
    plan = note_plan(make_plan(dg.Definitions(assets=[tied]), request))
    plan.raise_errors()
    if not any(each.feature for each in plan.assets):
        raise DefinitionsError(
            "the asset names no feature",
            asset=plan.scan.units[0].label,
            allowed=f'metadata {{"{KEY_FEATURE}": "..."}}, or metaxify(feature=...)',
            remedy="say which feature the asset carries",
        )
    return plan.rewriter.rewrite(plan.definitions[0]), plan.graph


def _register(
    asset: dg.AssetsDefinition | dg.AssetSpec, graph: FeatureGraph, *, beside: bool
) -> None:
    """Add the asset's features, and what they are computed from, to the current graph.

    As a feature class does where it is defined: a run, and a pass that follows, know them.

    Args:
        asset: the asset, with its features in its metadata.
        graph: knows these features.
        beside: whether they were given as features of their own, beside those of the current
            graph, which then keeps what it has of the same keys.
    """
    current = FeatureGraph.current()
    specs = [asset] if isinstance(asset, dg.AssetSpec) else asset.specs
    waiting = [key for one in specs if (key := named_feature(one.metadata)) is not None]
    inline = {named_feature(one.metadata) for one in specs if declares_feature(one.metadata)}
    seen: set[FeatureKey] = set()
    while waiting:
        key = waiting.pop()
        if key in seen or key not in graph:
            continue
        seen.add(key)
        if not (beside and key in current):
            current.add(graph.feature_class(key) or graph[key], inline=key in inline)
        waiting += graph.upstream(key)


def _tied(
    asset: dg.AssetsDefinition | dg.AssetSpec, feature: Any, graph: FeatureGraph
) -> dg.AssetsDefinition | dg.AssetSpec:
    """The asset with the feature's key in its metadata, and the feature in the graph."""
    key = FeatureKey(feature)
    if isinstance(feature, FeatureSpec) or (isinstance(feature, type) and hasattr(feature, "spec")):
        graph.add(feature)
    if isinstance(asset, dg.AssetSpec):
        return asset.merge_attributes(metadata={KEY_FEATURE: str(key)})
    if len(asset.keys) != 1:
        raise DefinitionsError(
            "one feature cannot be carried by several assets of one definition this way",
            asset=", ".join(sorted(each.to_user_string() for each in asset.keys)),
            feature=str(key),
            found=f"{len(asset.keys)} assets",
            allowed="a definition of one asset",
            remedy=f'set metadata {{"{KEY_FEATURE}": "..."}} on each spec; use a bare @metaxify',
        )
    specs = [spec.merge_attributes(metadata={KEY_FEATURE: str(key)}) for spec in asset.specs]
    return _compat.rebuilt(asset, {**_compat.attributes_of(asset), "specs": specs})
