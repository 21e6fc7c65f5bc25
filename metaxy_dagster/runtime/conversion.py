"""From a store's lazy frame to the type that a parameter is annotated with."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, get_args, get_origin

import narwhals as nw

from metaxy_dagster.errors import RunError

__all__ = ["convert"]


def _polars(frame: nw.LazyFrame[Any]) -> Any:
    import polars as pl  # noqa: PLC0415 - an extra

    return pl.from_arrow(_arrow(frame))


def _pandas(frame: nw.LazyFrame[Any]) -> Any:
    return _arrow(frame).to_pandas()


def _arrow(frame: nw.LazyFrame[Any]) -> Any:
    return frame.collect(backend="pyarrow").to_native()


_CONVERSIONS: Mapping[tuple[str, str], Callable[[nw.LazyFrame[Any]], Any]] = {
    ("narwhals", "LazyFrame"): lambda frame: frame,
    ("narwhals", "DataFrame"): lambda frame: frame.collect(backend="pyarrow"),
    ("polars", "DataFrame"): _polars,
    ("polars", "LazyFrame"): lambda frame: _polars(frame).lazy(),
    ("pandas", "DataFrame"): _pandas,
    ("pyarrow", "Table"): _arrow,
    ("duckdb", "DuckDBPyRelation"): lambda frame: frame.to_native(),
    ("_duckdb", "DuckDBPyRelation"): lambda frame: frame.to_native(),
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
    candidates = [annotation, get_origin(annotation), *get_args(annotation)]
    for candidate in candidates:
        if not isinstance(candidate, type):
            continue
        package = candidate.__module__.partition(".")[0]
        conversion = _CONVERSIONS.get((package, candidate.__name__))
        if conversion is not None:
            return conversion(frame)
    raise RunError(
        f"parameter {name!r} is annotated with a type that a feature cannot be loaded as",
        asset=asset,
        found=str(annotation),
        allowed=_ALLOWED,
        remedy="annotate the parameter with one of these, or give its AssetIn an "
        "input_manager_key of your own",
    )
