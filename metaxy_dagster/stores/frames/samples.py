"""Samples that a caller names: rows of a frame, or dictionaries, with the sample columns."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from metaxy_dagster import constants as c
from metaxy_dagster.errors import FrameError
from metaxy_dagster.stores.frames.checks import SHOWN
from metaxy_dagster.stores.frames.rows import to_arrow

__all__ = ["having", "named_samples", "typed_as"]


def named_samples(samples: Any, *, names: Sequence[str], feature: str, what: str) -> pa.Table:
    """The samples as a table.

    Args:
        samples: a frame, or rows as dictionaries; columns beside the sample columns are ignored.
        names: the columns that name a sample.
        feature: named in errors.
        what: what they are called in errors, such as ``"failed samples"``.

    Returns:
        N rows of the sample columns; no columns where there are no rows.

    Raises:
        FrameError: no frame, or sample columns are missing.

    Example:
        >>> rows = [{"id": 1, "score": 0.5}]
        >>> named_samples(rows, names=["id"], feature="a", what="samples").to_pylist()
        [{'id': 1}]
    """
    if isinstance(samples, Sequence) and all(isinstance(row, Mapping) for row in samples):
        table = _from_rows(samples, names, feature=feature, what=what)
    else:
        table = to_arrow(samples, feature)
    missing = [name for name in names if name not in table.column_names]
    if missing and table.num_rows:
        raise FrameError(
            f"{what} are named by the columns of the increment",
            feature=feature,
            found=f"missing {missing}; the frame has {table.column_names}",
            allowed=f"all of {list(names)}",
            remedy="pass rows of the increment's frame, or of an upstream that has these columns",
        )
    return table.select(list(names)) if table.num_rows else table.select([])


def _from_rows(
    rows: Sequence[Mapping[str, Any]], names: Sequence[str], *, feature: str, what: str
) -> pa.Table:
    """The named columns of rows, as far as these have them."""
    present = [name for name in names if any(name in row for row in rows)]
    found = {}
    for name in present:
        values = [row.get(name) for row in rows]
        try:
            found[name] = _column(values)
        except (pa.ArrowInvalid, pa.ArrowTypeError, OverflowError, TypeError) as error:
            raise FrameError(
                f"{what} name id column {name!r} by values that are of no common type",
                feature=feature,
                found=f"{values[:SHOWN]} ({error})",
                allowed="values of one type; whole numbers from 0 to 2**64 - 1, or of 64 bits "
                "with a sign",
                remedy="pass rows of the increment's frame, or of an upstream",
            ) from error
    columns = present or (list(rows[0]) if rows else [])
    return pa.table({name: found.get(name, pa.nulls(len(rows))) for name in columns})


def _column(values: list[Any]) -> pa.Array:
    try:
        return pa.array(values)
    except OverflowError:
        return pa.array(values, pa.uint64())


def typed_as(samples: pa.Table, delta: pa.Table, *, feature: str) -> pa.Table:
    """Samples in the types that an increment's list has them in.

    Args:
        samples: sample columns.
        delta: the list.
        feature: named in errors.

    Raises:
        FrameError: values that cannot be of these types.

    Example:
        >>> ids = pa.table({"id": pa.array([1], pa.int8())})
        >>> typed_as(ids, pa.table({"id": [1, 2]}), feature="a").schema.field("id").type
        DataType(int64)
    """
    wanted = pa.schema([delta.schema.field(name) for name in samples.column_names])
    try:
        typed = samples.cast(wanted)
        for name in typed.column_names:
            _check_times(samples.column(name), typed.column(name))
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError, ValueError) as error:
        raise FrameError(
            "samples are named by values of another type than the increment's",
            feature=feature,
            found=f"{samples.schema.to_string(show_field_metadata=False)} ({error})",
            allowed=wanted.to_string(show_field_metadata=False),
            remedy="pass rows of the increment's frame, or of an upstream",
        ) from error
    return typed


def _check_times(samples: pa.ChunkedArray, typed: pa.ChunkedArray) -> None:
    """Refuse what Arrow casts without a word: times to days, and local times to moments.

    Raises:
        ValueError: with one of them.
    """
    here, there = samples.type, typed.type
    if not pa.types.is_timestamp(here):
        return
    if pa.types.is_timestamp(there) and (here.tz is None) is not (there.tz is None):
        raise ValueError("a time zone on one side alone")
    if pa.types.is_date(there):
        other = samples.filter(pc.not_equal(typed.cast(here), samples))
        if len(other):
            raise ValueError(f"{other[0].as_py()} is no day")


def having(table: pa.Table, statuses: Sequence[int]) -> pa.Table:
    """The rows with one of these statuses."""
    status = table.column(c.COL_STATUS)
    wanted = pc.is_in(status, pa.array(statuses, type=status.type))
    # Filtering copies; the samples of a first run are all new.
    return table if pc.all(wanted, min_count=0).as_py() else table.filter(wanted)
