"""What the metadata of an asset says about how its feature is read and written."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import dagster as dg

from metaxy_dagster import constants as c
from metaxy_dagster.errors import AssetError, RunError
from metaxy_dagster.features import FeatureKey
from metaxy_dagster.keys import AssetKeys, parse
from metaxy_dagster.runtime.partitions.partition_choices import partition_choices
from metaxy_dagster.runtime.partitions.scope import Scope

__all__ = ["FeatureAsset"]


@dataclass(frozen=True)
class FeatureAsset:
    """An asset that is tied to a feature.

    Attributes:
        asset_key: the asset.
        feature: its feature.
        keys: all that its metadata says.

    Example:
        >>> asset = FeatureAsset.of(
        ...     dg.AssetKey("x"), {"metaxy/feature": "a/b", "metaxy/partition": {"source": "web"}}
        ... )
        >>> asset.increment, asset.keys.partition["source"]
        (False, ('web',))
    """

    asset_key: dg.AssetKey
    feature: FeatureKey
    keys: AssetKeys = field(default_factory=AssetKeys, hash=False)

    @classmethod
    def of(cls, asset_key: dg.AssetKey, metadata: Mapping[str, Any]) -> FeatureAsset | None:
        """Read an asset's metadata; ``None`` if it is tied to no feature.

        Raises:
            FeatureError: what it names is no feature key.
            AssetError: a metadata key has a value that is not allowed.
        """
        parsed = parse(metadata, asset_key.to_user_string())
        if parsed.faults:
            raise parsed.faults[0]
        return cls.tied(asset_key, parsed.keys)

    @classmethod
    def tied(cls, asset_key: dg.AssetKey, keys: AssetKeys) -> FeatureAsset | None:
        """The same from keys that were read before."""
        return None if keys.feature is None else cls(asset_key, keys.feature, keys)

    @property
    def increment(self) -> bool:
        """Whether its inputs hold only pending samples."""
        return self.keys.takes_increment

    @property
    def unreturned_empty(self) -> bool:
        """Whether pending samples that it does not return yielded nothing."""
        return self.keys.unreturned == c.UNRETURNED_EMPTY

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

    def scope(
        self,
        keys: Sequence[str] | None = None,
        definition: dg.PartitionsDefinition[Any] | None = None,
        also: Sequence[dg.TimeWindowPartitionsDefinition] = (),
    ) -> Scope:
        """The samples of this asset in a run.

        Args:
            keys: the Dagster partitions of the run; ``None`` for all of them.
            definition: the asset's partitions.
            also: partitions of assets upstream, whose keys may stand in the column, too.

        Raises:
            RunError: the asset is partitioned, but does not say by which column.
        """
        own = Scope.of_values(self.keys.partition)
        if keys is None or definition is None:
            return own
        fault = self.partitions_fault(definition)
        if fault is not None:
            raise fault
        return partition_choices(keys, definition, self.keys.partition_by, also) & own

    def partitions_fault(self, definition: dg.PartitionsDefinition[Any]) -> AssetError | None:
        """Why samples cannot be told apart by these partitions; ``None`` if they can."""
        names = [""]
        if isinstance(definition, dg.MultiPartitionsDefinition):
            names = [each.name for each in definition.partitions_defs]
        if self.keys.partition_by and set(self.keys.partition_by) <= set(names):
            return None
        example = "<column>" if names == [""] else dict.fromkeys(names, "<column>")
        return AssetError(
            "the asset is partitioned, but nothing says which column holds the partition"
            if not self.keys.partition_by
            else f'metadata "{c.KEY_PARTITION_BY}" does not fit the partitions of the asset',
            asset=self.asset_key.to_user_string(),
            feature=str(self.feature),
            found=_dimensions(self.keys.partition_by),
            allowed="one column" if names == [""] else f"columns for the dimensions {names}",
            remedy=f'set metadata "{c.KEY_PARTITION_BY}": {_quoted(example)} on the asset',
        )


def _quoted(value: object) -> str:
    """As it is written in code, with the quotes that most people use."""
    return repr(value).replace("'", '"')


def _dimensions(columns: Mapping[str, str]) -> object:
    """As the user wrote it."""
    if not columns:
        return f'no "{c.KEY_PARTITION_BY}"'
    return columns[""] if set(columns) == {""} else dict(columns)
