"""Metadata keys that only assets with ``"metaxy/input": "increment"`` can have."""

from __future__ import annotations

from typing import TYPE_CHECKING

from metaxy_dagster.constants import (
    INPUT_ALL,
    INPUT_INCREMENT,
    KEY_INPUT,
    KEY_UNRETURNED,
    UNRETURNED_EMPTY,
)
from metaxy_dagster.errors import DefinitionsError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from metaxy_dagster.definitions.collect import Asset
    from metaxy_dagster.features.keys import FeatureKey

__all__ = ["only_with_increment", "unreturned_faults"]


def unreturned_faults(asset: Asset, feature: FeatureKey | None) -> Iterator[DefinitionsError]:
    """The fault of an asset that takes all samples and says what becomes of pending ones.

    Args:
        asset: the asset.
        feature: its feature.

    Yields:
        At most one error.
    """
    if asset.metadata.get(KEY_UNRETURNED) == UNRETURNED_EMPTY:
        yield from only_with_increment(asset, feature, KEY_UNRETURNED)


def only_with_increment(
    asset: Asset, feature: FeatureKey | None, key: str
) -> Iterator[DefinitionsError]:
    """The fault of an asset that has a key of those that take only their pending samples.

    Args:
        asset: the asset.
        feature: its feature.
        key: the metadata key.

    Yields:
        An error unless the asset takes only its pending samples.
    """
    mode = asset.metadata.get(KEY_INPUT, INPUT_ALL)
    if mode == INPUT_INCREMENT:
        return
    yield DefinitionsError(
        f'metadata "{key}" is for assets that take only their pending samples',
        asset=asset.name,
        feature=None if feature is None else str(feature),
        found=f'"{KEY_INPUT}": "{mode}"'
        if KEY_INPUT in asset.metadata
        else f'no "{KEY_INPUT}", which is "{INPUT_ALL}"',
        allowed=f'"{KEY_INPUT}": "{INPUT_INCREMENT}"',
        remedy=f'set metadata "{KEY_INPUT}": "{INPUT_INCREMENT}" on the asset, or remove "{key}"',
    )
