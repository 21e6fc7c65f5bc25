"""One asset, and one unit, while they are planned."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Mapping
    from collections.abc import Set as AbstractSet

    import dagster as dg

    from metaxy_dagster.definitions import _compat
    from metaxy_dagster.definitions.bindings.translator_data import MetaxyTranslatorData
    from metaxy_dagster.definitions.plan.plans import Change
    from metaxy_dagster.definitions.repository.collect import Asset, Unit
    from metaxy_dagster.features.keys import FeatureKey
    from metaxy_dagster.runtime.io.own_bodies import OwnBody
    from metaxy_dagster.runtime.work.isolating import OnError

__all__ = ["BODY", "OUTPUT", "AssetDraft", "DepContext", "TiedDraft", "UnitDraft"]

#: What a change of a body is called.
BODY: Final = "body"
#: What it is called that the samples of a function that makes its data itself are recorded.
OUTPUT: Final = "output"


@dataclass(kw_only=True, eq=False)
class AssetDraft:
    """An asset while it is planned.

    Args:
        spec: as the user wrote it.
        feature: the feature that it carries; one that is not tied carries none.
        attributes: arguments for ``AssetSpec.replace_attributes``; only those that change.
        changes: the same in words.
    """

    spec: dg.AssetSpec
    feature: FeatureKey | None = None
    attributes: dict[str, Any] = field(default_factory=dict)
    changes: list[Change] = field(default_factory=list)

    @property
    def metadata(self) -> Mapping[str, Any]:
        """Its metadata as planned so far."""
        planned: Mapping[str, Any] = self.attributes.get("metadata", self.spec.metadata)
        return planned

    def leave(self, what: str) -> None:
        """Take back what was to be changed."""
        self.changes = [change for change in self.changes if change.what != what]


@dataclass(kw_only=True, eq=False)
class TiedDraft(AssetDraft):
    """An asset that carries a feature, while it is planned.

    Args:
        asset: the asset.
        data: its feature.
        proposed: the translator's spec.
    """

    asset: Asset
    data: MetaxyTranslatorData
    proposed: dg.AssetSpec

    @cached_property
    def why(self) -> str:
        """Where changes come from."""
        return f"feature {self.feature}"


@dataclass(frozen=True, eq=False)
class DepContext:
    """What the deps of a unit's assets are merged with.

    Args:
        replaced: dep keys to be replaced.
        relative: what the remaining relative keys mean, so that they are not doubled.
        mappings: partition mappings that the user set on any asset of the same op.
        assets: all assets, for their partitions.
        dropped: keys that only stood for a parameter that is an Increment.
    """

    replaced: Mapping[dg.AssetKey, tuple[dg.AssetKey, ...]] = field(default_factory=dict)
    relative: Mapping[dg.AssetKey, dg.AssetKey] = field(default_factory=dict)
    mappings: Mapping[dg.AssetKey, dg.PartitionMapping] = field(default_factory=dict)
    assets: Mapping[dg.AssetKey, Asset] = field(default_factory=dict)
    dropped: AbstractSet[dg.AssetKey] = frozenset()


_NO_DEPS: Final = DepContext()


@dataclass(kw_only=True, eq=False)
class UnitDraft:
    """One object of a Definitions while it is planned.

    Args:
        unit: the object.
        inputs: what its inputs are going to be bound to.
        active: whether anything in it may change.
        assets: its assets, if so.
        deps: what their deps are merged with.
        loaded: the assets of the repository that arguments are loaded from.
        loads: by argument, what loads it where no asset of the repository could say so.
        routed: output name to the IO manager that it is routed to.
        to_bind: the keys that need an input of their own to order execution.
        skips: whether its body is left out while nothing is pending.
        batch_size: how many samples its function gets at once; None for all of them.
        own_body: how its function is called that loads its inputs, or makes its data, itself.
        seen_making: its assets whose data its function is seen to make itself.
        on_error: what becomes of samples on which it fails; None if the step fails then.
        checks: its check specs by output name where they change.
        resources: all that is bound to it, where some of that changes.
    """

    unit: Unit
    inputs: Mapping[str, dg.AssetKey]
    active: bool = True
    assets: list[AssetDraft] = field(default_factory=list)
    deps: DepContext = _NO_DEPS
    loaded: AbstractSet[dg.AssetKey] = frozenset()
    loads: Mapping[str, _compat.Loaded] = field(default_factory=dict)
    routed: dict[str, str] = field(default_factory=dict)
    to_bind: list[dg.AssetKey] = field(default_factory=list)
    skips: bool = False
    batch_size: int | None = None
    own_body: OwnBody | None = None
    seen_making: list[TiedDraft] = field(default_factory=list)
    on_error: OnError | None = None
    checks: Mapping[str, dg.AssetCheckSpec] = field(default_factory=dict)
    resources: Mapping[str, dg.ResourceDefinition] = field(default_factory=dict)

    @cached_property
    def tied(self) -> list[TiedDraft]:
        """Those of its assets that carry a feature."""
        return [each for each in self.assets if isinstance(each, TiedDraft)]

    @property
    def rewrites(self) -> bool:
        """Whether its op or graph has to be another one."""
        called = self.skips or self.batch_size or self.own_body or self.on_error
        return bool(self.to_bind or self.routed or self.loads or called)
