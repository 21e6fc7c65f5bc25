"""The columns of a feature that was never written, as far as its class and its spec tell them."""

from __future__ import annotations

import datetime as dt
import types
from collections.abc import Mapping
from typing import Any, Final, Union, get_args, get_origin

from metaxy_dagster import constants as c
from metaxy_dagster.features import FeatureSpec
from metaxy_dagster.features.columns import fold
from metaxy_dagster.stores.duckdb.sql.identifiers import quote

__all__ = ["declared_types", "no_rows", "system_types"]

_TEXT: Final = "VARCHAR"
_KINDS: Final[Mapping[object, str]] = {
    bool: "BOOLEAN",
    int: "BIGINT",
    float: "DOUBLE",
    str: _TEXT,
    bytes: "BLOB",
    dt.date: "DATE",
    dt.datetime: "TIMESTAMP",
}


def declared_types(spec: FeatureSpec, feature_class: type | None) -> dict[str, str]:
    """Column to DuckDB type; text where an annotation does not tell it clearly.

    Args:
        spec: the feature.
        feature_class: its class, if it has one.

    Example:
        >>> from metaxy_dagster.features import BaseFeature, FeatureGraph
        >>> with FeatureGraph().use():
        ...     class Image(BaseFeature, spec=FeatureSpec("image", id_columns=["id"])):
        ...         id: int
        ...         boxes: list[float] | None = None
        >>> declared_types(Image.spec(), Image)
        {'id': 'BIGINT', 'boxes': 'DOUBLE[]'}
    """
    fields: Mapping[str, Any] = getattr(feature_class, "model_fields", {})
    found = {info.alias or name: _kind(info.annotation) for name, info in fields.items()}
    named = [*spec.id_columns, *(name for field in spec.fields for name in field.columns or ())]
    known = {fold(name) for name in found}
    return {**{name: _TEXT for name in named if fold(name) not in known}, **found}


def system_types(spec: FeatureSpec) -> dict[str, str]:
    """The system columns of a feature and their DuckDB types."""
    entries = ", ".join(f"{quote(str(field.key))} {_TEXT}" for field in spec.fields)
    structs = dict.fromkeys(
        (c.COL_PROVENANCE_BY_FIELD, c.COL_DATA_VERSION_BY_FIELD), f"STRUCT({entries})"
    )
    moments = dict.fromkeys((c.COL_CREATED_AT, c.COL_UPDATED_AT, c.COL_DELETED_AT), "TIMESTAMPTZ")
    return {**dict.fromkeys(c.SYSTEM_COLUMNS, _TEXT), **structs, **moments}


def no_rows(kinds: Mapping[str, str]) -> str:
    """A SELECT of no rows with these columns."""
    selected = ", ".join(f"NULL::{kind} AS {quote(name)}" for name, kind in kinds.items())
    return f"SELECT {selected} WHERE FALSE"


def _kind(annotation: object) -> str:
    origin, inner = get_origin(annotation), get_args(annotation)
    if origin in (Union, types.UnionType):
        kinds = {_kind(each) for each in inner if each is not type(None)}
        return kinds.pop() if len(kinds) == 1 else _TEXT
    if origin is list and inner:
        return f"{_kind(inner[0])}[]"
    try:
        return _KINDS.get(annotation, _TEXT)
    except TypeError:
        # An annotation that has no hash is none of these.
        return _TEXT
