"""Functions that load their inputs, or make their data, themselves."""

from __future__ import annotations

import functools
import inspect
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any

import dagster as dg

from metaxy_dagster.runtime import _compat
from metaxy_dagster.runtime.io.turns import OwnBody, Turn

__all__ = ["OwnBody", "is_own_body", "own_body_op", "why_not_own_body"]

_MARK = "__metaxy_own_body__"


def own_body_op(op: dg.OpDefinition, body: OwnBody) -> dg.OpDefinition:
    """An op for whose function it is resolved what is pending before it is called.

    The data that it makes itself is recorded when it has ended without an error, for assets with
    ``"metaxy/output": "self"``; what it returns or yields is handed on as it comes, results last.
    Outside of a run the function is called as ever.

    Args:
        op: the op of assets with features; it is not changed.
        body: how the function is called.

    Returns:
        A copy; or the same op where that is done already, or it was not made from a function.

    Example:
        >>> @dg.op
        ... def transcribe():
        ...     print("writes its files")
        >>> made = own_body_op(transcribe, OwnBody("metaxy_io_manager"))
        >>> sorted(made.required_resource_keys), is_own_body(made)
        (['metaxy_io_manager'], True)
    """
    function = _compat.op_function(op)
    if function is None or is_own_body(op):
        return op
    wrapper = _wrapper(function, body)
    setattr(wrapper, _MARK, True)
    without = () if body.parameter is None else (body.parameter,)
    return _compat.op_around(op, wrapper, resources=(body.io_manager_key,), without=without)


def is_own_body(op: dg.OpDefinition) -> bool:
    """Whether :func:`own_body_op` made the op."""
    return getattr(_compat.op_function(op), _MARK, False)


def why_not_own_body(op: dg.OpDefinition) -> str | None:
    """Why nothing can be looked up before the function of an op is called; ``None`` if it can."""
    if _compat.op_function(op) is None:
        return "its op was not made from a function by a decorator"
    return None


def _wrapper(function: Callable[..., Any], body: OwnBody) -> Callable[..., Any]:
    if inspect.isasyncgenfunction(function):
        return _of_async_generator(function, body)
    if inspect.iscoroutinefunction(function):
        return _of_coroutine(function, body)

    @functools.wraps(function)
    def wrapper(*args: Any, **kwargs: Any) -> Any:
        turn = Turn.begin(body)
        if turn is None:
            return function(*args, **kwargs)
        if turn.is_left_out:
            return turn.left_out()
        result = function(*args, **turn.given(kwargs))
        if inspect.isgenerator(result):
            return _handed_on(turn, result)
        turn.end(_results(result))
        return result

    if not inspect.isgeneratorfunction(function):
        return wrapper

    @functools.wraps(function)
    def generating(*args: Any, **kwargs: Any) -> Iterator[Any]:
        yield from wrapper(*args, **kwargs)

    return generating


def _of_coroutine(function: Callable[..., Any], body: OwnBody) -> Callable[..., Any]:
    @functools.wraps(function)
    async def wrapper(*args: Any, **kwargs: Any) -> Any:
        turn = Turn.begin(body)
        if turn is None:
            return await function(*args, **kwargs)
        if turn.is_left_out:
            return turn.left_out()
        result = await function(*args, **turn.given(kwargs))
        turn.end(_results(result))
        return result

    return wrapper


def _of_async_generator(function: Callable[..., Any], body: OwnBody) -> Callable[..., Any]:
    @functools.wraps(function)
    async def wrapper(*args: Any, **kwargs: Any) -> AsyncIterator[Any]:
        turn = Turn.begin(body)
        if turn is None:
            results = function(*args, **kwargs)
        elif turn.is_left_out:
            results = _as_async(turn.left_out())
        else:
            results = _handed_on_async(turn, function(*args, **turn.given(kwargs)))
        async for each in results:
            yield each

    return wrapper


async def _as_async(results: Iterator[Any]) -> AsyncIterator[Any]:
    for each in results:
        yield each


async def _handed_on_async(turn: Turn, results: AsyncIterator[Any]) -> AsyncIterator[Any]:
    """As :func:`_handed_on`; each step of the event loop has a context of its own."""
    held: list[Any] = []
    try:
        async for each in results:
            if _is_held(each, held):
                held.append(each)
            else:
                yield each
                turn.resume()
    except Exception:
        for each in held:
            yield each
        raise
    turn.end(held)
    for each in held:
        yield each


def _handed_on(turn: Turn, results: Iterator[Any]) -> Iterator[Any]:
    """What a generator yields; from its first result on, when it has ended.

    A result makes Dagster report the asset, and the report tells what was recorded. In an error
    all is reported as it would have been, and nothing is recorded.
    """
    held: list[Any] = []
    try:
        for each in results:
            if _is_held(each, held):
                held.append(each)
            else:
                yield each
    except Exception:
        yield from held
        raise
    turn.end(held)
    yield from held


def _is_held(each: Any, held: list[Any]) -> bool:
    return bool(held) or isinstance(each, dg.MaterializeResult | dg.Output)


def _results(result: Any) -> list[Any]:
    return list(result) if isinstance(result, list | tuple) else [result]
