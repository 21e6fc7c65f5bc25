"""Assets that would wait for each other."""

from __future__ import annotations

from typing import TYPE_CHECKING

from metaxy_dagster.definitions.draft.rule import RepositoryRule
from metaxy_dagster.errors import DefinitionsError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from metaxy_dagster.definitions.bindings.bindings import Bindings
    from metaxy_dagster.definitions.draft.draft import Draft

__all__ = ["circles"]


@RepositoryRule
def circles(_: Bindings, draft: Draft) -> Iterator[DefinitionsError]:
    """A circle of planned deps; Dagster could not even load it."""
    keys = draft.chains.circle
    if keys:
        yield DefinitionsError(
            "assets would wait for each other in a circle",
            asset=keys[0],
            found=" → ".join(keys),
            allowed="deps that lead from upstream to downstream only",
            remedy="remove one of these deps, or make the multi-asset among them subsettable",
        )
