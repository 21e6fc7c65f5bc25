"""The owners of a feature, beside those of the asset."""

from __future__ import annotations

from typing import TYPE_CHECKING

from metaxy_dagster.definitions.draft.findings import Fill
from metaxy_dagster.definitions.draft.rule import AssetRule
from metaxy_dagster.definitions.plan.plans import Change

if TYPE_CHECKING:
    from collections.abc import Iterator

    from metaxy_dagster.definitions.bindings.bindings import Bindings
    from metaxy_dagster.definitions.draft.drafts import TiedDraft

__all__ = ["owners"]


@AssetRule
def owners(_: Bindings, asset: TiedDraft) -> Iterator[Fill]:
    """The owners that the asset does not have yet."""
    mine = asset.spec.owners
    added = [owner for owner in asset.proposed.owners if owner not in mine]
    if added:
        change = Change("owners", ", ".join(added), asset.why)
        yield Fill(asset, "owners", [*mine, *added], (change,))
