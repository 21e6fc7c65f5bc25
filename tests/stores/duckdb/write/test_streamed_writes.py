"""Large lazy frames: written batch by batch, with the results and errors of a table."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, TypeAlias

import duckdb
import narwhals as nw
import polars as pl
import pyarrow as pa
import pytest
from patience import elsewhere, patient

import metaxy_dagster as mxd
from metaxy_dagster.stores.duckdb.write import arrival
from metaxy_dagster.stores.frames import lazy as lazy_module
from metaxy_dagster.stores.frames import spool as spool_module
from metaxy_dagster.stores.frames.rows import to_rows

Source: TypeAlias = Callable[[pa.Table], Any]
ROWS = 500
BATCH = 64


@pytest.fixture(autouse=True)
def _small_is_large(monkeypatch: pytest.MonkeyPatch) -> None:
    """A thousand bytes are many, and 64 rows a batch."""
    monkeypatch.setattr(spool_module, "IN_MEMORY", 1_000)
    monkeypatch.setattr(lazy_module, "BATCH_ROWS", BATCH)


def graph() -> mxd.FeatureGraph:
    found = mxd.FeatureGraph()
    found.add(mxd.FeatureSpec("image", id_columns=["id"]))
    found.add(mxd.FeatureSpec("crop", id_columns=["id"], deps=["image"]))
    grouped = mxd.FeatureDep("image", lineage=mxd.LineageRelationship.aggregation(on=["k"]))
    found.add(mxd.FeatureSpec("album", id_columns=["k"], deps=[grouped]))
    parent = mxd.FeatureDep("image", lineage=mxd.LineageRelationship.expansion())
    found.add(mxd.FeatureSpec("tile", id_columns=["id", "n"], deps=[parent]))
    return found


@pytest.fixture
def store(tmp_path: Path) -> mxd.DuckDBMetadataStore:
    return mxd.DuckDBMetadataStore(tmp_path / "m.duckdb", graph=graph())


def images(rows: int = ROWS, **other: Any) -> pa.Table:
    columns = {
        "id": list(range(rows)),
        "k": [i % 7 for i in range(rows)],
        "text": [f"text of {i}" for i in range(rows)],
        "box": [[float(i), 0.5] for i in range(rows)],
        "name": [{"first": str(i)} for i in range(rows)],
    }
    return pa.table({**columns, **other})


def batches(table: pa.Table) -> list[pa.RecordBatch]:
    return table.to_batches(max_chunksize=BATCH)


def of_duckdb(table: pa.Table) -> duckdb.DuckDBPyRelation:
    return duckdb.connect().from_arrow(table)


SOURCES: dict[str, Source] = {
    "DuckDB": of_duckdb,
    "narwhals over DuckDB": lambda table: nw.from_native(of_duckdb(table)),
    "polars": lambda table: pl.DataFrame(pl.from_arrow(table)).lazy(),
    "narwhals over polars": lambda table: nw.from_native(pl.DataFrame(pl.from_arrow(table)).lazy()),
    "a reader": lambda table: pa.RecordBatchReader.from_batches(table.schema, batches(table)),
}
each_source = pytest.mark.parametrize("source", SOURCES.values(), ids=SOURCES)


def stored(store: mxd.DuckDBMetadataStore, feature: str = "image") -> list[dict[str, Any]]:
    """Rows without what differs from one write to the next."""
    rows = store.read(feature).drop("metaxy_created_at", "metaxy_updated_at").collect()
    order = list(store.graph[feature].id_columns)
    return rows.sort(order).to_arrow().to_pylist()


def twin(store: mxd.DuckDBMetadataStore) -> mxd.DuckDBMetadataStore:
    return mxd.DuckDBMetadataStore(store.path.with_name("twin.duckdb"), graph=store.graph)


def is_streamed(frame: Any) -> bool:
    return isinstance(to_rows(frame, "image"), pa.RecordBatchReader)


@each_source
@pytest.mark.parametrize("rows", [0, 1, BATCH, ROWS])
def test_what_is_stored_is_the_same(
    store: mxd.DuckDBMetadataStore, source: Source, rows: int
) -> None:
    eager, table = twin(store), images().slice(0, rows)
    assert store.write("image", source(table)) == eager.write("image", table)
    assert stored(store) == stored(eager)
    assert store.schema("image") == eager.schema("image")
    again = store.write("image", source(table))
    assert (again.unchanged, again.commit) == (rows, 0)


def test_a_pandas_column_named_like_a_method(store: mxd.DuckDBMetadataStore) -> None:
    frame = images(3).select(["id"]).append_column("batches", pa.array([1, 2, 3])).to_pandas()
    assert store.write("image", frame).new == 3


@each_source
def test_the_table_above_is_about_streams(source: Source, request: pytest.FixtureRequest) -> None:
    """Frames of old releases of polars are collected at once."""
    is_polars = "polars" in request.node.callspec.id
    wanted = not is_polars or lazy_module.batches(pl.LazyFrame()) is not None
    assert is_streamed(source(images())) is wanted
    assert not is_streamed(source(images().slice(0, 3)))


@each_source
def test_dictionaries_differ_from_batch_to_batch(
    store: mxd.DuckDBMetadataStore, source: Source
) -> None:
    eager, table = twin(store), images()
    index = table.column_names.index("text")
    coded = table.set_column(index, "text", table.column("text").dictionary_encode())
    assert store.write("image", source(coded)).new == ROWS
    assert eager.write("image", coded).new == ROWS
    assert stored(store) == stored(eager)


@each_source
@pytest.mark.parametrize("short", [0, ROWS - 1])
def test_given_provenance_of_several_lengths(
    store: mxd.DuckDBMetadataStore, source: Source, short: int
) -> None:
    texts = [f"{i:032}" for i in range(ROWS)]
    texts[short] = "short"
    stamps = pa.StructArray.from_arrays([pa.array(texts)], names=["default"])
    eager, table = twin(store), images().append_column("metaxy_provenance_by_field", stamps)
    assert store.write("image", source(table)) == eager.write("image", table)
    assert stored(store) == stored(eager)


def test_rows_wait_beside_the_store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also if nothing was there before."""
    chosen, usable = [], spool_module._usable
    monkeypatch.setattr(
        spool_module, "_usable", lambda folder: chosen.append(usable(folder)) or chosen[-1]
    )
    path = tmp_path / "not" / "yet" / "m.duckdb"
    store = mxd.DuckDBMetadataStore(path, graph=graph())
    for _ in range(2):
        store.write("image", SOURCES["a reader"](images()))
    assert set(chosen) == {str(path.parent)}


def test_where_no_store_can_be_the_error_is_the_same(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    store = mxd.DuckDBMetadataStore(tmp_path / "file" / "m.duckdb", graph=graph())
    with pytest.raises(mxd.StoreError) as eager:
        store.write("image", images())
    with pytest.raises(mxd.StoreError) as streamed:
        store.write("image", SOURCES["a reader"](images()))
    assert str(streamed.value) == str(eager.value)


def doubled(table: pa.Table) -> pa.Table:
    """The first sample once more, many batches later."""
    return pa.concat_tables([table, table.slice(0, 1)])


def nameless(table: pa.Table) -> pa.Table:
    return table.set_column(0, "id", pa.array([*range(ROWS - 1), None]))


def foreign(table: pa.Table) -> pa.Table:
    return table.append_column("metaxy_secret", pa.array([1] * ROWS))


def badly_stamped(table: pa.Table, row: int = -1) -> pa.Table:
    texts: list[str | None] = ["a" * 32] * ROWS
    texts[row] = None
    struct = pa.StructArray.from_arrays([pa.array(texts)], names=["default"])
    return table.append_column("metaxy_provenance_by_field", struct)


FAULTS: dict[str, Callable[[pa.Table], pa.Table]] = {
    "an id twice": doubled,
    "no id in a late batch": nameless,
    "a reserved name": foreign,
    "provenance that is null in a late batch": badly_stamped,
    "provenance that is null in the first batch": lambda table: badly_stamped(table, 0),
    "no id column": lambda table: table.drop_columns(["id"]),
    "ids without order": lambda table: table.set_column(
        0, "id", pa.array([float(i) for i in range(ROWS)])
    ),
}


@each_source
@pytest.mark.parametrize("fault", FAULTS.values(), ids=FAULTS)
def test_what_is_refused_is_refused_in_the_same_words(
    store: mxd.DuckDBMetadataStore, source: Source, fault: Callable[[pa.Table], pa.Table]
) -> None:
    table = fault(images())
    with pytest.raises(mxd.FrameError) as eager:
        store.write("image", table)
    with pytest.raises(mxd.FrameError) as streamed:
        store.write("image", source(table))
    assert str(streamed.value).replace("large_", "") == str(eager.value)
    assert not store.path.exists(), "refused before anything was written"


@pytest.mark.parametrize("source", ["polars", "a reader"])
def test_no_columns(store: mxd.DuckDBMetadataStore, source: str) -> None:
    with pytest.raises(mxd.FrameError, match="id columns are missing"):
        store.write("image", SOURCES[source](pa.table({})))
    increment = store.resolve_update("crop")
    result = store.write("crop", SOURCES[source](pa.table({})), increment=increment)
    assert (result.new, result.commit) == (0, 0)


def test_ids_twice_in_several_columns(store: mxd.DuckDBMetadataStore) -> None:
    tiles = pa.table({"id": [1] * ROWS, "n": [*range(ROWS - 1), 0], "t": ["x" * 20] * ROWS})
    stamp = pa.StructArray.from_arrays([pa.array(["a" * 32] * ROWS)], names=["default"])
    tiles = tiles.append_column("metaxy_provenance_by_field", stamp)
    with pytest.raises(mxd.FrameError, match=r"1 ids .*\{'id': 1, 'n': 0\} 2 times"):
        store.write("tile", of_duckdb(tiles))


class BrokenError(Exception):
    """Raised by a user's code."""


def broken_reader(table: pa.Table) -> Any:
    def give() -> Iterator[pa.RecordBatch]:
        yield from batches(table)[:-1]
        raise BrokenError("half-way")

    return pa.RecordBatchReader.from_batches(table.schema, give())


def broken_polars(table: pa.Table) -> Any:
    def check(part: pl.DataFrame) -> pl.DataFrame:
        if ROWS - 1 in part["id"]:
            raise BrokenError("half-way")
        return part

    frame = pl.DataFrame(pl.from_arrow(table)).lazy()
    return frame.map_batches(check, schema=frame.collect_schema(), streamable=True)


def broken_relation(table: pa.Table) -> Any:
    last = f"CASE WHEN id = {ROWS - 1} THEN error('half-way') ELSE text END AS text"
    return of_duckdb(table).project(f"* REPLACE ({last})")


@pytest.mark.parametrize("broken", [broken_reader, broken_polars, broken_relation])
def test_a_source_that_fails_half_way_writes_nothing(
    store: mxd.DuckDBMetadataStore, broken: Source
) -> None:
    store.write("image", images(3))
    before = stored(store)
    with pytest.raises(mxd.FrameError, match="cannot be turned into an Arrow table") as caught:
        store.write("image", broken(images()), mode="replace")
    assert "half-way" in str(caught.value)
    assert stored(store) == before


def test_a_column_whose_type_changes_on_the_way(store: mxd.DuckDBMetadataStore) -> None:
    frame = pl.DataFrame(pl.from_arrow(images())).lazy()

    def lied(part: pl.DataFrame) -> pl.DataFrame:
        return part.with_columns(text=pl.lit([1]))

    kinds = frame.collect_schema()
    result = frame.map_batches(lied, schema=kinds, streamable=True, validate_output_schema=False)
    with pytest.raises(mxd.FrameError):
        store.write("image", pl.concat([frame, result]))
    assert not store.path.exists()


@each_source
def test_whole_numbers_that_a_stored_float_would_not_hold(
    store: mxd.DuckDBMetadataStore, source: Source
) -> None:
    store.write("image", images(k=[0.5] * ROWS))
    with pytest.raises(mxd.FrameError, match="does not fit the stored one"):
        store.write("image", source(images(k=[*range(ROWS - 1), 2**53 + 1])))
    assert store.write("image", source(images())).updated == ROWS


@each_source
def test_replacing(store: mxd.DuckDBMetadataStore, source: Source) -> None:
    store.write("image", images())
    fewer = images(ROWS - 100)
    with pytest.raises(mxd.FrameError, match="100 of 500 samples"):
        store.write("image", source(fewer), mode="replace", max_deleted_share=0.1)
    assert store.count("image") == ROWS
    result = store.write("image", source(fewer), mode="replace", max_deleted_share=0.3)
    assert (result.deleted, result.unchanged) == (100, ROWS - 100)


@each_source
@pytest.mark.parametrize("feature", ["crop", "album", "tile"])
def test_derived_frames(store: mxd.DuckDBMetadataStore, source: Source, feature: str) -> None:
    """With an increment, and with the provenance columns where a row is a sample."""
    stores = store, twin(store)
    for one in stores:
        one.write("image", images())
    for one, made in zip(stores, (source, lambda table: table), strict=True):
        increment = one.resolve_update(feature)
        rows = increment.pending.collect().to_arrow().sort_by(increment.sample_columns[0])
        if feature == "tile":
            rows = pa.concat_tables(
                rows.append_column("n", pa.array([n] * rows.num_rows)) for n in range(3)
            )
        texts = pa.array(["a long text that is a few bytes"] * rows.num_rows * 30)
        rows = rows.select([*one.graph[feature].id_columns]).append_column(
            "made", texts.slice(0, rows.num_rows)
        )
        assert one.write(feature, made(rows), increment=increment).new == rows.num_rows
        assert one.resolve_update(feature).counts.pending == 0
    assert stored(stores[0], feature) == stored(stores[1], feature)


@each_source
def test_strangers_to_the_increment(store: mxd.DuckDBMetadataStore, source: Source) -> None:
    store.write("image", images(ROWS - 1))
    increment = store.resolve_update("crop")
    for _ in range(2):
        with pytest.raises(mxd.FrameError, match=r"did not ask for(.|\n)*1 samples"):
            store.write("crop", source(images().select(["id", "text"])), increment=increment)
        assert store.count("crop") == 0


def test_a_lazy_frame_of_the_store_is_written_with_its_provenance(
    store: mxd.DuckDBMetadataStore,
) -> None:
    store.write("image", images())
    frame = store.resolve_update("crop").pending.with_columns(size=nw.col("id") * 2)
    assert is_streamed(frame)
    assert store.write("crop", frame).new == ROWS
    assert store.resolve_update("crop").counts.pending == 0


def test_an_increment_in_a_file_tells_what_one_in_memory_tells(
    store: mxd.DuckDBMetadataStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    store.write("image", images().drop_columns(["box", "name"]))
    first = store.resolve_update("crop", filters="id < 400")
    store.write("crop", first.pending.select("id", "text"), increment=first)
    store.write("image", images(100, text=["changed"] * 100).drop_columns(["box", "name"]))
    store.delete("image", filters="id in (200, 201)")
    for _ in range(3):
        failed = store.resolve_update("crop")
        store.record_failures("crop", [{"id": 5}, {"id": 450}], "too dark", increment=failed)

    def told() -> dict[str, Any]:
        increment = store.resolve_update("crop")
        kinds = "new", "stale", "pending", "quarantined", "orphaned"
        frames = {kind: getattr(increment, kind) for kind in kinds}
        found = {kind: one.collect().sort("id").to_arrow() for kind, one in frames.items()}
        picked = increment.pending.filter(nw.col("id") > 90).select("id", "text").collect()
        return {
            **{kind: rows.to_pylist() for kind, rows in found.items()},
            "picked": picked.sort("id").to_arrow().to_pylist(),
            "counts": increment.counts,
            "orphaned_ids": sorted(increment.orphaned_ids.column("id").to_pylist()),
            "upstream": sorted(increment.upstream("image").collect()["id"].to_list()),
            "delta": increment.delta.sort_by("id").to_pylist(),
            "batches": [batch.counts.pending for batch in increment.batches(64)],
        }

    in_a_file = told()
    monkeypatch.setattr(spool_module, "IN_MEMORY", 2**25)
    assert in_a_file == told()
    assert in_a_file["counts"] == mxd.Counts(new=99, stale=99, orphaned=2, quarantined=2)


def test_the_increment_of_a_write_stays_in_its_file(
    store: mxd.DuckDBMetadataStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    store.write("image", images().drop_columns(["box", "name"]))
    increment = store.resolve_update("crop")
    frame = increment.pending.select("id", "text")
    read: list[int] = []
    select = spool_module.Spool.select
    monkeypatch.setattr(spool_module.Spool, "select", lambda *args: read.append(1) or select(*args))
    assert store.write("crop", frame, increment=increment, delete_orphaned=True).new == ROWS
    assert read == [], "never all of its rows at once"
    assert store.resolve_update("crop").counts.pending == 0


def _write_elsewhere(path: Path) -> None:
    made = mxd.DuckDBMetadataStore(path, graph=graph(), lock_timeout=patient(20))
    made.write("image", pa.table({"id": [10_000], "k": [1], "text": ["other"]}))


def test_others_may_write_while_a_frame_is_collected(store: mxd.DuckDBMetadataStore) -> None:
    table = images().select(["id", "k", "text"])

    def give() -> Iterator[pa.RecordBatch]:
        for number, batch in enumerate(batches(table)):
            if number == 5:
                assert elsewhere(_write_elsewhere, store.path) == 0
            yield batch

    reader = pa.RecordBatchReader.from_batches(table.schema, give())
    assert store.write("image", reader).commit == 2
    assert store.count("image") == ROWS + 1


def test_no_more_than_a_few_batches_are_in_memory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of 100 batches of two megabytes; DuckDB has less memory than they need together."""
    monkeypatch.setattr(spool_module, "IN_MEMORY", 8 * 2**20)
    settings = {"memory_limit": "120MB", "threads": 2}
    store = mxd.DuckDBMetadataStore(tmp_path / "m.duckdb", graph=graph(), settings=settings)
    size, number = 5_000, 100
    began, most = pa.total_allocated_bytes(), 0
    # How often rows are read again from the file does not matter; what is alive meanwhile does.
    part = arrival._Arrival.part

    def watched(self: Any, rows: pa.Table) -> pa.Table:
        nonlocal most
        most = max(most, pa.total_allocated_bytes() - began)
        return part(self, rows)

    monkeypatch.setattr(arrival._Arrival, "part", watched)
    schema = pa.schema([("id", pa.int64()), ("text", pa.string())])

    def give() -> Iterator[pa.RecordBatch]:
        for start in range(0, size * number, size):
            ids = range(start, start + size)
            yield pa.record_batch([list(ids), [f"{i:>400}" for i in ids]], schema=schema)

    for commit in (1, 2):
        reader = pa.RecordBatchReader.from_batches(schema, give())
        result = store.write("image", reader, mode="replace")
        assert result.new + result.unchanged == size * number
        assert commit == 1 or result.commit == 0
    assert most < 24 * 2**20, "of 200 MB"
    assert list(tmp_path.glob("tmp*")) == []
