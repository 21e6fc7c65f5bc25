"""Stores with features of their own, which do not see the assets' code versions."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from metaxy_dagster.definitions.bindings.code_versions import some_names
from metaxy_dagster.definitions.draft.rule import RepositoryRule
from metaxy_dagster.definitions.plan.plans import Notice, NoticeKind

if TYPE_CHECKING:
    from collections.abc import Iterator

    from metaxy_dagster.definitions.bindings.bindings import Bindings
    from metaxy_dagster.definitions.draft.draft import Draft

__all__ = ["store_versions"]


@RepositoryRule
def store_versions(bindings: Bindings, draft: Draft) -> Iterator[Notice]:
    """At most one warning, of the features that assets give a version to."""
    graph, before = bindings.graph, bindings.declared.plain
    own: Any = getattr(draft.stored.value, "graph", None)
    if before is None or own is None or own is graph:
        return
    changed = [key for key in graph if graph[key] != before[key]]
    unseen = [str(key) for key in changed if key in own and own[key] == before[key]]
    if unseen:
        message = (
            "the store has features of its own, which do not know the code versions of the assets "
            f"of {some_names(unseen)}: leave graph= out, or give their fields code versions"
        )
        yield Notice(NoticeKind.CODE_VERSION, message)
