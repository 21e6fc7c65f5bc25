"""The run that the calling code, or a context, belongs to."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import dagster as dg

if TYPE_CHECKING:
    from dagster import InputContext, OutputContext

__all__ = ["current_run_id", "known_instance", "run_of"]


def current_run_id() -> str | None:
    """The run whose function is being called; ``None`` where it is called outside of a run."""
    try:
        return str(dg.OpExecutionContext.get().run_id)
    except dg.DagsterInvariantViolationError:
        return None


def known_instance(context: InputContext | OutputContext) -> dg.DagsterInstance | None:
    """The instance of the run that a context belongs to; ``None`` outside of one."""
    try:
        return context.step_context.instance
    except dg.DagsterInvariantViolationError:
        return None


def run_of(context: Any) -> str | None:
    """The run that a context belongs to; ``None`` where a function is called directly."""
    try:
        return str(context.run.run_id)
    except dg.DagsterError:
        return None
