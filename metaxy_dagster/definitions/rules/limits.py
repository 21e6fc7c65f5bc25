"""What a feature says of its asset and Dagster has no room for."""

from __future__ import annotations

from typing import TYPE_CHECKING

import dagster as dg

from metaxy_dagster.constants import TAG_FEATURE, TAG_PROJECT
from metaxy_dagster.definitions import _compat
from metaxy_dagster.definitions.draft.rule import AssetRule
from metaxy_dagster.definitions.plan.plans import Notice, NoticeKind
from metaxy_dagster.definitions.rules.kinds import new_kinds
from metaxy_dagster.features.tags import TAG_VALUE_RULE, feature_tag, tag_value

if TYPE_CHECKING:
    from collections.abc import Iterator

    from metaxy_dagster.definitions.bindings.bindings import Bindings
    from metaxy_dagster.definitions.draft.drafts import TiedDraft

__all__ = ["limits"]


@AssetRule
def limits(_: Bindings, asset: TiedDraft) -> Iterator[Notice]:
    """Tags whose values Dagster does not allow, and kinds beyond those that it allows."""
    name = asset.spec.key.to_user_string()
    for tag, text, value in (
        (TAG_FEATURE, str(asset.feature), feature_tag),
        (TAG_PROJECT, asset.data.project, tag_value),
    ):
        if text is not None and value(text) is None:
            message = (
                f"the tag {tag} is left out: {text!r} is no valid tag value ({TAG_VALUE_RULE})"
            )
            yield Notice(NoticeKind.LIMIT, message, name)
    _added, left_out = new_kinds(asset)
    if left_out:
        message = (
            f"the kind {', '.join(left_out)} is left out: Dagster {dg.__version__} allows "
            f"{_compat.kind_limit()} kinds per asset"
        )
        yield Notice(NoticeKind.LIMIT, message, name)
