"""Bad input: one error of the library's family with a remedy, or a right result; no third way.

After an error the store is what it was before: a digest of every table in the file is compared.
"""

from __future__ import annotations

import datetime as dt
import decimal
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import duckdb
import narwhals as nw
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
from worlds import rows, small_graph

from metaxy_dagster import constants as c
from metaxy_dagster.errors import FeatureError, FrameError, MetaxyError, StoreError
from metaxy_dagster.stores import DuckDBMetadataStore

T = pa.table


@dataclass(frozen=True)
class Case:
    """Something handed to the store, and what must come of it.

    Attributes:
        do: gets a store with three images and their scores.
        expect: an error type; anything else is the result that must come back.
        words: what the error must mention.
        feature: the feature that the error must name.
    """

    name: str
    do: Callable[[DuckDBMetadataStore], Any]
    expect: Any
    words: tuple[str, ...] = ()
    feature: str | None = None

    @property
    def refused(self) -> bool:
        return isinstance(self.expect, type) and issubclass(self.expect, MetaxyError)


def write(
    name: str,
    frame: Any,
    expect: Any,
    *words: str,
    feature: str = "plain",
    make: bool = False,
    **options: Any,
) -> Case:
    """Write a frame (or what a function makes); a right result is the rows that are stored."""

    def do(store: DuckDBMetadataStore) -> Any:
        store.write(feature, frame() if make else frame, **options)
        return rows(store, feature)

    is_error = isinstance(expect, type)
    return Case(f"frame: {name}", do, expect, words, feature if is_error else None)


def failing(_: pl.DataFrame) -> pl.DataFrame:
    raise ZeroDivisionError("the user's code fails")


def samples_of_another_version() -> pa.Table:
    given = [{"pixels": "p", "caption": "c"}]
    table = T({"id": [1], **IMAGE, c.COL_PROVENANCE_BY_FIELD: given})
    return table.append_column(c.COL_FEATURE_VERSION, pa.array(["older"]))


STAMPS = T({"id": [1], c.COL_PROVENANCE_BY_FIELD: [{"default": "p"}]})
NOON = dt.datetime(2026, 1, 1, 12, tzinfo=dt.UTC)
BERLIN = dt.timezone(dt.timedelta(hours=1))
IMAGE = {"path": ["x"], "height": [1], "caption": ["y"]}

NOT_FRAMES = [
    write(f"not a frame: {kind}", value, FrameError, "is not a frame")
    for kind, value in {
        "none": None,
        "list of dicts": [{"id": 1}],
        "dict of lists": {"id": [1]},
        "text": "id",
        "number": 5,
        "series": pl.Series("id", [1]),
        "pandas series": pd.Series([1], name="id"),
        "expression": pl.col("id"),
        "class": pa.Table,
        "schema": pa.schema([("id", pa.int64())]),
        "array": pa.array([1]),
        "generator": (row for row in [{"id": 1}]),
        "bytes": b"id",
    }.items()
]

LAZY = [
    write("lazy: unknown column", pl.LazyFrame({"id": [1]}).select("no"), FrameError, "no"),
    write("lazy: user code", pl.LazyFrame({"id": [1]}).map_batches(failing), FrameError, "user's"),
    write(
        "lazy: missing file",
        lambda: pl.scan_parquet("/no/such/file.parquet"),
        FrameError,
        "correct",
        make=True,
    ),
    write(
        "lazy: failing relation",
        lambda: duckdb.sql("SELECT 1 AS id, ('a' || range)::INT AS x FROM range(2)"),
        FrameError,
        "a0",
        make=True,
    ),
    write("lazy: good", pl.LazyFrame({"id": [1], "x": ["é"]}), [{"id": 1, "x": "é"}]),
    write("lazy: relation", lambda: duckdb.sql("SELECT 7 AS id"), [{"id": 7}], make=True),
    write("lazy: narwhals", nw.from_native(pl.LazyFrame({"id": [1]})), [{"id": 1}]),
]

COLUMNS = [
    write("no columns", T({}), FrameError, "missing ['id']"),
    write("no columns, pandas", pd.DataFrame(), FrameError, "missing ['id']"),
    write("no id column", T({"x": [1]}), FrameError, "missing ['id']"),
    write("id in other case", T({"ID": [1]}), FrameError, "missing ['id']"),
    write("one of two ids", T({"id": [1]}), FrameError, "missing ['n']", feature="pair"),
    write("id as index", pd.DataFrame({"id": [1], "x": [1]}).set_index("id"), FrameError, "reset"),
    write("columns by case", T({"id": [1], "x": [1], "X": [1]}), FrameError, "case"),
    write("column twice", T([[1], [1], [2]], names=["id", "x", "x"]), FrameError, "x"),
    write(
        "column twice, pandas",
        pd.DataFrame([[1, 2, 3]], columns=["id", "x", "x"]),
        FrameError,
        "x",
    ),
    write("nameless column", T([[1], [2]], names=["id", ""]), FrameError, "name"),
    write("number as name", pd.DataFrame({"id": [1], 0: [1]}), FrameError, "text"),
    write(
        "two-level names",
        pd.DataFrame([[1, 2]], columns=pd.MultiIndex.from_tuples([("id", "a"), ("x", "b")])),
        FrameError,
        "text",
    ),
    write("reserved name", T({"id": [1], "metaxy_mine": [1]}), FrameError, "metaxy_mine"),
    write("reserved, upper case", T({"id": [1], "METAXY_MINE": [1]}), FrameError, "METAXY_MINE"),
    write("rowid", T({"id": [1], "rowid": [1]}), FrameError, "rowid"),
    write("RowID", T({"id": [1], "RowID": [1]}), FrameError, "RowID"),
    write("lacks stored columns", T({"id": [9]}), FrameError, "missing", feature="image"),
    write(
        "lacks a field's columns",
        T({"id": [9], "path": ["x"], "height": [1]}),
        FrameError,
        "caption",
        feature="image",
    ),
    write("lacks declared, closed", T({"id": [1]}), FrameError, "size", feature="closed"),
    write("undeclared", T({"id": [1], "size": [1], "no": [1]}), FrameError, "no", feature="closed"),
    write("lacks declared, open", T({"id": [1]}), [{"id": 1}], feature="typed"),
    write(
        "more than declared, open",
        T({"id": [1], "size": [1], "no": [3]}),
        [{"id": 1, "size": 1, "no": 3}],
        feature="typed",
    ),
    write(
        "declared, optional left out",
        T({"id": [1], "size": [2]}),
        [{"id": 1, "size": 2}],
        feature="typed",
    ),
    write("filtered pandas index", pd.DataFrame({"id": [1, 2]}).query("id > 1"), [{"id": 2}]),
]

ODD_NAMES = [
    write(f"column named {name!r}", T({"id": [1], name: ["v"]}), [{"id": 1, name: "v"}])
    for name in (
        *("a b", 'a"b', "a'b", "a;b", "a.b", "1", "select", "ünï", "🐕", "x" * 200, "--", "/*"),
        *("stage", "r", "s", "d0", "main", "commit", "now", "$v0", "?", "\\", "{}", "%s", "a\nb"),
        *("present", "stored", "in_scope", "forced", "status", "gone", "rid", "count", "null"),
    )
]

ID_VALUES = [
    write("null id", T({"id": [1, None]}), FrameError, "1 of 2 rows"),
    write("all ids null", T({"id": pa.nulls(2)}), FrameError, "2 of 2"),
    write("null in second id", T({"id": [1], "n": pa.nulls(1)}), FrameError, "'n'", feature="pair"),
    write("None as text id", pd.DataFrame({"id": ["a", None]}), FrameError, "nulls"),
    write("float id", T({"id": [1.0]}), FrameError, "double"),
    write("NaN id", T({"id": [float("nan")]}), FrameError, "double"),
    write("NaN id, pandas", pd.DataFrame({"id": [1, None]}), FrameError, "id"),
    write("list id", T({"id": [[1]]}), FrameError, "list"),
    write("struct id", T({"id": [{"a": 1}]}), FrameError, "struct"),
    write("binary id", T({"id": [b"a"]}), FrameError, "binary"),
    write("duration id", T({"id": [dt.timedelta(1)]}), FrameError, "duration"),
    write("time id", T({"id": [dt.time(1)]}), FrameError, "time"),
    write("twice the same id", T({"id": [1, 2, 1]}), FrameError, "more than once"),
    write("twice the same text", T({"id": ["é", "é"]}), FrameError, "more than once"),
    write(
        "twice the same pair", T({"id": [1, 1], "n": [2, 2]}), FrameError, "once", feature="pair"
    ),
    write(
        "twice, categorical",
        lambda: pl.DataFrame({"id": ["a", "a"]}).cast(pl.Categorical),
        FrameError,
        make=True,
    ),
    write(
        "twice the same moment",
        lambda: pl.DataFrame({"id": [NOON, NOON.astimezone(BERLIN)]}),
        FrameError,
        "once",
        make=True,
    ),
    write("mixed ids", pd.DataFrame({"id": [1, "a"]}), FrameError, "Arrow"),
    write("object ids", pd.DataFrame({"id": [object()]}), FrameError, "Arrow"),
    write(
        "NFC and NFD differ",
        T({"id": ["\u00e9", "e\u0301"]}),
        [{"id": "e\u0301"}, {"id": "\u00e9"}],
    ),
    write("case differs", T({"id": ["a", "A"]}), [{"id": "A"}, {"id": "a"}]),
    write("10k characters", T({"id": ["a" * 10_000]}), [{"id": "a" * 10_000}]),
    write("emoji", T({"id": ["👩‍👩‍👧", "🐕"]}), [{"id": "🐕"}, {"id": "👩‍👩‍👧"}]),
    write("empty text", T({"id": [""]}), [{"id": ""}]),
    write("null character", T({"id": ["a\0b", "a"]}), [{"id": "a"}, {"id": "a\0b"}]),
    write("white space", T({"id": [" a", "a"]}), [{"id": " a"}, {"id": "a"}]),
    write("SQL", T({"id": ["'; DROP TABLE x; --"]}), [{"id": "'; DROP TABLE x; --"}]),
    write("the text null", T({"id": ["NULL"]}), [{"id": "NULL"}]),
    write("largest integers", T({"id": [2**63 - 1]}), [{"id": 2**63 - 1}]),
    write("unsigned", T({"id": pa.array([2**64 - 1], pa.uint64())}), [{"id": 2**64 - 1}]),
    write("negative", T({"id": [-(2**63)]}), [{"id": -(2**63)}]),
    write("boolean", T({"id": [True, False]}), [{"id": False}, {"id": True}]),
    write("date", T({"id": [dt.date(1, 1, 1)]}), [{"id": dt.date(1, 1, 1)}]),
    write("decimal", T({"id": [decimal.Decimal("1.50")]}), [{"id": decimal.Decimal("1.50")}]),
    write("string view", pl.DataFrame({"id": ["a"]}), [{"id": "a"}]),
    write("other type than stored", T({"id": ["1"], **IMAGE}), FrameError, "cast", feature="image"),
]

VALUES = [
    write("zero rows", T({"id": pa.array([], pa.int64())}), []),
    write("zero rows, untyped", pl.DataFrame({"id": []}), []),
    write("only nulls", T({"id": [1], "x": pa.nulls(1)}), [{"id": 1, "x": None}]),
    write("empty lists", T({"id": [1], "x": [[]]}), [{"id": 1, "x": []}]),
    write("nested", T({"id": [1], "x": [[{"a": [1]}]]}), [{"id": 1, "x": [[{"a": [1]}]][0]}]),
    write("bytes", T({"id": [1], "x": [b"\xff"]}), [{"id": 1, "x": b"\xff"}]),
    write(
        "mixed timezones, polars",
        lambda: pl.DataFrame({"id": [1, 2], "x": [NOON, NOON.astimezone(BERLIN)]}),
        [{"id": 1, "x": NOON}, {"id": 2, "x": NOON}],
        make=True,
    ),
    write(
        "mixed timezones, objects",
        pd.DataFrame({"id": [1, 2], "x": pd.Series([NOON, NOON.astimezone(BERLIN)], dtype=object)}),
        [{"id": 1, "x": NOON}, {"id": 2, "x": NOON}],
    ),
    write(
        "naive for aware",
        T({"id": [1], "x": [NOON.replace(tzinfo=None)]}),
        [{"id": 1, "x": NOON.replace(tzinfo=None)}],
    ),
    write("mixed types", pd.DataFrame({"id": [1, 2], "x": [1, "a"]}), FrameError, "Arrow"),
    write("Python objects", pd.DataFrame({"id": [1], "x": [object()]}), FrameError, "Arrow"),
    write(
        "16-bit floats",
        T({"id": [1], "x": pa.array([1.5], pa.float32()).cast(pa.float16())}),
        [{"id": 1, "x": 1.5}],
    ),
    write(
        "256-bit decimals",
        T({"id": [1], "x": pa.array([decimal.Decimal(1)], pa.decimal256(50, 3))}),
        [{"id": 1, "x": decimal.Decimal(1)}],
    ),
    write(
        "256-bit decimals of more than 38 digits",
        T({"id": [1], "x": pa.array([decimal.Decimal(10) ** 45], pa.decimal256(50, 3))}),
        FrameError,
        "decimal256",
    ),
    write(
        "days beyond Python",
        T({"id": [1], "x": pa.array([2**30], pa.date32())}),
        FrameError,
        "Python cannot",
    ),
    write(
        "text for a number",
        T({"id": [9], "path": ["x"], "height": ["tall"], "caption": ["y"]}),
        FrameError,
        "height",
        feature="image",
    ),
    write(
        "an integer that a float cannot hold",
        T({"id": [1], "score": [2**53 + 1], c.COL_PROVENANCE_BY_FIELD: [{"default": "p"}]}),
        FrameError,
        "BIGINT",
        feature="score",
    ),
]

PROVENANCE = [
    write(
        "derived, none", T({"id": [1], "score": [1.0]}), FrameError, "increment", feature="score"
    ),
    *(
        write(
            f"provenance: {kind}",
            T({"id": [1], "score": [1.0], c.COL_PROVENANCE_BY_FIELD: value}),
            FrameError,
            c.COL_PROVENANCE_BY_FIELD,
            feature="score",
        )
        for kind, value in {
            "text": ["p"],
            "null": pa.nulls(1, pa.struct([("default", pa.string())])),
            "null entry": pa.array([{"default": None}], pa.struct([("default", pa.string())])),
            "other field": [{"other": "p"}],
            "field too many": [{"default": "p", "more": "q"}],
            "numbers": [{"default": 1}],
            "lists": [{"default": ["p"]}],
        }.items()
    ),
    *(
        write(
            f"data version: {kind}",
            T({"id": [1], c.COL_DATA_VERSION_BY_FIELD: value}),
            FrameError,
            c.COL_DATA_VERSION_BY_FIELD,
        )
        for kind, value in {
            "text": ["v"],
            "other field": [{"x": "v"}],
            "lists": [{"default": [1]}],
        }.items()
    ),
    write(
        "another feature's version",
        STAMPS.append_column(c.COL_FEATURE_VERSION, [["0" * 32]]),
        FrameError,
        "another",
        feature="score",
    ),
]


def in_reading(store: DuckDBMetadataStore) -> None:
    with store:
        store.write("plain", T({"id": [1]}))


OPTIONS = [
    Case(
        "option: write mode",
        lambda s: s.write("plain", T({"id": [1]}), mode="overwrite"),
        StoreError,
        ("upsert",),
        "plain",
    ),
    Case("option: session mode", lambda s: s.open("a").__enter__(), StoreError, ("'r'",)),
    Case(
        "option: increment of another feature",
        lambda s: s.write("plain", T({"id": [1]}), increment=s.resolve_update("score")),
        FrameError,
        ("'score'",),
        "plain",
    ),
    Case(
        "option: increment of another kind",
        lambda s: s.write("score", T({"id": [1], "score": [1.0]}), increment="yes"),
        FrameError,
        ("str",),
        "score",
    ),
    Case(
        "option: ids that the increment does not have",
        lambda s: s.write(
            "score", T({"id": [77], "score": [1.0]}), increment=s.resolve_update("score")
        ),
        FrameError,
        ("77",),
        "score",
    ),
    Case(
        "option: too much would be deleted",
        lambda s: s.write("image", T({"id": [1], **IMAGE}), mode="replace", max_deleted_share=0.5),
        FrameError,
        ("2 of 3",),
        "image",
    ),
    Case(
        "option: root without samples",
        lambda s: s.resolve_update("image"),
        FrameError,
        ("samples",),
        "image",
    ),
    Case(
        "option: samples of a derived one",
        lambda s: s.resolve_update("score", samples=T({"id": [1]})),
        FrameError,
        ("samples",),
        "score",
    ),
    Case(
        "option: bad samples",
        lambda s: s.resolve_update("image", samples=T({"x": [1]})),
        FrameError,
        ("id",),
        "image",
    ),
    Case(
        "option: samples that are no frame",
        lambda s: s.resolve_update("image", samples=object()),
        FrameError,
        ("object",),
        "image",
    ),
    Case(
        "option: samples of another version",
        lambda s: s.resolve_update("image", samples=samples_of_another_version()),
        FrameError,
        ("another version", "older"),
        "image",
    ),
    Case(
        "option: columns unknown",
        lambda s: s.read("image", columns=["no"]),
        StoreError,
        ("no",),
        "image",
    ),
    Case(
        "option: columns none",
        lambda s: s.read("image", columns=[]),
        StoreError,
        ("column",),
        "image",
    ),
    Case(
        "option: columns as text", lambda s: s.read("image", columns="no"), StoreError, (), "image"
    ),
    Case(
        "option: upstream that is none",
        lambda s: s.resolve_update("score").upstream("plain"),
        FeatureError,
        ("plain",),
        "score",
    ),
    Case(
        "option: write inside a reading session",
        in_reading,
        StoreError,
        ('"w"',),
        "plain",
    ),
]


FRAMES = [
    *NOT_FRAMES,
    *LAZY,
    *COLUMNS,
    *ODD_NAMES,
    *ID_VALUES,
    *VALUES,
    *PROVENANCE,
    *OPTIONS,
]


@pytest.mark.parametrize(
    "case", [one for one in FRAMES if one.refused], ids=lambda case: case.name[:60]
)
def test_what_is_refused(case: Case, refusing: DuckDBMetadataStore) -> None:
    with pytest.raises(case.expect) as caught:
        case.do(refusing)
    error = caught.value
    assert error.remedy, error
    assert error.feature == case.feature, error
    for word in case.words:
        assert word in str(error), error


@pytest.mark.parametrize(
    "case", [one for one in FRAMES if not one.refused], ids=lambda case: case.name[:60]
)
def test_what_is_taken(case: Case, tmp_path: Path) -> None:
    store = DuckDBMetadataStore(tmp_path / "m.duckdb", graph=small_graph())
    assert case.do(store) == case.expect


def test_there_are_enough_cases() -> None:
    assert len(FRAMES) == len({case.name for case in FRAMES}) >= 150
