"""Frames at the boundary: anything narwhals accepts comes in and becomes an Arrow table."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from metaxy_dagster.errors import FrameError
from metaxy_dagster.late import narwhals as nw
from metaxy_dagster.late import pyarrow as pa

if TYPE_CHECKING:
    from metaxy_dagster.features import FeatureSpec

__all__ = ["check_ids", "to_arrow"]

ALLOWED_FRAMES = (
    "a polars, pandas or pyarrow table, a DuckDB relation, a lazy frame, or any other frame "
    "that narwhals accepts"
)


def to_arrow(frame: Any, feature: str) -> pa.Table:
    """Bring a frame of any kind into Arrow, collecting it if it is lazy.

    Args:
        frame: anything narwhals accepts.
        feature: named in errors.

    Returns:
        The same rows and columns, dictionary-encoded columns decoded, without schema metadata.

    Raises:
        FrameError: it is no frame, it cannot be collected, or its column names are not text or
            differ only by case.

    Example:
        >>> to_arrow(pa.table({"id": [1, 2]}), "a").num_rows
        2
    """
    try:
        narwhal = nw.from_native(frame, pass_through=False)
    except TypeError as error:
        raise FrameError(
            "what was handed over is not a frame",
            feature=feature,
            found=f"{type(frame).__module__}.{type(frame).__qualname__}",
            allowed=ALLOWED_FRAMES,
            remedy="return or write a frame with one row per sample",
        ) from error
    except nw.exceptions.NarwhalsError as error:
        raise _unreadable(error, feature) from error
    if isinstance(narwhal, nw.DataFrame):
        _check_names(narwhal.columns, feature)
    try:
        if isinstance(narwhal, nw.LazyFrame):
            narwhal = narwhal.collect(backend="pyarrow")
        # A pandas index is no column; left alone it would become one, depending on its values.
        table = nw.maybe_reset_index(narwhal).to_arrow()
    except Exception as error:
        # Collecting runs the user's own code in an engine of the user's choice.
        raise _unreadable(error, feature) from error
    _check_names(table.column_names, feature)
    return _decoded(table)


def _unreadable(error: Exception, feature: str) -> FrameError:
    return FrameError(
        "the frame cannot be turned into an Arrow table",
        feature=feature,
        found=f"{type(error).__name__}: {error}",
        remedy="correct the computation that gives the frame; give every column one name and one "
        "type, and keep Python objects out of it",
    )


def _check_names(names: Sequence[object], feature: str) -> None:
    nameless = [name for name in names if not isinstance(name, str) or not name]
    if nameless:
        raise FrameError(
            "a column has no name, or one that is not text",
            feature=feature,
            found=list(names),
            remedy="name every column by a text",
        )
    folded = Counter(str(name).casefold() for name in names)
    doubled = [name for name in names if folded[str(name).casefold()] > 1]
    if doubled:
        raise FrameError(
            "columns must differ by more than case",
            feature=feature,
            found=doubled,
            remedy="rename or drop all but one of them",
        )


def _decoded(table: pa.Table) -> pa.Table:
    fields = []
    for field in table.schema:
        kind = field.type.value_type if pa.types.is_dictionary(field.type) else field.type
        fields.append(pa.field(field.name, kind))
    schema = pa.schema(fields)
    return table if schema.equals(table.schema, check_metadata=True) else table.cast(schema)


def check_ids(table: pa.Table, spec: FeatureSpec) -> None:
    """Refuse a frame that lacks id columns or has them in a type that cannot name a sample.

    Floats are refused because engines print them differently and NaN equals nothing; nested
    values because they have no order.

    Raises:
        FrameError: with the columns concerned.
    """
    feature = str(spec.key)
    missing = [name for name in spec.id_columns if name not in table.column_names]
    if missing:
        raise FrameError(
            "id columns are missing from the frame",
            feature=feature,
            found=f"missing {missing}; the frame has {table.column_names}",
            allowed=f"all of {list(spec.id_columns)}",
            remedy="add the id columns (reset_index() if they are a pandas index), or correct "
            "id_columns of the feature",
        )
    for name in spec.id_columns:
        kind = table.schema.field(name).type
        if not _can_identify(kind):
            raise FrameError(
                f"id column {name!r} has a type that cannot name a sample",
                feature=feature,
                found=str(kind),
                allowed="integer, string, boolean, date, timestamp or decimal",
                remedy=f"cast {name!r} to an integer or a string before it is written",
            )


def _can_identify(kind: pa.DataType) -> bool:
    types = pa.types
    return any(
        test(kind)
        for test in (
            types.is_integer,
            types.is_string,
            types.is_large_string,
            types.is_string_view,
            types.is_boolean,
            types.is_date,
            types.is_timestamp,
            types.is_decimal,
            types.is_null,
        )
    )
