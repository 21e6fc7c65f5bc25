"""Frames at the boundary: anything narwhals accepts comes in and becomes Arrow rows."""

from __future__ import annotations

import contextlib
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any, TypeAlias

import narwhals as nw
import pyarrow as pa

from metaxy_dagster.errors import FrameError, MetaxyError
from metaxy_dagster.stores.frames import arrays, lazy, noting, spool

if TYPE_CHECKING:
    from metaxy_dagster.features import FeatureSpec

__all__ = ["Rows", "check_ids", "collecting", "column_names", "to_arrow", "to_rows"]

# In memory, or still on their way.
Rows: TypeAlias = "pa.Table | pa.RecordBatchReader"

ALLOWED_FRAMES = (
    "a polars, pandas or pyarrow table, a DuckDB relation, a lazy frame, or any other frame "
    "that narwhals accepts, or a pyarrow RecordBatchReader"
)


def to_arrow(frame: Any, feature: str) -> pa.Table:
    """Bring a frame of any kind into Arrow, collecting it if it is lazy.

    Args:
        frame: anything narwhals accepts.
        feature: named in errors.

    Returns:
        The same rows and columns, dictionary-encoded columns decoded, with a note of what they
        were in the metadata of fields (see :mod:`metaxy_dagster.stores.frames.noting`).

    Raises:
        FrameError: it is no frame, it cannot be collected, or its column names are not text or
            differ only by case.

    Example:
        >>> to_arrow(pa.table({"id": [1, 2]}), "a").num_rows
        2
    """
    if isinstance(frame, pa.RecordBatchReader):
        frame = _whole(frame, feature)
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
    with collecting(feature):
        if isinstance(narwhal, nw.LazyFrame):
            # Collected, they would be bytes like any others.
            check_objects(narwhal, feature)
            narwhal = narwhal.collect(backend="pyarrow")
        # A pandas index is no column; left alone it would become one, depending on its values.
        narwhal = nw.maybe_reset_index(narwhal)
        check_objects(narwhal, feature)
        how = _told_by(narwhal)
        if narwhal.implementation.is_pandas():
            narwhal = nw.from_native(noting.with_uuids(narwhal.to_native()), eager_only=True)
        table = narwhal.to_arrow()
    _check_names(table.column_names, feature)
    return noting.note(table.replace_schema_metadata(None), feature, **how)


def to_rows(frame: Any, feature: str) -> Rows:
    """As :func:`to_arrow`, but what is lazy and large is collected as it is read.

    Args:
        frame: as for :func:`to_arrow`.
        feature: named in errors.

    Returns:
        A table, or for a lazy frame beyond a size a reader that gives its rows once. Reading it
        runs the user's code and raises what :func:`to_arrow` raises.

    Example:
        >>> import duckdb
        >>> to_rows(duckdb.sql("SELECT range AS id FROM range(3)"), "a").num_rows
        3
    """
    try:
        parts = lazy.batches(frame)
    except nw.exceptions.NarwhalsError as error:
        raise _unreadable(error, feature) from error
    if parts is None:
        return to_arrow(frame, feature)
    exact = isinstance(frame, pa.RecordBatchReader)
    if not exact:
        narwhal = nw.from_native(frame, pass_through=True)
        if isinstance(narwhal, nw.LazyFrame) and not isinstance(narwhal, lazy.Batched):
            with collecting(feature):
                check_objects(narwhal, feature)
    rows = _regular(parts, feature, exact=exact)
    # Small frames are not worth a file, nor questions of their own.
    held, size = [next(rows)], 0
    for batch in rows:
        held.append(batch)
        size += batch.nbytes
        if size > spool.IN_MEMORY:
            schema = batch.schema
            return pa.RecordBatchReader.from_batches(schema, _followed(held, rows))
    return pa.Table.from_batches(held)


def column_names(rows: Rows) -> list[str]:
    """The columns, also of rows that were not read yet."""
    return list(rows.schema.names)


def _whole(reader: pa.RecordBatchReader, feature: str) -> pa.Table:
    return pa.Table.from_batches(_regular(lazy.batches(reader), feature, exact=True))


def _told_by(frame: nw.DataFrame[Any]) -> dict[str, Any]:
    """What a frame's library tells of its columns beside what Arrow does."""
    if frame.implementation.is_pandas():
        return {"pandas": noting.pandas_hints(frame.to_native())}
    return {"exact": frame.implementation.is_pyarrow()}


def _followed(first: list[pa.RecordBatch], rest: Iterator[pa.RecordBatch]) -> Iterator[Any]:
    """All batches in order; those read already are let go one by one."""
    first.reverse()
    while first:
        yield first.pop()
    yield from rest


def _regular(
    batches: Iterator[pa.RecordBatch] | None, feature: str, *, exact: bool
) -> Iterator[pa.RecordBatch]:
    """The batches of a lazy frame, checked, noted, all with the columns of the first.

    Raises:
        FrameError: as of :func:`to_arrow`.
    """
    noted = empty = None
    while True:
        batch = _next(batches, feature)
        if batch is None:
            if noted is None and empty is not None:
                noted = noting.Note(empty, feature, exact=exact)
                yield arrays.no_rows(noted.schema)
            return
        rows = pa.Table.from_batches([batch])
        if noted is None:
            _check_names(batch.schema.names, feature)
            if not batch.num_rows:
                # No value tells what its columns are; only where there are no others.
                empty = rows
                continue
            noted, first = noting.Note(rows, feature, exact=exact), batch.schema
            if empty is not None:
                yield arrays.no_rows(noted.schema)
        try:
            found = noted.of(rows if batch.schema == first else _cast(rows, first))
        except MetaxyError:
            raise
        except (ValueError, pa.ArrowException) as error:
            raise _unreadable(error, feature) from error
        yield from found.combine_chunks().to_batches()


def _next(batches: Iterator[pa.RecordBatch] | None, feature: str) -> pa.RecordBatch | None:
    with collecting(feature):
        return None if batches is None else next(batches, None)


def _cast(rows: pa.Table, schema: pa.Schema) -> pa.Table:
    """Rows in the types of others; dictionaries may be each batch's own."""
    plain = [
        field.with_type(field.type.value_type) if pa.types.is_dictionary(field.type) else field
        for field in schema
    ]
    return rows.cast(pa.schema(plain))


def check_objects(frame: nw.DataFrame[Any] | nw.LazyFrame[Any], feature: str) -> None:
    """Refuse columns of Python objects, which polars hands over as addresses in memory.

    Raises:
        FrameError: with the columns concerned.
    """
    if not frame.implementation.is_polars():
        return
    schema = frame.collect_schema()
    found = [name for name, kind in schema.items() if kind == nw.Object]
    if found:
        raise FrameError(
            "columns hold Python objects, which no store can keep",
            feature=feature,
            found=found,
            allowed="values of polars' own types",
            remedy="convert them, for example .map_elements(str, return_dtype=pl.String), or leave "
            "them out",
        )
    wide = [name for name, kind in schema.items() if kind in {nw.Int128, nw.UInt128}]
    if wide:
        raise FrameError(
            "columns hold whole numbers of 128 bits, which cannot leave polars",
            feature=feature,
            found=wide,
            allowed="whole numbers of 64 bits, or decimals of 38 digits",
            remedy="cast them to pl.Int64 or pl.Decimal(38, 0)",
        )


@contextlib.contextmanager
def collecting(feature: str) -> Iterator[None]:
    """What the user's own code raises, in an engine of the user's choice, as a frame at fault."""
    try:
        yield
    except MetaxyError:
        raise  # of a reader or a store of ours, which has said it
    except Exception as error:
        raise _unreadable(error, feature) from error


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


def check_ids(table: pa.Table, spec: FeatureSpec, *, typed: bool = True) -> None:
    """Refuse a frame that lacks id columns or has them in a type that cannot name a sample.

    Floats are refused because engines print them differently and NaN equals nothing; nested
    values because they have no order.

    Args:
        table: the frame.
        spec: of the feature.
        typed: whether types count; those of a frame without rows say nothing.

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
    for name in spec.id_columns if typed else ():
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


def no_rows() -> pa.Table:
    """A frame without rows and columns."""
    return pa.table({})
