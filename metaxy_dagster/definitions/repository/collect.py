"""Reads a Definitions once: every object it holds, every asset, its metadata and its feature."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from functools import cached_property
from typing import TYPE_CHECKING, Any, Final

import dagster as dg

from metaxy_dagster.definitions import _compat
from metaxy_dagster.definitions.repository.own_managers import OwnManagers
from metaxy_dagster.keys import AssetKeys, ParsedKeys, names_feature, parse
from metaxy_dagster.stores import Increment

if TYPE_CHECKING:
    from collections.abc import Mapping

#: So many names of a multi-asset are enough in a message.
_NAMES: Final = 3

__all__ = ["Asset", "Scan", "Unit", "UnitKind", "collect"]


class UnitKind(StrEnum):
    """What an entry of ``Definitions.assets`` or ``Definitions.asset_checks`` is."""

    ASSETS = "assets definition"
    SPEC = "asset spec"
    SOURCE = "source asset"
    CHECKS = "asset checks definition"
    OPAQUE = "unreadable"


@dataclass(frozen=True, eq=False)
class Unit:
    """One object of a Definitions, with the specs of the assets that it defines.

    Args:
        index: its place among the units, in the order in which they were found.
        kind: what it is.
        given: the very object that the user listed.
        definition: what can be rewritten (a SourceAsset is converted); None for a bare spec.
        specs: the specs of its assets.
        listed: whether it stands in ``assets`` or ``asset_checks``; if not, only the target of
            a schedule or a sensor knows it.
    """

    index: int
    kind: UnitKind
    given: object
    definition: dg.AssetsDefinition | None
    specs: tuple[dg.AssetSpec, ...]
    listed: bool = True

    @cached_property
    def executable(self) -> bool:
        """Whether it has an op or a graph."""
        return self.definition is not None and self.definition.is_executable

    @cached_property
    def materializable(self) -> bool:
        """Whether its op or graph materializes (and does not only observe)."""
        return self.definition is not None and self.definition.is_materializable

    @cached_property
    def keys_by_input_name(self) -> Mapping[str, dg.AssetKey]:
        """What the op's or graph's inputs are bound to."""
        definition = self.definition
        return definition.node_keys_by_input_name if definition and self.executable else {}

    @cached_property
    def arguments(self) -> Mapping[str, dg.AssetKey]:
        """The arguments that are bound to a key, which somebody has to load."""
        if not self.keys_by_input_name or self.definition is None:
            return {}
        node = self.definition.node_def
        return {
            name: key
            for name, key in self.keys_by_input_name.items()
            if not node.input_def_named(name).dagster_type.is_nothing
            and name not in self.increments
        }

    @cached_property
    def increments(self) -> Mapping[str, dg.AssetKey]:
        """The parameters that are Increments; Dagster takes each for an asset of that name."""
        if not self.keys_by_input_name or self.definition is None:
            return {}
        node = self.definition.node_def
        return {
            name: key
            for name, key in self.keys_by_input_name.items()
            if node.input_def_named(name).dagster_type.typing_type is Increment
        }

    @cached_property
    def value_inputs(self) -> frozenset[dg.AssetKey]:
        """The keys that are bound to an argument."""
        return frozenset(self.arguments.values())

    @cached_property
    def bound(self) -> Mapping[str, dg.ResourceDefinition]:
        """The resources that are bound to it, and not looked up in the Definitions."""
        return {} if self.definition is None else self.definition.resource_defs

    @cached_property
    def moves_as_one(self) -> bool:
        """Whether all its assets are always computed together."""
        definition = self.definition
        return definition is not None and self.executable and not definition.can_subset

    @property
    def label(self) -> str:
        """How messages name it: by its assets, its checks, or what it is."""
        names = [spec.key.to_user_string() for spec in self.specs]
        if not names and self.definition is not None:
            names = sorted(
                f"{key.asset_key.to_user_string()}:{key.name}" for key in self.definition.check_keys
            )
        some = ", ".join(names[:_NAMES])
        return some + (", …" if len(names) > _NAMES else "") or type(self.given).__name__


@dataclass(frozen=True, eq=False)
class Asset:
    """One asset: its spec and the unit that defines it."""

    spec: dg.AssetSpec
    unit: Unit

    @cached_property
    def key(self) -> dg.AssetKey:
        """Its key in the user's repository."""
        return self.spec.key

    @cached_property
    def name(self) -> str:
        """Its key as ``"a/b"``."""
        return self.spec.key.to_user_string()

    @cached_property
    def metadata(self) -> Mapping[str, Any]:
        """Its metadata, values that Dagster wrapped unwrapped."""
        # Wrapped values are tuples on some releases of Dagster: nobody below may guess at them.
        return {
            name: value.value if isinstance(value, dg.MetadataValue) else value
            for name, value in self.spec.metadata.items()
        }

    @cached_property
    def names_feature(self) -> bool:
        """Whether its metadata ties it to a feature, or tries to."""
        return names_feature(self.spec.metadata)

    @cached_property
    def parsed(self) -> ParsedKeys:
        """What its metadata keys say, read once."""
        return parse(self.metadata, self.name)

    @cached_property
    def keys(self) -> AssetKeys:
        """The same without what is at fault."""
        return self.parsed.keys

    @property
    def group(self) -> str:
        """Its group, by the name that Dagster gives to a missing one."""
        return self.spec.group_name or _compat.DEFAULT_GROUP


@dataclass(frozen=True, eq=False)
class Scan:
    """All of a Definitions that the pass looks at.

    Args:
        fields: every constructor argument of the Definitions.
        units: its asset objects, each once.
        assets: by key; of several definitions of one key the executable one.
        used_up: names of fields that hold an iterator that has nothing left to give.
    """

    fields: Mapping[str, Any]
    units: tuple[Unit, ...]
    assets: Mapping[dg.AssetKey, Asset]
    used_up: tuple[str, ...] = ()
    units_by_identity: Mapping[int, Unit] = field(default_factory=dict)

    @cached_property
    def managers(self) -> OwnManagers:
        """The IO managers that it has of its own."""
        return OwnManagers(self.fields["resources"] or {}, (each.bound for each in self.units))


def collect(defs: dg.Definitions) -> Scan:
    """Read a Definitions without resolving it.

    Args:
        defs: the user's Definitions; it is not changed.

    Returns:
        What was found, in the order in which it was listed.
    """
    fields = _compat.definitions_fields(defs)
    used_up: list[str] = []
    for name in ("assets", "asset_checks", "jobs", "schedules", "sensors"):
        value = fields[name]
        if value is not None and not isinstance(value, Sequence):
            fields[name] = list(value)
            if isinstance(value, Iterator) and not fields[name]:
                used_up.append(name)
    units: dict[int, Unit] = {}
    for entry in (*(fields["assets"] or ()), *(fields["asset_checks"] or ())):
        if id(entry) not in units:
            units[id(entry)] = _unit(len(units), entry)
    for entry in _only_targeted(fields, units):
        units[id(entry)] = _unit(len(units), entry, listed=False)
    ordered = tuple(units.values())
    return Scan(
        fields=fields,
        units=ordered,
        assets=_assets(ordered),
        used_up=tuple(used_up),
        units_by_identity=units,
    )


def _unit(index: int, entry: object, *, listed: bool = True) -> Unit:
    if isinstance(entry, dg.AssetSpec):
        return Unit(index, UnitKind.SPEC, entry, None, (entry,), listed)
    if isinstance(entry, dg.AssetsDefinition):
        kind = UnitKind.ASSETS if entry.keys else UnitKind.CHECKS
        return Unit(index, kind, entry, entry, tuple(entry.specs), listed)
    if isinstance(entry, dg.SourceAsset):
        external = _compat.external_from_source(entry)
        return Unit(index, UnitKind.SOURCE, entry, external, tuple(external.specs), listed)
    return Unit(index, UnitKind.OPAQUE, entry, None, (), listed)


def _assets(units: Iterable[Unit]) -> dict[dg.AssetKey, Asset]:
    assets: dict[dg.AssetKey, Asset] = {}
    for unit in units:
        for spec in unit.specs:
            known = assets.get(spec.key)
            # Dagster lets a SourceAsset stand beside the asset that it names; the asset counts.
            if known is None or known.unit.kind is UnitKind.SOURCE:
                assets[spec.key] = Asset(spec, unit)
    return assets


def _only_targeted(fields: Mapping[str, Any], units: Mapping[int, Unit]) -> Iterator[object]:
    listed = {key for unit in units.values() for key in (spec.key for spec in unit.specs)}
    seen: set[int] = set(units)
    for automation in (*(fields["schedules"] or ()), *(fields["sensors"] or ())):
        for target in _compat.targets_of(automation):
            for entry in target.assets_defs:
                keys = entry.keys if isinstance(entry, dg.AssetsDefinition) else {entry.key}
                if id(entry) not in seen and not keys <= listed:
                    seen.add(id(entry))
                    yield entry
