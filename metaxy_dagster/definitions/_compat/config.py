"""What is known of the configuration of ops before any run."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import dagster as dg
from dagster._config import process_config
from dagster._core.definitions.node_definition import NodeDefinition

__all__ = ["config_fields", "default_config"]


def default_config(node: NodeDefinition, missing: object) -> dict[str, Any]:
    """The configuration of an op where a run says nothing; of a graph, by its ops.

    Args:
        node: an op or a graph.
        missing: stands for what has no default.
    """
    if isinstance(node, dg.GraphDefinition):
        if node.has_config_mapping:
            return {each.name: missing for each in node.nodes}
        return {each.name: default_config(each.definition, missing) for each in node.nodes}
    schema: Any = getattr(node, "config_schema", None)
    return _defaults(getattr(schema, "config_type", None), missing)


def config_fields(node: NodeDefinition) -> dict[str, Any] | None:
    """The names of all configuration keys, nested as they are; ``None`` inside where any may be.

    Args:
        node: an op or a graph.
    """
    if isinstance(node, dg.GraphDefinition):
        if node.has_config_mapping:
            return None
        return {each.name: config_fields(each.definition) for each in node.nodes}
    schema: Any = getattr(node, "config_schema", None)
    return _names(getattr(schema, "config_type", None))


def _defaults(config_type: Any, missing: object) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name, field in _fields(config_type).items():
        if field.default_provided:
            # As a run does it: defaults inside, values of the environment.
            made = process_config(field.config_type, field.default_value)
            found[name] = made.value if made.success else missing
        elif field.is_required:
            found[name] = _defaults(field.config_type, missing) or missing
    return found


def _names(config_type: Any) -> dict[str, Any] | None:
    fields = _fields(config_type)
    if not fields or "STRICT" not in config_type.kind.name:
        return None
    return {name: _names(field.config_type) for name, field in fields.items()}


def _fields(config_type: Any) -> Mapping[str, Any]:
    kind = getattr(config_type, "kind", None)
    return config_type.fields if kind is not None and "SHAPE" in kind.name else {}
