"""Which outputs go through the library's IO manager, and which stay with another."""

from __future__ import annotations

from typing import TYPE_CHECKING

from metaxy_dagster.constants import RESOURCE_STORE
from metaxy_dagster.definitions import _compat
from metaxy_dagster.definitions.draft.findings import Fill
from metaxy_dagster.definitions.draft.functions import (
    needed_resources,
    returns_rows,
    words_of,
)
from metaxy_dagster.definitions.draft.rule import UnitRule
from metaxy_dagster.definitions.draft.storage import manager_of, named_manager, output_of
from metaxy_dagster.definitions.plan.plans import KEPT, ROUTED, Change

if TYPE_CHECKING:
    from collections.abc import Iterator

    from metaxy_dagster.definitions.bindings.bindings import Bindings
    from metaxy_dagster.definitions.draft.drafts import TiedDraft, UnitDraft

__all__ = ["routing"]


@UnitRule
def routing(bindings: Bindings, draft: UnitDraft) -> Iterator[Fill]:
    """Send what feature assets return to the IO manager, unless they have a storage of their own.

    That is another key than ``io_manager``, or an ``io_manager`` that is bound to the asset, or is
    a resource of the repository: what becomes of the latter is a setting. (The key ``io_manager``
    written out cannot be told from no key at all.)

    What writes itself and returns nothing is routed where others load it for an argument: nothing
    handles its output, but the key of the output says what loads it.
    """
    if bindings.settings.io_routing == "off":
        return
    for asset in draft.tied:
        key = manager_of(draft.unit, asset.spec)
        if not _has_storage(bindings, draft, asset, key):
            yield from _routed(bindings, draft, asset, key)
            continue
        kept = bindings.kept(key, draft.unit)
        if kept is not None and not kept.is_wrapped and _is_used(draft, asset):
            why = "the repository's own IO manager: what it stores stays where it is"
            yield Fill(asset, None, None, (Change(KEPT, f"{kept.name} stays, wrapped", why),))


def _has_storage(bindings: Bindings, draft: UnitDraft, asset: TiedDraft, key: str) -> bool:
    """Whether the asset has a storage that counts as one of its own."""
    unit, default = draft.unit, _compat.DEFAULT_IO_MANAGER_KEY
    if key != default or named_manager(asset.spec) != default or default in unit.bound:
        return True
    policy, own = bindings.settings.io_routing, bindings.own(key, unit)
    if own is not None and own.is_wrapped:
        return True
    if policy == "respect_default":
        return default in bindings.resources
    if policy != "keep" or own is None:
        return False
    if asset.asset.keys.takes_increment and own.no_increments is not None:
        return False
    return not _writes_to_the_store(draft, asset)


def _writes_to_the_store(draft: UnitDraft, asset: TiedDraft) -> bool:
    """Whether nothing is returned, and what its function writes goes to the store."""
    name, output = output_of(draft.unit, asset.spec.key)
    if name is None or output is None or not _compat.is_nothing(output):
        return False
    return RESOURCE_STORE in needed_resources(draft.unit) and "write" in words_of(draft.unit)


def _is_used(draft: UnitDraft, asset: TiedDraft) -> bool:
    """Whether an IO manager ever stores or loads the asset."""
    name, output = output_of(draft.unit, asset.spec.key)
    if not draft.unit.materializable:
        return True
    if name is None or output is None:
        return False
    return not _compat.is_nothing(output) or asset.spec.key in draft.loaded


def _routed(bindings: Bindings, draft: UnitDraft, asset: TiedDraft, key: str) -> Iterator[Fill]:
    manager, why = bindings.settings.io_manager_key, "a feature's rows are stored"
    if not draft.unit.materializable:
        located = {**asset.metadata, _compat.IO_MANAGER_METADATA_KEY: manager}
        yield Fill(asset, "metadata", located, (Change(ROUTED, manager, why),))
        return
    name, output = output_of(draft.unit, asset.spec.key)
    if name is None or output is None or not _is_used(draft, asset):
        return
    if asset.asset.keys.writes_itself and returns_rows(draft.unit, output):
        return  # what it returns is no frame of the feature
    own = bindings.own(key, draft.unit)
    if _compat.is_nothing(output):
        why = "it is loaded for an argument"
    elif bindings.settings.io_routing == "keep" and own is not None:
        why = f"{own.name} cannot take increments: {own.no_increments}"
    draft.routed[name] = manager
    yield Fill(asset, None, None, (Change(ROUTED, manager, why),))
