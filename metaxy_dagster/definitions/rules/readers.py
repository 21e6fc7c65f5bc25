"""Who goes on looking where a feature was stored before."""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING

from metaxy_dagster.constants import RESOURCE_STORE
from metaxy_dagster.definitions.draft.functions import needed_resources
from metaxy_dagster.definitions.draft.rule import RepositoryRule
from metaxy_dagster.definitions.draft.storage import manager_of
from metaxy_dagster.definitions.plan.plans import ROUTED, Notice, NoticeKind
from metaxy_dagster.definitions.repository.collect import UnitKind

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    import dagster as dg

    from metaxy_dagster.definitions.bindings.bindings import Bindings
    from metaxy_dagster.definitions.draft.draft import Draft
    from metaxy_dagster.definitions.repository.collect import Unit
    from metaxy_dagster.definitions.repository.own_managers import OwnManager

__all__ = ["readers"]


@RepositoryRule
def readers(bindings: Bindings, draft: Draft) -> Iterator[Notice]:
    """Per asset whose rows move to the store, those that are not given them from there.

    What an argument loads comes from the store with them. All else reads by itself: assets,
    checks and external assets that only depend on it, arguments with an input manager of their
    own, a SourceAsset that stands for the same data.
    """
    moved = _moved(bindings, draft)
    found = _found(bindings, draft, moved) if moved else {}
    for key, own in moved.items():
        where = "where it was stored so far" if own is None else f"at the IO manager {own.name}"
        if own is not None and not bindings.scan.assets[key].unit.materializable:
            message = f"it is loaded from the store from now on, and what is {where} is not there"
            yield Notice(NoticeKind.IO_MANAGER, message, key.to_user_string())
        if key in found:
            message = (
                "its rows are stored as a feature's from now on, and these go on looking "
                f"{where}: {'; '.join(found[key])}"
            )
            yield Notice(NoticeKind.IO_MANAGER, message, key.to_user_string())


def _found(
    bindings: Bindings, draft: Draft, moved: Mapping[dg.AssetKey, OwnManager | None]
) -> Mapping[dg.AssetKey, Iterable[str]]:
    """The readers of each, in words, each once."""
    found: defaultdict[dg.AssetKey, dict[str, None]] = defaultdict(dict)
    for plan in draft.definitions:
        for load in draft.loads.of(plan):
            if load.source is None or load.source.key not in moved:
                continue
            if load.manager != bindings.settings.io_manager_key:
                found[load.source.key][f"{plan.unit.label} (loads it by {load.manager!r})"] = None
        for key, reader in _by_themselves(bindings, plan.unit):
            # Nobody reads what was in memory.
            if (own := moved.get(key)) is not None and not own.is_in_memory:
                found[key][reader] = None
    return found


def _moved(bindings: Bindings, draft: Draft) -> Mapping[dg.AssetKey, OwnManager | None]:
    """The assets that are stored elsewhere from now on, and what stored them so far."""
    found: dict[dg.AssetKey, OwnManager | None] = {}
    for plan in draft.definitions:
        for asset in plan.assets:
            if any(change.what == ROUTED for change in asset.changes):
                key = manager_of(plan.unit, bindings.scan.assets[asset.key].spec)
                found[asset.key] = bindings.own(key, plan.unit)
    return found


def _by_themselves(bindings: Bindings, unit: Unit) -> Iterator[tuple[dg.AssetKey, str]]:
    """The assets whose values a unit is not given though it has to do with them."""
    if RESOURCE_STORE in needed_resources(unit):
        return
    relative = bindings.relative.get(unit.index, {})
    own = {spec.key for spec in unit.specs}
    loaded = {relative.get(key, key) for key in unit.value_inputs}
    named = {*unit.keys_by_input_name.values()}
    named.update(dep.asset_key for spec in unit.specs for dep in spec.deps)
    for key in sorted({relative.get(key, key) for key in named} - loaded - own):
        yield key, f"{unit.label} ({'a check' if unit.kind is UnitKind.CHECKS else 'deps only'})"
    for key in sorted(own):
        if unit.kind is UnitKind.SOURCE and bindings.scan.assets[key].unit is not unit:
            yield key, "the SourceAsset of its key"
