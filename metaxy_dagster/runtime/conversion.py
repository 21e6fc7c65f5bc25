"""From a store's lazy frame to the type that a parameter is annotated with."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from typing import Any, get_args, get_origin

import duckdb
import narwhals as nw
import pyarrow as pa

from metaxy_dagster.errors import RunError

__all__ = ["convert", "empty_frame"]


def _polars(frame: nw.LazyFrame[Any]) -> Any:
    import polars as pl  # noqa: PLC0415 - an extra

    return pl.from_arrow(_arrow(frame))


def _pandas(frame: nw.LazyFrame[Any]) -> Any:
    return _arrow(frame).to_pandas()


def _arrow(frame: nw.LazyFrame[Any]) -> Any:
    return frame.collect(backend="pyarrow").to_native()


def _relation(frame: nw.LazyFrame[Any]) -> Any:
    native = frame.to_native()
    if isinstance(native, duckdb.DuckDBPyRelation):
        return native
    return duckdb.connect(":memory:").from_arrow(_arrow(frame))


_CONVERSIONS: Mapping[tuple[str, str], Callable[[nw.LazyFrame[Any]], Any]] = {
    ("narwhals", "LazyFrame"): lambda frame: frame,
    ("narwhals", "DataFrame"): lambda frame: frame.collect(backend="pyarrow"),
    ("polars", "DataFrame"): _polars,
    ("polars", "LazyFrame"): lambda frame: _polars(frame).lazy(),
    ("pandas", "DataFrame"): _pandas,
    ("pyarrow", "Table"): _arrow,
    ("duckdb", "DuckDBPyRelation"): _relation,
    ("_duckdb", "DuckDBPyRelation"): _relation,
}
_ALLOWED = sorted({f"{package.lstrip('_')}.{name}" for package, name in _CONVERSIONS})


def convert(frame: nw.LazyFrame[Any], annotation: object, *, asset: str, name: str) -> Any:
    """Bring a frame into the annotated type; a narwhals lazy frame where nothing is said.

    Args:
        frame: N rows.
        annotation: a type, or a union whose first frame type counts.
        asset: the asset that is loaded, for errors.
        name: the parameter, for errors.

    Raises:
        RunError: the type is none that a feature can be loaded as.

    Example:
        >>> import pyarrow as pa
        >>> frame = nw.from_native(pa.table({"id": [1]})).lazy()
        >>> convert(frame, pa.Table, asset="a", name="x").num_rows
        1
    """
    if annotation is None or annotation is Any:
        return frame
    found = _conversion(annotation)
    if found is None:
        raise RunError(
            f"parameter {name!r} is annotated with a type that a feature cannot be loaded as",
            asset=asset,
            found=str(annotation),
            allowed=_ALLOWED,
            remedy="annotate the parameter with one of these, or give its AssetIn an "
            "input_manager_key of your own",
        )
    conversion, wanted = found
    return _of_version(conversion(frame), wanted)


def empty_frame(annotation: object) -> Any:
    """A frame without rows and columns, of the type that a function is annotated to return.

    Args:
        annotation: as for :func:`convert`; an Arrow table where nothing is said.

    Raises:
        RunError: the type is none of a frame.

    Example:
        >>> import pyarrow as pa
        >>> empty_frame(pa.Table).shape
        (0, 0)
    """
    nothing = pa.table({})
    if annotation is None or annotation is Any:
        return nothing
    found = _conversion(annotation)
    if found is None or issubclass(found[1], duckdb.DuckDBPyRelation):
        raise RunError(
            "there is no empty frame of this type",
            found=str(annotation),
            allowed=[name for name in _ALLOWED if not name.startswith("duckdb")],
        )
    conversion, wanted = found
    return _of_version(conversion(nw.from_native(nothing, eager_only=True).lazy()), wanted)


def _conversion(annotation: object) -> tuple[Callable[[nw.LazyFrame[Any]], Any], type] | None:
    """How to make the annotated type, and the type itself, without unions and parameters."""
    for candidate in (annotation, get_origin(annotation), *get_args(annotation)):
        wanted = get_origin(candidate) or candidate
        if not isinstance(wanted, type):
            continue
        package = wanted.__module__.partition(".")[0]
        conversion = _CONVERSIONS.get((package, wanted.__name__))
        if conversion is not None:
            return conversion, wanted
    return None


def _of_version(value: Any, wanted: type) -> Any:
    """A frame of narwhals' stable interface, where that is what was annotated."""
    if not wanted.__module__.startswith("narwhals.stable."):
        return value
    # Read at once: the stable interface does not take DuckDB's frames for lazy ones.
    stable = sys.modules[wanted.__module__].from_native(value.lazy().collect("pyarrow").to_native())
    return stable.lazy() if wanted.__name__ == "LazyFrame" else stable
