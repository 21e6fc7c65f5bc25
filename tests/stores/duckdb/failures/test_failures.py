"""What is told of samples that failed, and what an increment says beside those left out."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa
import pyarrow.compute as pc
import pytest
from videos import T, clips, derived, store_of, video

from metaxy_dagster.errors import FrameError, StoreError
from metaxy_dagster.features import FeatureKey, FeatureSpec
from metaxy_dagster.stores import Counts, DuckDBMetadataStore, FailureResult, Increment
from metaxy_dagster.stores.counts import QUARANTINED, STATUS
from metaxy_dagster.stores.frames.samples import having
from metaxy_dagster.stores.listing import Listing

CROP = FeatureKey("out")


def make(path: Path, **options: Any) -> DuckDBMetadataStore:
    plain = store_of(path / "m.duckdb", video(), derived(), derived("other"))
    store = DuckDBMetadataStore(plain.path, graph=plain.graph, **options)
    store.write("video", clips({1: "a", 2: "b", 3: "c"}))
    return store


def fail(store: DuckDBMetadataStore, *ids: int, error: str = "broken") -> None:
    increment = store.resolve_update("out")
    store.record_failures("out", [{"id": i} for i in ids], error, increment=increment)


def told(store: DuckDBMetadataStore, **options: Any) -> list[tuple[int, str]]:
    found = store.failures("out", **options).collect().to_native().to_pylist()
    return [(row["id"], row["metaxy_error"]) for row in found]


@pytest.mark.parametrize(("limit", "quarantined"), [(0, 0), (1, 2), (2, 1), (3, 0)])
def test_failures_are_counted(tmp_path: Path, limit: int, quarantined: int) -> None:
    store = make(tmp_path, max_attempts=limit)
    assert store.failed("out") == FailureResult(CROP, 0, 0)
    increment = store.resolve_update("out")
    assert store.record_failures("out", [], "x", increment=increment) == FailureResult(CROP, 0, 0)
    fail(store, 1)
    fail(store, 1, 2)
    assert store.failed("out") == FailureResult(CROP, 2, quarantined)
    assert store.failed("other") == FailureResult(FeatureKey("other"), 0, 0)
    increment = store.resolve_update("out")
    noted = store.record_failures("out", [{"id": 3}], "x", increment=increment)
    assert noted == FailureResult(CROP, 1, int(limit == 1))


def test_the_most_recent_failures_come_first_and_filters_choose(tmp_path: Path) -> None:
    store = make(tmp_path)
    fail(store, 3, 2)
    fail(store, 1, error="late")
    assert told(store) == [(1, "late"), (2, "broken"), (3, "broken")]
    assert told(store, filters="id = 2") == [(2, "broken")]
    assert told(store, filters=["metaxy_error = 'broken'", "id > 2"]) == [(3, "broken")]
    assert told(store, filters="metaxy_attempts > 1") == []
    with pytest.raises(StoreError, match="the failures of feature 'out'"):
        store.failures("out", filters="height > 1")


def test_the_last_failure_takes_all_signs_of_it_along(tmp_path: Path) -> None:
    """So that a resolve does not look for any."""

    def signs() -> list[Any]:
        with duckdb.connect(str(store.path)) as connection:
            marked = "SELECT feature FROM metaxy.features WHERE failed"
            tables = "SELECT table_name FROM duckdb_tables() WHERE schema_name = 'quarantine'"
            return [connection.execute(sql).fetchall() for sql in (marked, tables)]

    store = make(tmp_path)
    fail(store, 1, 2)
    assert store.retry("out", filters="id = 1") == 1
    assert signs() == [[("out",)], [("out",)]]
    assert store.retry("out") == 1
    assert signs() == [[], []]


@pytest.mark.parametrize("bulky", [False, True])
def test_frames_beside_quarantined_samples(tmp_path: Path, bulky: bool) -> None:
    """Also where columns may be large, which are then read by a query of their own."""
    specs = FeatureSpec("clip", id_columns=["id"]), derived("out", "clip")
    store = store_of(tmp_path / "m.duckdb", *specs)
    x = [[0.5], [1.5], [2.5]] if bulky else ["a", "b", "c"]
    store.write("clip", T({"id": [1, 2, 3], "x": x}))
    for _ in range(3):
        fail(store, 2)
    for name, ids in (("pending", [1, 3]), ("quarantined", [2])):
        frame = getattr(store.resolve_update("out"), name).collect().to_native().sort_by("id")
        assert frame.select(["id", "x"]).to_pylist() == [{"id": i, "x": x[i - 1]} for i in ids]
    increment = store.resolve_update("out")
    increment.pending.collect()
    held = increment.delta.filter(pc.equal(increment.delta[STATUS], QUARANTINED))
    assert held.column("id").to_pylist() == [2]
    for options, ids in (({}, [1, 3]), ({"all_rows": True}, [1, 2, 3])):
        table = increment.upstream_table("clip", **options)
        assert sorted(table.column("id").to_pylist()) == ids
        scan = increment.upstream_scan("clip", **options)
        batches = scan.to_batches() if isinstance(scan, pa.Table) else scan.batches(["id"])
        assert sorted(i for batch in batches for i in batch.column("id").to_pylist()) == ids
        frame = increment.upstream("clip", **options).collect()
        assert sorted(frame["id"].to_list()) == ids


def test_a_failure_is_as_of_its_increment(tmp_path: Path) -> None:
    """It was computed by somebody else meanwhile: any write that follows forgets the failure."""
    store = make(tmp_path)
    increment = store.resolve_update("out")
    store.write("out", T({"id": [2]}), increment=increment)
    store.record_failures("out", [{"id": 2}], "late", increment=increment)
    some = store.resolve_update("out", filters="id = 3")
    store.write("out", T({"id": [3]}), increment=some)
    assert told(store) == []


def test_an_increment_that_is_of_no_file_counts_as_of_now(tmp_path: Path) -> None:
    store = make(tmp_path)

    class Foreign:
        def __getattr__(self, name: str) -> Any:
            return getattr(inner, name)

    inner = store.resolve_update("out").source
    increment = Increment(CROP, Listing(Foreign()))
    store.write("out", T({"id": [3]}), increment=store.resolve_update("out"))
    store.record_failures("out", [{"id": 3}], "late", increment=increment)
    store.write("out", T({"id": [2]}), increment=store.resolve_update("out", filters="id = 2"))
    assert told(store) == [(3, "late")]


def test_the_samples_of_a_root_have_all_attempts_under_a_new_version(tmp_path: Path) -> None:
    samples = clips({1: "a"})
    for version in ("1", "2"):
        store = store_of(tmp_path / "m.duckdb", video(audio=version))
        increment = store.resolve_update("video", samples=samples)
        for attempt in (1, 2):
            store.record_failures("video", samples, "broken", increment=increment)
            found = store.failures("video").collect()
            assert found["metaxy_attempts"].to_list() == [attempt]
            assert store.resolve_update("video", samples=samples).counts.pending == 1


def test_a_file_begins_with_a_failure_and_not_with_a_retry(tmp_path: Path) -> None:
    store = store_of(tmp_path / "m.duckdb", video())
    assert (store.retry("video"), store.path.exists()) == (0, False)
    increment = store.resolve_update("video", samples=clips({1: "a"}))
    store.record_failures("video", [{"id": 1}], "broken", increment=increment)
    assert store.failed("video").failed == 1
    assert store.resolve_update("video", samples=clips({1: "a"})).counts.new == 1


def test_the_whole_increment_knows_what_failed_of_its_batches(tmp_path: Path) -> None:
    store = make(tmp_path)
    increment = store.resolve_update("out")
    assert increment.failed is None
    for batch in increment.batches(2):
        assert batch.whole is increment
        ids = batch.pending.select("id").collect().to_arrow().slice(0, 1)
        store.record_failures("out", ids, "broken", increment=batch)
    assert increment.failed is not None
    assert increment.failed.to_pylist() == [{"id": 1}, {"id": 3}]


def test_failures_may_be_read_in_a_thread_of_their_own(tmp_path: Path) -> None:
    store = make(tmp_path)
    fail(store, 1)
    with ThreadPoolExecutor(1) as threads:
        assert threads.submit(told, store).result() == [(1, "broken")]


def test_ids_that_the_increment_cannot_have_are_refused(tmp_path: Path) -> None:
    store = make(tmp_path)
    increment = store.resolve_update("out")
    with pytest.raises(FrameError, match="'out': samples are named by values of another type"):
        store.record_failures("out", [{"id": "x"}], "broken", increment=increment)
    assert (store.failed("out").failed, increment.failed) == (0, None)


@pytest.mark.parametrize("call", ["record", "retry"])
def test_failures_are_not_noted_while_a_block_reads(tmp_path: Path, call: str) -> None:
    store = make(tmp_path)
    increment = store.resolve_update("out")

    def noted() -> None:
        if call == "record":
            store.record_failures("out", [{"id": 1}], "broken", increment=increment)
        else:
            store.retry("out")

    with store.connected("r"), pytest.raises(StoreError, match="block that only reads"):
        noted()
    with store, pytest.raises(StoreError, match=r"'out': .* open for reading"):
        noted()
    assert store.failed("out").failed == 0


class TornError(Exception):
    """An error of a user's own."""


@pytest.mark.parametrize(
    ("error", "kind", "text"),
    [
        ("plain", None, "plain"),
        (ValueError("bad"), "ValueError", "bad"),
        (TornError("torn"), f"{__name__}.TornError", "torn"),
        (KeyboardInterrupt(), "KeyboardInterrupt", ""),
        ("x" * 1000, None, "x" * 1000),
        ("x" * 1001, None, "x" * 999 + "…"),
        (ValueError("x" * 1001), "ValueError", "x" * 999 + "…"),
    ],
)
@pytest.mark.parametrize("each", [False, True])
def test_an_error_is_told_with_its_type_and_not_too_long(
    tmp_path: Path, error: Any, kind: str | None, text: str, each: bool
) -> None:
    store = make(tmp_path)
    errors = [error, "other"] if each else error
    samples = T({"id": [1, 2], "sound": ["a", "b"]})
    store.record_failures("out", samples, errors, increment=store.resolve_update("out"))
    table = store.failures("out").collect().to_native()
    found = [(row["metaxy_error_type"], row["metaxy_error"]) for row in table.to_pylist()]
    assert table.schema.field("metaxy_error_type").type == pa.string()
    assert found == [(kind, text), (None, "other") if each else (kind, text)]


def test_counts_are_told_and_added() -> None:
    one, two = Counts(1, 2, 3, 4), Counts(10, 20, 30)
    assert one + two == Counts(11, 22, 33, 4)
    assert (one.pending, one.listed) == (3, "new=1, stale=2, orphaned=3, quarantined=4")
    assert repr(two) == "Counts(new=10, stale=20, orphaned=30)"
    rows = T({STATUS: pa.array([0, 4, 1, 1, 3, 2, 2, 2], pa.int32()), "n": range(8)})
    assert Counts.of(rows) == Counts.of(rows.to_batches()[0]) == Counts(1, 2, 3, 1)
    assert having(rows, [1, 4]).column("n").to_pylist() == [1, 2, 3]
    assert having(rows, range(5)) is rows
    assert having(rows.slice(0, 0), [1]).num_rows == 0
