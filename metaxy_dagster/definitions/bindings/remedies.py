"""Faults of features in the words of those who declare them by metadata keys."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from metaxy_dagster.constants import (
    KEY_DEPS,
    KEY_FEATURE,
    KEY_FIELDS,
    KEY_ID_COLUMNS,
)
from metaxy_dagster.errors import FeatureError
from metaxy_dagster.features.keys import FeatureKey
from metaxy_dagster.features.model import did_you_mean
from metaxy_dagster.keys import declares_feature

if TYPE_CHECKING:
    from collections.abc import Iterable

    import dagster as dg

    from metaxy_dagster.definitions.bindings.declared import Declared
    from metaxy_dagster.definitions.repository.collect import Asset, Scan
    from metaxy_dagster.errors import MetaxyError
    from metaxy_dagster.features.graph import FeatureGraph

__all__ = ["in_keys", "undeclared"]

_SHOWN: Final = 5
#: Python as the errors of features write it, and the same as it stands in metadata.
_WORDS: Final = (
    (
        re.compile(r"LineageRelationship\.(\w+)\(on=(\[.*?\])\)"),
        r'"lineage": {"type": "\1", "on": \2}',
    ),
    (re.compile(r"LineageRelationship\.(\w+)(\(\))?"), r'"lineage": {"type": "\1"}'),
    (re.compile(r"FieldsMapping\.(\w+)\(.*?\)"), r'"fields_mapping": {"type": "\1", ...}'),
    (re.compile(r"\brename=\{\.\.\.\}"), '"rename": {...}'),
    (re.compile(r"\boptional=True"), '"optional": True'),
    (re.compile(r"\bon=(?=\[)"), '"on": '),
    (re.compile(r"\bon="), '"on"'),
    (re.compile(r"\bid_columns=(?=\[)"), f'"{KEY_ID_COLUMNS}": '),
    (re.compile(r'(?<![/"])\bid_columns\b'), f'"{KEY_ID_COLUMNS}"'),
    (re.compile(r"\badd the field to the spec\b"), f'add it to "{KEY_FIELDS}"'),
    (re.compile(r"\badd the field\b"), f'add it to "{KEY_FIELDS}"'),
    (re.compile(r"(?<=\bto )deps\b"), f'"{KEY_DEPS}"'),
    (re.compile(r"\binto one FeatureDep\b"), f'into one entry of "{KEY_DEPS}"'),
)


def in_keys(error: MetaxyError, declared: Declared, scan: Scan) -> MetaxyError:
    """The same fault with a remedy in metadata keys, if these declare the feature.

    Args:
        error: a fault of a feature.
        declared: the features and their assets.
        scan: the repository.

    Returns:
        A new error, or the same one for features that code declares.
    """
    if not isinstance(error, FeatureError) or error.remedy is None or error.feature is None:
        return error
    asset = _declaring(error.feature, declared, scan)
    if asset is None:
        return error
    feature = FeatureKey(error.feature)
    missing = [
        key
        for key in (declared.graph.upstream(feature) if feature in declared.graph else ())
        if key not in declared.graph
    ]
    if missing:
        made = _reworded(error, _missing_upstream(missing[0], declared.graph, scan))
        made.allowed = _known(declared.graph)
        return made
    remedy = error.remedy
    for pattern, words in _WORDS:
        remedy = pattern.sub(words, remedy)
    return error if remedy == error.remedy else _reworded(error, remedy)


def undeclared(feature: FeatureKey, graph: FeatureGraph, asset: Asset) -> FeatureError:
    """The fault of an asset whose feature nothing declares.

    Args:
        feature: the feature that it names.
        graph: the features that there are.
        asset: the asset.
    """
    add = (
        f'add "{KEY_ID_COLUMNS}": ["<column>"] to the metadata of the asset, which declares the '
        "feature there, or pass the feature with features=[...]"
    )
    return FeatureError(
        "nothing declares the feature",
        asset=asset.name,
        feature=str(feature),
        found=f'"{KEY_FEATURE}" without "{KEY_ID_COLUMNS}", and no feature of this key among '
        "those that are known",
        allowed=_known(graph),
        remedy=did_you_mean(feature, graph, add),
    )


def _known(graph: FeatureGraph) -> str:
    names = sorted(map(str, graph))
    some = ", ".join(map(repr, names[:_SHOWN])) + (", …" if len(names) > _SHOWN else "")
    return f"a feature that is declared: {some or 'there is none'}"


def _declaring(feature: str, declared: Declared, scan: Scan) -> Asset | None:
    """The asset whose metadata declares a feature."""
    for key in _carriers(feature, declared):
        asset = scan.assets[key]
        if declares_feature(asset.metadata):
            return asset
    return None


def _carriers(feature: str, declared: Declared) -> Iterable[dg.AssetKey]:
    try:
        return declared.carriers.get(FeatureKey(feature), ())
    except FeatureError:
        return ()


def _missing_upstream(key: FeatureKey, graph: FeatureGraph, scan: Scan) -> str:
    named = [each for each in scan.assets.values() if _names(each, key)]
    where = f"the asset {named[0].name!r}" if named else "the asset that makes it"
    add = (
        f'set metadata "{KEY_FEATURE}": "{key}" and "{KEY_ID_COLUMNS}": ["<column>"] on {where}, '
        "or pass the feature with features=[...]"
    )
    return did_you_mean(key, graph, add)


def _names(asset: Asset, key: FeatureKey) -> bool:
    return not asset.names_feature and tuple(asset.key.path) in (
        key.parts,
        key.parts[-1:],
    )


def _reworded(error: MetaxyError, remedy: str) -> MetaxyError:
    made = error.located()
    made.remedy = remedy
    return made
