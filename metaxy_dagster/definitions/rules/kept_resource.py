"""Resources of the repository's own that have the store's name and are none."""

from __future__ import annotations

from typing import TYPE_CHECKING

from metaxy_dagster.constants import RESOURCE_STORE
from metaxy_dagster.definitions.draft.rule import RepositoryRule
from metaxy_dagster.definitions.draft.storage import is_store
from metaxy_dagster.definitions.plan.plans import Notice, NoticeKind
from metaxy_dagster.definitions.rules.resources import chosen_store

if TYPE_CHECKING:
    from collections.abc import Iterator

    from metaxy_dagster.definitions.bindings.bindings import Bindings
    from metaxy_dagster.definitions.draft.draft import Draft

__all__ = ["kept_resource"]


@RepositoryRule
def kept_resource(bindings: Bindings, draft: Draft) -> Iterator[Notice]:
    """Where features are stored instead."""
    present = bindings.resources.get(RESOURCE_STORE)
    manager = bindings.resources.get(bindings.settings.io_manager_key)
    if present is None or manager is not None:
        return
    added = [each.name for each in draft.added["resources"]]
    if RESOURCE_STORE in added or not added:
        return
    chosen, why = chosen_store(bindings)
    if not (is_store(present) and chosen is present):
        yield Notice(
            NoticeKind.RESOURCE,
            f"the repository's own resource {RESOURCE_STORE!r} ({type(present).__name__}) "
            f"stays; feature assets are stored in {type(chosen).__name__} ({why})",
        )
