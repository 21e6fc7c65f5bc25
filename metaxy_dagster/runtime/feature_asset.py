"""What the metadata of an asset says about how its feature is read and written."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import dagster as dg

from metaxy_dagster import constants as c
from metaxy_dagster.errors import RunError
from metaxy_dagster.features import FeatureKey, FrozenMapping, declared_feature
from metaxy_dagster.runtime.scope import Scope, Value, partition_choices

__all__ = ["FeatureAsset"]


@dataclass(frozen=True)
class FeatureAsset:
    """An asset that is tied to a feature.

    Attributes:
        asset_key: the asset.
        feature: its feature.
        increment: whether its inputs hold only pending samples.
        write: ``"upsert"``, ``"replace"``, or ``None`` for what fits the frame.
        partition_by: the column that holds the Dagster partition key, under ``""``; or the
            columns by the names of their dimensions.
        contribution: where several assets feed one feature, the values by column that tell
            which samples are this asset's.

    Example:
        >>> asset = FeatureAsset.of(
        ...     dg.AssetKey("x"), {"metaxy/feature": "a/b", "metaxy/partition": {"source": "web"}}
        ... )
        >>> asset.increment, asset.contribution["source"]
        (False, ('web',))
    """

    asset_key: dg.AssetKey
    feature: FeatureKey
    increment: bool = False
    write: str | None = None
    partition_by: Mapping[str, str] = field(default_factory=FrozenMapping)
    contribution: Mapping[str, tuple[Value, ...]] = field(default_factory=FrozenMapping)

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
        return cls(
            asset_key,
            feature,
            increment=mode == c.INPUT_INCREMENT,
            write=_choice(asset_key, metadata, c.KEY_WRITE, c.WRITE_MODES),
            partition_by=FrozenMapping(_partition_by(asset_key, metadata)),
            contribution=FrozenMapping(_contribution(asset_key, metadata)),
        )

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
    ) -> Scope:
        """The samples of this asset in a run.

        Args:
            keys: the Dagster partitions of the run; ``None`` for all of them.
            definition: the asset's partitions.

        Raises:
            RunError: the asset is partitioned, but does not say by which column.
        """
        own = Scope.of_values(self.contribution)
        if keys is None or definition is None:
            return own
        self._check_dimensions(definition)
        return partition_choices(keys, definition, self.partition_by) & own

    def _check_dimensions(self, definition: dg.PartitionsDefinition[Any]) -> None:
        names = [""]
        if isinstance(definition, dg.MultiPartitionsDefinition):
            names = [each.name for each in definition.partitions_defs]
        if self.partition_by and set(self.partition_by) <= set(names):
            return
        example = "<column>" if names == [""] else dict.fromkeys(names, "<column>")
        raise RunError(
            "the asset is partitioned, but nothing says which column holds the partition"
            if not self.partition_by
            else f'metadata "{c.KEY_PARTITION_BY}" does not fit the partitions of the asset',
            asset=self.asset_key.to_user_string(),
            feature=str(self.feature),
            found=dict(self.partition_by) or None,
            remedy=f'set metadata "{c.KEY_PARTITION_BY}": {example!r} on the asset',
        )


def _value(metadata: Mapping[str, Any], key: str) -> Any:
    """What is inside, where Dagster wrapped it in a metadata value."""
    value = metadata.get(key)
    return getattr(value, "value", value)


def _choice(
    asset_key: dg.AssetKey, metadata: Mapping[str, Any], key: str, allowed: tuple[str, ...]
) -> str | None:
    value = _value(metadata, key)
    if value is not None and value not in allowed:
        raise _refused(asset_key, key, value, list(allowed))
    return None if value is None else str(value)


def _partition_by(asset_key: dg.AssetKey, metadata: Mapping[str, Any]) -> dict[str, str]:
    value = _value(metadata, c.KEY_PARTITION_BY)
    if value is None:
        return {}
    columns = value if isinstance(value, Mapping) else {"": value}
    if not columns or not all(isinstance(one, str) and one for one in columns.values()):
        allowed = "a column, or a mapping of dimensions to columns"
        raise _refused(asset_key, c.KEY_PARTITION_BY, value, allowed)
    return dict(columns)


def _contribution(
    asset_key: dg.AssetKey, metadata: Mapping[str, Any]
) -> dict[str, tuple[Value, ...]]:
    value = _value(metadata, c.KEY_PARTITION)
    if value is None:
        return {}
    allowed = "a mapping of columns to a value, or to a list of values"
    if not isinstance(value, Mapping):
        raise _refused(asset_key, c.KEY_PARTITION, value, allowed)
    found: dict[str, tuple[Value, ...]] = {}
    for column, given in value.items():
        values = tuple(given) if isinstance(given, list | tuple | set | frozenset) else (given,)
        if not values or not all(isinstance(one, str | int | float) for one in values):
            raise _refused(asset_key, c.KEY_PARTITION, value, allowed)
        found[column] = values
    return found


def _refused(asset_key: dg.AssetKey, key: str, value: object, allowed: object) -> RunError:
    return RunError(
        f'metadata "{key}" has a value that is not allowed',
        asset=asset_key.to_user_string(),
        found=repr(value),
        allowed=allowed,
        remedy="use one of the allowed values, or leave the key out",
    )
