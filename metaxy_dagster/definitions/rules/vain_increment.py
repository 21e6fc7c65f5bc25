"""Increments that nothing could give or take."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Final

from metaxy_dagster.constants import INPUT_INCREMENT, KEY_INPUT
from metaxy_dagster.definitions import _compat
from metaxy_dagster.definitions.draft.functions import ASKING, words_of
from metaxy_dagster.definitions.draft.rule import RepositoryRule
from metaxy_dagster.definitions.plan.plans import Notice, NoticeKind

if TYPE_CHECKING:
    from collections.abc import Iterator

    from metaxy_dagster.definitions.bindings.bindings import Bindings
    from metaxy_dagster.definitions.draft.draft import Draft
    from metaxy_dagster.definitions.draft.handling import Handling
    from metaxy_dagster.definitions.repository.own_managers import OwnManager
    from metaxy_dagster.errors import MetaxyError

__all__ = ["vain_increment"]

_WANTED: Final = f'"{KEY_INPUT}": "{INPUT_INCREMENT}"'
_ABOUT: Final = f"metadata {_WANTED} does nothing"
_RETURN: Final = (
    "a function that makes its data itself can return a frame of what it made (ids, and what "
    "changes with it: a checksum, a time, a size), so that what is downstream computes only what "
    "has changed"
)


@partial(RepositoryRule, of_assets=True)
def vain_increment(bindings: Bindings, draft: Draft) -> Iterator[MetaxyError | Notice]:
    """``"metaxy/input": "increment"`` without any effect.

    A fault, unless no function of this repository computes the asset, or its function asks the
    store itself.
    """
    key = bindings.settings.io_manager_key
    for each in draft.handled:
        if each.settled or not each.asset.keys.takes_increment:
            continue
        if each.plan.unit.increments and not each.has_own_body:
            continue  # said already
        stored = each.handler is None or each.ours
        merged = each.kept is None or each.kept.no_increments is None
        if not each.plan.unit.materializable:
            message = f"{_WANTED} does nothing: no function of this repository computes the asset"
            yield Notice(NoticeKind.METADATA, message, each.called)
        elif each.upstreams and (each.writes_itself or (each.has_own_body and stored and merged)):
            continue
        elif each.handler is not None and not each.ours:
            yield _bypassed(each, key, bindings.own(each.handler, each.plan.unit))
        elif each.kept is not None and each.kept.no_increments is not None:
            yield _unmergeable(each, each.kept)
        elif not each.upstreams:
            yield each.fault(
                f"{_ABOUT}: its feature is computed from no other feature",
                found="no upstream feature",
                allowed="an asset that takes assets with features as arguments",
                remedy='give the upstream assets features ("metaxy/feature", "metaxy/id_columns"), '
                f'name them in "metaxy/deps", or remove "{KEY_INPUT}"'
                + ("; " + _RETURN if each.handler is None or each.gives_nothing else ""),
            )
        elif not each.sees_upstreams:
            yield _unseen(each, key)


def _unmergeable(each: Handling, own: OwnManager) -> MetaxyError:
    return each.fault(
        f"{_ABOUT}: the computed samples cannot be merged into what the asset's own IO manager "
        "holds",
        found=f"the IO manager {own.name}: {own.no_increments}",
        allowed="an IO manager that loads what earlier runs stored",
        remedy="give the asset another IO manager, drop its own so that its rows are stored as "
        f'features are, or remove "{KEY_INPUT}"',
    )


def _bypassed(each: Handling, key: str, own: OwnManager | None) -> MetaxyError:
    why = "" if own is None or own.obstacle is None else f", which stays as it is: {own.obstacle}"
    return each.fault(
        f"{_ABOUT}: what the asset returns bypasses the IO manager that would add it to the "
        "samples that are stored",
        found=f"the IO manager {each.handler!r}{why}",
        allowed=f"{key!r}, which outputs of feature assets get unless they chose another",
        remedy=(
            "have its output routed (io_routing, an io_manager bound to the asset and an op "
            "that others use too stand in the way)"
            if each.handler == _compat.DEFAULT_IO_MANAGER_KEY
            else 'keep its own IO manager with io_routing="keep", or drop it'
        )
        + f', or remove "{KEY_INPUT}"',
    )


def _unseen(each: Handling, key: str) -> MetaxyError | Notice:
    if each.handler is None and words_of(each.plan.unit) & ASKING:
        message = f"{_ABOUT}: its function asks the store itself; remove it"
        return Notice(NoticeKind.METADATA, message, each.called)
    names = ", ".join(sorted(map(str, each.upstreams)))
    return each.fault(
        f"{_ABOUT}: none of its arguments is an upstream feature that {key!r} loads",
        found=each.taken,
        allowed=f"an argument for an asset of {names}",
        remedy=f'take the upstream asset as an argument, or remove "{KEY_INPUT}" and ask '
        "store.resolve_update(...) in the function",
    )
