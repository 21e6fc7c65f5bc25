"""From a store's lazy frame to the type that a parameter is annotated with."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final, get_args, get_origin

from metaxy_dagster.errors import RunError
from metaxy_dagster.late import duckdb
from metaxy_dagster.late import narwhals as nw
from metaxy_dagster.late import pyarrow as pa
from metaxy_dagster.stores import frames
from metaxy_dagster.stores.scan import Scan

__all__ = ["Source", "can_convert", "convert", "empty_frame", "has_empty_frame", "is_no_frame"]


@dataclass(frozen=True)
class Source:
    """Rows on their way to a parameter.

    Attributes:
        lazy: gives them as a lazy frame.
        table: gives them at once; for types that hold all rows this saves a copy.
        scan: gives what an engine may ask for batches; ``None`` where that cannot be had.
        within: what is left of the scan's rows.
    """

    lazy: Callable[[], nw.LazyFrame[Any]]
    table: Callable[[], pa.Table]
    scan: Callable[[], Scan | pa.Table] | None = None
    within: Callable[[nw.LazyFrame[Any]], nw.LazyFrame[Any]] = lambda frame: frame

    @classmethod
    def of(cls, lazy: Callable[[], nw.LazyFrame[Any]]) -> Source:
        """Rows that are known as a lazy frame alone."""
        return cls(lazy, lambda: lazy().collect(backend="pyarrow").to_native())


def _polars(source: Source) -> Any:
    return frames.to_polars(source.table())


def _polars_lazy(source: Source) -> Any:
    """Read when it is collected, and again each time; what is small was read already."""
    if source.scan is None:
        return _polars(source).lazy()
    found = source.scan()
    if isinstance(found, pa.Table):
        frame = frames.to_polars(found).lazy()
    else:
        from metaxy_dagster.runtime.loading.polars_scan import scanned  # noqa: PLC0415 - an extra

        frame = scanned(found)
    return source.within(nw.from_native(frame)).to_native()


def _relation(source: Source) -> Any:
    native = source.lazy().to_native()
    if isinstance(native, duckdb.DuckDBPyRelation):
        return native
    return duckdb.connect(":memory:").from_arrow(source.table())


_CONVERSIONS: Mapping[tuple[str, str], Callable[[Source], Any]] = {
    ("narwhals", "LazyFrame"): lambda source: source.lazy(),
    ("narwhals", "DataFrame"): lambda source: nw.from_native(source.table(), eager_only=True),
    ("polars", "DataFrame"): _polars,
    ("polars", "LazyFrame"): _polars_lazy,
    ("pandas", "DataFrame"): lambda source: frames.to_pandas(source.table()),
    ("pyarrow", "Table"): lambda source: source.table(),
    ("duckdb", "DuckDBPyRelation"): _relation,
    ("_duckdb", "DuckDBPyRelation"): _relation,
}
#: Types whose subclasses are made from them: those of data frames with a schema, for instance.
_SUBCLASSED = (("pandas", "DataFrame"), ("polars", "DataFrame"))
_ALLOWED = sorted({f"{package.lstrip('_')}.{name}" for package, name in _CONVERSIONS})


def convert(source: Source, annotation: object, *, asset: str, name: str) -> Any:
    """Bring rows into the annotated type; a narwhals lazy frame where nothing is said.

    Args:
        source: N rows.
        annotation: a type, or a union whose first frame type counts.
        asset: the asset that is loaded, for errors.
        name: the parameter, for errors.

    Raises:
        RunError: the type is none that a feature can be loaded as.

    Example:
        >>> import pyarrow as pa
        >>> source = Source.of(lambda: nw.from_native(pa.table({"id": [1]})).lazy())
        >>> convert(source, pa.Table, asset="a", name="x").num_rows
        1
    """
    if annotation is None or annotation is Any:
        return source.lazy()
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
    return _of_version(conversion(source), wanted)


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
    nothing = frames.no_rows()
    if annotation is None or annotation is Any:
        return nothing
    found = _conversion(annotation)
    if found is None or not has_empty_frame(annotation):
        raise RunError(
            "there is no empty frame of this type",
            found=str(annotation),
            allowed=[name for name in _ALLOWED if not name.startswith("duckdb")],
        )
    conversion, wanted = found
    source = Source(lambda: nw.from_native(nothing, eager_only=True).lazy(), lambda: nothing)
    return _of_version(conversion(source), wanted)


def has_empty_frame(annotation: object) -> bool:
    """Whether :func:`empty_frame` gives one; asked for while definitions load, so none is made.

    Example:
        >>> import pyarrow as pa
        >>> has_empty_frame(pa.Table), has_empty_frame(str)
        (True, False)
    """
    if annotation is None or annotation is Any:
        return True
    found = _conversion(annotation)
    return found is not None and found[0] is not _relation


def can_convert(annotation: object) -> bool:
    """Whether :func:`convert` knows the type; asked for while definitions load.

    Example:
        >>> import pyarrow as pa
        >>> can_convert(pa.Table), can_convert(str)
        (True, False)
    """
    return annotation is None or annotation is Any or _conversion(annotation) is not None


#: Of these, and of what is made from them, narwhals makes frames.
_LIBRARIES: Final = frozenset(
    {
        *("cudf", "dask", "duckdb", "ibis", "modin", "narwhals", "pandas", "polars", "pyarrow"),
        *("pyspark", "sqlframe"),
    }
)


def is_no_frame(annotation: object) -> bool:
    """Whether a type is certainly none of a frame.

    Example:
        >>> import pyarrow as pa
        >>> is_no_frame(dict), is_no_frame(pa.Table), is_no_frame(object), is_no_frame(None)
        (True, False, False, False)
    """
    kind = get_origin(annotation) or annotation
    if not isinstance(kind, type) or kind in (Any, object) or getattr(kind, "_is_protocol", False):
        return False
    own = {each.__module__.partition(".")[0].lstrip("_") for each in kind.__mro__}
    return not own & _LIBRARIES and not hasattr(kind, "__arrow_c_stream__")


def _conversion(annotation: object) -> tuple[Callable[[Source], Any], type] | None:
    """How to make the annotated type, and the type itself, without unions and parameters."""
    for candidate in (annotation, get_origin(annotation), *get_args(annotation)):
        wanted = get_origin(candidate) or candidate
        if not isinstance(wanted, type):
            continue
        conversion = _CONVERSIONS.get(_name(wanted))
        if conversion is not None:
            return conversion, wanted
        base = next((each for each in wanted.__mro__ if _name(each) in _SUBCLASSED), None)
        if base is not None:
            return _CONVERSIONS[_name(base)], wanted
    return None


def _name(kind: type) -> tuple[str, str]:
    return kind.__module__.partition(".")[0], kind.__name__


def _of_version(value: Any, wanted: type) -> Any:
    """A frame of narwhals' stable interface or of a subclass, where that was annotated."""
    if not wanted.__module__.startswith("narwhals.stable."):
        subclass = _name(wanted) not in _CONVERSIONS and not isinstance(value, wanted)
        return wanted(value) if subclass else value
    # Read at once: the stable interface does not take DuckDB's frames for lazy ones.
    stable = sys.modules[wanted.__module__].from_native(value.lazy().collect("pyarrow").to_native())
    return stable.lazy() if wanted.__name__ == "LazyFrame" else stable
