"""The planned assets as a graph, before Dagster makes one of them."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Any

import dagster as dg

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

__all__ = ["PlannedAssets", "some_keys"]

_MAX_KEYS = 50


class PlannedAssets:
    """As :class:`Assets` of the runtime: what depends on what, by which partition mapping.

    Args:
        specs: the planned specs.
    """

    def __init__(self, specs: Mapping[dg.AssetKey, dg.AssetSpec]) -> None:
        self._specs = specs

    def parents(self, key: dg.AssetKey) -> list[dg.AssetKey]:
        """The planned assets that an asset depends on, by a mapping that the user chose."""
        deps = self._specs[key].deps
        return sorted(dep.asset_key for dep in deps if dep.asset_key in self._specs)

    def metadata(self, key: dg.AssetKey) -> Mapping[str, Any]:
        """Of an asset."""
        return self._specs[key].metadata

    def partitions_def(self, key: dg.AssetKey) -> dg.PartitionsDefinition[Any] | None:
        """Of an asset."""
        return self._specs[key].partitions_def

    def mapping(self, key: dg.AssetKey, parent: dg.AssetKey) -> dg.PartitionMapping:
        """How the partitions of an asset are mapped to those of one that it depends on."""
        deps = self._specs[key].deps
        given = next(dep.partition_mapping for dep in deps if dep.asset_key == parent)
        if given is not None:
            return given
        mine, theirs = self.partitions_def(key), self.partitions_def(parent)
        if mine is None or theirs is None:
            return dg.AllPartitionMapping()
        times = dg.TimeWindowPartitionsDefinition
        if isinstance(mine, times) and isinstance(theirs, times):
            return dg.TimeWindowPartitionMapping()
        if isinstance(mine, dg.MultiPartitionsDefinition) != isinstance(
            theirs, dg.MultiPartitionsDefinition
        ):
            return dg.MultiToSingleDimensionPartitionMapping()
        return dg.IdentityPartitionMapping()

    @contextlib.contextmanager
    def loading(self) -> Iterator[None]:
        """Nothing more is known of dynamic partitions before a run."""
        yield


def some_keys(definition: dg.PartitionsDefinition[Any]) -> Iterator[list[str]]:
    """Some partitions, each alone, by which a mapping can be tried; none of dynamic ones."""
    parts = [definition]
    if isinstance(definition, dg.MultiPartitionsDefinition):
        parts = [each.partitions_def for each in definition.partitions_defs]
    if any(isinstance(each, dg.DynamicPartitionsDefinition) for each in parts):
        return
    if isinstance(definition, dg.TimeWindowPartitionsDefinition):
        # What comes before, and what comes after.
        ends = (definition.get_last_partition_key(), definition.get_first_partition_key())
        yield from ([key] for key in ends if key is not None)
        return
    keys = list(definition.get_partition_keys())
    yield from ([key] for key in keys[-_MAX_KEYS:])
