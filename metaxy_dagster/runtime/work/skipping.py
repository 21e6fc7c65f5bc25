"""Leaving out the body of an asset for which nothing is pending."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from contextvars import ContextVar
from typing import Any

import dagster as dg

from metaxy_dagster.runtime import _compat
from metaxy_dagster.runtime._compat import Step
from metaxy_dagster.runtime.loading.conversion import empty_frame, has_empty_frame

__all__ = ["is_skipping", "mark_idle", "skipping_op", "why_body_always_runs"]

_Attempt = tuple[str, str, tuple[str, int]]
_IDLE: ContextVar[_Attempt | None] = ContextVar("metaxy_idle_step", default=None)


def mark_idle(step: Step) -> None:
    """Note that a step has nothing to compute; called when its inputs are loaded."""
    _IDLE.set(_attempt(step))


def skipping_op(op: dg.OpDefinition) -> dg.OpDefinition:
    """An op whose body is left out in runs in which no sample is pending.

    It then returns an empty frame, so that orphaned samples are still deleted and the
    materialization is still reported. The caller chooses ops whose output is an asset with
    ``"metaxy/input": "increment"`` and goes through the library's IO manager.

    Args:
        op: the op of an asset; it is not changed.

    Returns:
        A copy; or the same op where its body is left out already, or cannot be
        (:func:`why_body_always_runs`).

    Example:
        >>> @dg.op
        ... def compute(frame) -> str:
        ...     return "no frame"
        >>> skipping_op(compute) is compute
        True
    """
    function = _compat.op_function(op)
    if function is None or is_skipping(op) or why_body_always_runs(op) is not None:
        return op
    kind = op.output_defs[0].dagster_type.typing_type
    # Under the annotation of an Output Dagster takes nothing else, and under others no Output.
    wrap = dg.Output if _compat.returns_output(op) else _as_it_is
    return _compat.op_with_function(op, _skipping(function, lambda: wrap(empty_frame(kind))))


def is_skipping(op: dg.OpDefinition) -> bool:
    """Whether :func:`skipping_op` made the op."""
    return getattr(_compat.op_function(op), _MARK, False)


def why_body_always_runs(op: dg.OpDefinition) -> str | None:
    """Why the body of an op cannot be left out; ``None`` if it can.

    Example:
        >>> @dg.op
        ... def compute(frame) -> str:
        ...     return "no frame"
        >>> why_body_always_runs(compute)
        'it is annotated to return str, of which there is no empty frame'
    """
    function = _compat.op_function(op)
    if function is None:
        return "it was not made from a function by a decorator"
    if len(op.output_defs) != 1:
        return f"it has {len(op.output_defs)} outputs"
    if inspect.isgeneratorfunction(function) or inspect.isasyncgenfunction(function):
        return "it is a generator"
    made = op.output_defs[0].dagster_type
    if _compat.has_own_check(made):
        return f"the Dagster type {made.display_name} looks into what it returns"
    if not has_empty_frame(made.typing_type):
        name = getattr(made.typing_type, "__name__", str(made.typing_type))
        return f"it is annotated to return {name}, of which there is no empty frame"
    return None


_MARK = "__metaxy_skips__"


def _as_it_is(frame: Any) -> Any:
    return frame


def _skipping(function: Callable[..., Any], nothing: Callable[[], Any]) -> Callable[..., Any]:
    if inspect.iscoroutinefunction(function):

        @functools.wraps(function)
        async def wrapper(*args: Any, **kwargs: Any) -> Any:
            return nothing() if _is_idle() else await function(*args, **kwargs)
    else:

        @functools.wraps(function)
        def wrapper(*args: Any, **kwargs: Any) -> Any:
            return nothing() if _is_idle() else function(*args, **kwargs)

    setattr(wrapper, _MARK, True)
    return wrapper


def _is_idle() -> bool:
    """Whether the step that runs this very call has nothing to compute; if so, it is logged."""
    idle = _IDLE.get()
    if idle is None:
        return False
    step = _compat.current_step()
    if step is None or _attempt(step) != idle:
        return False
    dg.OpExecutionContext.get().log.info("no sample is pending: the body is left out")
    return True


def _attempt(step: Step) -> _Attempt:
    return (step.run_id, step.node, step.attempt)
