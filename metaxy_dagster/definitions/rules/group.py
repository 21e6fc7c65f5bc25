"""The group of a feature, for assets in none."""

from __future__ import annotations

from typing import TYPE_CHECKING

from metaxy_dagster.definitions import _compat
from metaxy_dagster.definitions.draft.findings import Fill
from metaxy_dagster.definitions.draft.rule import AssetRule
from metaxy_dagster.definitions.plan.plans import Change

if TYPE_CHECKING:
    from collections.abc import Iterator

    from metaxy_dagster.definitions.bindings.bindings import Bindings
    from metaxy_dagster.definitions.draft.drafts import TiedDraft

__all__ = ["group"]


@AssetRule
def group(_: Bindings, asset: TiedDraft) -> Iterator[Fill]:
    """The feature's group, where the asset is in Dagster's default one."""
    name, mine = asset.proposed.group_name, asset.spec.group_name
    if mine in (None, _compat.DEFAULT_GROUP) and name not in (None, mine):
        yield Fill(asset, "group_name", name, (Change("group_name", str(name), asset.why),))
