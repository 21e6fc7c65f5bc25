"""Leaving out the body of an asset for which nothing is pending."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from contextvars import ContextVar
from typing import Any

import dagster as dg

from metaxy_dagster.errors import RunError
from metaxy_dagster.runtime import _compat
from metaxy_dagster.runtime._compat import Step
from metaxy_dagster.runtime.conversion import empty_frame

__all__ = ["mark_idle", "skipping_op"]

_Attempt = tuple[str, str, tuple[str, int]]
_IDLE: ContextVar[_Attempt | None] = ContextVar("metaxy_idle_step", default=None)


def mark_idle(step: Step) -> None:
    """Note that a step has nothing to compute; called when its inputs are loaded."""
    _IDLE.set(_attempt(step))


def skipping_op(op: dg.OpDefinition) -> dg.OpDefinition:
    """An op whose body is left out in runs in which no sample is pending.

    It then returns an empty frame, so that orphaned samples are still deleted and the
    materialization is still reported. The caller chooses ops with one output, all of whose
    inputs that are features serve an asset with ``"metaxy/input": "increment"``.

    Args:
        op: the op of an asset; it is not changed.

    Returns:
        A copy; or the same op where the body cannot be left out: it is a generator, has several
        outputs, or is annotated to return something that is no frame.

    Example:
        >>> @dg.op
        ... def compute(frame) -> str:
        ...     return "no frame"
        >>> skipping_op(compute) is compute
        True
    """
    function = _compat.op_function(op)
    if function is None or len(op.output_defs) != 1 or not _is_plain(function):
        return op
    kind = op.output_defs[0].dagster_type.typing_type
    try:
        empty_frame(kind)
    except RunError:
        return op
    return _compat.op_with_function(op, _skipping(function, kind))


def _is_plain(function: Callable[..., Any]) -> bool:
    return not (
        inspect.isgeneratorfunction(function)
        or inspect.isasyncgenfunction(function)
        or getattr(function, _MARK, False)
    )


_MARK = "__metaxy_skips__"


def _skipping(function: Callable[..., Any], kind: object) -> Callable[..., Any]:
    if inspect.iscoroutinefunction(function):

        @functools.wraps(function)
        async def wrapper(*args: Any, **kwargs: Any) -> Any:
            return empty_frame(kind) if _is_idle() else await function(*args, **kwargs)
    else:

        @functools.wraps(function)
        def wrapper(*args: Any, **kwargs: Any) -> Any:
            return empty_frame(kind) if _is_idle() else function(*args, **kwargs)

    setattr(wrapper, _MARK, True)
    return wrapper


def _is_idle() -> bool:
    """Whether the step that runs this very call has nothing to compute."""
    idle = _IDLE.get()
    if idle is None:
        return False
    step = _compat.current_step()
    return step is not None and _attempt(step) == idle


def _attempt(step: Step) -> _Attempt:
    return (step.run_id, step.node, step.attempt)
