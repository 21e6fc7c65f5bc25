"""Selecting feature assets, by what the pass wrote on them."""

from __future__ import annotations

import dagster as dg

from metaxy_dagster import constants as c
from metaxy_dagster.errors import DefinitionsError
from metaxy_dagster.features import CoercibleToFeatureKey, FeatureKey
from metaxy_dagster.features.tags import TAG_VALUE_RULE, feature_tag, tag_value

__all__ = ["select_metaxy_assets"]


def select_metaxy_assets(
    *, feature: CoercibleToFeatureKey | None = None, project: str | None = None
) -> dg.AssetSelection:
    """Select feature assets of a repository that went through the pass.

    Args:
        feature: only assets of this feature.
        project: only assets of this project.

    Returns:
        A selection that can be combined with others: ``|``, ``&``, ``.downstream()``.

    Raises:
        DefinitionsError: the key or the project cannot be a tag, for its length for one.

    Example:
        >>> str(select_metaxy_assets())
        'kind:"metaxy"'
        >>> str(select_metaxy_assets(feature="audio/clusters"))
        'tag:"metaxy/feature"="audio.clusters"'
    """
    selections = []
    if feature is not None:
        text = str(FeatureKey(feature))
        selections.append(_tagged(c.TAG_FEATURE, text, feature_tag(text)))
    if project is not None:
        selections.append(_tagged(c.TAG_PROJECT, project, tag_value(project)))
    if not selections:
        return dg.AssetSelection.kind(c.KIND)
    first, *others = selections
    for other in others:
        first = first & other
    return first


def _tagged(tag: str, text: str, value: str | None) -> dg.AssetSelection:
    if value is None:
        raise DefinitionsError(
            f"the tag {tag!r} cannot hold this value, so nothing can be selected by it",
            found=text,
            allowed=TAG_VALUE_RULE,
            remedy="select the assets by their keys",
        )
    return dg.AssetSelection.tag(tag, value)
