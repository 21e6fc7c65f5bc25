"""Assets of one op that are computed from each other."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from metaxy_dagster.definitions.draft.rule import RepositoryRule
from metaxy_dagster.definitions.plan.plans import Notice, NoticeKind

if TYPE_CHECKING:
    from collections.abc import Iterator

    from metaxy_dagster.definitions.bindings.bindings import Bindings
    from metaxy_dagster.definitions.draft.draft import Draft
    from metaxy_dagster.errors import MetaxyError

__all__ = ["internal_deps"]


@partial(RepositoryRule, of_assets=True)
def internal_deps(_: Bindings, draft: Draft) -> Iterator[MetaxyError | Notice]:
    """What is pending of one is looked up before the other is written."""
    for each in draft.handled:
        if not each.above:
            continue
        names = ", ".join(other.key.to_user_string() for other in each.above)
        if not each.plan.unit.moves_as_one:
            message = (
                f"it is computed from {names}, of the same multi-asset: a run of both is refused, "
                "since the samples of one are looked up before the other is written; run them "
                "one after the other"
            )
            yield Notice(NoticeKind.BODY, message, each.called)
            continue
        yield each.fault(
            "it is computed from a feature of the same multi-asset, whose new samples are not "
            "stored yet when those of this one are looked up",
            found=f"one op makes {names} and {each.called}",
            allowed="features of one op that are computed from other assets only",
            remedy="make it an asset of its own that takes "
            f"{names} as an argument; or declare both by the same deps",
        )
