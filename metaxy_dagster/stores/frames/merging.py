"""What an IO manager holds of a feature, with the rows that a step has computed anew."""

from __future__ import annotations

from typing import Any, Final

import narwhals as nw
import pyarrow as pa
import pyarrow.compute as pc

from metaxy_dagster.late import pandas as pd
from metaxy_dagster.late import polars as pl
from metaxy_dagster.stores.frames.loading import to_pandas, to_polars
from metaxy_dagster.stores.frames.rows import collecting, to_arrow

__all__ = ["as_one_frame", "eager_type", "merged", "merged_order", "read_once"]

_KINDS: Final = ("pandas", "polars", "pyarrow")


def as_one_frame(value: Any, feature: str) -> Any:
    """A value in memory, read by now: what it is read from may be about to be written.

    Args:
        value: a frame, lazy or not, or a dict or list of frames.
        feature: named in errors.

    Raises:
        FrameError: it cannot be collected.

    Example:
        >>> as_one_frame([pa.table({"id": [1]}), pa.table({"id": [2]})], "f").num_rows
        2
    """
    if isinstance(value, dict | list | tuple):
        parts = list(value.values()) if isinstance(value, dict) else list(value)
        return _concatenated([as_one_frame(part, feature) for part in parts], feature)
    if isinstance(value, pa.RecordBatchReader):
        return value.read_all()
    found = nw.from_native(value)
    if isinstance(found, nw.LazyFrame):
        return found.collect().to_native()
    return found.to_native()


def eager_type(value: Any) -> type:
    """The type in which rows are loaded that are to be merged with a value.

    Example:
        >>> import polars as pl
        >>> eager_type(pl.LazyFrame({"id": [1]}))
        <class 'polars.dataframe.frame.DataFrame'>
    """
    if nw.dependencies.is_polars_lazyframe(nw.to_native(value, pass_through=True)):
        return pl.DataFrame
    return type(value)


def read_once(value: Any, feature: str) -> Any:
    """A frame whose rows may be read several times; a lazy one is of the same kind, collected.

    Args:
        value: a frame, or a dict or list of them.
        feature: named in errors.

    Raises:
        FrameError: it cannot be collected.
    """
    if isinstance(value, dict | list | tuple):
        return as_one_frame(value, feature)
    if isinstance(value, pa.RecordBatchReader):
        return value.read_all()
    if nw.dependencies.is_polars_lazyframe(nw.to_native(value, pass_through=True)):
        with collecting(feature):
            return value.collect().lazy()
    return value


def merged_order(stays: pa.BooleanArray, at: pa.Int64Array, returned: int) -> pa.Int64Array:
    """Held rows in their order, changed ones in their place, new ones at the end.

    Args:
        stays: which of N held rows stay, if they are not among those that were returned.
        at: where each of them is among these; null if it is not.
        returned: how many these are.

    Returns:
        Places for :func:`merged`.

    Example:
        >>> stays, at = pa.array([True, False, False]), pa.array([None, None, 0])
        >>> merged_order(stays, at, 2).to_pylist()
        [0, 3, 4]
    """
    held, found = len(stays), pc.is_valid(at)
    if pc.count_distinct(at).as_py() < len(at) - at.null_count:
        # Rows that are held twice are there once.
        first = {place: row for row, place in reversed(list(enumerate(at.to_pylist())))}
        once = pa.array([first[place] == row for row, place in enumerate(at.to_pylist())])
    else:
        once = found
    here = pa.array(range(held), pa.int64())
    places = pc.if_else(found, pc.add(at, held), here)
    kept = places.filter(pc.if_else(found, once, stays))
    every = pa.array(range(returned), pa.int64())
    new = every.filter(pc.invert(pc.is_in(every, value_set=at.drop_null())))
    return pa.concat_arrays([kept, pc.add(new, held)])


def merged(held: Any, returned: Any, order: pa.Int64Array, feature: str) -> Any:
    """Rows of two frames in a given order, with the columns and types of the second.

    Args:
        held: N rows, a frame in memory.
        returned: M rows, of any library.
        order: places of rows, where those from N on are of the second frame.
        feature: named in errors.

    Returns:
        A frame of the kind of the second; lazy if that is lazy.

    Example:
        >>> import pandas as pd
        >>> held = pd.DataFrame({"id": [1, 2], "score": [0.1, 0.2]})
        >>> returned = pd.DataFrame({"id": [2, 3], "score": [0.5, 0.6]}, index=[7, 8])
        >>> merged(held, returned, pa.array([0, 2, 3]), "f").to_dict("list")
        {'id': [1, 2, 3], 'score': [0.1, 0.5, 0.6]}
    """
    narwhal = nw.from_native(returned, pass_through=True)
    new = as_one_frame(returned, feature)
    kind = _kind(new)
    if _kind(held) != kind or kind == "":
        made = _of_arrow(to_arrow(held, feature), to_arrow(new, feature), order)
        whole = _as_kind(made, kind)
    elif kind == "pandas":
        whole = _of_pandas(held, new, order)
    elif kind == "polars":
        whole = _of_polars(held, new, order)
    else:
        whole = _of_arrow(held, new, order)
    return _like(whole, returned, narwhal)


def _concatenated(parts: list[Any], feature: str) -> Any:
    """The rows of frames of one kind, one after the other."""
    filled = [part for part in parts if _columns(part)] or parts[:1]
    kinds = {_kind(part) for part in filled}
    if kinds == {"pandas"}:
        first, *others = filled
        for other in others:
            first = pd.concat(_alike(first, other))
        plain = all(isinstance(part.index, pd.RangeIndex) for part in filled)
        return first.reset_index(drop=True) if plain else first
    if kinds == {"polars"}:
        return pl.concat(filled, how="diagonal_relaxed")
    tables = [to_arrow(part, feature) for part in filled]
    return pa.concat_tables(tables, promote_options="permissive")


def _columns(frame: Any) -> list[str]:
    found: list[str] = nw.from_native(frame, eager_only=True).columns
    return found


def _kind(frame: Any) -> str:
    name = str(nw.from_native(frame, eager_only=True).implementation)
    return name if name in _KINDS else ""


def _as_kind(table: pa.Table, kind: str) -> Any:
    if kind == "pandas":
        return to_pandas(table)
    return to_polars(table) if kind == "polars" else table


def _like(whole: Any, returned: Any, narwhal: Any) -> Any:
    """A frame that holds all rows, in the shape in which the function returned some."""
    if isinstance(returned, pa.RecordBatchReader):
        return whole.to_reader()
    made: Any = nw.from_native(whole, eager_only=True)
    if isinstance(narwhal, nw.LazyFrame):
        native, backend = narwhal.to_native(), narwhal.implementation
        if nw.dependencies.is_duckdb_relation(native):
            import duckdb  # noqa: PLC0415 - slow to import

            relation = duckdb.connect(":memory:").from_arrow(made.to_arrow())
            made = nw.from_native(relation)
        else:
            session = getattr(native, "sparkSession", None)
            made = made.lazy(backend) if session is None else made.lazy(backend, session=session)
    return made if isinstance(returned, nw.DataFrame | nw.LazyFrame) else made.to_native()


# pandas


def _of_pandas(held: Any, new: Any, order: pa.Int64Array) -> Any:
    old = held if not len(new.columns) else _columns_of(held, new)
    if len(new.columns):
        old, new = _alike(old, new)
        rows = pd.concat([old, new]) if len(new) else old
    else:
        rows = old
    rows = rows.iloc[order.to_numpy(zero_copy_only=False)]
    plain = isinstance(held.index, pd.RangeIndex) and held.index.names == [None]
    return rows.reset_index(drop=True) if plain else rows


def _columns_of(held: Any, new: Any) -> Any:
    """Rows that are held, with the columns of others, in their order."""
    found = held.reindex(columns=new.columns)
    for name in new.columns:
        # Beside nothing, what is true or not would become numbers.
        if name not in held.columns and new[name].dtype == bool:
            found[name] = pd.Series([None] * len(held), index=held.index, dtype=object)
    return found


def _alike(held: Any, new: Any) -> tuple[Any, Any]:
    """Both in the types of the second, where every value can be of that type."""
    if not len(new):
        return held, new.iloc[:0].astype(held.dtypes.to_dict(), errors="ignore")
    held, new = held.copy(deep=False), new.copy(deep=False)
    for name in new.columns:
        old, kind = held[name], new[name].dtype
        if isinstance(kind, pd.CategoricalDtype):
            categories = _categories(old, new[name])
            held[name], new[name] = old.astype(categories), new[name].astype(categories)
        elif old.dtype != kind:
            try:
                cast = old.astype(kind)
            except (TypeError, ValueError, OverflowError):
                continue
            # Nothing would be true, and the text "nan".
            if cast.isna().equals(old.isna()):
                held[name] = cast
    return held, new


def _categories(old: Any, new: Any) -> Any:
    """The categories of both; in order where they were in order."""
    known = new.cat.categories
    ordered = bool(new.cat.ordered)
    if not isinstance(old.dtype, pd.CategoricalDtype):
        old = old.astype("category")
    if old.cat.categories.equals(known):
        return new.dtype
    every = old.cat.categories.append(known).unique()
    used = set(old.dropna().unique()) | set(new.dropna().unique())
    if _all_used(old) and _all_used(new):
        every = every[[one in used for one in every]]
    if not ordered and known.is_monotonic_increasing and old.cat.categories.is_monotonic_increasing:
        every = every.sort_values()
    return pd.CategoricalDtype(every, ordered=ordered)


def _all_used(series: Any) -> bool:
    return len(series.cat.remove_unused_categories().cat.categories) == len(series.cat.categories)


# polars


def _of_polars(held: Any, new: Any, order: pa.Int64Array) -> Any:
    rows = held
    if new.width:
        kinds, known = new.schema, held.schema
        old = held.select(
            _cast(held, name, kind) if name in known else pl.lit(None, kind).alias(name)
            for name, kind in kinds.items()
        )
        rows = pl.concat([old, new], how="vertical_relaxed") if new.height else old
        if not new.height:
            rows = held.select([name for name in new.columns if name in known])
    return rows[order.to_numpy(zero_copy_only=False)]


def _cast(held: Any, name: str, kind: Any) -> Any:
    column = held.get_column(name)
    if kind in (column.dtype, pl.Null):
        return column
    try:
        return column.cast(kind)
    except pl.exceptions.PolarsError:
        return column


# Arrow


def _of_arrow(held: pa.Table, new: pa.Table, order: pa.Int64Array) -> pa.Table:
    rows = held
    if new.num_columns:
        known = set(held.column_names)
        columns = [
            _cast_arrow(held.column(field.name), field.type)
            if field.name in known
            else pa.nulls(held.num_rows, field.type)
            for field in new.schema
        ]
        old = pa.table(dict(zip(new.column_names, columns, strict=True)))
        old = old.replace_schema_metadata(new.schema.metadata)
        rows = pa.concat_tables([old, new], promote_options="permissive")
    return rows.take(order)


def _cast_arrow(column: pa.ChunkedArray, kind: pa.DataType) -> pa.ChunkedArray:
    if column.type == kind or pa.types.is_null(kind):
        return column
    try:
        return column.cast(kind)
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError):
        return column
