"""Rows that wait in a file: where it is, and that they come back as they were."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa
import pytest
from videos import T, derived, store_of

from metaxy_dagster import constants as c
from metaxy_dagster.errors import StoreError
from metaxy_dagster.features import FeatureSpec
from metaxy_dagster.stores import DuckDBMetadataStore
from metaxy_dagster.stores.counts import NEW, ORPHANED, QUARANTINED, STALE, UNCHANGED
from metaxy_dagster.stores.duckdb.resolve import source
from metaxy_dagster.stores.frames import spool as spool_module
from metaxy_dagster.stores.frames.spool import Spool, SpooledColumns

ROWS = T({"i": range(100), "t": [f"text {i}" for i in range(100)], "x": [0.5] * 100})


@pytest.fixture
def directories(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """Where files were made."""
    found: list[Any] = []
    make = tempfile.TemporaryFile

    def watched(*args: Any, dir: Any = None) -> Any:  # noqa: A002 - tempfile's name for it
        found.append(dir)
        return make(*args, dir=dir)

    monkeypatch.setattr(spool_module.tempfile, "TemporaryFile", watched)
    return found


@pytest.fixture
def store(tmp_path: Path) -> DuckDBMetadataStore:
    specs = FeatureSpec("clip", id_columns=["i"]), derived("out", "clip", ids=["i"])
    return store_of(tmp_path / "store" / "m.duckdb", *specs)


def test_files_are_made_beside_the_store(
    store: DuckDBMetadataStore, monkeypatch: pytest.MonkeyPatch, directories: list[Any]
) -> None:
    monkeypatch.setattr(spool_module, "IN_MEMORY", 0)

    def reset() -> None:
        assert set(map(str, directories)) == {str(store.path.parent)}
        directories.clear()

    store.write("clip", duckdb.connect().from_arrow(pa.concat_tables([ROWS])))
    directories.clear()
    reader = pa.RecordBatchReader.from_batches(ROWS.schema, ROWS.to_batches(max_chunksize=10))
    assert store.write("clip", reader).unchanged == 100
    reset()
    assert len(store.resolve_update("out").pending.collect()) == 100
    reset()
    assert store.resolve_update("out").batches(30).samples == 100
    reset()
    for _ in range(3):
        failed = store.resolve_update("out")
        store.record_failures("out", [{"i": 0}], "broken", increment=failed)
    directories.clear()
    assert len(store.resolve_update("out").pending.collect()) == 99
    reset()


def filled(held: int, directory: Path | None = None, *, size: int = 10) -> Spool:
    spool = Spool(ROWS.schema, directory, held=held)
    for start in range(0, 100, size):
        spool.append(pa.concat_tables([ROWS.slice(0, 0), ROWS.slice(start, size)]))
        spool.append(ROWS.slice(0, 0))
    return spool


@pytest.mark.parametrize("held", [0, 1_000, 2**20])
def test_rows_come_back_as_they_were(held: int) -> None:
    spool = filled(held)
    assert spool.is_in_memory is (held == 2**20)
    assert (len(spool), spool.num_rows, spool.column_names) == (100, 100, ["i", "t", "x"])
    assert spool.schema == ROWS.schema
    for _ in range(2):
        assert spool.table() == ROWS
        assert spool.slice(95, 10) == ROWS.slice(95)
        assert spool.slice(10, 10) == ROWS.slice(10, 10)
        assert spool.slice(0, 0) == ROWS.slice(0, 0)
        assert spool.select(["x", "i"]) == ROWS.select(["x", "i"])
        assert [part.num_rows for part in spool.parts()] == [10] * 10
        assert pa.concat_tables(spool.parts(["t", "i"])) == ROWS.select(["t", "i"])
        assert spool.reader().read_all() == ROWS
        assert spool.reader(["x", "i"]).read_all() == ROWS.select(["x", "i"])
        assert pa.table(spool) == ROWS
        narrow = pa.schema([("i", pa.int32()), ("t", pa.large_string()), ("x", pa.float32())])
        for made, kinds in (
            (spool, narrow),
            (SpooledColumns(spool, ("i",)), narrow.empty_table().select(["i"]).schema),
        ):
            stream = pa.RecordBatchReader.from_stream(made, schema=kinds)
            assert (stream.schema, stream.read_all().num_rows) == (kinds, 100)
        some = SpooledColumns(spool, ("t",))
        assert (some.num_rows, pa.table(some)) == (100, ROWS.select(["t"]))


def test_a_spool_without_rows_has_its_columns() -> None:
    spool = Spool(ROWS.schema)
    assert spool.table() == ROWS.slice(0, 0) == spool.slice(0, 5)
    assert spool.select(["t"]) == ROWS.slice(0, 0).select(["t"])
    assert spool.reader().read_all() == ROWS.slice(0, 0)
    assert (list(spool.parts()), list(spool.parts(["t"])), len(spool)) == ([], [], 0)


def test_rows_go_to_a_file_beyond_their_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    size = ROWS.slice(0, 10).to_batches()[0].nbytes
    exact = Spool(ROWS.schema, held=2 * size)
    exact.append(ROWS.slice(0, 10))
    exact.append(ROWS.slice(0, 10))
    assert exact.is_in_memory
    exact.append(ROWS.slice(20, 1))
    assert not exact.is_in_memory
    assert exact.slice(9, 3) == pa.concat_tables([ROWS.slice(9, 1), ROWS.slice(0, 2)])
    monkeypatch.setattr(spool_module, "IN_MEMORY", 0)
    assert filled(2**20).is_in_memory
    limited = Spool(ROWS.schema)
    limited.append(ROWS)
    assert not limited.is_in_memory
    limited.append(pa.concat_tables([ROWS, ROWS]))
    assert limited.table() == pa.concat_tables([ROWS] * 3)


def test_a_directory_that_does_not_exist_is_not_used(
    tmp_path: Path, directories: list[Any]
) -> None:
    assert filled(0, tmp_path).table() == ROWS
    assert {str(one) for one in directories} == {str(tmp_path)}
    directories.clear()
    assert filled(0, tmp_path / "nowhere").table() == ROWS
    assert directories == [tmp_path / "nowhere", None]


def test_a_file_is_closed_with_its_spool(monkeypatch: pytest.MonkeyPatch) -> None:
    files: list[Any] = []
    make = tempfile.TemporaryFile
    monkeypatch.setattr(
        spool_module.tempfile, "TemporaryFile", lambda **at: files.append(make(**at)) or files[-1]
    )
    spool = filled(0)
    assert [file.closed for file in files] == [False]
    del spool
    assert [file.closed for file in files] == [True]


def test_several_threads_may_read_one_file() -> None:
    spool = filled(0, size=1)
    with ThreadPoolExecutor(4) as threads:
        found = list(threads.map(lambda start: spool.slice(start, 7), range(90)))
    assert found == [ROWS.slice(start, 7) for start in range(90)]


def test_an_increment_in_a_file_gives_the_ids_of_each_status(
    store: DuckDBMetadataStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(spool_module, "IN_MEMORY", 0)
    store.write("clip", ROWS.slice(0, 3))
    store.write("out", T({"i": [0, 1]}), increment=store.resolve_update("out"))
    store.delete("clip", filters="i = 1")
    increment = store.resolve_update("out")
    assert increment.batches(10).samples == 1
    found = {one: increment.ids([one]).column("i").to_pylist() for one in range(5)}
    assert found == {NEW: [2], STALE: [], ORPHANED: [1], UNCHANGED: [], QUARANTINED: []}


def test_counts_are_those_of_all_batches(
    store: DuckDBMetadataStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(source, "_STREAMED_ROWS", 2048)
    store.write("clip", T({"i": range(5003)}))
    increment = store.resolve_update("out")
    assert increment.batches(1000).samples == 5003
    assert increment.counts == store.resolve_update("out").counts


class Disk:
    """A disk that has room for so many bytes of temporary files."""

    def __init__(self, room: int, make: Callable[..., Any]) -> None:
        self.room, self.used, self._make = room, 0, make

    def file(self, **options: Any) -> Any:
        made = self._make(**options)
        return OnDisk(made, self)


class OnDisk:
    def __init__(self, file: Any, disk: Disk) -> None:
        self._file, self._disk = file, disk

    def __getattr__(self, name: str) -> Any:
        return getattr(self._file, name)

    def __enter__(self) -> Any:
        return self._file.__enter__()

    def __exit__(self, *exc: object) -> None:
        self._file.close()

    def write(self, part: Any) -> int:
        self._disk.used += memoryview(part).nbytes
        if self._disk.used > self._disk.room:
            raise OSError(28, "No space left on device")
        return int(self._file.write(part))


def wide(*ids: int) -> pa.Table:
    return T({"i": list(ids), "t": [f"{i}" * 40 for i in ids]})


#: What is done with rows that wait in a file; all write some of them there.
SPOOLED: dict[str, Callable[[DuckDBMetadataStore], object]] = {
    "a first write": lambda store: store.write("more", reader_of(wide(*range(50)))),
    "a write": lambda store: store.write("clip", reader_of(wide(*range(40, 90)))),
    "an answer": lambda store: store.write(
        "out", store.resolve_update("out").new.select("i", "t", c.COL_PROVENANCE_BY_FIELD)
    ),
    "batches": lambda store: [
        store.write("out", wide(*batch.new.collect()["i"].to_list()), increment=batch)
        for batch in store.resolve_update("out").batches(50)
    ],
    "a lazy frame": lambda store: store.read("clip").collect(),
    "pending samples": lambda store: store.resolve_update("out").pending.collect(),
    "a scan": lambda store: list(store.scan("clip").batches()),
}


def reader_of(rows: pa.Table) -> pa.RecordBatchReader:
    return pa.RecordBatchReader.from_batches(rows.schema, rows.to_batches(max_chunksize=10))


@pytest.mark.parametrize("what", SPOOLED)
def test_a_disk_that_is_full_is_told_and_nothing_is_stored_by_halves(
    what: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Wherever the room ends: at the first byte, in the middle, or in the last ones."""
    monkeypatch.setattr(spool_module, "IN_MEMORY", 100)
    make = tempfile.TemporaryFile

    def done(room: int) -> int | None:
        disk = Disk(10**9, make)
        monkeypatch.setattr(spool_module.tempfile, "TemporaryFile", disk.file)
        specs = (FeatureSpec(name, id_columns=["i"]) for name in ("clip", "more"))
        store = store_of(tmp_path / f"{room}.duckdb", *specs, derived("out", "clip", ids=["i"]))
        store.write("clip", wide(*range(50)))
        before = {key: store.count(key) for key in ("clip", "more", "out")}
        disk.room, disk.used = room, 0
        refused = None
        try:
            SPOOLED[what](store)
        except StoreError as error:
            refused = str(error)
        if refused is None:
            return disk.used
        assert "space" in refused
        assert {key: store.count(key) for key in before} == before
        return None

    needed = done(10**9)
    assert needed
    for room in (0, needed // 4, needed // 2, needed - 700, needed - 300, needed - 100, needed - 1):
        assert done(max(0, room)) is None
