"""Ids of frames of whatever library: taken out of them, and compared with those of a store."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

import narwhals as nw
import pyarrow as pa
import pyarrow.compute as pc

from metaxy_dagster.errors import FrameError
from metaxy_dagster.features.columns import fold
from metaxy_dagster.stores.frames.nearest import near, nearest
from metaxy_dagster.stores.frames.rows import to_arrow

__all__ = [
    "distinct",
    "ids_of",
    "index_levels",
    "is_among",
    "places",
    "within",
    "without",
]

_ROW: Final = "metaxy_row"
_MANY: Final = 8


def ids_of(
    frame: Any, names: Sequence[str], *, feature: str, constants: Mapping[str, Any] | None = None
) -> pa.Table:
    """The ids of a frame's rows, in their order.

    Args:
        frame: of N rows, of any library that is not lazy.
        names: the id columns.
        feature: named in errors.
        constants: values of id columns that a frame may leave out, since they are the same in
            all of its rows.

    Returns:
        N rows, with these names.

    Raises:
        FrameError: an id column is missing, also among the levels of a pandas index.

    Example:
        >>> import pandas as pd
        >>> frame = pd.DataFrame({"x": [1, 2]}, index=pd.Index(["a", "b"], name="id"))
        >>> ids_of(frame, ["id", "day"], feature="f", constants={"day": "mo"}).to_pylist()
        [{'id': 'a', 'day': 'mo'}, {'id': 'b', 'day': 'mo'}]
    """
    narwhal = nw.from_native(frame, eager_only=True)
    columns = {fold(name): name for name in map(str, narwhal.columns)}
    levels = index_levels(frame, names)
    given = {fold(name): value for name, value in (constants or {}).items()}
    missing = [n for n in names if n not in levels and not {fold(n)} & {*columns, *given}]
    if missing:
        raise FrameError(
            "id columns are missing from the frame",
            feature=feature,
            found=f"missing {missing}; the frame has {narwhal.columns}",
            allowed=f"all of {list(names)}",
            remedy="add the id columns, or correct id_columns of the feature",
        )
    found: dict[str, Any] = {}
    own = [columns[fold(name)] for name in names if fold(name) in columns]
    table = to_arrow(narwhal.select(own).to_native(), feature) if own else None
    for name in names:
        if table is not None and fold(name) in columns:
            found[name] = table.column(columns[fold(name)])
        elif name in levels:
            index = nw.to_native(frame, pass_through=True).index
            level = index.get_level_values(name).to_frame(index=False, name=name)
            found[name] = to_arrow(level, feature).column(name)
        else:
            found[name] = pa.array([given[fold(name)]] * len(narwhal))
    return pa.table(found)


def index_levels(frame: Any, names: Sequence[str]) -> list[str]:
    """Those of some names that are levels of a pandas index, and no columns."""
    native = nw.to_native(frame, pass_through=True)
    if not nw.dependencies.is_pandas_dataframe(native):
        return []
    known = {fold(name) for name in map(str, native.columns)}
    return [n for n in names if n in native.index.names and fold(n) not in known]


def is_among(ids: pa.Table, wanted: pa.Table) -> pa.BooleanArray:
    """Which of N rows name one of the wanted samples, whatever types both have them in.

    Args:
        ids: N rows.
        wanted: M rows of the same columns, or of more.

    Example:
        >>> is_among(pa.table({"id": ["1", "01"]}), pa.table({"id": [1]})).to_pylist()
        [True, False]
    """
    if not ids.num_rows or not wanted.num_rows:
        return pa.array([False] * ids.num_rows, pa.bool_())
    here, there = _alike(ids, wanted.select(ids.column_names))
    if here.num_columns == 1:
        among = there.column(0)
        if len(among) > _MANY * here.num_rows:
            # A table of the fewer ones is made in less time than one of the many.
            among = among.filter(pc.is_in(among, value_set=here.column(0).combine_chunks()))
        mask = pc.is_in(here.column(0), value_set=among.combine_chunks().drop_null())
        return mask.combine_chunks()
    numbers = _numbers(here.num_rows)
    numbered = here.append_column(_ROW, numbers)
    found = numbered.join(there, keys=here.column_names, join_type="left semi").column(_ROW)
    return pc.is_in(numbers, value_set=found.combine_chunks())


def places(ids: pa.Table, wanted: pa.Table) -> pa.Int64Array:
    """Where each of N rows is among others; null where it is not. The others are distinct.

    Example:
        >>> places(pa.table({"id": [3, 1]}), pa.table({"id": ["1", "2"]})).to_pylist()
        [None, 0]
    """
    if not ids.num_rows or not wanted.num_rows:
        return pa.nulls(ids.num_rows, pa.int64())
    here, there = _alike(ids, wanted.select(ids.column_names))
    if here.num_columns == 1:
        among = there.column(0).combine_chunks()
        found = pc.index_in(here.column(0), value_set=among, skip_nulls=True)
        return found.combine_chunks().cast(pa.int64())
    numbered = here.append_column(_ROW, _numbers(here.num_rows))
    at = there.append_column("metaxy_place", _numbers(there.num_rows))
    joined = numbered.join(at, keys=here.column_names, join_type="left outer")
    return joined.sort_by(_ROW).column("metaxy_place").combine_chunks()


def _numbers(count: int) -> pa.Int64Array:
    """The numbers from 0 on; Arrow has no quicker way to make them."""
    return pc.cumulative_sum(pa.repeat(pa.scalar(1, pa.int64()), count), start=-1)


def distinct(ids: pa.Table) -> pa.Table:
    """The rows of a table of ids, each once."""
    return ids.group_by(ids.column_names, use_threads=False).aggregate([])


def within(ids: pa.Table, others: pa.Table) -> pa.Table:
    """The rows of a table that are among others, by the columns that both have."""
    return ids.filter(is_among(ids.select(_shared(ids, others)), others))


def without(ids: pa.Table, others: pa.Table) -> pa.Table:
    """The rows of a table that are not among others, by the columns that both have.

    Example:
        >>> pairs = pa.table({"id": [1, 2], "day": ["mo", "tu"]})
        >>> without(pairs, pa.table({"day": ["mo"]})).to_pylist()
        [{'id': 2, 'day': 'tu'}]
    """
    if not others.num_rows:
        return ids
    return ids.filter(pc.invert(is_among(ids.select(_shared(ids, others)), others)))


def _shared(ids: pa.Table, others: pa.Table) -> list[str]:
    return [name for name in ids.column_names if name in others.column_names]


def _alike(here: pa.Table, there: pa.Table) -> tuple[pa.Table, pa.Table]:
    """Both in types that can be compared, column by column."""
    pairs = {name: _same_type(here.column(name), there.column(name)) for name in here.column_names}
    return (
        pa.table({name: pair[0] for name, pair in pairs.items()}),
        pa.table({name: pair[1] for name, pair in pairs.items()}),
    )


def _same_type(
    one: pa.ChunkedArray, other: pa.ChunkedArray
) -> tuple[pa.ChunkedArray, pa.ChunkedArray]:
    one, other = _plain(one), _plain(other)
    if one.type == other.type:
        return one, other
    kinds = {one.type, other.type}
    if not (any(map(_is_text, kinds)) and any(map(pa.types.is_integer, kinds))):
        # A day is the moment at which it begins: the other way its time would be lost.
        for left, right in ((one.type, other.type), (other.type, one.type)):
            if pa.types.is_timestamp(left) and pa.types.is_date(right):
                return one.cast(left), other.cast(left)
        for kind in (other.type, one.type):
            try:
                return one.cast(kind), other.cast(kind)
            except (pa.ArrowInvalid, pa.ArrowNotImplementedError):
                continue
    # A number is spelt in one way; of the texts that could be read as it, this is the one.
    return one.cast(pa.large_string()), other.cast(pa.large_string())


def _plain(column: pa.ChunkedArray) -> pa.ChunkedArray:
    """Without types of which Arrow compares no values, such as UUIDs."""
    return column if near(column.type) == column.type else nearest(column)


def _is_text(kind: pa.DataType) -> bool:
    types = pa.types
    return bool(types.is_string(kind) or types.is_large_string(kind) or types.is_string_view(kind))
