"""The tags of a feature, beside those of the asset."""

from __future__ import annotations

from typing import TYPE_CHECKING

from metaxy_dagster.definitions import _compat
from metaxy_dagster.definitions.draft.findings import Fill
from metaxy_dagster.definitions.draft.rule import AssetRule
from metaxy_dagster.definitions.plan.plans import Change

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from metaxy_dagster.definitions.bindings.bindings import Bindings
    from metaxy_dagster.definitions.draft.drafts import TiedDraft

__all__ = ["tags"]


@AssetRule
def tags(_: Bindings, asset: TiedDraft) -> Iterator[Fill]:
    """The tags that the asset does not have yet; those that say a kind are left to the kinds."""
    mine = _plain(asset.spec.tags)
    added = {tag: value for tag, value in _plain(asset.proposed.tags).items() if tag not in mine}
    if added:
        shown = ", ".join(f"{tag}={value}" for tag, value in added.items())
        yield Fill(asset, "tags", {**added, **mine}, (Change("tags", shown, asset.why),))


def _plain(tags: Mapping[str, str]) -> dict[str, str]:
    return {tag: value for tag, value in tags.items() if not tag.startswith(_compat.KIND_PREFIX)}
