"""The code version of a feature, for assets without one."""

from __future__ import annotations

from typing import TYPE_CHECKING

from metaxy_dagster.definitions.draft.findings import Fill
from metaxy_dagster.definitions.draft.rule import AssetRule
from metaxy_dagster.definitions.plan.plans import Change

if TYPE_CHECKING:
    from collections.abc import Iterator

    from metaxy_dagster.definitions.bindings.bindings import Bindings
    from metaxy_dagster.definitions.draft.drafts import TiedDraft

__all__ = ["code_version"]


@AssetRule
def code_version(_: Bindings, asset: TiedDraft) -> Iterator[Fill]:
    """That of the feature's own fields."""
    version = asset.proposed.code_version
    if asset.spec.code_version is None and version is not None:
        yield Fill(asset, "code_version", version, (Change("code_version", version, asset.why),))
