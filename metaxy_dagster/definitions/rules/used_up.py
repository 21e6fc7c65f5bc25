"""Fields of a Definitions that somebody has read before, and that cannot be read twice."""

from __future__ import annotations

from typing import TYPE_CHECKING

from metaxy_dagster.definitions.draft.rule import RepositoryRule
from metaxy_dagster.errors import DefinitionsError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from metaxy_dagster.definitions.bindings.bindings import Bindings
    from metaxy_dagster.definitions.draft.draft import Draft

__all__ = ["used_up"]


@RepositoryRule
def used_up(bindings: Bindings, _: Draft) -> Iterator[DefinitionsError]:
    """Generators that have nothing left to give."""
    for name in bindings.scan.used_up:
        yield DefinitionsError(
            f"Definitions.{name} was used up before the pass could read it",
            found="a generator, which Dagster reads once when Definitions is made and loses",
            allowed="a list",
            remedy=f"write Definitions({name}=list(...))",
        )
