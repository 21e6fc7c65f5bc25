"""The new keys of assets that take those of their features."""

from __future__ import annotations

from typing import TYPE_CHECKING

from metaxy_dagster.definitions.draft.findings import Fill
from metaxy_dagster.definitions.draft.rule import UnitRule
from metaxy_dagster.definitions.plan.plans import Change

if TYPE_CHECKING:
    from collections.abc import Iterator

    from metaxy_dagster.definitions.bindings.bindings import Bindings
    from metaxy_dagster.definitions.draft.drafts import UnitDraft

__all__ = ["new_key"]


@UnitRule
def new_key(bindings: Bindings, draft: UnitDraft) -> Iterator[Fill]:
    """The key of the feature, where the user asked for it."""
    for asset in draft.assets:
        key = bindings.now(asset.spec.key)
        if key != asset.spec.key:
            change = Change("key", key.to_user_string(), f"feature {asset.feature}")
            yield Fill(asset, "key", key, (change,), first=True)
