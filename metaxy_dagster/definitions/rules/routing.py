"""Which outputs go through the library's IO manager."""

from __future__ import annotations

from typing import TYPE_CHECKING

from metaxy_dagster.definitions import _compat
from metaxy_dagster.definitions.draft.findings import Fill
from metaxy_dagster.definitions.draft.rule import UnitRule
from metaxy_dagster.definitions.draft.storage import output_of
from metaxy_dagster.definitions.plan.plans import Change

if TYPE_CHECKING:
    from collections.abc import Iterator

    import dagster as dg

    from metaxy_dagster.definitions.bindings.bindings import Bindings
    from metaxy_dagster.definitions.draft.drafts import TiedDraft, UnitDraft

__all__ = ["routing"]


@UnitRule
def routing(bindings: Bindings, draft: UnitDraft) -> Iterator[Fill]:
    """Send what feature assets return to the IO manager, unless an asset chose one itself.

    A choice is another key than ``io_manager``, or an ``io_manager`` bound to the asset. (The key
    ``io_manager`` written out cannot be told from no key at all.)

    What writes itself and returns nothing is routed where others load it for an argument: nothing
    handles its output, but the key of the output says what loads it.
    """
    policy = bindings.settings.io_routing
    own_default = _compat.DEFAULT_IO_MANAGER_KEY in bindings.resources
    if policy == "off" or (policy == "respect_default" and own_default):
        return
    definition = draft.unit.definition
    if definition is not None and _compat.DEFAULT_IO_MANAGER_KEY in definition.resource_defs:
        return
    for asset in draft.tied:
        yield from _routed(draft, asset, bindings.settings.io_manager_key)


def _routed(draft: UnitDraft, asset: TiedDraft, manager: str) -> Iterator[Fill]:
    if _has_chosen(asset.spec):
        return
    name, output = output_of(draft.unit, asset.spec.key)
    if output is not None and output.io_manager_key != _compat.DEFAULT_IO_MANAGER_KEY:
        return
    why = "a feature's rows are stored"
    if not draft.unit.materializable:
        located = {**asset.metadata, _compat.IO_MANAGER_METADATA_KEY: manager}
        yield Fill(asset, "metadata", located, (Change("io_manager_key", manager, why),))
        return
    if name is None or output is None:
        return
    if _compat.is_nothing(output):
        if asset.spec.key not in draft.loaded:
            return
        why = "it is loaded for an argument"
    draft.routed[name] = manager
    yield Fill(asset, None, None, (Change("io_manager_key", manager, why),))


def _has_chosen(spec: dg.AssetSpec) -> bool:
    named = spec.metadata.get(_compat.IO_MANAGER_METADATA_KEY)
    return named is not None and getattr(named, "value", named) != _compat.DEFAULT_IO_MANAGER_KEY
