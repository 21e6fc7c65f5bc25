"""The assets upstream of one, with the partitions of them that a run is mapped to."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any, Protocol

import dagster as dg

from metaxy_dagster.keys import named_feature

__all__ = ["Assets", "UpstreamAsset", "upstream_assets", "windows_upstream"]

_Keys = Sequence[str] | None


class Assets(Protocol):
    """A graph of assets: Dagster's of a run, or one that is only planned."""

    def parents(self, key: dg.AssetKey) -> Sequence[dg.AssetKey]:
        """The assets that an asset depends on."""
        ...

    def metadata(self, key: dg.AssetKey) -> Mapping[str, Any]:
        """Of an asset."""
        ...

    def partitions_def(self, key: dg.AssetKey) -> dg.PartitionsDefinition[Any] | None:
        """Of an asset."""
        ...

    def mapping(self, key: dg.AssetKey, parent: dg.AssetKey) -> dg.PartitionMapping:
        """How the partitions of an asset are mapped to those of one that it depends on."""
        ...

    def loading(self) -> AbstractContextManager[None]:
        """Let dynamic partitions be found."""
        ...


@dataclass(frozen=True)
class UpstreamAsset:
    """An asset that is tied to a feature, and that another one depends on.

    Attributes:
        asset_key: the asset.
        metadata: its metadata.
        partitions_def: its partitions, if it has any.
        keys: those that a run is mapped to; ``None`` for all, never enumerated.
        shared: whether other partitions than those of the run are mapped to some of them too.
        also: the time windows by which assets upstream of it are partitioned.
    """

    asset_key: dg.AssetKey
    metadata: Mapping[str, Any]
    partitions_def: dg.PartitionsDefinition[Any] | None
    keys: tuple[str, ...] | None = None
    shared: bool = False
    also: tuple[dg.TimeWindowPartitionsDefinition, ...] = ()


def upstream_assets(assets: Assets, key: dg.AssetKey, keys: _Keys) -> tuple[UpstreamAsset, ...]:
    """The feature assets that an asset depends on.

    Args:
        assets: the graph.
        key: the asset.
        keys: its partitions in a run; ``None`` if the run is of no partition.
    """
    return tuple(
        _upstream(assets, key, parent, keys)
        for parent in assets.parents(key)
        if parent != key and named_feature(assets.metadata(parent)) is not None
    )


def windows_upstream(
    assets: Assets | None, key: dg.AssetKey
) -> tuple[dg.TimeWindowPartitionsDefinition, ...]:
    """The time windows by which feature assets upstream of one are partitioned, near or far.

    What they call their partitions may be passed on from asset to asset.
    """
    by_text: dict[tuple[str, str], dg.TimeWindowPartitionsDefinition] = {}
    for one in () if assets is None else _windows(assets, key):
        by_text.setdefault((one.fmt, one.timezone), one)
    return tuple(by_text.values())


def _windows(assets: Assets, key: dg.AssetKey) -> Iterator[dg.TimeWindowPartitionsDefinition]:
    seen, waiting = {key}, [key]
    while waiting:
        for parent in assets.parents(waiting.pop(0)):
            if parent in seen or named_feature(assets.metadata(parent)) is None:
                continue
            seen.add(parent)
            waiting.append(parent)
            definition = assets.partitions_def(parent)
            parts = [definition]
            if isinstance(definition, dg.MultiPartitionsDefinition):
                parts = [each.partitions_def for each in definition.partitions_defs]
            yield from (one for one in parts if isinstance(one, dg.TimeWindowPartitionsDefinition))


def _upstream(assets: Assets, key: dg.AssetKey, parent: dg.AssetKey, keys: _Keys) -> UpstreamAsset:
    metadata, theirs = assets.metadata(parent), assets.partitions_def(parent)
    mine = assets.partitions_def(key) if keys is not None else None
    shared = keys is not None
    if theirs is None:
        return UpstreamAsset(parent, metadata, None, shared=shared)
    mapping, also = assets.mapping(key, parent), windows_upstream(assets, parent)
    if isinstance(mapping, dg.AllPartitionMapping) or (mine is None and _takes_all(mapping)):
        return UpstreamAsset(parent, metadata, theirs, shared=shared, also=also)
    with assets.loading():
        subset = None if mine is None else mine.subset_with_partition_keys(list(keys or ()))
        found = mapping.get_upstream_mapped_partitions_result_for_partitions(
            subset, mine, theirs
        ).partitions_subset
        taken = tuple(found.get_partition_keys())
        shared = mine is not None and _is_shared(mapping, found, theirs, mine, set(keys or ()))
    return UpstreamAsset(parent, metadata, theirs, taken, shared, also)


def _takes_all(mapping: dg.PartitionMapping) -> bool:
    """Whether an asset without partitions takes all partitions by a mapping."""
    some = isinstance(mapping, dg.LastPartitionMapping | dg.SpecificPartitionsPartitionMapping)
    return type(mapping).__module__.startswith("dagster.") and not some


def _is_shared(
    mapping: dg.PartitionMapping,
    taken: Any,
    theirs: dg.PartitionsDefinition[Any],
    mine: dg.PartitionsDefinition[Any],
    keys: set[str],
) -> bool:
    """Whether what is taken feeds other partitions, too."""
    try:
        fed = mapping.get_downstream_partitions_for_partitions(
            taken, theirs, downstream_partitions_def=mine
        )
        return not set(fed.get_partition_keys()) <= keys
    except (NotImplementedError, dg.DagsterError):
        # The mapping does not say: some look one way only.
        return True
