"""The repository's own IO managers, each with this library's around it."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from metaxy_dagster.definitions import _compat
from metaxy_dagster.definitions.draft.findings import Added
from metaxy_dagster.definitions.draft.pending import feature_inputs
from metaxy_dagster.definitions.draft.rule import RepositoryRule
from metaxy_dagster.definitions.draft.storage import manager_of
from metaxy_dagster.definitions.plan.plans import KEPT, Change, Notice
from metaxy_dagster.runtime.io.wrapped import wrapped
from metaxy_dagster.runtime.sharing import made_once

if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any

    from metaxy_dagster.definitions.bindings.bindings import Bindings
    from metaxy_dagster.definitions.draft.draft import Draft
    from metaxy_dagster.definitions.draft.drafts import UnitDraft
    from metaxy_dagster.definitions.repository.own_managers import OwnManager

__all__ = ["keeping"]


@partial(RepositoryRule, whole=True)
def keeping(bindings: Bindings, draft: Draft) -> Iterator[Added | Notice]:
    """Wrap what features are stored or loaded by, wherever it is bound.

    Dagster wants one resource of a name in a run: all that have the same one get the same again.
    """
    made: dict[int, Any] = {}
    for own in _wanted(bindings, draft):
        key = bindings.settings.io_manager_key
        made[id(own.value)] = made_once(
            draft.stored.store,
            (wrapped, own.key, id(own.value), key),
            partial(wrapped, own.value, key),
        )
    if not made:
        return
    for name, value in bindings.resources.items():
        if id(value) in made:
            kind = _compat.manager_name(value)
            change = Change("resource", f"{kind}, wrapped", "features stay in its storage")
            yield Added("resources", name, made[id(value)], change)
    for each in draft.units:
        bound = each.unit.bound
        if any(id(value) in made for value in bound.values()):
            each.resources = {name: made.get(id(value), value) for name, value in bound.items()}


def _wanted(bindings: Bindings, draft: Draft) -> Iterator[OwnManager]:
    for each in draft.units:
        for key in _keys(bindings, each):
            own = bindings.kept(key, each.unit)
            if own is not None and not own.is_wrapped:
                yield own


def _keys(bindings: Bindings, draft: UnitDraft) -> Iterator[str]:
    """The keys by which features of a unit are stored, and loaded for its functions."""
    unit = draft.unit
    for asset in draft.tied:
        if any(change.what == KEPT for change in asset.changes):
            yield manager_of(unit, asset.spec)
    if draft.tied and unit.materializable and unit.definition is not None:
        for name in feature_inputs(bindings, draft, frozenset()):
            for _, parameter in _compat.destinations(unit.definition.node_def, name):
                if parameter.input_manager_key is not None:
                    yield parameter.input_manager_key
