"""What metadata holds, whether as it is or wrapped by the orchestrator."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

__all__ = ["unwrapped"]


def unwrapped(value: Any) -> Any:
    """What is inside a Dagster metadata value, without knowing Dagster.

    Example:
        >>> from dagster import MetadataValue
        >>> [unwrapped(each) for each in (MetadataValue.json([1]), MetadataValue.text("a"), "b")]
        [[1], 'a', 'b']
    """
    # A metadata value is a tuple, too, so it is not told by being no sequence.
    if value is None or isinstance(value, str | int | float | Mapping | list | type):
        return value
    for name in ("value", "text", "data"):
        if hasattr(value, name):
            return getattr(value, name)
    return value
