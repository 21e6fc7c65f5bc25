"""Which columns hold the partition that rows belong to."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping, Sequence

import dagster as dg
import pyarrow as pa

__all__ = ["partition_columns"]


def partition_columns(
    definition: dg.PartitionsDefinition, tables: Mapping[str, pa.Table]
) -> str | dict[str, str] | None:
    """What ``"partition_by"`` is to say.

    Args:
        definition: the asset's partitions.
        tables: some partitions and the rows that exist of each.

    Returns:
        A column, or one for each dimension; ``None`` where no column tells them apart.

    Example:
        >>> days = ("2026-01-01", "2026-01-02")
        >>> rows = {day: pa.table({"id": [1], "day": [day]}) for day in days}
        >>> partition_columns(dg.DailyPartitionsDefinition("2026-01-01"), rows)
        'day'
    """
    if not isinstance(definition, dg.MultiPartitionsDefinition):
        return _column(tables)
    found = {}
    for dimension in definition.partitions_defs:
        parts = [
            (definition.get_partition_key_from_str(key).keys_by_dimension[dimension.name], table)
            for key, table in tables.items()
        ]
        name = _holding(parts)
        if name is None:
            return None
        found[dimension.name] = name
    return found or None


def _column(tables: Mapping[str, pa.Table]) -> str | None:
    return _holding(list(tables.items()))


def _holding(parts: Sequence[tuple[str, pa.Table]]) -> str | None:
    """The first column that holds nothing but the partition, in each of some partitions."""
    filled = [(key, table) for key, table in parts if table.num_rows]
    if not filled:
        return None
    for name in filled[0][1].column_names:
        if all(name in t.column_names and _holds(t.column(name), key) for key, t in filled):
            return str(name)
    return None


def _holds(column: pa.ChunkedArray, key: str) -> bool:
    if column.null_count:
        return False
    return all(_is_of(value, key) for value in column.unique().to_pylist())


def _is_of(value: object, key: str) -> bool:
    """Whether a value is a partition's key, or a moment of the time that the key names."""
    if isinstance(value, dt.datetime | dt.date):
        return value.isoformat(*([" "] if isinstance(value, dt.datetime) else [])).startswith(key)
    return str(value) == key
