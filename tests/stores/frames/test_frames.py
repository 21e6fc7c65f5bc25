"""Frames at the boundary: what comes out of each kind, and what is said of those refused."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import duckdb
import narwhals as nw
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest

from metaxy_dagster.errors import FrameError
from metaxy_dagster.features import FeatureGraph, FeaturePlan, FeatureSpec, FieldSpec
from metaxy_dagster.features.class_columns import ClassColumns
from metaxy_dagster.stores.frames import checks, lazy
from metaxy_dagster.stores.frames import spool as spool_module
from metaxy_dagster.stores.frames.rows import check_ids, column_names, to_arrow, to_rows

T = pa.table
STAMPS = "metaxy_provenance_by_field"
VERSION = "metaxy_feature_version"


def reader(*tables: pa.Table) -> pa.RecordBatchReader:
    found = [batch for table in tables for batch in table.to_batches()]
    return pa.RecordBatchReader.from_batches(tables[0].schema, found)


def broken() -> pa.RecordBatchReader:
    def give() -> Iterator[pa.RecordBatch]:
        yield pa.record_batch({"id": [1]})
        raise ZeroDivisionError("half-way")

    return pa.RecordBatchReader.from_batches(pa.schema({"id": pa.int64()}), give())


ROWS = T({"id": [1, 2], "t": ["a", None]})
FRAMES: dict[str, Callable[[], Any]] = {
    "arrow": lambda: ROWS.replace_schema_metadata({"a": "b"}),
    "a reader": lambda: reader(ROWS),
    "polars": lambda: pl.DataFrame(pl.from_arrow(ROWS)),
    "polars, lazy": lambda: pl.DataFrame(pl.from_arrow(ROWS)).lazy(),
    "pandas": lambda: ROWS.to_pandas().set_index("t").reset_index()[["id", "t"]],
    "DuckDB": lambda: duckdb.connect().from_arrow(ROWS),
    "narwhals": lambda: nw.from_native(ROWS),
    "narwhals, lazy": lambda: nw.from_native(pl.DataFrame(pl.from_arrow(ROWS))).lazy(),
    "dictionaries": lambda: T({"id": ROWS["id"], "t": ROWS["t"].dictionary_encode()}),
    "dictionaries, read": lambda: reader(
        T({"id": ROWS["id"], "t": ROWS["t"].dictionary_encode()}),
    ),
}


@pytest.mark.parametrize("make", FRAMES.values(), ids=FRAMES)
@pytest.mark.parametrize("bring", [to_arrow, to_rows])
def test_every_kind_gives_the_same_rows(make: Callable[[], Any], bring: Any) -> None:
    table = bring(make(), "image")
    assert isinstance(table, pa.Table)
    assert (table.to_pylist(), column_names(table)) == (ROWS.to_pylist(), ["id", "t"])
    assert table.schema.metadata is None
    assert not pa.types.is_dictionary(table.schema.field("t").type)


@pytest.mark.parametrize("bring", [to_arrow, to_rows])
def test_a_reader_without_batches_has_its_columns(bring: Any) -> None:
    rows = bring(pa.RecordBatchReader.from_batches(ROWS.schema, []), "image")
    assert (rows.schema, rows.num_rows) == (ROWS.schema, 0)


REFUSED: dict[str, tuple[Callable[[], Any], str]] = {
    "no frame": (lambda: 5, "not a frame"),
    "a number as name": (lambda: pd.DataFrame({1: [1]}), "not text"),
    "an empty name": (lambda: T({"": [1]}), "not text"),
    "case": (lambda: T({"a": [1], "A": [1]}), "differ by more than case"),
    "one name twice": (lambda: T([[1], [2]], names=["a", "a"]), "case|turned into"),
    "case, lazy": (lambda: pl.LazyFrame({"a": [1], "A": [1]}), "differ by more than case"),
    "case, read": (lambda: reader(T({"a": [1], "A": [1]})), "differ by more than case"),
    "broken": (broken, "half-way"),
}


@pytest.mark.parametrize(("make", "text"), REFUSED.values(), ids=REFUSED)
@pytest.mark.parametrize("bring", [to_arrow, to_rows])
def test_what_is_refused_is_refused_by_name(make: Callable[[], Any], text: str, bring: Any) -> None:
    with pytest.raises(FrameError, match=text) as caught:
        bring(make(), "image")
    assert "feature 'image'" in str(caught.value)


@pytest.mark.parametrize(("parts", "streamed"), [(1, False), (3, False), (4, True), (9, True)])
def test_what_is_large_comes_in_batches(
    monkeypatch: pytest.MonkeyPatch, parts: int, streamed: bool
) -> None:
    """The first batch does not count: a reader gives an empty one."""
    tables = [T({"id": pa.array([i] * 10, pa.int64())}) for i in range(parts)]
    monkeypatch.setattr(spool_module, "IN_MEMORY", 3 * tables[0].nbytes)
    rows = to_rows(reader(*tables), "image")
    assert isinstance(rows, pa.RecordBatchReader) is streamed
    assert column_names(rows) == ["id"]
    table = rows.read_all() if streamed else rows
    assert table.to_pylist() == pa.concat_tables(tables).to_pylist()


def test_batches_have_the_types_of_the_first(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(spool_module, "IN_MEMORY", 0)

    class Parts(nw.LazyFrame):  # type: ignore[type-arg]
        def __init__(self, *values: Any) -> None:
            self.values = values

        def batches(self, rows: int) -> Iterator[pa.RecordBatch]:
            assert rows == lazy.BATCH_ROWS
            return iter([pa.record_batch({"id": [value]}) for value in self.values])

    found = to_rows(Parts(1, 2, 3), "image")
    assert found.read_all().column("id").to_pylist() == [1, 2, 3]
    with pytest.raises(FrameError, match=r"'image'(.|\n)*turned into an Arrow table"):
        to_rows(Parts(1, "a"), "image")


def many() -> pl.LazyFrame:
    return pl.LazyFrame({"id": range(100)})


def relation() -> duckdb.DuckDBPyRelation:
    return duckdb.connect().sql("SELECT range AS id FROM range(100)")


LAZY: dict[str, Callable[[], Any]] = {
    "polars": many,
    "narwhals over polars": lambda: nw.from_native(many()),
    "DuckDB": relation,
    "narwhals over DuckDB": lambda: nw.from_native(relation()),
    "a reader": lambda: reader(*(T({"id": range(i, i + 10)}) for i in range(0, 100, 10))),
}


@pytest.mark.parametrize("make", LAZY.values(), ids=LAZY)
def test_lazy_frames_come_in_batches(
    make: Callable[[], Any], monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest
) -> None:
    monkeypatch.setattr(lazy, "BATCH_ROWS", 10)
    parts = lazy.batches(make())
    if parts is None and "polars" in request.node.callspec.id:
        pytest.skip("this release of polars has no batches to rely on")
    assert parts is not None
    found = list(parts)
    assert [i for batch in found for i in batch.column("id").to_pylist()] == list(range(100))
    if "DuckDB" not in request.node.callspec.id:
        assert {batch.num_rows for batch in found} <= {0, 10}


@pytest.mark.parametrize(
    "frame",
    [ROWS, pl.DataFrame({"id": [1]}), nw.from_native(ROWS), pd.DataFrame({"batches": [1]}), 5],
    ids=lambda frame: type(frame).__name__,
)
def test_others_do_not(frame: Any) -> None:
    assert lazy.batches(frame) is None


@pytest.mark.parametrize(
    ("release", "relied_on"),
    [("0.99.0", False), ("1.37.9", False), ("1.38.0rc1", True), ("1.100.0", True), ("2.0.0", True)],
)
def test_polars_is_relied_on_since_a_release(
    release: str, relied_on: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pl, "__version__", release)
    monkeypatch.setattr(pl.LazyFrame, "collect_batches", lambda *_, **__: iter(()), raising=False)
    assert (lazy.batches(many()) is not None) is relied_on


def test_polars_gives_batches_of_the_columns_even_where_there_are_no_rows() -> None:
    for frame in (pl.LazyFrame({"id": [1]}).filter(pl.col("id") > 1), pl.LazyFrame({"id": [1]})):
        parts = lazy.batches(frame)
        if parts is None:
            pytest.skip("this release of polars has no batches to rely on")
        found = list(parts)
        assert [batch.schema.names for batch in found] == [["id"]]
        assert found[0].num_rows == len(frame.collect())


def plan(ids: tuple[str, ...] = ("id",), key: str = "image") -> FeaturePlan:
    graph = FeatureGraph()
    graph.add(FeatureSpec(key, id_columns=ids, fields=[FieldSpec("x"), FieldSpec("y")]))
    return graph.plan(key)


@pytest.mark.parametrize(
    ("kind", "good"),
    [
        *((kind, True) for kind in (pa.int8(), pa.uint64(), pa.string(), pa.large_string())),
        *((kind, True) for kind in (pa.string_view(), pa.bool_(), pa.date32(), pa.null())),
        *((kind, True) for kind in (pa.timestamp("us"), pa.decimal128(5, 1))),
        *((kind, False) for kind in (pa.float64(), pa.binary(), pa.time64("us"))),
        *((kind, False) for kind in (pa.list_(pa.int64()), pa.duration("us"))),
    ],
    ids=str,
)
def test_types_that_can_name_a_sample(kind: pa.DataType, good: bool) -> None:
    spec = plan(("n", "id")).spec
    table = T({"n": [1], "id": pa.nulls(1, kind)})
    if good:
        check_ids(table, spec)
        return
    with pytest.raises(FrameError, match=r"'image': id column 'id' has a type") as caught:
        check_ids(table, spec)
    assert caught.value.found == str(kind)


def test_missing_ids_are_told() -> None:
    with pytest.raises(FrameError, match="'image': id columns are missing") as caught:
        check_ids(T({"n": [1]}), plan(("n", "id", "k")).spec)
    assert caught.value.found == "missing ['id', 'k']; the frame has ['n']"


@pytest.mark.parametrize(
    ("names", "text"),
    [
        (["id", "metaxy_own"], "'image': column names that begin with 'metaxy_' are reserved"),
        (["id", "METAXY_own"], "'image': column names that begin with 'metaxy_' are reserved"),
        (["id", "RowId"], "'image': a column is named 'rowid'"),
        (["id", "size", "more"], r"unknown \['more'\], missing \[\]"),
        (["id"], r"unknown \[\], missing \['size'\]"),
    ],
)
def test_columns_that_are_refused(names: list[str], text: str) -> None:
    declared = ClassColumns({"size": int, "note": str}, frozenset({"size"}), is_closed=True)
    with pytest.raises(FrameError, match=text) as caught:
        checks.check_columns(T({name: [1] for name in names}), plan(), declared)
    assert "feature 'image'" in str(caught.value)


def test_columns_that_are_taken() -> None:
    closed = ClassColumns({"size": int, "note": str}, frozenset({"size"}), is_closed=True)
    for names in (["id", "size"], ["ID", "Size"], ["id", "size", "note", STAMPS, VERSION]):
        checks.check_columns(T({name: [1] for name in names}), plan(), closed)
    for declared in (replace(closed, is_closed=False), ClassColumns()):
        checks.check_columns(T({"id": [1], "any": [1]}), plan(), declared)


@pytest.mark.parametrize(
    ("columns", "told"),
    [
        (["id", "size"], ()),
        (["id", "Size", "more"], ()),
        (["id", "note"], ("the frame lacks the column 'size', which",)),
    ],
)
def test_what_a_frame_lacks_is_told(columns: list[str], told: tuple[str, ...]) -> None:
    declared = ClassColumns({"size": int, "note": str}, frozenset({"size"}))
    found = checks.column_warnings(columns, declared)
    assert [a.startswith(b) for a, b in zip(found, told, strict=True)] == [True] * len(told)


IDS: dict[str, tuple[list[list[Any]], bool]] = {
    "ascending": ([[1, 2, 3]], True),
    "one": ([[1]], True),
    "none": ([[]], True),
    "in parts": ([[1, 2], [3], [], [4, 5]], True),
    "texts": ([["a", "b"], ["c"]], True),
    "twice": ([[1, 1]], False),
    "twice, in parts": ([[1, 2], [2, 3]], False),
    "descending": ([[2, 1]], False),
    "descending in parts": ([[3, 4], [1, 2]], False),
    "descending at first": ([[2, 1], [3, 4]], False),
    "floats": ([[1.0, 2.0]], False),
}


@pytest.mark.parametrize(("parts", "ascend"), IDS.values(), ids=IDS)
def test_ids_that_ascend(parts: list[list[Any]], ascend: bool) -> None:
    seen = checks.SeenIds(plan())
    for ids in parts:
        seen.add(T({"id": ids} if ids else {"id": pa.array([], pa.int64())}))
    assert bool(seen.ascend) is ascend


def test_two_columns_of_ids_are_not_said_to_ascend() -> None:
    seen = checks.SeenIds(plan(("id", "n")))
    seen.add(T({"id": [1, 2], "n": [1, 2]}))
    assert not seen.ascend


def test_nulls_in_ids_are_counted_over_all_parts() -> None:
    seen = checks.SeenIds(plan(("n", "id")))
    for ids in ([1, None], [2, 3], [None, None]):
        seen.add(T({"n": [1, 2], "id": pa.array(ids, pa.int64())}))
    with pytest.raises(FrameError, match="'image': id column 'id' has nulls") as caught:
        seen.check_nulls()
    assert caught.value.found == "3 of 6 rows"


@pytest.mark.parametrize(
    ("ids", "rows"),
    [
        (("id",), {"id": [3, 1, 3, 1, 2]}),
        (("id",), {"id": [0.5, 0.1, 0.5, 0.1]}),
        (("id", "n"), {"id": [1, 1, 2, 1, 1], "n": [1, 2, 1, 1, 2]}),
    ],
)
def test_ids_that_are_there_twice(ids: tuple[str, ...], rows: dict[str, list[Any]]) -> None:
    with pytest.raises(FrameError, match="'image': ids must be unique") as caught:
        checks.check_id_values(T(rows), plan(ids))
    assert "2 ids occur more than once" in str(caught.value.found)
    assert "} 2 times" in str(caught.value.found)
    checks.check_id_values(T({name: values[:2] for name, values in rows.items()}), plan(ids))


def stamps(*rows: Any, version: str = "v", kind: Any = None) -> pa.Table:
    return T({STAMPS: pa.array(rows, kind), VERSION: [version] * len(rows)})


GOOD = {"x": "1", "y": "2"}
PROVENANCE: dict[str, tuple[list[pa.Table], str]] = {
    "a null row": ([stamps(GOOD, None)], r"\['x', 'y'\], [1-3] nulls"),
    "a null within": ([stamps(GOOD, {"x": "1", "y": None})], r"\['x', 'y'\], 1 nulls"),
    "a null in the first part": ([stamps({"x": None, "y": "2"}), stamps(GOOD)], "1 nulls"),
    "a null in the last part": ([stamps(GOOD), stamps({"x": "1", "y": None})], "1 nulls"),
    "another field": ([stamps({"x": "1", "z": "2"})], r"\['x', 'z'\], 0 nulls"),
    "a field less": ([stamps({"x": "1"})], r"\['x'\], 0 nulls"),
    "numbers": ([stamps({"x": 1, "y": 2})], "struct<x: int64, y: int64>, 0 nulls"),
    "a text": ([stamps("x")], "string, 0 nulls"),
    "another version": ([stamps(GOOD), stamps(GOOD, version="w")], r"\['v', 'w'\]"),
}


@pytest.mark.parametrize(("parts", "text"), PROVENANCE.values(), ids=PROVENANCE)
def test_provenance_that_is_refused(parts: list[pa.Table], text: str) -> None:
    seen = checks.SeenProvenance(plan(), "v")
    for part in parts:
        seen.add(part)
    with pytest.raises(FrameError, match=text) as caught:
        seen.check()
    assert "feature 'image'" in str(caught.value)


def test_a_null_row_of_one_field_counts_as_well() -> None:
    one = FeatureGraph()
    one.add(FeatureSpec("image", id_columns=["id"]))
    with pytest.raises(FrameError, match=r"\['default'\], [12] nulls"):
        checks.check_provenance(stamps({"default": "1"}, None), one.plan("image"), "v")


@pytest.mark.parametrize("kind", [pa.string(), pa.large_string(), pa.string_view()], ids=str)
def test_provenance_that_is_taken(kind: pa.DataType) -> None:
    struct = pa.struct({"y": kind, "x": kind})
    checks.check_provenance(stamps(GOOD, kind=struct), plan(), "v")
    checks.check_provenance(stamps(GOOD).select([STAMPS]), plan(), "other")
