"""The columns that metadata keys name, beside those that a feature class declares."""

from __future__ import annotations

import difflib
import types
from collections.abc import Iterator, Mapping
from typing import Any, Final, Union, get_args, get_origin

from pydantic import BaseModel, PydanticUserError, TypeAdapter, ValidationError

from metaxy_dagster.constants import KEY_PARTITION, KEY_PARTITION_BY
from metaxy_dagster.errors import AssetError
from metaxy_dagster.features.class_columns import ClassColumns
from metaxy_dagster.features.columns import fold
from metaxy_dagster.features.specs import FeatureSpec
from metaxy_dagster.keys.asset_keys import AssetKeys

__all__ = ["column_faults", "doubtful_columns"]

_MISSING: Final = object()
_COMPOUND: Final = (list, tuple, set, frozenset, Mapping, bytes, BaseModel)


def column_faults(
    keys: AssetKeys, spec: FeatureSpec, declared: ClassColumns, asset: str
) -> Iterator[AssetError]:
    """What an asset says of columns that does not fit those that its feature's class declares.

    Args:
        keys: the keys of the asset.
        spec: the feature.
        declared: the columns of its class; of one that is open, others may be named too.
        asset: the asset's name.

    Yields:
        One error per column.
    """
    known = _known_columns(spec, declared)
    kinds = {fold(name): kind for name, kind in known.items()}
    otherwise = _MISSING if declared.is_closed else Any
    for column, key in _named_columns(keys).items():
        kind = kinds.get(fold(column), otherwise)
        if kind is _MISSING:
            near = difflib.get_close_matches(column, known, n=1)
            hint = f"name {near[0]!r}" if near else "name one of these"
            words = {
                "problem": "names a column that the feature does not declare",
                "found": column,
                "allowed": ", ".join(sorted(known)),
                "remedy": f"{hint}, or declare {column!r} in the feature class",
            }
        elif _is_compound(kind):
            words = {
                "problem": "names a column that holds no single values",
                "found": f"{column}: {kind}",
                "allowed": "a column of text, numbers, dates or times",
                "remedy": "name another column",
            }
        elif wrong := [v for v in keys.partition.get(column, ()) if not _fits(v, kind)]:
            words = {
                "problem": f"has values that the column {column!r} cannot hold",
                "found": ", ".join(map(repr, wrong)),
                "allowed": f"values of the type {getattr(kind, '__name__', kind)}",
                "remedy": "write the values as the column holds them",
            }
        else:
            continue
        problem = f'metadata "{key}" {words.pop("problem")}'
        yield AssetError(problem, asset=asset, feature=str(spec.key), **words)


def doubtful_columns(
    keys: AssetKeys, spec: FeatureSpec, declared: ClassColumns
) -> Iterator[tuple[str, str]]:
    """Columns that the keys name and an open class does not, each with a near one of it."""
    known = _known_columns(spec, declared)
    there = set(map(fold, known))
    for column in () if declared.is_closed else _named_columns(keys):
        near = difflib.get_close_matches(column, known, n=1)
        if near and fold(column) not in there:
            yield column, near[0]


def _named_columns(keys: AssetKeys) -> dict[str, str]:
    """The columns that keys name, with the key that names each."""
    return {
        **dict.fromkeys(keys.partition_by.values(), KEY_PARTITION_BY),
        **dict.fromkeys(keys.partition, KEY_PARTITION),
    }


def _known_columns(spec: FeatureSpec, declared: ClassColumns) -> dict[str, Any]:
    """The columns that a feature's spec and class name, with the type where one tells it."""
    named = [*spec.id_columns, *(name for field in spec.fields for name in field.columns or ())]
    return {**dict.fromkeys(named, Any), **declared.kinds}


def _is_compound(kind: object) -> bool:
    """Whether a type annotation is that of lists, structs, bytes or the like."""
    origin = get_origin(kind)
    if origin in (Union, types.UnionType):
        return any(_is_compound(each) for each in get_args(kind))
    wanted = origin or kind
    return isinstance(wanted, type) and issubclass(wanted, _COMPOUND)


def _fits(value: object, kind: Any) -> bool:
    try:
        TypeAdapter(kind).validate_python(value)
    except ValidationError:
        return False
    except PydanticUserError:
        return True  # a type of the user's own, of which nothing is known
    return True
