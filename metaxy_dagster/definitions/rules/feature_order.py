"""Whether the features can be computed one after the other."""

from __future__ import annotations

from typing import TYPE_CHECKING

from metaxy_dagster.definitions.draft.rule import RepositoryRule
from metaxy_dagster.errors import MetaxyError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from metaxy_dagster.definitions.bindings.bindings import Bindings
    from metaxy_dagster.definitions.draft.draft import Draft

__all__ = ["feature_order"]


@RepositoryRule
def feature_order(bindings: Bindings, _: Draft) -> Iterator[MetaxyError]:
    """Features that depend on each other in a circle, or on none that is known."""
    try:
        bindings.graph.topological_order()
    except MetaxyError as error:
        yield error
