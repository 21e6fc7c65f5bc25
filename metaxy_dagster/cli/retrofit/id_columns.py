"""Which columns identify a row, as far as the rows that exist tell."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations
from typing import Final

import pyarrow as pa

__all__ = ["has_ids", "id_columns_of"]

_MOST_TOGETHER: Final = 3
_MOST_LOOKED_AT: Final = 10
_ENDINGS: Final = ("_id", "id", "_key", "uuid", "guid", "hash", "sha256", "_no", "number")
_NAMES: Final = ("name", "path", "file", "filename", "url", "uri", "code", "slug", "email", "key")
_LIKELY, _POSSIBLE, _SELDOM = 1, 2, 4


def id_columns_of(
    table: pa.Table, asset: str, preferred: Sequence[Sequence[str]] = ()
) -> tuple[str, ...] | None:
    """The columns by which all rows are told apart; the fewest, and the likeliest by their names.

    Args:
        table: N rows of an asset's output.
        asset: its name.
        preferred: columns that are taken if they do, before others: those of upstreams.

    Returns:
        The names; ``None`` where no three columns do.

    Example:
        >>> table = pa.table({"day": ["a", "a"], "video_id": [1, 2], "score": [0.5, 0.1]})
        >>> id_columns_of(table, "videos")
        ('video_id',)
    """
    for names in preferred:
        if has_ids(table, names):
            return tuple(names)
    ranked = ((_rank(field, asset), i, field.name) for i, field in enumerate(table.schema))
    usable = sorted((rank, i, name) for rank, i, name in ranked if rank is not None)
    usable = usable[:_MOST_LOOKED_AT]
    for size in range(1, _MOST_TOGETHER + 1):
        for chosen in sorted(combinations(usable, size), key=_cost):
            if size > 1 and any(rank > _SELDOM for rank, _, _ in chosen):
                continue
            names = [name for _, _, name in sorted(chosen, key=lambda one: one[1])]
            if has_ids(table, names):
                return tuple(names)
    return None


def has_ids(table: pa.Table, names: Sequence[str]) -> bool:
    """Whether these columns are there, without nulls, and no two rows share their values."""
    if not names or not set(names) <= set(table.column_names):
        return False
    wanted = table.select(list(dict.fromkeys(names)))
    if any(column.null_count for column in wanted.columns):
        return False
    return bool(wanted.group_by(wanted.column_names).aggregate([]).num_rows == table.num_rows)


def _cost(chosen: Sequence[tuple[int, int, str]]) -> tuple[int, Sequence[int]]:
    return sum(rank for rank, _, _ in chosen), [place for _, place, _ in chosen]


def _rank(field: pa.Field, asset: str) -> int | None:
    """How likely a column is an id: the lower, the likelier; ``None`` for what can be none."""
    kind, name = field.type, field.name.lower()
    if pa.types.is_dictionary(kind):
        kind = kind.value_type
    if not _is_of_ids(kind):
        return None
    if name in _own_names(asset):
        return 0
    if any(name.endswith(ending) for ending in _ENDINGS):
        return _LIKELY
    if name in _NAMES or any(name.endswith(f"_{one}") for one in _NAMES):
        return _POSSIBLE
    return _SELDOM if not pa.types.is_temporal(kind) else _SELDOM - 1


def _own_names(asset: str) -> frozenset[str]:
    one = asset.lower()
    singular = one.removesuffix("s")
    return frozenset({"id", one, singular, f"{one}_id", f"{singular}_id"})


def _is_of_ids(kind: pa.DataType) -> bool:
    types = pa.types
    is_text = types.is_string(kind) or types.is_large_string(kind) or types.is_string_view(kind)
    is_time = types.is_date(kind) or types.is_timestamp(kind)
    return bool(types.is_integer(kind) or is_text or is_time or types.is_fixed_size_binary(kind))
