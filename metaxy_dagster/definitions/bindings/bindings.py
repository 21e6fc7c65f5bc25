"""Which asset carries which feature: what every rule starts from."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from functools import cached_property
from typing import TYPE_CHECKING, Any

from metaxy_dagster.runtime.io.io_manager import MetaxyIOManager

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from collections.abc import Set as AbstractSet

    import dagster as dg

    from metaxy_dagster.definitions.bindings.declared import Declared
    from metaxy_dagster.definitions.bindings.references import Relative
    from metaxy_dagster.definitions.bindings.request import Request
    from metaxy_dagster.definitions.bindings.translator_data import MetaxyTranslatorData
    from metaxy_dagster.definitions.plan.plans import Notice
    from metaxy_dagster.definitions.repository.collect import Asset, Scan, Unit
    from metaxy_dagster.definitions.repository.own_managers import OwnManager
    from metaxy_dagster.definitions.settings import MetaxifySettings
    from metaxy_dagster.errors import MetaxyError
    from metaxy_dagster.features.graph import FeatureGraph
    from metaxy_dagster.features.keys import FeatureKey

__all__ = ["Bindings", "Step"]


class Step(StrEnum):
    """The steps of binding that may find faults."""

    DECLARATIONS = "declarations"
    VERSIONS = "versions"
    PROJECT = "project"
    PROPOSALS = "proposals"
    RENAMES = "renames"


@dataclass(frozen=True, kw_only=True, eq=False)
class Bindings:
    """A repository and its features, tied together; the parsed keys are on its assets.

    Args:
        scan: the repository.
        declared: the features and their assets.
        relative: what relative keys mean.
        data: what the translator was told of each asset that can be tied.
        proposals: the translator's spec of each of them.
        renames: old to new keys.
        request: what the user asked for, the settings among it.
        found: what each step of binding found; a rule says it in its place.
    """

    scan: Scan
    declared: Declared
    relative: Relative
    data: Mapping[dg.AssetKey, MetaxyTranslatorData]
    proposals: Mapping[dg.AssetKey, dg.AssetSpec]
    renames: Mapping[dg.AssetKey, dg.AssetKey]
    request: Request
    found: Mapping[Step, Sequence[Notice | MetaxyError]]

    @cached_property
    def settings(self) -> MetaxifySettings:
        """The policy."""
        return self.request.settings

    @cached_property
    def graph(self) -> FeatureGraph:
        """The features."""
        return self.declared.graph

    @cached_property
    def resources(self) -> Mapping[str, Any]:
        """Those that the repository has."""
        return self.scan.fields["resources"] or {}

    @cached_property
    def upstreams(self) -> Mapping[dg.AssetKey, AbstractSet[FeatureKey]]:
        """The features that each tied asset is computed from."""
        return {
            key: frozenset(dep.upstream.key for dep in data.plan.deps)
            for key, data in self.data.items()
        }

    @cached_property
    def assets_by_new_key(self) -> Mapping[dg.AssetKey, Asset]:
        """All assets by the keys that they are going to have."""
        assets = self.scan.assets
        return {self.now(key): asset for key, asset in assets.items()} if self.renames else assets

    @cached_property
    def relative_now(self) -> Relative:
        """What relative keys mean, by the keys that assets are going to have."""
        return {
            index: {old: self.now(new) for old, new in targets.items()}
            for index, targets in self.relative.items()
        }

    def kept(self, key: str | None, *units: Unit | None) -> OwnManager | None:
        """The IO manager of the repository's own behind a key, if what it stores stays there.

        Args:
            key: the resource that an output or an input names.
            units: the asset objects that name it.

        Returns:
            None if nothing stands around it after the pass, so that it knows of no features.
        """
        own = None if key is None else self.own(key, *units)
        if own is None or own.is_wrapped:
            return own
        stays = self.settings.io_routing == "keep" and own.obstacle is None
        return own if stays and self.can_wrap else None

    def own(self, key: str, *units: Unit | None) -> OwnManager | None:
        """The IO manager of the repository's own behind a key, if there is one."""
        bound = [each.bound for each in units if each is not None]
        return None if key == self.settings.io_manager_key else self.scan.managers.of(key, *bound)

    def knows_features(self, key: str | None, *units: Unit | None) -> bool:
        """Whether an IO manager, after the pass, takes increments and gives provenance."""
        return key == self.settings.io_manager_key or self.kept(key, *units) is not None

    @cached_property
    def can_wrap(self) -> bool:
        """Whether features go through this library's own IO manager, where they go through one."""
        manager = self.resources.get(self.settings.io_manager_key)
        return manager is None or isinstance(manager, MetaxyIOManager)

    def now(self, key: dg.AssetKey) -> dg.AssetKey:
        """The key that an asset has after the pass."""
        return self.renames.get(key, key)
