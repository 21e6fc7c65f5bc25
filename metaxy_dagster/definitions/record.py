"""Plans that were carried out while somebody was watching.

A module that says ``defs = metaxify_definitions(defs)`` holds the result, and planning that again
shows a pass with nothing left to do. Whoever loads such a module inside :func:`recorded_plans`
gets the plans that made it, also those that were refused for their faults.
"""

from __future__ import annotations

import contextlib
from contextvars import ContextVar
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

    from metaxy_dagster.definitions.metaxify_plan import MetaxifyPlan

__all__ = ["note_plan", "recorded_plans"]

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


def note_plan(plan: MetaxifyPlan) -> MetaxifyPlan:
    """Hand a plan that is about to be carried out to whoever watches, and give it back."""
    watched = _WATCHED.get()
    if watched is not None:
        watched.append(plan)
    return plan
