"""What the metadata of an asset says about how its feature is read and written."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import dagster as dg

from metaxy_dagster import constants as c
from metaxy_dagster.errors import RunError
from metaxy_dagster.features import FeatureKey, declared_feature

__all__ = ["FeatureAsset"]


@dataclass(frozen=True)
class FeatureAsset:
    """An asset that is tied to a feature.

    Attributes:
        asset_key: the asset.
        feature: its feature.
        increment: whether its inputs hold only pending samples.
        write: ``"upsert"``, ``"replace"``, or ``None`` for what fits the frame.

    Example:
        >>> FeatureAsset.of(dg.AssetKey("x"), {"metaxy/feature": "a/b"}).increment
        False
    """

    asset_key: dg.AssetKey
    feature: FeatureKey
    increment: bool = False
    write: str | None = None

    @classmethod
    def of(cls, asset_key: dg.AssetKey, metadata: Mapping[str, Any]) -> FeatureAsset | None:
        """Read an asset's metadata; ``None`` if it is tied to no feature.

        Raises:
            RunError: a metadata key has a value that is not allowed.
        """
        feature = declared_feature(metadata)
        if feature is None:
            return None
        mode = _choice(asset_key, metadata, c.KEY_INPUT, c.INPUT_MODES)
        write = _choice(asset_key, metadata, c.KEY_WRITE, c.WRITE_MODES)
        return cls(asset_key, feature, mode == c.INPUT_INCREMENT, write)

    @classmethod
    def required(cls, asset_key: dg.AssetKey, metadata: Mapping[str, Any]) -> FeatureAsset:
        """As :meth:`of`, for an asset that must be tied to a feature.

        Raises:
            RunError: it is not.
        """
        found = cls.of(asset_key, metadata)
        if found is None:
            raise RunError(
                "the asset goes through the feature IO manager but is tied to no feature",
                asset=asset_key.to_user_string(),
                found=sorted(metadata),
                remedy=f'set metadata "{c.KEY_FEATURE}" on it, or choose another io_manager_key',
            )
        return found


def _choice(
    asset_key: dg.AssetKey, metadata: Mapping[str, Any], key: str, allowed: tuple[str, ...]
) -> str | None:
    value = metadata.get(key)
    value = getattr(value, "value", value)
    if value is not None and value not in allowed:
        raise RunError(
            f'metadata "{key}" has a value that is not allowed',
            asset=asset_key.to_user_string(),
            found=repr(value),
            allowed=list(allowed),
            remedy="use one of the allowed values, or leave the key out",
        )
    return value
