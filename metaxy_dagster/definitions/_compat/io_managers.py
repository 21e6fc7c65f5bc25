"""IO managers as users give them: objects, pydantic resources, definitions, functions."""

from __future__ import annotations

import dis
import inspect
from collections.abc import Iterator
from types import FunctionType

import dagster as dg
from dagster._config.pythonic_config.resource import NestedResourcesResourceDefinition
from dagster._core.execution.build_resources import wrap_resource_for_execution
from dagster._core.storage.mem_io_manager import InMemoryIOManager

from metaxy_dagster.definitions._compat.functions import enclosed

__all__ = [
    "identity",
    "is_in_memory",
    "is_io_manager",
    "manager_name",
    "nested_at_launch",
    "never_loads",
]


def is_io_manager(value: object) -> bool:
    """Whether a resource can load inputs, or handle outputs as well."""
    return isinstance(_definition(value), dg.IOManagerDefinition | dg.InputManagerDefinition)


def nested_at_launch(value: object) -> Iterator[object]:
    """The resources that a pydantic resource holds and that are configured at launch.

    Dagster finds them again among the resources of the run: it compares what they are.
    """
    made = _definition(value)
    if isinstance(made, NestedResourcesResourceDefinition):
        yield from made.nested_partial_resources.values()
        for each in made.nested_resources.values():
            yield from nested_at_launch(each)


def identity(value: object) -> int:
    """The same for a pydantic resource and for the definition that Dagster makes of it."""
    return id(_definition(value))


def manager_name(value: object) -> str:
    """What an IO manager is called: its class, or the function that makes it."""
    maker = _maker(value)
    return str(getattr(maker, "__name__", None) or type(value).__name__)


def is_in_memory(value: object) -> bool:
    """Whether it is Dagster's IO manager that keeps values for the length of a run."""
    made = _definition(value)
    return made is _definition(dg.mem_io_manager) or any(
        issubclass(each, InMemoryIOManager) for each in _classes(value)
    )


def never_loads(value: object) -> bool:
    """Whether all that an IO manager's code does to load an input is to refuse it."""
    classes = list(_classes(value))
    return bool(classes) and all(
        isinstance(load := inspect.getattr_static(each, "load_input", None), FunctionType)
        and _only_raises(load)
        for each in classes
    )


def _only_raises(function: FunctionType) -> bool:
    code = inspect.unwrap(function).__code__
    if code.co_flags & (inspect.CO_GENERATOR | inspect.CO_ASYNC_GENERATOR):
        return False
    steps = {each.opname for each in dis.get_instructions(code)}
    return "RAISE_VARARGS" in steps and not steps & {"RETURN_VALUE", "RETURN_CONST"}


def _classes(value: object) -> Iterator[type]:
    """The classes of IO managers that a resource is, or that its function names."""
    if isinstance(value, dg.IOManager):
        yield type(value)
        return
    maker = _maker(value)
    if isinstance(maker, type) and issubclass(maker, dg.IOManager):
        yield maker
        return
    if isinstance(maker, type):
        maker = getattr(maker, "create_io_manager", None)
    maker = inspect.unwrap(maker) if callable(maker) else None
    if isinstance(maker, FunctionType):
        known = {**maker.__globals__, **enclosed(maker)}
        words = (*maker.__code__.co_names, *maker.__code__.co_freevars)
        for found in (known.get(word) for word in words):
            if isinstance(found, type) and issubclass(found, dg.IOManager):
                yield found


def _maker(value: object) -> object:
    """The class of an object or a pydantic resource; the function of a definition."""
    made = _definition(value)
    if isinstance(value, dg.IOManager) or made is None:
        return type(value)
    kind = getattr(made, "configurable_resource_cls", None)
    if kind is not None:
        return kind
    function = made.resource_fn
    if not isinstance(function, FunctionType):
        return function
    # Dagster makes a function around a bare object, and around that of an input manager.
    held = enclosed(function)
    inner = next((each for each in held.values() if isinstance(each, dg.IOManager)), None)
    return type(inner) if inner is not None else held.get("load_fn", function)


def _definition(value: object) -> dg.ResourceDefinition | None:
    try:
        return wrap_resource_for_execution(value)
    except dg.DagsterError:
        return None
