"""Chains of deps that are too long for Dagster."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from metaxy_dagster.definitions.draft.rule import RepositoryRule
from metaxy_dagster.definitions.plan.plans import Notice, NoticeKind

if TYPE_CHECKING:
    from collections.abc import Iterator

    from metaxy_dagster.definitions.bindings.bindings import Bindings
    from metaxy_dagster.definitions.draft.draft import Draft

__all__ = ["long_chain"]


#: Beyond this depth Dagster itself becomes slow, and at some thousands it recurses too deep.
LONG_CHAIN: Final = 500


@RepositoryRule
def long_chain(_: Bindings, draft: Draft) -> Iterator[Notice]:
    """The longest path of deps, where it is beyond some hundreds of assets."""
    longest = draft.chains.longest
    if longest > LONG_CHAIN:
        yield Notice(
            NoticeKind.LONG_CHAIN,
            f"the longest chain of deps has {longest} assets: Dagster is slow on chains of "
            "some hundreds and fails on chains of some thousands",
        )
