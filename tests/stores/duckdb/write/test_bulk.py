"""Many rows at once: the same rows, in the same order, under the same versions as few."""

from __future__ import annotations

from pathlib import Path

import duckdb
import pyarrow as pa
import pytest

from metaxy_dagster import constants as c
from metaxy_dagster.errors import FrameError
from metaxy_dagster.features import FeatureGraph, FeatureSpec, FieldSpec
from metaxy_dagster.stores import DuckDBMetadataStore
from metaxy_dagster.stores.duckdb.file.bulk import ROW_GROUP, even_batches
from metaxy_dagster.stores.frames.encoding import encode_all, hash_text

ROWS = 150_000
HAS_ZSTD = int(duckdb.__version__.split(".")[0]) >= 2


def given(
    entries: tuple[str, ...] = ("x", "y"), *, length: int = 32, start: int = 0, rows: int = ROWS
) -> pa.Table:
    ids = range(start, start + rows)
    hashes = [hash_text(str(i))[:length] for i in ids]
    struct = pa.StructArray.from_arrays([pa.array(hashes)] * len(entries), names=list(entries))
    columns = {"id": ids, "path": [f"{h[:9]}.png" for h in hashes]}
    return pa.table({**columns, c.COL_PROVENANCE_BY_FIELD: struct})


@pytest.fixture
def store(tmp_path: Path) -> DuckDBMetadataStore:
    graph = FeatureGraph()
    graph.add(FeatureSpec("root", id_columns=["id"], fields=[FieldSpec("x"), FieldSpec("y")]))
    graph.add(FeatureSpec("leaf", id_columns=["id"], deps=["root"]))
    return DuckDBMetadataStore(tmp_path / "m.duckdb", graph=graph)


def compressions(store: DuckDBMetadataStore) -> dict[str, set[str]]:
    with duckdb.connect(str(store.path)) as connection:
        found = connection.execute(
            "SELECT column_name, list(DISTINCT compression) FROM pragma_storage_info('root')"
            " WHERE segment_type = 'VARCHAR' GROUP BY ALL"
        ).fetchall()
    return {name: set(kinds) for name, kinds in found}


@pytest.mark.parametrize("sizes", [[ROWS], [131_072, 18_928], [1, 122_881, 27_118], [3_000] * 50])
def test_rows_keep_their_order(sizes: list[int], store: DuckDBMetadataStore) -> None:
    """However the frame is cut."""
    whole, start, pieces = given().combine_chunks(), 0, []
    for size in sizes:
        pieces += whole.slice(start, size).to_batches()
        start += size
    table = pa.Table.from_batches(pieces)
    assert store.write("root", table).new == ROWS
    names = ["id", "path", c.COL_PROVENANCE_BY_FIELD]
    stored = store.read("root", columns=names).collect().to_native()
    assert stored.combine_chunks().equals(whole.select(names))


SIZES: dict[str, tuple[list[int], list[int]]] = {
    "a row group": ([ROW_GROUP], [ROW_GROUP]),
    "one row more": ([ROW_GROUP + 1], [61_441, 61_440]),
    "two row groups": ([2 * ROW_GROUP], [ROW_GROUP] * 2),
    "few rows in chunks": ([3, 0, 5], [3, 5]),
    "many rows in chunks": ([1, ROW_GROUP + 3, ROW_GROUP, 0], [1, 61_442, 61_441, ROW_GROUP]),
}


@pytest.mark.parametrize("name", SIZES)
def test_batches_are_of_nearly_one_size(name: str) -> None:
    chunks, sizes = SIZES[name]
    column = pa.chunked_array([pa.array(range(size), pa.int64()) for size in chunks])
    table = pa.table({"id": column})
    cut = even_batches(table)
    assert [batch.num_rows for batch in cut.to_batches() if batch.num_rows] == sizes
    assert cut.equals(table)


@pytest.mark.parametrize("rows", [1_000, ROWS])
@pytest.mark.parametrize(
    ("entries", "length"), [(("x", "y"), 32), (("y", "x"), 32), (("x", "y"), 31), (("x", "y"), 0)]
)
def test_the_provenance_of_a_sample_follows_one_rule(
    entries: tuple[str, ...], length: int, rows: int, store: DuckDBMetadataStore
) -> None:
    """Whatever is known in advance of the lengths, and of the order of the fields."""
    table = given(entries, length=length, rows=rows)
    store.write("root", table)
    names = ["id", c.COL_PROVENANCE, c.COL_PROVENANCE_BY_FIELD]
    for row in store.read("root", columns=names).collect().to_native().slice(rows - 9).to_pylist():
        fields = row[c.COL_PROVENANCE_BY_FIELD]
        assert fields == dict.fromkeys(fields, hash_text(str(row["id"]))[:length])
        whole = encode_all(part for name in ("x", "y") for part in (name, fields[name]))
        assert row[c.COL_PROVENANCE] == hash_text(whole)


@pytest.mark.skipif(not HAS_ZSTD, reason="files of this DuckDB have no ZSTD")
def test_hashes_of_a_load_are_not_searched_for_repetition(store: DuckDBMetadataStore) -> None:
    store.write("root", given())
    found = compressions(store)
    assert found["path"] == found[c.COL_PROVENANCE] == {"ZSTD"}
    assert found[c.COL_PROVENANCE_BY_FIELD] == {"ZSTD"}
    assert found[c.COL_FEATURE_VERSION] == {"DICT_FSST"}
    # What comes later has no need of it.
    store.write("root", given(start=ROWS, rows=10))
    assert store.count("root") == ROWS + 10


def test_texts_that_repeat_are_left_to_duckdb(store: DuckDBMetadataStore) -> None:
    table = given()
    for name in ("kind", "place", "owner", "state"):
        table = table.append_column(name, pa.array([f"{name} {i % 3}" for i in range(ROWS)]))
    store.write("root", table)
    assert "ZSTD" not in set().union(*compressions(store).values())


def test_a_load_that_fails_leaves_no_setting_behind(tmp_path: Path) -> None:
    graph = FeatureGraph()
    graph.add(FeatureSpec("root", id_columns=["id"], fields=[FieldSpec("x"), FieldSpec("y")]))
    forced = DuckDBMetadataStore(
        tmp_path / "f.duckdb", graph=graph, settings={"force_compression": "uncompressed"}
    )
    forced.write("root", given())
    assert compressions(forced)["path"] == {"Uncompressed"}
    store = DuckDBMetadataStore(tmp_path / "m.duckdb", graph=graph)
    store.write("root", pa.table({"id": [1], "path": ["a"]}))
    with pytest.raises(FrameError, match="does not fit"):
        store.write("root", given().set_column(1, "path", pa.array(range(ROWS))))
    with store.connected("w"), store._engine.file.connect("w") as connection:
        found = connection.execute("SELECT current_setting('force_compression')").fetchall()
    assert found[0][0].lower() == "auto"


def test_samples_that_were_not_asked_for_are_found_late_and_written_never(
    store: DuckDBMetadataStore,
) -> None:
    store.write("root", given(rows=10))
    for stored in (False, True):
        increment = store.resolve_update("leaf")
        assert increment.counts.new == (5 if stored else 10)
        with pytest.raises(FrameError, match="did not ask for") as caught:
            store.write("leaf", pa.table({"id": [0, 9, 10, 11]}), increment=increment)
        assert f"{3 if stored else 2} samples" in str(caught.value)
        assert store.count("leaf") == (5 if stored else 0)
        if not stored:
            store.write("leaf", pa.table({"id": range(5)}), increment=increment)
    increment = store.resolve_update("leaf")
    store.delete("root", filters="id < 3")
    orphaned = store.resolve_update("leaf")
    with pytest.raises(FrameError, match="did not ask for"):
        store.write("leaf", pa.table({"id": [0, 9]}), increment=orphaned)
    assert store.write("leaf", pa.table({"id": range(5, 10)}), increment=increment).new == 5


@pytest.mark.parametrize(
    ("ids", "doubled"),
    [
        ([1, 2, 3], 0),
        ([3, 1, 2], 0),
        ([1, 1, 2], 1),
        ([2, 1, 2], 1),
        ([5], 0),
        ([], 0),
        (["a", "b"], 0),
        (["b", "a", "b"], 1),
        ([True, False], 0),
        ([True, True], 1),
    ],
)
@pytest.mark.parametrize("cut", [1, 2, 9])
def test_doubled_ids_are_found_in_any_order(
    ids: list[object], doubled: int, cut: int, store: DuckDBMetadataStore
) -> None:
    column = pa.array(ids, None if ids else pa.int64())
    pieces = [column.slice(start, cut) for start in range(0, len(ids), cut)]
    table = pa.table({"id": pa.chunked_array(pieces, column.type), "path": ids})
    if not doubled:
        assert store.write("root", table).new == len(ids)
        return
    with pytest.raises(FrameError, match="unique") as caught:
        store.write("root", table)
    assert f"{doubled} ids" in str(caught.value)
