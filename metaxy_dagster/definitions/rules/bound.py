"""What was found while the repository was tied to its features."""

from __future__ import annotations

from typing import TYPE_CHECKING

from metaxy_dagster.definitions.draft.rule import RepositoryRule

if TYPE_CHECKING:
    from collections.abc import Iterable

    from metaxy_dagster.definitions.bindings.bindings import Bindings, Step
    from metaxy_dagster.definitions.draft.draft import Draft
    from metaxy_dagster.definitions.plan.plans import Notice
    from metaxy_dagster.errors import MetaxyError

__all__ = ["bound"]


def bound(step: Step, *, of_assets: bool = False) -> RepositoryRule:
    """The rule that says what a step of binding found, in its place among the others."""

    def found(bindings: Bindings, _: Draft) -> Iterable[Notice | MetaxyError]:
        return bindings.found[step]

    return RepositoryRule(found, of_assets=of_assets)
