"""Values of a repository's own IO managers, reduced to the samples that are to be computed."""

from __future__ import annotations

import uuid
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import narwhals as nw
import pyarrow as pa
import pyarrow.compute as pc

from metaxy_dagster.errors import FrameError
from metaxy_dagster.features.columns import fold
from metaxy_dagster.stores.frames.ids import distinct, ids_of, is_among, without

__all__ = ["Narrowed", "filtered", "is_frame", "narrowed"]

Constants = Mapping[str, Any]


@dataclass(frozen=True)
class Narrowed:
    """A value with the rows of some samples.

    Attributes:
        value: of the type that it had.
        missing: the ids of those for which there was no row.
    """

    value: Any
    missing: pa.Table


def is_frame(value: object) -> bool:
    """Whether a value has rows: a frame, lazy or not, or a dict or list of them.

    Example:
        >>> import pyarrow as pa
        >>> is_frame(pa.table({"id": [1]})), is_frame({"mo": pa.table({})}), is_frame([1, 2])
        (True, True, False)
    """
    if isinstance(value, Mapping | list | tuple):
        parts = list(value.values()) if isinstance(value, Mapping) else list(value)
        return bool(parts) and all(map(is_frame, parts))
    if isinstance(value, pa.RecordBatchReader):
        return True
    found = nw.from_native(value, pass_through=True)
    return isinstance(found, nw.DataFrame | nw.LazyFrame)


def narrowed(
    value: Any,
    wanted: pa.Table,
    *,
    feature: str,
    constants: Constants | None = None,
    by_key: Mapping[str, Constants] | None = None,
) -> Narrowed:
    """The rows of a value that are of the wanted samples; order, types and index stay.

    Args:
        value: for which :func:`is_frame` holds.
        wanted: the ids of M samples, each once.
        feature: that the value is of.
        constants: values of id columns that it may leave out.
        by_key: the same for each part of a dict.

    Raises:
        FrameError: it lacks id columns.

    Example:
        >>> import pandas as pd
        >>> frame = pd.DataFrame({"id": [3, 1, 2], "kind": pd.Categorical(["a", "b", "a"])})
        >>> found = narrowed(frame, pa.table({"id": [3, 2, 9]}), feature="f")
        >>> list(found.value.index), found.missing.to_pylist()
        ([0, 2], [{'id': 9}])
    """
    fixed = constants or {}
    if isinstance(value, Mapping):
        known = by_key or {}
        parts = {
            key: narrowed(part, wanted, feature=feature, constants={**fixed, **known.get(key, {})})
            for key, part in value.items()
        }
        made: Any = {key: part.value for key, part in parts.items()}
        return Narrowed(made, _missing_in_all(parts.values(), wanted))
    if isinstance(value, list | tuple):
        several = [narrowed(part, wanted, feature=feature, constants=fixed) for part in value]
        return Narrowed([one.value for one in several], _missing_in_all(several, wanted))
    if isinstance(value, pa.RecordBatchReader):
        whole = narrowed(value.read_all(), wanted, feature=feature, constants=fixed)
        return Narrowed(whole.value.to_reader(), whole.missing)
    found = nw.from_native(value, pass_through=True)
    if isinstance(found, nw.LazyFrame):
        return _lazily(value, found, wanted, feature, fixed)
    ids = ids_of(value, wanted.column_names, feature=feature, constants=fixed)
    mask = is_among(ids, wanted)
    return Narrowed(filtered(value, mask), without(wanted, ids.filter(mask)))


def filtered(frame: Any, mask: pa.BooleanArray) -> Any:
    """The rows of a frame for which a mask holds; the frame itself where it holds for all."""
    if pc.all(mask, min_count=0).as_py():
        return frame
    native = nw.to_native(frame, pass_through=True)
    if isinstance(native, pa.Table):
        chosen = native.filter(mask)
    elif nw.dependencies.is_pandas_dataframe(native):
        chosen = native[mask.to_numpy(zero_copy_only=False)]
    else:
        narwhal = nw.from_native(native, eager_only=True)
        chosen = narwhal.filter(mask.to_pylist()).to_native()
    return nw.from_native(chosen) if isinstance(frame, nw.DataFrame) else chosen


def _missing_in_all(parts: Iterable[Narrowed], wanted: pa.Table) -> pa.Table:
    left = wanted
    for part in parts:
        left = left.filter(is_among(left, part.missing))
    return left


def _lazily(
    value: Any, frame: nw.LazyFrame[Any], wanted: pa.Table, feature: str, constants: Constants
) -> Narrowed:
    """A plan that reads the rows of the wanted samples alone; of them, the ids are read now."""
    others: list[pa.Table] = []
    schema = frame.collect_schema()
    columns = {fold(name): name for name in schema.names()}
    fixed = {fold(name): given for name, given in constants.items()}
    for name in wanted.column_names:
        if fold(name) in columns or fold(name) not in fixed:
            continue
        # All rows have the same value here: it chooses among what is wanted instead.
        one = pa.table({name: pa.array([fixed[fold(name)]])})
        here = is_among(wanted.select([name]), one)
        others.append(wanted.filter(pc.invert(here)))
        wanted = wanted.filter(here)
    missing = [n for n in wanted.column_names if fold(n) not in {*columns, *fixed}]
    if missing:
        raise FrameError(
            "id columns are missing from the frame",
            feature=feature,
            found=f"missing {missing}; the frame has {schema.names()}",
            remedy="add the id columns, or correct id_columns of the feature",
        )
    own = [name for name in wanted.column_names if fold(name) in columns]
    named = wanted.select(own).rename_columns([columns[fold(name)] for name in own])
    native = frame.to_native()
    if nw.dependencies.is_polars_lazyframe(native):
        chosen = _of_polars(native, distinct(named))
    elif nw.dependencies.is_duckdb_relation(native):
        chosen = _of_duckdb(native, distinct(named))
    else:
        chosen = _joined(frame, distinct(named))
    there = nw.from_native(chosen).select(named.column_names).collect("pyarrow").to_native()
    left = wanted.filter(pc.invert(is_among(named, there)))
    made = nw.from_native(chosen) if isinstance(value, nw.LazyFrame) else chosen
    return Narrowed(made, pa.concat_tables([left, *others]))


def _of_polars(native: Any, wanted: pa.Table) -> Any:
    """By a filter, which keeps the order of rows and is pushed down into files."""
    import polars as pl  # noqa: PLC0415 - an extra

    kinds = native.collect_schema()
    ids = pl.DataFrame(pl.from_arrow(wanted)).select(
        pl.col(name).cast(kinds[name], strict=False) for name in wanted.column_names
    )
    if ids.width == 1:
        (name,) = ids.columns
        return native.filter(pl.col(name).is_in(ids[name].implode()))
    named = ids.to_struct("ids").implode()
    return native.filter(pl.struct(ids.columns).is_in(named))


def _of_duckdb(native: Any, wanted: pa.Table) -> Any:
    """On the connection that the relation belongs to, which knows no others."""
    kinds = dict(zip(native.columns, native.types, strict=True))
    pairs = (f'r."{name}" = TRY_CAST(w."{name}" AS {kinds[name]})' for name in wanted.column_names)
    # DuckDB finds the table by the name of the variable.
    view = f"metaxy_{uuid.uuid4().hex}"
    query = f"SELECT r.* FROM {view} r SEMI JOIN wanted w ON {' AND '.join(pairs)}"  # noqa: S608
    return native.query(view, query)


def _joined(frame: nw.LazyFrame[Any], wanted: pa.Table) -> Any:
    """By a join in whatever engine computes the frame."""
    schema, backend, names = frame.collect_schema(), frame.implementation, wanted.column_names
    session = getattr(frame.to_native(), "sparkSession", None)
    ids: nw.DataFrame[Any] = nw.from_native(wanted, eager_only=True)
    other = ids.lazy(backend) if session is None else ids.lazy(backend, session=session)
    other = other.with_columns(nw.col(name).cast(schema[name]) for name in names)
    return frame.join(other, on=names, how="semi").to_native()
