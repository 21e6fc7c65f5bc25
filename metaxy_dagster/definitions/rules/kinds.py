"""The kinds of a feature, as far as Dagster has room for them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from metaxy_dagster.constants import KIND
from metaxy_dagster.definitions import _compat
from metaxy_dagster.definitions.draft.findings import Fill
from metaxy_dagster.definitions.draft.rule import AssetRule
from metaxy_dagster.definitions.plan.plans import Change

if TYPE_CHECKING:
    from collections.abc import Iterator

    from metaxy_dagster.definitions.bindings.bindings import Bindings
    from metaxy_dagster.definitions.draft.drafts import TiedDraft

__all__ = ["kinds", "new_kinds"]


@AssetRule
def kinds(_: Bindings, asset: TiedDraft) -> Iterator[Fill]:
    """The kinds that the asset does not have yet."""
    added, _left_out = new_kinds(asset)
    if added:
        change = Change("kinds", ", ".join(added), asset.why)
        yield Fill(asset, "kinds", asset.spec.kinds | set(added), (change,))


def new_kinds(asset: TiedDraft) -> tuple[list[str], list[str]]:
    """The kinds that an asset gets, and those that there is no room for."""
    mine = asset.spec.kinds
    # The library's own kind gives way first where there is no room for all.
    added = sorted(asset.proposed.kinds - mine, key=lambda kind: (kind == KIND, kind))
    room = max(_compat.kind_limit() - len(mine), 0)
    return added[:room], added[room:]
