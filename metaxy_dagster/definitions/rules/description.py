"""The description of a feature, for assets that have none."""

from __future__ import annotations

from typing import TYPE_CHECKING

from metaxy_dagster.definitions.draft.findings import Fill
from metaxy_dagster.definitions.draft.rule import AssetRule
from metaxy_dagster.definitions.plan.plans import Change

if TYPE_CHECKING:
    from collections.abc import Iterator

    from metaxy_dagster.definitions.bindings.bindings import Bindings
    from metaxy_dagster.definitions.draft.drafts import TiedDraft

__all__ = ["description"]

_SHORT = 60


@AssetRule
def description(_: Bindings, asset: TiedDraft) -> Iterator[Fill]:
    """What the feature is, where the asset does not say what it is itself."""
    text = asset.proposed.description
    if not asset.spec.description and text:
        line = text.strip().splitlines()[0] if text.strip() else ""
        shown = line if len(line) <= _SHORT else line[: _SHORT - 1] + "…"
        yield Fill(asset, "description", text, (Change("description", shown, asset.why),))
