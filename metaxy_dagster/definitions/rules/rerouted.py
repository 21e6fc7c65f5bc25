"""Assets that leave an IO manager of the repository's own."""

from __future__ import annotations

from typing import TYPE_CHECKING

from metaxy_dagster.definitions import _compat
from metaxy_dagster.definitions.draft.rule import RepositoryRule
from metaxy_dagster.definitions.plan.plans import ROUTED, Notice, NoticeKind

if TYPE_CHECKING:
    from collections.abc import Iterator

    from metaxy_dagster.definitions.bindings.bindings import Bindings
    from metaxy_dagster.definitions.draft.draft import Draft

__all__ = ["rerouted"]


@RepositoryRule
def rerouted(bindings: Bindings, draft: Draft) -> Iterator[Notice]:
    """How many assets are stored elsewhere from now on."""
    if _compat.DEFAULT_IO_MANAGER_KEY not in bindings.resources:
        return
    if bindings.settings.io_routing != "route":
        return
    count = sum(
        change.what == ROUTED
        for each in draft.definitions
        for asset in each.assets
        for change in asset.changes
    )
    if count:
        yield Notice(
            NoticeKind.IO_MANAGER,
            f"{count} assets no longer use the repository's own io_manager; "
            'io_routing="keep" leaves their data there',
        )
