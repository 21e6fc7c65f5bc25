"""Plans that were carried out while somebody was watching.

A module that says ``defs = metaxify_definitions(defs)`` holds the result, and planning that again
shows a pass with nothing left to do. Whoever loads such a module inside :func:`recorded_plans`
gets the plans that made it, also those that were refused for their faults.
"""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from metaxy_dagster.definitions.announcing import announce

if TYPE_CHECKING:
    from collections.abc import Iterator

    from metaxy_dagster.definitions.metaxify_plan import MetaxifyPlan
    from metaxy_dagster.definitions.settings import AssetKeys

__all__ = ["Preview", "note_plan", "preview", "previewed", "recorded_plans"]


@dataclass(frozen=True)
class Preview:
    """Settings that are tried, whatever the code says.

    Args:
        asset_keys: instead of the argument of this name; None leaves it.
        settings: instead of fields of the settings.
    """

    asset_keys: AssetKeys | None = None
    settings: Mapping[str, Any] = field(default_factory=dict)

    def __bool__(self) -> bool:
        """Whether anything is otherwise."""
        return self.asset_keys is not None or bool(self.settings)


_PREVIEW: ContextVar[Preview] = ContextVar("metaxy_preview", default=Preview())  # noqa: B039 (frozen)
_WATCHED: ContextVar[list[MetaxifyPlan] | None] = ContextVar("metaxy_recorded_plans", default=None)


@contextlib.contextmanager
def recorded_plans() -> Iterator[list[MetaxifyPlan]]:
    """Collect the plans of all passes that run inside the block, in their order.

    Example:
        >>> import dagster as dg, metaxy_dagster as mxd
        >>> with recorded_plans() as plans:
        ...     _ = note_plan(mxd.plan_definitions(dg.Definitions()))
        >>> len(plans)
        1
    """
    plans: list[MetaxifyPlan] = []
    token = _WATCHED.set(plans)
    try:
        yield plans
    finally:
        _WATCHED.reset(token)


def note_plan(plan: MetaxifyPlan, module: str | None = None) -> MetaxifyPlan:
    """Hand a plan that is about to be carried out to whoever watches, and give it back.

    Where nobody watches, a line in the log says what it warns of.

    Args:
        plan: the plan.
        module: the module of the function that gave the definitions, if it is known.
    """
    watched = _WATCHED.get()
    if watched is None:
        announce(plan, module)
    else:
        watched.append(plan)
    return plan


@contextlib.contextmanager
def previewed(preview: Preview) -> Iterator[None]:
    """Have all passes inside the block planned as if they were called with other settings.

    Args:
        preview: what is otherwise.
    """
    token = _PREVIEW.set(preview)
    try:
        yield
    finally:
        _PREVIEW.reset(token)


def preview() -> Preview:
    """What is to be otherwise for passes that are planned now."""
    return _PREVIEW.get()
