"""Samples that fail: noted, tried again, left out after so many attempts, taken back on request."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from metaxy_dagster.errors import ConfigError, FeatureError, FrameError, StoreError
from metaxy_dagster.features import FeatureDep, FeatureGraph, FeatureSpec, LineageRelationship
from metaxy_dagster.stores import Counts, DuckDBMetadataStore, Increment
from metaxy_dagster.stores.counts import QUARANTINED, STATUS

IDS = (1, 2, 3, 4)
NAMES = ("new", "stale", "pending", "quarantined", "orphaned")


def graph(version: str = "1") -> FeatureGraph:
    made = FeatureGraph()
    made.add(FeatureSpec("video", id_columns=["id"]))
    made.add(FeatureSpec("crop", id_columns=["id"], deps=["video"], fields={"default": version}))
    parent = FeatureDep("video", lineage=LineageRelationship.expansion())
    made.add(FeatureSpec("child", id_columns=["id", "n"], deps=[parent]))
    return made


def videos(rows: dict[int, int]) -> pa.Table:
    return pa.table({"id": pa.array(list(rows), pa.int64()), "x": list(rows.values())})


def make(path: Path, **options: Any) -> DuckDBMetadataStore:
    options = {"max_attempts": 2, "max_incremental_share": 100, **options}
    store = DuckDBMetadataStore(path / "m.duckdb", graph=graph(), **options)
    store.write("video", videos(dict.fromkeys(IDS, 0)))
    return store


@pytest.fixture
def store(tmp_path: Path) -> DuckDBMetadataStore:
    return make(tmp_path)


def rows(ids: Sequence[int]) -> list[dict[str, int]]:
    return [{"id": i} for i in ids]


def fail(store: DuckDBMetadataStore, *ids: int, times: int = 1, key: str = "crop") -> None:
    for _ in range(times):
        store.record_failures(key, rows(ids), "broken", increment=store.resolve_update(key))


def ids_of(frame: Any) -> list[int]:
    return sorted(frame.collect(backend="pyarrow")["id"].to_list())


def compute(store: DuckDBMetadataStore, *left_out: int, increment: Increment | None = None) -> None:
    increment = store.resolve_update("crop") if increment is None else increment
    ids = [i for i in ids_of(increment.pending) if i not in left_out]
    frame = pa.table({"id": pa.array(ids, pa.int64()), "y": pa.array(ids, pa.int64())})
    store.write("crop", frame, increment=increment, delete_orphaned=True)


def seen(store: DuckDBMetadataStore, key: str = "crop") -> dict[str, list[int]]:
    """What an increment says of its samples; all its answers must agree, in any order of asking."""
    found = {name: ids_of(getattr(store.resolve_update(key), name)) for name in NAMES}
    whole = store.resolve_update(key)
    counts = whole.counts
    assert counts == Counts(
        *(len(found[name]) for name in ("new", "stale", "orphaned", "quarantined"))
    )
    assert counts == store.resolve_update(key).counts == Counts.of(whole.delta)
    assert {name: ids_of(getattr(whole, name)) for name in NAMES} == found
    batches = list(whole.batches(2))
    assert sorted(i for batch in batches for i in ids_of(batch.pending)) == found["pending"]
    assert sum(batch.counts.pending for batch in batches) == counts.pending
    assert ids_of(whole.upstream("video")) == found["pending"]
    held = [row["id"] for row in whole.delta.to_pylist() if row[STATUS] == QUARANTINED]
    assert sorted(held) == found["quarantined"]
    return found


def test_a_sample_that_fails_too_often_is_left_out(store: DuckDBMetadataStore) -> None:
    fail(store, 2)
    assert seen(store)["pending"] == [1, 2, 3, 4]
    result = store.record_failures(
        "crop", rows([2, 3]), ValueError("no"), increment=store.resolve_update("crop")
    )
    assert (result.failed, result.quarantined, result.retried) == (2, 1, 1)
    found = seen(store)
    assert (found["new"], found["quarantined"]) == ([1, 3, 4], [2])
    assert repr(store.resolve_update("crop")) == (
        "Increment('crop', new=3, stale=0, orphaned=0, quarantined=1)"
    )


def test_counts_without_quarantined_samples_are_as_ever() -> None:
    assert Counts(1, 2, 3) == Counts(1, 2, 3, 0)
    assert repr(Counts(1, 2, 3)) == "Counts(new=1, stale=2, orphaned=3)"


def test_failures_tell_what_happened(store: DuckDBMetadataStore) -> None:
    increment = store.resolve_update("crop")
    long = "x" * 5000
    store.record_failures(
        "crop", rows([1, 2]), [KeyError("k"), long], increment=increment, materialization_id="run"
    )
    fail(store, 1)
    found = {row["id"]: row for row in store.failures("crop").collect().to_native().to_pylist()}
    assert [
        found[1][f"metaxy_{n}"] for n in ("error_type", "error", "attempts", "quarantined")
    ] == [
        None,
        "broken",
        2,
        True,
    ]
    assert [found[2][f"metaxy_{n}"] for n in ("error_type", "attempts", "quarantined")] == [
        None,
        1,
        False,
    ]
    assert len(found[2]["metaxy_error"]) == 1000
    assert found[2]["metaxy_materialization_id"] == "run"
    assert store.failures("child").collect().shape == (0, 7)


def test_an_exception_is_noted_with_its_type(store: DuckDBMetadataStore) -> None:
    increment = store.resolve_update("crop")
    store.record_failures("crop", rows([1]), FrameError("torn"), increment=increment)
    (row,) = store.failures("crop").collect().to_native().to_pylist()
    assert (row["metaxy_error_type"], row["metaxy_error"]) == (
        "metaxy_dagster.errors.FrameError",
        "torn",
    )


def test_a_changed_upstream_gives_a_fresh_chance(store: DuckDBMetadataStore) -> None:
    compute(store, 2)
    fail(store, 2, times=2)
    assert seen(store)["pending"] == []
    store.write("video", videos({2: 9}))
    assert seen(store)["new"] == [2]
    fail(store, 2)
    assert seen(store)["new"] == [2]
    fail(store, 2)
    assert seen(store)["quarantined"] == [2]


def test_a_new_code_version_gives_a_fresh_chance(store: DuckDBMetadataStore) -> None:
    compute(store)
    store.write("video", videos({2: 9}))
    fail(store, 2, times=2)
    assert seen(store)["quarantined"] == [2]
    assert seen(store.with_graph(graph("2")))["stale"] == [1, 2, 3, 4]


def test_a_sample_that_is_written_is_forgiven(store: DuckDBMetadataStore) -> None:
    """Also one that was quarantined while somebody computed it."""
    before = store.resolve_update("crop")
    fail(store, 2, times=2)
    compute(store, increment=before)
    assert store.failures("crop").collect().shape[0] == 0
    assert seen(store) == {name: [] for name in NAMES}


def test_a_full_recompute_may_bring_quarantined_samples(store: DuckDBMetadataStore) -> None:
    fail(store, 2, times=2)
    increment = store.resolve_update("crop", keep_unchanged=True)
    frame = pa.table({"id": list(IDS), "y": list(IDS)})
    store.write("crop", frame, increment=increment, mode="replace")
    assert store.failures("crop").collect().shape[0] == 0
    assert store.count("crop") == 4


def test_failures_of_samples_that_are_gone_are_forgotten(store: DuckDBMetadataStore) -> None:
    fail(store, 2, times=2)
    fail(store, 3)
    store.delete("video", filters="id = 2")
    compute(store, 3)
    assert ids_of(store.failures("crop")) == [3]


@pytest.mark.parametrize("share", [0, 100])
def test_retried_samples_are_found_again(
    tmp_path: Path, share: float, narrowed: list[int | None]
) -> None:
    """Through the watermark too: quarantined samples were never answered."""
    store = make(tmp_path, max_incremental_share=share)
    compute(store, 2, 3)
    fail(store, 2, 3, times=2)
    # Another write moves the watermark on, past the commits that the failures are as of.
    store.write("video", videos({1: 7, 8: 8}))
    compute(store)
    assert seen(store)["pending"] == []
    assert store.retry("crop", filters="id = 3") == 1
    narrowed.clear()
    assert seen(store)["pending"] == [3]
    assert (2 in narrowed) is bool(share)
    assert store.retry("crop") == 1
    assert seen(store)["pending"] == [2, 3]
    compute(store)
    assert seen(store)["pending"] == []
    assert store.retry("crop") == 0


def test_failures_are_retried_by_what_went_wrong(store: DuckDBMetadataStore) -> None:
    errors = [TimeoutError("slow"), ValueError("bad")]
    for _ in range(2):
        increment = store.resolve_update("crop")
        store.record_failures("crop", rows([1, 2]), errors, increment=increment)
    assert store.retry("crop", filters="metaxy_error_type = 'TimeoutError'") == 1
    assert seen(store)["quarantined"] == [2]


def test_a_batch_takes_failures_too(store: DuckDBMetadataStore) -> None:
    for batch in store.resolve_update("crop").batches(3):
        for _ in range(2):
            store.record_failures("crop", batch.pending, "all of it", increment=batch)
    assert seen(store)["quarantined"] == [1, 2, 3, 4]


def test_a_parent_fails_as_a_whole(store: DuckDBMetadataStore) -> None:
    fail(store, 2, times=2, key="child")
    increment = store.resolve_update("child")
    assert ids_of(increment.pending) == [1, 3, 4]
    frame = pa.table({"id": [1, 1, 3], "n": [1, 2, 1]})
    store.write("child", frame, increment=increment)
    assert store.resolve_update("child").counts == Counts(1, 0, 0, 1)
    store.retry("child")
    store.write("child", pa.table({"id": [2], "n": [1]}), increment=store.resolve_update("child"))
    assert store.resolve_update("child").counts == Counts(1, 0, 0)


def test_the_samples_of_a_root_fail_by_their_content_and_code(store: DuckDBMetadataStore) -> None:
    def resolved(x: int) -> Increment:
        return store.resolve_update("video", samples=videos({1: x, 9: x}))

    for _ in range(2):
        store.record_failures("video", rows([9]), "no", increment=resolved(0))
    assert resolved(0).counts.quarantined == 1
    assert resolved(1).counts == Counts(1, 1, 3)


def test_any_number_of_attempts(tmp_path: Path) -> None:
    store = make(tmp_path, max_attempts=0)
    fail(store, 2, times=9)
    assert store.resolve_update("crop").counts == Counts(4, 0, 0)
    (row,) = store.failures("crop").collect().to_native().to_pylist()
    assert (row["metaxy_attempts"], row["metaxy_quarantined"]) == (9, False)


def test_ids_may_arrive_in_a_wider_type_later(tmp_path: Path) -> None:
    store = DuckDBMetadataStore(tmp_path / "m.duckdb", graph=graph(), max_attempts=1)
    store.write("video", pa.table({"id": pa.array([1, 2], pa.int8()), "x": [0, 0]}))
    fail(store, 1)
    store.write("video", pa.table({"id": pa.array([2**40], pa.int64()), "x": [0]}))
    fail(store, 2**40)
    assert seen(store)["quarantined"] == [1, 2**40]


@pytest.mark.parametrize("kind", [pa.int8(), pa.string()], ids=str)
def test_samples_are_noted_once_and_in_the_types_of_the_increment(
    store: DuckDBMetadataStore, kind: pa.DataType
) -> None:
    for attempt in (1, 2):
        increment = store.resolve_update("crop")
        samples = pa.table({"id": pa.array([2, 3, 2], pa.int8()).cast(kind)})
        result = store.record_failures("crop", samples, "broken", increment=increment)
        assert (result.failed, result.quarantined) == (2, 2 * (attempt == 2))
        found = store.failures("crop").collect().to_native()
        assert found.column("id").type == pa.int64()
        assert found.column("metaxy_attempts").to_pylist() == [attempt] * 2
        assert increment.failed is not None
        assert increment.failed.schema.types == [pa.int64()]
    assert seen(store)["quarantined"] == [2, 3]


def test_a_feature_that_is_dropped_takes_its_failures_along(store: DuckDBMetadataStore) -> None:
    compute(store, 2)
    fail(store, 2)
    store.drop("crop")
    assert store.failures("crop").collect().shape[0] == 0


def test_nothing_that_failed_is_no_failure(store: DuckDBMetadataStore) -> None:
    before = store.path.stat().st_mtime_ns
    assert (
        store.record_failures("crop", [], "x", increment=store.resolve_update("crop")).failed == 0
    )
    assert store.retry("crop") == 0
    assert store.path.stat().st_mtime_ns >= before


def stranger(store: DuckDBMetadataStore, crop: Increment) -> object:
    return store.record_failures("crop", rows([99]), "x", increment=crop)


def without_ids(store: DuckDBMetadataStore, crop: Increment) -> object:
    return store.record_failures("crop", [{"name": 1}], "x", increment=crop)


def too_few_errors(store: DuckDBMetadataStore, crop: Increment) -> object:
    return store.record_failures("crop", rows([1, 2]), ["x"], increment=crop)


def of_another(store: DuckDBMetadataStore, crop: Increment) -> object:
    return store.record_failures("child", rows([1]), "x", increment=crop)


def no_frame(store: DuckDBMetadataStore, crop: Increment) -> object:
    return store.record_failures("crop", 5, "x", increment=crop)


def unknown(store: DuckDBMetadataStore, crop: Increment) -> object:
    return store.record_failures("crup", rows([1]), "x", increment=crop)


def while_reading(store: DuckDBMetadataStore, crop: Increment) -> object:
    with store:
        return store.record_failures("crop", rows([1]), "x", increment=crop)


def bad_filter(store: DuckDBMetadataStore, crop: Increment) -> object:
    return store.retry("crop", filters="height > 1")


@pytest.mark.parametrize(
    ("call", "error", "text"),
    [
        (stranger, FrameError, "'crop': samples .* did not ask for"),
        (without_ids, FrameError, "'crop': failed samples .* columns of the increment"),
        (too_few_errors, FrameError, "'crop': .* one error for all"),
        (of_another, FrameError, "'child': .* not one of this feature"),
        (no_frame, FrameError, "'crop': .* not a frame"),
        (unknown, FeatureError, "crop"),
        (while_reading, StoreError, "open for reading"),
        (bad_filter, StoreError, "the failures of feature 'crop'"),
    ],
)
def test_what_is_refused(
    store: DuckDBMetadataStore, call: Callable[..., object], error: type[Exception], text: str
) -> None:
    crop = store.resolve_update("crop")
    with pytest.raises(error, match=text):
        call(store, crop)
    assert seen(store)["pending"] == [1, 2, 3, 4]


@pytest.mark.parametrize("value", [-1, 1.5, True, "3"])
def test_a_number_of_attempts_is_refused(tmp_path: Path, value: Any) -> None:
    with pytest.raises(ConfigError, match="number of attempts"):
        DuckDBMetadataStore(tmp_path / "m.duckdb", max_attempts=value)


STEP = st.tuples(
    st.sampled_from(["fail", "fail", "fail", "compute", "change", "delete", "retry", "bump"]),
    st.sets(st.sampled_from(IDS), min_size=1),
)


@settings(max_examples=12, deadline=None)
@given(steps=st.lists(STEP, min_size=3, max_size=10), share=st.sampled_from([0, 100]))
def test_any_history(steps: list[tuple[str, set[int]]], share: float) -> None:
    """A model in plain Python: who is pending, who has failed how often under what."""
    with tempfile.TemporaryDirectory() as folder:
        store = make(Path(folder), max_incremental_share=share)
        upstream = dict.fromkeys(IDS, 0)
        stored: dict[int, tuple[int, int]] = {}
        failed: dict[int, tuple[tuple[int, int], int]] = {}
        version = 1
        for what, ids in steps:
            wanted = {i: (x, version) for i, x in upstream.items()}
            open_ = {i for i in wanted if stored.get(i) != wanted[i]}
            held = {i for i in open_ if failed.get(i) == (wanted[i], 2)}
            if what == "fail":
                fail(store, *(ids & (open_ - held)))
                for i in ids & (open_ - held):
                    before = failed.get(i, (None, 0))
                    failed[i] = (wanted[i], before[1] + 1 if before[0] == wanted[i] else 1)
            elif what == "compute":
                compute(store, *(set(IDS) - ids))
                stored = {i: v for i, v in stored.items() if i in wanted}
                done = ids & (open_ - held)
                stored |= {i: wanted[i] for i in done}
                failed = {i: f for i, f in failed.items() if i not in done and i in open_}
            elif what == "change":
                new = max(upstream.values(), default=0) + 1
                upstream |= dict.fromkeys(ids, new)
                store.write("video", videos(upstream))
            elif what == "delete":
                upstream = {i: x for i, x in upstream.items() if i not in ids}
                for i in ids:
                    store.delete("video", filters=f"id = {i}")
            elif what == "retry":
                for i in ids:
                    store.retry("crop", filters=f"id = {i}")
                    failed.pop(i, None)
            else:
                version += 1
                store = store.with_graph(graph(str(version)))
            wanted = {i: (x, version) for i, x in upstream.items()}
            open_ = {i for i in wanted if stored.get(i) != wanted[i]}
            held = {i for i in open_ if failed.get(i) == (wanted[i], 2)}
            found = seen(store)
            assert found["quarantined"] == sorted(held)
            assert found["pending"] == sorted(open_ - held)
            assert found["orphaned"] == sorted(set(stored) - set(wanted))
