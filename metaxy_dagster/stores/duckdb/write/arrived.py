"""In which types of the engine the columns of a frame arrive."""

from __future__ import annotations

from typing import Any, Final

import duckdb
import pyarrow as pa

from metaxy_dagster.errors import FrameError
from metaxy_dagster.stores.duckdb.sql.scratch import scratch

__all__ = ["NOTHING", "arrived_types"]

#: Of a column, or of a part of one, in which there are nulls alone.
NOTHING: Final = '"NULL"'


def arrived_types(empty: pa.Table, feature: str) -> dict[str, str]:
    """The DuckDB types of columns; of no rows, which tell nothing of them.

    Raises:
        FrameError: a column has a type that the engine does not know.
    """
    if not empty.column_names:
        return {}
    with scratch() as connection:
        try:
            kinds = connection.from_arrow(empty).types
        except duckdb.Error:
            names = empty.column_names
            kinds = [_arrived_type(connection, empty, name, feature) for name in names]
        # DuckDB 1.5 takes nothing but nulls for integers, also within a value.
        return {
            field.name: str(_told(connection, field.type) if _has_nothing(field.type) else kind)
            for field, kind in zip(empty.schema, kinds, strict=True)
        }


def _arrived_type(
    connection: duckdb.DuckDBPyConnection, table: pa.Table, name: str, feature: str
) -> Any:
    try:
        (kind,) = connection.from_arrow(table.select([name])).types
    except duckdb.Error as error:
        raise FrameError(
            f"column {name!r} has a type that cannot be stored",
            feature=feature,
            found=f"{table.schema.field(name).type} ({error})",
            remedy=f"cast {name!r} to a plain type before it is written",
        ) from error
    return kind


def _has_nothing(kind: pa.DataType) -> bool:
    """Whether nulls are all that a type, or a part of it, can hold."""
    if pa.types.is_null(kind):
        return True
    return pa.types.is_nested(kind) and any(
        _has_nothing(kind.field(place).type) for place in range(kind.num_fields)
    )


def _told(connection: duckdb.DuckDBPyConnection, kind: pa.DataType) -> Any:
    """The engine's type, made of those of the parts."""
    if pa.types.is_null(kind):
        return duckdb.sqltypes.SQLNULL
    if pa.types.is_struct(kind):
        return connection.struct_type({each.name: _told(connection, each.type) for each in kind})
    if pa.types.is_map(kind):
        return connection.map_type(
            _told(connection, kind.key_type), _told(connection, kind.item_type)
        )
    if pa.types.is_fixed_size_list(kind):
        return connection.array_type(_told(connection, kind.value_type), kind.list_size)
    if pa.types.is_list(kind) or pa.types.is_large_list(kind):
        return connection.list_type(_told(connection, kind.value_type))
    (found,) = connection.from_arrow(pa.schema([("x", kind)]).empty_table()).types
    return found
