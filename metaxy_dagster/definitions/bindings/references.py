"""What the asset keys that a repository writes down really refer to.

Dagster resolves a dep on ``up`` to ``ns/up`` when that is the only asset of the same group with
that last part, and a dep by table name to the asset that has the table. Such references are
relative: they change their meaning when a group or a key changes.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

import dagster as dg

from metaxy_dagster.constants import KEY_TABLE_NAME
from metaxy_dagster.definitions import _compat
from metaxy_dagster.definitions.repository.collect import UnitKind
from metaxy_dagster.errors import DefinitionsError, MetaxyError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from metaxy_dagster.definitions.bindings.declared import Declared
    from metaxy_dagster.definitions.repository.collect import Scan, Unit

__all__ = ["References", "Relative", "find_references", "relative_targets"]

#: Per unit (by index): the relative keys that it names and the assets that they mean.
Relative = dict[int, dict["dg.AssetKey", "dg.AssetKey"]]
_NO_KEYS: Final[Mapping[Any, Any]] = {}


@dataclass(frozen=True, eq=False)
class References:
    """How the keys that units name have to be read after the pass.

    Args:
        by_unit: per unit, the keys to be replaced and by which ones; several where a feature
            has several carriers.
        captured: external keys that a changed group or key would capture; they need an
            explicit external asset to stay what they are.
        loaded: features' own keys that an argument refers to although no asset carries them.
        errors: references that cannot be resolved.
    """

    by_unit: Mapping[int, Mapping[dg.AssetKey, tuple[dg.AssetKey, ...]]]
    captured: tuple[dg.AssetKey, ...] = ()
    loaded: tuple[dg.AssetKey, ...] = ()
    errors: tuple[MetaxyError, ...] = ()


@dataclass(frozen=True)
class Regroup:
    """The keys and groups that assets are going to have, where they change."""

    keys: Mapping[dg.AssetKey, dg.AssetKey] = field(default_factory=dict)
    groups: Mapping[dg.AssetKey, str] = field(default_factory=dict)


def relative_targets(scan: Scan, change: Regroup | None = None) -> Relative:
    """What every relative dep key means, by Dagster's own rules.

    Args:
        scan: the repository.
        change: the keys and groups to assume instead of those of the repository.

    Returns:
        Only the keys that are relative; a key of an existing asset means that asset.
    """
    keys = change.keys if change else _NO_KEYS
    groups = change.groups if change else _NO_KEYS
    existing = {keys.get(key, key) for key in scan.assets}
    by_name: defaultdict[tuple[str, str], list[dg.AssetKey]] = defaultdict(list)
    by_table: defaultdict[str, list[dg.AssetKey]] = defaultdict(list)
    for key, asset in scan.assets.items():
        now = keys.get(key, key)
        by_name[groups.get(key, asset.group), now.path[-1]].append(now)
        table = asset.spec.metadata.get(KEY_TABLE_NAME)
        if table is not None:
            by_table[_text(table)].append(now)
    found: Relative = {}
    for unit in scan.units:
        own = {keys.get(spec.key, spec.key) for spec in unit.specs}
        for spec in unit.specs:
            group = groups.get(spec.key, spec.group_name or _compat.DEFAULT_GROUP)
            for dep in spec.deps:
                # A key that names an asset keeps naming it, whatever that is called by then.
                if dep.asset_key in scan.assets or dep.asset_key in existing:
                    continue
                matches = by_name.get((group, dep.asset_key.path[0]), [])
                if len(dep.asset_key.path) != 1 or len(matches) != 1 or matches[0] in own:
                    matches = by_table.get(_text(_compat.dep_metadata(dep).get(KEY_TABLE_NAME)), [])
                if len(matches) == 1:
                    found.setdefault(unit.index, {})[dep.asset_key] = matches[0]
    return found


def find_references(
    scan: Scan, declared: Declared, before: Relative, change: Regroup
) -> References:
    """Which keys each unit has to have replaced, so that all mean what they meant.

    Args:
        scan: the repository.
        declared: the features and their carriers.
        before: what relative keys mean now (:func:`relative_targets`).
        change: keys and groups that the pass is going to change.

    Returns:
        The replacements in terms of today's keys; renames are applied on top of them.
    """
    after = relative_targets(scan, change) if change.keys or change.groups else before
    by_unit: defaultdict[int, dict[dg.AssetKey, tuple[dg.AssetKey, ...]]] = defaultdict(dict)
    captured: dict[dg.AssetKey, None] = {}
    for index in sorted({*before, *after}):
        was, becomes = before.get(index, {}), after.get(index, {})
        for key in {**was, **becomes}:
            if key not in was:
                captured[key] = None
            elif becomes.get(key) != change.keys.get(was[key], was[key]):
                by_unit[index][key] = (was[key],)
    found = _feature_references(scan, declared, before)
    for index, keys in found.by_unit.items():
        by_unit[index].update(keys)
    # A captured key that turned out to be a feature's needs no external asset of its own.
    replaced = {key for keys in by_unit.values() for key in keys}
    return References(
        by_unit=by_unit,
        captured=tuple(key for key in captured if key not in replaced),
        loaded=found.loaded,
        errors=found.errors,
    )


def _feature_references(scan: Scan, declared: Declared, before: Relative) -> References:
    """Keys that no asset has but that are the own keys of features."""
    by_unit: defaultdict[int, dict[dg.AssetKey, tuple[dg.AssetKey, ...]]] = defaultdict(dict)
    loaded: dict[dg.AssetKey, None] = {}
    errors: list[MetaxyError] = []
    for unit in scan.units:
        own = {spec.key for spec in unit.specs}
        for key in _unresolved(unit, scan, before):
            feature = declared.by_own_key.get(key)
            if feature is None:
                continue
            carriers = declared.carriers.get(feature, ())
            needs_one = key in unit.value_inputs or unit.kind is UnitKind.CHECKS
            if len(carriers) > 1 and needs_one:
                errors.append(_ambiguous(unit, key, carriers))
            elif carriers and not own & set(carriers):
                by_unit[unit.index][key] = carriers
            elif not carriers and key in unit.value_inputs and feature in declared.graph:
                loaded[key] = None
    return References(by_unit=by_unit, loaded=tuple(loaded), errors=tuple(errors))


def _unresolved(unit: Unit, scan: Scan, before: Relative) -> Iterable[dg.AssetKey]:
    relative = before.get(unit.index, _NO_KEYS)
    keys: dict[dg.AssetKey, None] = {}
    for spec in unit.specs:
        for dep in spec.deps:
            if dep.asset_key not in scan.assets and dep.asset_key not in relative:
                keys[dep.asset_key] = None
    if unit.definition is not None and unit.definition.check_keys:
        for check in unit.definition.node_check_specs_by_output_name.values():
            for key in (check.asset_key, *(dep.asset_key for dep in check.additional_deps)):
                if key not in scan.assets and key not in relative:
                    keys[key] = None
    return keys


def _ambiguous(unit: Unit, key: dg.AssetKey, carriers: tuple[dg.AssetKey, ...]) -> DefinitionsError:
    subject = "a check" if unit.kind is UnitKind.CHECKS else "an argument"
    return DefinitionsError(
        f"{subject} refers to a feature that several assets carry",
        asset=unit.label,
        feature=key.to_user_string(),
        found=", ".join(carrier.to_user_string() for carrier in carriers),
        allowed="the key of one asset",
        remedy="name the asset to load from in AssetIn(key=...), and the others in deps",
    )


def _text(value: object) -> str:
    return str(getattr(value, "text", getattr(value, "value", value)))
