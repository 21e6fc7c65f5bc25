"""What all units of a repository are planned from."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping
    from collections.abc import Set as AbstractSet

    import dagster as dg

    from metaxy_dagster.definitions.bindings.merge import Filled
    from metaxy_dagster.definitions.bindings.references import References, Relative
    from metaxy_dagster.definitions.repository.collect import Asset, Scan
    from metaxy_dagster.definitions.settings import MetaxifySettings
    from metaxy_dagster.features.keys import FeatureKey

__all__ = ["UnitContext"]


@dataclass(frozen=True, kw_only=True, eq=False)
class UnitContext:
    """What all units are planned from.

    Args:
        scan: the repository.
        features: the feature of each asset that can be tied.
        proposals: the translator's spec of each of them.
        filled: what filling their gaps comes to.
        references: keys to be replaced.
        relative: what relative keys mean.
        renames: old to new keys.
        upstreams: the features that each of them is computed from.
        settings: the policy.
    """

    scan: Scan
    features: Mapping[dg.AssetKey, FeatureKey]
    proposals: Mapping[dg.AssetKey, dg.AssetSpec]
    filled: Mapping[dg.AssetKey, Filled]
    references: References
    relative: Relative
    renames: Mapping[dg.AssetKey, dg.AssetKey]
    upstreams: Mapping[dg.AssetKey, AbstractSet[FeatureKey]]
    settings: MetaxifySettings

    @cached_property
    def assets_by_new_key(self) -> Mapping[dg.AssetKey, Asset]:
        """All assets by the keys that they are going to have."""
        assets = self.scan.assets
        return {self.now(key): asset for key, asset in assets.items()} if self.renames else assets

    @cached_property
    def loaded(self) -> AbstractSet[dg.AssetKey]:
        """The assets that arguments are loaded from, by the keys that they have now."""
        found: set[dg.AssetKey] = set()
        for unit in self.scan.units:
            relative = self.relative.get(unit.index, {})
            replaced = self.references.by_unit.get(unit.index, {})
            for key in unit.value_inputs:
                found.update(replaced.get(key, (relative.get(key, key),)))
        return found

    def now(self, key: dg.AssetKey) -> dg.AssetKey:
        """The key that an asset has after the pass."""
        return self.renames.get(key, key)
