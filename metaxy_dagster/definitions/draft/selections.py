"""Asset selections, compared before and after: a job keeps meaning what it meant.

A selection by group, tag, kind, owner or position in the lineage changes its meaning when any of
these changes, also with all keys kept: an injected dep alone moves assets in and out of
``all - x.downstream()``.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import dagster as dg

from metaxy_dagster.definitions import _compat

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from metaxy_dagster.definitions.plan.plans import DefinitionPlan

__all__ = ["Comparison", "Meaning", "Selections"]


@dataclass(frozen=True)
class Meaning:
    """What a selection comes to.

    Args:
        assets: the selected assets.
        checks: the selected checks.
    """

    assets: frozenset[dg.AssetKey]
    checks: frozenset[dg.AssetCheckKey]


@dataclass(frozen=True, eq=False)
class Comparison:
    """A selection before and after the pass.

    Args:
        selection: what keeps its meaning: the selection itself, or a replacement for it.
        lost: assets that it would no longer select.
        gained: assets that it would newly select.
        frozen: whether the replacement is a list of keys and follows no future change.
    """

    selection: dg.AssetSelection
    lost: frozenset[dg.AssetKey] = frozenset()
    gained: frozenset[dg.AssetKey] = frozenset()
    frozen: bool = False

    @property
    def drift(self) -> str:
        """The difference in words."""
        parts = []
        for verb, keys in (("loses", self.lost), ("gains", self.gained)):
            if keys:
                some = ", ".join(key.to_user_string() for key in sorted(keys)[:3])
                parts.append(f"{verb} {some}" + (" and more" if len(keys) > 3 else ""))  # noqa: PLR2004 (a few names tell enough)
        return " and ".join(parts) or "selects other checks"


class Selections:
    """Resolves selections on the repository as it was and as it is going to be.

    The two asset graphs are built when a selection needs them, and not for those that name
    their assets or take all.

    Args:
        definitions: the planned units.
        externals: external assets to be added.
        rewrite: makes the new object of a unit.
        renames: old to new keys.
    """

    def __init__(
        self,
        definitions: Iterable[DefinitionPlan],
        externals: Iterable[dg.AssetSpec],
        rewrite: Callable[[DefinitionPlan], Any],
        renames: Mapping[dg.AssetKey, dg.AssetKey],
    ) -> None:
        self._definitions = tuple(definitions)
        self._externals = tuple(externals)
        self._rewrite = rewrite
        self._renames = renames

    def compare(self, selection: dg.AssetSelection) -> Comparison | None:
        """How a selection has to be written to mean what it meant; None if it may stay."""
        if not self._renames and _compat.is_fixed(selection):
            return None
        try:
            before = self._meaning(selection, self._before)
        except _compat.DAGSTER_ERRORS:
            return None  # it never resolved, and Dagster will go on saying so
        expected = self._renamed(before)
        mapped = _compat.selection_with_keys(selection, self._renames)
        found = self._attempt(mapped)
        if found == expected:
            return None if mapped is selection else Comparison(mapped)
        now = found.assets if found else frozenset()
        return Comparison(
            _frozen(expected, self._attempt),
            lost=expected.assets - now,
            gained=now - expected.assets,
            frozen=True,
        )

    def selected_after(self, selection: dg.AssetSelection) -> frozenset[dg.AssetKey]:
        """The assets that a selection is going to mean; none where it does not resolve."""
        found = self._attempt(_compat.selection_with_keys(selection, self._renames))
        return found.assets if found else frozenset()

    def _meaning(self, selection: dg.AssetSelection, graph: _compat.AssetGraph) -> Meaning:
        with _compat.quiet():
            return Meaning(
                frozenset(selection.resolve(graph)), frozenset(selection.resolve_checks(graph))
            )

    def _attempt(self, selection: dg.AssetSelection) -> Meaning | None:
        try:
            return self._meaning(selection, self._after)
        except _compat.DAGSTER_ERRORS:
            return None

    def _renamed(self, meaning: Meaning) -> Meaning:
        renames = self._renames
        return Meaning(
            frozenset(renames.get(key, key) for key in meaning.assets),
            frozenset(
                dg.AssetCheckKey(renames.get(key.asset_key, key.asset_key), key.name)
                for key in meaning.checks
            ),
        )

    @cached_property
    def _before(self) -> _compat.AssetGraph:
        return _compat.asset_graph(_as_definitions(each.unit.given for each in self._definitions))

    @cached_property
    def _after(self) -> _compat.AssetGraph:
        made = (self._rewrite(each) for each in self._definitions)
        return _compat.asset_graph(_as_definitions([*made, *self._externals]))


def _frozen(
    expected: Meaning, attempt: Callable[[dg.AssetSelection], Meaning | None]
) -> dg.AssetSelection:
    by_keys = dg.AssetSelection.assets(*sorted(expected.assets))
    if attempt(by_keys) == expected:
        return by_keys
    return by_keys.without_checks() | dg.AssetSelection.checks(
        *sorted(expected.checks, key=lambda key: (key.asset_key, key.name))
    )


def _as_definitions(
    entries: Iterable[object],
) -> list[dg.AssetsDefinition | dg.SourceAsset]:
    """What Dagster makes of a repository's asset list, bare specs gathered by partitions."""
    found: list[dg.AssetsDefinition | dg.SourceAsset] = []
    specs: defaultdict[object, list[dg.AssetSpec]] = defaultdict(list)
    for entry in entries:
        if isinstance(entry, dg.AssetSpec):
            specs[entry.partitions_def].append(entry)
        elif isinstance(entry, dg.AssetsDefinition | dg.SourceAsset):
            found.append(entry)
    with _compat.quiet():
        found += [dg.AssetsDefinition(specs=each) for each in specs.values()]
    return found
