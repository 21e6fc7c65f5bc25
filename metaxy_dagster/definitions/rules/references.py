"""References to features that cannot be resolved."""

from __future__ import annotations

from typing import TYPE_CHECKING

from metaxy_dagster.definitions.draft.rule import RepositoryRule

if TYPE_CHECKING:
    from collections.abc import Iterator

    from metaxy_dagster.definitions.bindings.bindings import Bindings
    from metaxy_dagster.definitions.draft.draft import Draft
    from metaxy_dagster.errors import MetaxyError

__all__ = ["references"]


@RepositoryRule
def references(_: Bindings, draft: Draft) -> Iterator[MetaxyError]:
    """Keys of features that arguments and checks name, and that several assets carry."""
    yield from draft.references.errors
