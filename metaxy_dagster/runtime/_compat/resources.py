"""What Dagster makes of a resource before it runs its function."""

from __future__ import annotations

from typing import Any

import dagster as dg
from dagster._core.decorator_utils import has_at_least_one_parameter
from dagster._core.execution.build_resources import wrap_resource_for_execution

__all__ = ["made_by", "resource_definition"]


def resource_definition(value: object) -> dg.ResourceDefinition:
    """The definition of a resource, whatever it was given as."""
    return wrap_resource_for_execution(value)


def made_by(definition: dg.ResourceDefinition, context: dg.InitResourceContext) -> Any:
    """What the function of a resource returns: the resource, a generator, a context manager."""
    function: Any = definition.resource_fn
    wants_context: bool = has_at_least_one_parameter(function)
    return function(context) if wants_context else function()
