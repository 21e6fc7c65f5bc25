"""Columns of every type, and what each way of loading a feature makes of them."""

from __future__ import annotations

import datetime as dt
import decimal
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import duckdb
import narwhals as nw
import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa

from metaxy_dagster.features import FeatureGraph, FeatureSpec
from metaxy_dagster.runtime.loading.conversion import Source, convert
from metaxy_dagster.stores import DuckDBMetadataStore

ZONE = "Europe/Brussels"
MOMENT = dt.datetime(2024, 5, 1, 0, 30, 0, 123000)  # noqa: DTZ001 - zones are what is tried
SPAN = dt.timedelta(minutes=7, seconds=30)
SIZES = ["small", "large"]
UNITS = ("ms", "us", "ns")
ONE = uuid.UUID(int=1)
# DuckDB 1.5 has no moments in a zone that are finer than microseconds.
ZONES_HAVE_NANOS = not duckdb.__version__.startswith("1.")
DIGITS = decimal.Decimal("1.50")


def _polars() -> dict[str, pl.Series]:
    def at(unit: Any, zone: str) -> pl.Series:
        moments = pl.Series([MOMENT, None], dtype=pl.Datetime(unit))
        return moments.dt.replace_time_zone(zone)

    kinds = (pl.Int8, pl.Int16, pl.Int32, pl.Int64, pl.UInt8, pl.UInt16, pl.UInt32, pl.UInt64)
    size = pl.Enum(SIZES)
    found = [
        *(pl.Series([7, None], dtype=kind) for kind in kinds),
        *(pl.Series([0.1, None], dtype=kind) for kind in (pl.Float32, pl.Float64)),
        pl.Series([True, None]),
        pl.Series(["a", None]),
        pl.Series([b"a", None]),
        pl.Series([DIGITS, None], dtype=pl.Decimal(10, 2)),
        pl.Series([MOMENT.date(), None]),
        pl.Series([MOMENT.time(), None]),
        *(pl.Series([MOMENT, None], dtype=pl.Datetime(unit)) for unit in UNITS),
        *(at(unit, zone) for unit in UNITS for zone in ("UTC", ZONE)),
        *(pl.Series([SPAN, None], dtype=pl.Duration(unit)) for unit in UNITS),
        pl.Series(["large", None], dtype=pl.Categorical),
        pl.Series(["large", "small"], dtype=size),
        pl.Series([[1, None], None], dtype=pl.List(pl.Int16)),
        pl.Series([["large"], None], dtype=pl.List(size)),
        pl.Series([[SPAN], None], dtype=pl.List(pl.Duration("ms"))),
        pl.Series([[1, 2], None], dtype=pl.Array(pl.Int8, 2)),
        pl.Series(
            [{"a": 1, "b": {"at": [MOMENT]}}, None],
            dtype=pl.Struct({"a": pl.Int8, "b": pl.Struct({"at": pl.List(pl.Datetime("ns"))})}),
        ),
        pl.Series([{"size": "large"}, None], dtype=pl.Struct({"size": size})),
    ]
    return {str(one.dtype): one for one in found}


def _pandas() -> dict[str, pd.Series]:
    zoned = pd.Series(pd.to_datetime([MOMENT, None])).dt.tz_localize(ZONE)
    offset = dt.timezone(dt.timedelta(hours=2))
    size = pd.CategoricalDtype([*SIZES, "huge"], ordered=True)
    return {
        **{kind: pd.Series([7, 1], dtype=kind) for kind in ("int8", "int64", "uint64")},
        **{kind: pd.Series([1.5, None], dtype=kind) for kind in ("float16", "float32", "float64")},
        **{kind: pd.Series([7, None], dtype=kind) for kind in ("Int8", "Int64", "UInt32")},
        "Float64": pd.Series([1.5, None], dtype="Float64"),
        "bool": pd.Series([True, False]),
        "boolean": pd.Series([True, None], dtype="boolean"),
        "string": pd.Series(["a", None], dtype="string"),
        "int64[pyarrow]": pd.Series([7, None], dtype="int64[pyarrow]"),
        **{
            f"datetime64[{u}]": pd.Series(np.array([1, 2], f"datetime64[{u}]"))
            for u in ("s", *UNITS)
        },
        f"datetime64[us, {ZONE}]": zoned.astype(f"datetime64[us, {ZONE}]"),
        f"datetime64[ns, {ZONE}]": zoned.astype(f"datetime64[ns, {ZONE}]"),
        "datetime64[us, UTC+02:00]": pd.Series(pd.to_datetime([MOMENT] * 2))
        .dt.tz_localize(offset)
        .astype(pd.DatetimeTZDtype("us", offset)),
        **{
            f"timedelta64[{u}]": pd.Series([SPAN, None], dtype=f"timedelta64[{u}]")
            for u in ("s", *UNITS)
        },
        "period[M]": pd.Series(pd.period_range("2024-01", periods=2, freq="M")),
        "interval[int64, right]": pd.Series(pd.interval_range(0, 2)),
        "category, ordered": pd.Series(["large", "small"], dtype=size),
        "category": pd.Series(["large", None], dtype=pd.CategoricalDtype(["x", "large"])),
        "category of int64": pd.Series([5, 3], dtype="category"),
        "object: UUID": pd.Series([ONE, None], dtype=object),
        "object: Decimal": pd.Series([DIGITS, None], dtype=object),
        "object: date": pd.Series([MOMENT.date(), None], dtype=object),
        "object: str": pd.Series(["a", None], dtype=object),
        "object: dict": pd.Series([{"a": 1, "b": "x"}, None], dtype=object),
        "object: list": pd.Series([[1, 2], None], dtype=object),
        "object: bytes": pd.Series([b"a", None], dtype=object),
    }


def _pyarrow() -> dict[str, pa.Array]:
    def of(kind: pa.DataType, *values: Any) -> pa.Array:
        return pa.array([*values, None], kind)

    texts = pa.array(SIZES)
    order = pa.DictionaryArray.from_arrays(pa.array([1, None], pa.int8()), texts, ordered=True)
    found = [
        of(pa.large_string(), "a"),
        of(pa.string_view(), "a"),
        of(pa.large_binary(), b"a"),
        of(pa.binary_view(), b"a"),
        of(pa.binary(3), b"abc"),
        of(pa.float16(), np.float16(1.5)),
        of(pa.date64(), MOMENT.date()),
        of(pa.time32("s"), 1),
        of(pa.time32("ms"), 1),
        of(pa.time64("ns"), 1001),
        of(pa.timestamp("s", ZONE), 1),
        of(pa.timestamp("ns", "+02:00"), 1001 if ZONES_HAVE_NANOS else 1000),
        *(of(pa.duration(unit), -5) for unit in ("s", "ms", "us")),
        of(pa.month_day_nano_interval(), pa.MonthDayNano([1, 2, 3000])),
        of(pa.decimal128(38, 2), DIGITS),
        of(pa.decimal256(60, 2), DIGITS),
        of(pa.large_list(pa.int8()), [1]),
        of(pa.list_(pa.int8(), 2), [1, 2]),
        of(pa.map_(pa.string(), pa.duration("s")), [("a", 1)]),
        of(pa.struct([("a", pa.large_string()), ("b", pa.duration("ms"))]), {"a": "x", "b": 1}),
        order,
        pa.array(["a", None]).dictionary_encode(),
        pa.array([ONE.bytes, None], pa.uuid()),
        pa.RunEndEncodedArray.from_arrays([2], [1]),
    ]
    return {str(one.type): one for one in found}


_DUCKDB = {
    "UUID": "'00000000-0000-0000-0000-000000000001'::UUID",
    "HUGEINT": "1267650600228229401496703205376",
    "INTERVAL": "INTERVAL '1 month 2 days'",
    "TIMESTAMP_S": "'2024-01-01'::TIMESTAMP_S",
    "TIMESTAMP_NS": "'2024-01-01'::TIMESTAMP_NS",
    "ENUM('small', 'large')": "'large'::ENUM('small', 'large')",
    "MAP(VARCHAR, INTEGER)": "MAP {'a': 1}",
    "JSON": "'{}'::JSON",
    "DECIMAL(5,2)": "1.5::DECIMAL(5,2)",
}


@dataclass(frozen=True)
class Column:
    """A column to be stored.

    Attributes:
        library: that it is of.
        kind: what it is called there.
        data: of two rows.
    """

    library: str
    kind: str
    data: Any

    def frame(self) -> Any:
        """The column as ``x``, beside an id."""
        if self.library == "duckdb":
            connection = duckdb.connect(":memory:")
            return connection.sql(f"SELECT 1 AS id, {self.data}::{self.kind} AS x")
        make: Mapping[str, Callable[[Any], Any]]
        make = {"polars": pl.DataFrame, "pandas": pd.DataFrame, "pyarrow": pa.table}
        return make[self.library]({"id": [1, 2], "x": self.data})


def columns() -> list[Column]:
    """All columns that come back, in the order of the documentation."""
    made = {"polars": _polars(), "pandas": _pandas(), "pyarrow": _pyarrow(), "duckdb": _DUCKDB}
    return [
        Column(library, kind, values)
        for library, found in made.items()
        for kind, values in found.items()
    ]


def store_at(path: Path) -> DuckDBMetadataStore:
    """A store of one feature."""
    graph = FeatureGraph()
    graph.add(FeatureSpec("clip", id_columns=["id"]))
    graph.add(FeatureSpec("next", id_columns=["id"], deps=["clip"]))
    return DuckDBMetadataStore(path, graph=graph)


def source_of(store: DuckDBMetadataStore, **only: Any) -> Source:
    """The feature's rows on their way to a parameter."""
    names = ["id", "x"]
    return Source(
        lambda: store.read("clip", columns=names, **only),
        lambda: store.read_table("clip", columns=names, **only),
        lambda: store.scan("clip", columns=names, **only),
    )


def _relation(frame: Any) -> Any:
    return frame.select("x")


# For each library, ways to load what it has, each of which gives one column.
LOADERS: Mapping[str, Mapping[str, Callable[[Source], Any]]] = {
    "polars": {
        "eager": lambda one: convert(one, pl.DataFrame, asset="a", name="b")["x"],
        "lazy": lambda one: convert(one, pl.LazyFrame, asset="a", name="b").collect()["x"],
        "collected": lambda one: one.lazy().collect("polars").to_native()["x"],
    },
    "pandas": {
        "eager": lambda one: convert(one, pd.DataFrame, asset="a", name="b")["x"],
        "collected": lambda one: one.lazy().collect("pandas").to_native()["x"],
    },
    "pyarrow": {
        "eager": lambda one: convert(one, pa.Table, asset="a", name="b")["x"],
        "narwhals": lambda one: convert(one, nw.DataFrame, asset="a", name="b").to_native()["x"],
        "lazy": lambda one: (
            convert(one, nw.LazyFrame, asset="a", name="b").collect().to_native()["x"]
        ),
        "filtered": lambda one: one.lazy().filter(nw.col("id") > 0).collect().to_native()["x"],
    },
    "duckdb": {
        "relation": lambda one: _relation(
            convert(one, duckdb.DuckDBPyRelation, asset="a", name="b")
        ),
    },
}


def kind_of(column: Any) -> str:
    """What a loaded column's type is called."""
    if isinstance(column, duckdb.DuckDBPyRelation):
        return str(column.types[0])
    kind = column.type if isinstance(column, pa.ChunkedArray) else column.dtype
    if isinstance(kind, pd.CategoricalDtype):
        return "category, ordered" if kind.ordered else "category"
    return str(kind)


def row(column: Column, store: DuckDBMetadataStore) -> str:
    """A line of the documentation's table."""
    store.write("clip", column.frame())
    cells = [f"{column.library}: `{column.kind}`", f"`{store.schema('clip')['x']}`"]
    for library, loaders in LOADERS.items():
        kind = kind_of(next(iter(loaders.values()))(source_of(store)))
        cells.append("as it was" if library == column.library else f"`{kind}`")
    return f"| {' | '.join(cells)} |".replace("\n", " ")
