"""Filters as people give them: parsed, as text, or as narwhals expressions."""

from __future__ import annotations

from metaxy_dagster.features.expressions import is_expression, translate
from metaxy_dagster.features.filter_parser import parse_filter
from metaxy_dagster.features.filters import Filter

__all__ = ["filter_of"]


def filter_of(value: object) -> Filter:
    """Read a filter from its text or a narwhals expression; a filter stays as it is.

    Raises:
        FeatureError: it is none of these, or an expression that no filter can say.

    Example:
        >>> filter_of("height > 720")
        Compare(column='height', op='>', value=720)
    """
    if isinstance(value, Filter):
        return value
    return translate(value) if is_expression(value) else parse_filter(value)
