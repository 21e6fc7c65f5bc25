"""Which type a parameter gets: its annotation's, one per partition, or the default."""

from __future__ import annotations

import importlib
import types
import typing
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Final, Literal, Union, get_args, get_origin

import dagster as dg

from metaxy_dagster.errors import RunError
from metaxy_dagster.features.columns import fold
from metaxy_dagster.features.model import did_you_mean
from metaxy_dagster.runtime import _compat
from metaxy_dagster.runtime.loading.conversion import Source, can_convert, convert
from metaxy_dagster.runtime.partitions.scope import Scope

if TYPE_CHECKING:
    import narwhals as nw

__all__ = [
    "UNANNOTATED",
    "Parameter",
    "annotation_of",
    "bad_columns",
    "only_columns",
    "why_not_loaded",
]

#: What a parameter without an annotation may be given, and where its type is.
UNANNOTATED: Final = {
    "narwhals": "narwhals.LazyFrame",
    "polars": "polars.DataFrame",
    "polars_lazy": "polars.LazyFrame",
    "pandas": "pandas.DataFrame",
    "pyarrow": "pyarrow.Table",
    "duckdb": "duckdb.DuckDBPyRelation",
}
_DICTS: Final = (dict, Mapping)
_LISTS: Final = (list, Sequence, Iterable)
_SAID_NOTHING: Final = (None, Any, object, dg.Any)


@dataclass(frozen=True)
class Parameter:
    """What is wanted for a parameter.

    Attributes:
        name: the parameter.
        annotation: the type of the frame, or of each; ``None`` for a narwhals lazy frame.
        by_partition: ``"dict"`` or ``"list"`` where each partition is wanted as a frame of its
            own.
        columns: the columns that are wanted; ``None`` for all of them.
    """

    name: str
    annotation: object = None
    by_partition: Literal["dict", "list"] | None = None
    columns: tuple[str, ...] | None = None

    @classmethod
    def of(cls, context: dg.InputContext, unannotated: str) -> Parameter:
        """What an input of a running step is declared as.

        Args:
            context: of the input.
            unannotated: what it gets if nothing is said, a key of ``UNANNOTATED``.
        """
        name = context.name if context.has_input_name else "value"
        op = _compat.loading_op(context)
        annotation = annotation_of(op, name, context.dagster_type)
        kind, inner = _container(annotation)
        if inner in _SAID_NOTHING:
            inner = _default(unannotated)
        return cls(name, inner, kind, _columns(_compat.input_definition_metadata(context)))

    def made(self, rows: Source, *, asset: str, partitions: Mapping[str, Scope] | None) -> Any:
        """What is handed to the function.

        Args:
            rows: all of its rows.
            asset: the asset that is loaded, for errors.
            partitions: the samples of each partition that is loaded; ``None`` for an asset
                without any.

        Raises:
            RunError: the type is none that a feature can be loaded as, or a column is missing.
        """
        if self.by_partition is None:
            return self._converted(rows, asset)
        if partitions is None:
            raise RunError(
                f"parameter {self.name!r} wants a frame per partition, so it cannot be loaded as "
                "one of an asset without partitions",
                asset=asset,
                found=f"a {self.by_partition} of frames",
                remedy="annotate the parameter with the type of one frame",
            )
        whole = rows.lazy().collect("pyarrow").lazy()
        schema = whole.collect_schema()
        frames: dict[str, Any] = {}
        for key, scope in partitions.items():
            _check_told_apart(scope, schema, asset, self.name)
            part = Source.of(lambda scope=scope: scope.restrict(whole))  # type: ignore[misc] # bound now
            frames[key] = self._converted(part, asset)
        return frames if self.by_partition == "dict" else list(frames.values())

    def _converted(self, rows: Source, asset: str) -> Any:
        if self.columns is not None:
            rows = only_columns(rows, self.columns, asset=asset, name=self.name)
        return convert(rows, self.annotation, asset=asset, name=self.name)


def annotation_of(
    op: dg.OpDefinition | None, name: str, dagster_type: dg.DagsterType
) -> object | None:
    """The type that an input is declared as; ``None`` where nothing is said.

    A Dagster type that says of no Python type what it is gives way to the function's own words.
    """
    declared: object = dagster_type.typing_type
    if declared not in _SAID_NOTHING:
        return declared
    function = None if op is None else _compat.op_function(op)
    if function is None:
        return None
    try:
        found = typing.get_type_hints(function).get(name)
    except (NameError, AttributeError, TypeError):
        # Names that only a type checker imports: what is said cannot be known here.
        return None
    return None if found in _SAID_NOTHING else found


def why_not_loaded(annotation: object, *, partitioned: bool) -> str | None:
    """Why a feature cannot be loaded as a type; ``None`` if it can.

    Example:
        >>> import pyarrow as pa
        >>> why_not_loaded(pa.Table, partitioned=False) is None
        True
        >>> why_not_loaded(dict[str, pa.Table], partitioned=False)
        'a dict of frames is for assets with partitions'
    """
    kind, inner = _container(annotation)
    if kind is not None and not partitioned:
        return f"a {kind} of frames is for assets with partitions"
    if inner in _SAID_NOTHING or can_convert(inner):
        return None
    return "no frame can be made of this type"


def bad_columns(metadata: Mapping[str, Any]) -> object | None:
    """What an input's metadata says of columns, if it is no list of names; else ``None``."""
    value = _unwrapped(metadata.get("columns"))
    fine = isinstance(value, list | tuple) and value and all(isinstance(one, str) for one in value)
    return None if value is None or fine else value


def only_columns(rows: Source, columns: Sequence[str], *, asset: str, name: str) -> Source:
    """Some columns of rows, by the names that the rows have for them.

    Args:
        rows: the rows.
        columns: the names, in the order that is wanted; in whatever case.
        asset: the asset that is loaded, for errors.
        name: the parameter, for errors.
    """

    def chosen(known: Sequence[str]) -> list[str]:
        by_name = {fold(one): one for one in known}
        missing = [one for one in columns if fold(one) not in by_name]
        if missing:
            raise RunError(
                f"metadata of parameter {name!r} names columns that the feature does not have",
                asset=asset,
                found=", ".join(missing),
                allowed=", ".join(known),
                remedy=did_you_mean(missing[0], known, 'correct "columns" of its AssetIn'),
            )
        return list(dict.fromkeys(by_name[fold(one)] for one in columns))

    def only(frame: nw.LazyFrame[Any]) -> nw.LazyFrame[Any]:
        return frame.select(chosen(list(frame.collect_schema())))

    def lazy() -> nw.LazyFrame[Any]:
        return only(rows.lazy())

    return replace(
        rows,
        lazy=lazy,
        # Asked of the lazy frame, so that a store reads these columns and no others.
        table=lambda: lazy().collect("pyarrow").to_native(),
        within=lambda frame: only(rows.within(frame)),
    )


def _container(annotation: object) -> tuple[Literal["dict", "list"] | None, object]:
    """Whether a type holds a frame per partition, and the type of the frame."""
    if get_origin(annotation) in (Union, types.UnionType):
        some = [one for one in get_args(annotation) if one is not type(None)]
        if len(some) == 1:
            return _container(some[0])
    origin: object = get_origin(annotation) or annotation
    inner = get_args(annotation)
    if origin in _DICTS:
        return "dict", inner[-1] if inner else None
    if origin in _LISTS:
        return "list", inner[0] if inner else None
    return None, annotation


def _default(name: str) -> object:
    module, _, kind = UNANNOTATED[name].rpartition(".")
    return None if name == "narwhals" else getattr(importlib.import_module(module), kind)


def _columns(metadata: Mapping[str, Any]) -> tuple[str, ...] | None:
    value = _unwrapped(metadata.get("columns"))
    known = isinstance(value, list | tuple) and value
    return tuple(map(str, value)) if known else None


def _unwrapped(value: Any) -> Any:
    return value.value if isinstance(value, dg.MetadataValue) else value


def _check_told_apart(scope: Scope, schema: Mapping[str, Any], asset: str, name: str) -> None:
    present = set(map(fold, schema))
    missing = [column for column in scope.columns if fold(column) not in present]
    if missing:
        raise RunError(
            f"parameter {name!r} wants a frame per partition, but the rows do not say which "
            "partition they are of",
            asset=asset,
            found=f"no column {', '.join(missing)}",
            allowed=", ".join(schema),
            remedy='select the column that "partition_by" names, too',
        )
