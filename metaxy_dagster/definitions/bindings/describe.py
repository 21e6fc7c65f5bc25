"""What a feature says of a table, in Dagster's terms: info, schema, lineage."""

from __future__ import annotations

import inspect
import types
from typing import TYPE_CHECKING, Any, Final, Union, get_args, get_origin

import dagster as dg

from metaxy_dagster.constants import PREFIX
from metaxy_dagster.features.columns import fold
from metaxy_dagster.features.info import feature_info
from metaxy_dagster.features.keys import FeatureKey

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from metaxy_dagster.definitions.bindings.translator_data import MetaxyTranslatorData
    from metaxy_dagster.features.keys import FieldKey
    from metaxy_dagster.features.specs import FeatureSpec

__all__ = [
    "asset_info",
    "class_description",
    "column_lineage",
    "column_schema",
]

_TYPE_NAMES: Final = {
    "str": "string",
    "bool": "boolean",
    "bytes": "binary",
    "datetime": "timestamp",
    "Decimal": "decimal",
    "dict": "map",
}


def class_description(feature_class: type | None) -> str | None:
    """A feature class's own docstring, never one that it inherits."""
    docstring = feature_class.__dict__.get("__doc__") if feature_class else None
    return inspect.cleandoc(docstring) if isinstance(docstring, str) and docstring else None


def asset_info(data: MetaxyTranslatorData) -> dict[str, Any]:
    """What ``metaxy/info`` holds of an asset: its feature, and the assets of the upstream ones."""
    info = feature_info(data.graph, data.spec.key)
    for dep in info["deps"]:
        keys = data.upstream[FeatureKey(dep["feature"])]
        dep["assets"] = [key.to_user_string() for key in keys]
    if data.project is not None:
        info["project"] = data.project
    return info


def column_schema(spec: FeatureSpec, feature_class: type | None) -> dg.TableSchema:
    """The feature's columns with their types; the id columns alone where no others are known."""
    declared: Mapping[str, Any] = getattr(feature_class, "model_fields", {})
    ids = frozenset(spec.id_columns)
    names = [*declared, *(name for name in spec.id_columns if name not in declared)]
    if not declared:
        names += [name for field in spec.fields for name in field.columns or ()]
    columns = []
    for name in dict.fromkeys(names):
        if name.startswith(PREFIX):
            continue
        info = declared.get(name)
        type_text, nullable = type_name(info.annotation) if info else (None, True)
        columns.append(
            dg.TableColumn(
                name,
                type=type_text or "unknown",
                description=info.description if info else None,
                constraints=dg.TableColumnConstraints(nullable=nullable and name not in ids),
            )
        )
    return dg.TableSchema(columns)


def type_name(annotation: object) -> tuple[str, bool]:
    """An annotation as a column type's name, and whether it admits None.

    Example:
        >>> type_name(list[float]), type_name(str | None)
        (('list[float]', False), ('string', True))
    """
    origin, arguments = get_origin(annotation), get_args(annotation)
    if origin in (Union, types.UnionType):
        inner = [each for each in arguments if each is not type(None)]
        text = " | ".join(type_name(each)[0] for each in inner)
        return text, len(inner) < len(arguments)
    if origin is not None and arguments:
        name = _type_text(origin)
        texts = [each if isinstance(each, str) else type_name(each)[0] for each in arguments]
        return f"{name}[{', '.join(texts)}]", False
    return _type_text(annotation), annotation is Any


def _type_text(annotation: object) -> str:
    name = getattr(annotation, "__name__", None) or str(annotation)
    return _TYPE_NAMES.get(name, name)


def column_lineage(data: MetaxyTranslatorData) -> dg.TableColumnLineage | None:
    """Which upstream columns each column comes from, for the assets that carry them.

    Id columns come from the id columns that they are joined on; a column that an upstream has
    too, by the name that it has here, from that one; the columns of a field, else, from those
    of its parent fields.
    """
    found: dict[str, dict[tuple[dg.AssetKey, str], None]] = {}
    for column, feature, source in _column_pairs(data):
        for asset_key in data.upstream.get(feature, ()):
            found.setdefault(column, {})[(asset_key, source)] = None
    if not found:
        return None
    return dg.TableColumnLineage(
        {
            column: [dg.TableColumnDep(asset_key=key, column_name=name) for key, name in sources]
            for column, sources in found.items()
        }
    )


def _column_pairs(data: MetaxyTranslatorData) -> Iterator[tuple[str, FeatureKey, str]]:
    own = _by_fold(_columns(data.spec, data.graph.feature_class(data.spec.key)))
    upstream = {dep.upstream.key: dep.upstream for dep in data.plan.deps}
    for dep in data.plan.deps:
        for column in dep.join_columns:
            yield column, dep.upstream.key, dep.source_columns.get(column, column)
    carried = {column for column, *_ in _carried_over(data, own)}
    yield from _carried_over(data, own)
    for field in data.plan.fields:
        for column in _field_columns(data, data.spec, field.key):
            if column in carried:
                continue
            for parent in field.parents:
                spec = upstream.get(parent.feature)
                if spec is not None:
                    for source in _field_columns(data, spec, parent.field):
                        yield column, parent.feature, source


def _carried_over(
    data: MetaxyTranslatorData, own: Mapping[str, str]
) -> Iterator[tuple[str, FeatureKey, str]]:
    """Columns that an upstream has too, by their names here, with their names upstream."""
    for plan in data.plan.deps:
        dep, upstream = plan.dep, plan.upstream
        known = _columns(upstream, data.graph.feature_class(upstream.key))
        here = [name for name in map(dep.name_here, known) if dep.select is None]
        names = dict.fromkeys([*here, *(dep.select or ()), *dep.rename.values()])
        for name in names:
            mine = own.get(fold(name))
            if mine is not None and mine not in plan.join_columns:
                yield mine, upstream.key, dep.name_upstream(name)


def _field_columns(
    data: MetaxyTranslatorData, spec: FeatureSpec, field: FieldKey
) -> tuple[str, ...]:
    """The columns that hold a field: those it names, its namesake, or all when it is the only one.

    Columns that are not known are left out: no lineage is better than an invented one.
    """
    declared = next((each for each in spec.fields if each.key == field), None)
    if declared is not None and declared.columns:
        return tuple(declared.columns)
    columns = _columns(spec, data.graph.feature_class(spec.key))
    namesake = _by_fold(columns).get(fold(str(field)))
    if namesake is not None:
        return (namesake,)
    if len(spec.fields) == 1:
        ids = frozenset(spec.id_columns)
        return tuple(column for column in columns if column not in ids)
    return ()


def _by_fold(columns: Iterable[str]) -> dict[str, str]:
    return {fold(name): name for name in columns}


def _columns(spec: FeatureSpec, feature_class: type | None) -> tuple[str, ...]:
    declared: Mapping[str, Any] = getattr(feature_class, "model_fields", {})
    named = [name for field in spec.fields for name in field.columns or ()]
    return tuple(dict.fromkeys([*declared, *spec.id_columns, *named]))
