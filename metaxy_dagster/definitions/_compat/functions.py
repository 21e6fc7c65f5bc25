"""Functions of users: what they say and call, as far as their code tells."""

from __future__ import annotations

import contextlib
import inspect
from collections.abc import Iterable, Iterator
from types import CodeType, FunctionType
from typing import Any

import dagster as dg

__all__ = [
    "called_by",
    "constants_of",
    "enclosed",
    "functions_of_automation",
    "gives_results",
    "words_of",
]


def words_of(function: FunctionType) -> set[str]:
    """The names and texts in the code of a function, those of functions inside of it as well."""
    found: set[str] = set()
    for code in _codes(function):
        found.update(code.co_names)
        found.update(each for each in code.co_consts if isinstance(each, str))
    return found


def gives_results(function: FunctionType) -> bool:
    """Whether a function gives results of Dagster without a value, and no outputs."""
    words = words_of(function)
    if not words & {"MaterializeResult", "generate_materialize_results"} or "Output" in words:
        return False
    named = (each for code in _codes(function) for each in code.co_consts)
    return not any("value" in each for each in named if isinstance(each, tuple))


def constants_of(function: FunctionType) -> Iterator[object]:
    """What is written in a function, and the constants of its module that it names.

    Lists, tuples and sets of them are looked into.
    """
    known = {**function.__globals__, **enclosed(function)}
    for code in _codes(function):
        yield from _flat(code.co_consts)
        for name in (*code.co_names, *code.co_freevars):
            value = known.get(name)
            if isinstance(value, str | dg.AssetKey | list | tuple | set | frozenset):
                yield from _flat([value])


def called_by(functions: Iterable[FunctionType]) -> Iterator[FunctionType]:
    """Functions, and those of the same package that they name, at any depth; each once."""
    waiting = [inspect.unwrap(each) for each in functions]
    seen: set[int] = set()
    while waiting:
        function = waiting.pop()
        if id(function) in seen:
            continue
        seen.add(id(function))
        yield function
        known = {**function.__globals__, **enclosed(function)}
        for code in _codes(function):
            for name in (*code.co_names, *code.co_freevars):
                value = known.get(name)
                if isinstance(value, FunctionType) and _package(value) == _package(function):
                    waiting.append(inspect.unwrap(value))


def functions_of_automation(automation: object) -> Iterator[FunctionType]:
    """The user's functions that a schedule or sensor runs, from within those around them."""
    given: Any = getattr(automation, "_raw_fn", None) or getattr(automation, "_execution_fn", None)
    given = getattr(given, "decorated_fn", given)
    waiting = [given]
    seen: set[int] = set()
    while waiting:
        function = waiting.pop()
        if not isinstance(function, FunctionType) or id(function) in seen:
            continue
        seen.add(id(function))
        waiting += [getattr(function, "__wrapped__", None), *enclosed(function).values()]
        if _package(function) not in ("dagster", "metaxy_dagster"):
            yield function


def enclosed(function: FunctionType) -> dict[str, object]:
    """What a function sees of the functions around it."""
    found: dict[str, object] = {}
    for name, cell in zip(function.__code__.co_freevars, function.__closure__ or (), strict=True):
        with contextlib.suppress(ValueError):  # nothing is in it yet
            found[name] = cell.cell_contents
    return found


def _package(function: FunctionType) -> str:
    return (function.__module__ or "").partition(".")[0]


def _codes(function: FunctionType) -> Iterator[CodeType]:
    waiting: list[CodeType] = [inspect.unwrap(function).__code__]
    while waiting:
        code = waiting.pop()
        yield code
        waiting += [each for each in code.co_consts if isinstance(each, CodeType)]


def _flat(values: Iterable[object]) -> Iterator[object]:
    for each in values:
        if isinstance(each, dg.AssetKey) or not isinstance(each, list | tuple | set | frozenset):
            yield each
        else:
            yield from _flat(each)
