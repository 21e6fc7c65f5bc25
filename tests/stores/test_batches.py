"""Batches of an increment: each pending sample once, in order, whatever is known beforehand."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from patience import elsewhere, patient

from metaxy_dagster.features import FeatureDep, FeatureGraph, FeatureSpec, LineageRelationship
from metaxy_dagster.stores import DuckDBMetadataStore, Increment
from metaxy_dagster.stores.frames import spool as spool_module
from metaxy_dagster.stores.frames.spool import Spool

# So many samples left open are more than a watermark keeps note of.
MANY = 210_000


def graph() -> FeatureGraph:
    found = FeatureGraph()
    found.add(FeatureSpec("video", id_columns=["id"]))
    found.add(FeatureSpec("bulky", id_columns=["id"]))
    found.add(FeatureSpec("crop", id_columns=["id"], deps=["video"]))
    found.add(FeatureSpec("listed", id_columns=["id"], deps=["bulky"]))
    parent = FeatureDep("video", lineage=LineageRelationship.expansion())
    found.add(FeatureSpec("child", id_columns=["id", "k"], deps=[parent]))
    return found


@pytest.fixture(autouse=True, params=["in memory", "in a file"])
def _where_rows_wait(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    if request.param == "in a file":
        monkeypatch.setattr(spool_module, "IN_MEMORY", 0)


@pytest.fixture
def store(tmp_path: Path) -> DuckDBMetadataStore:
    """Of crop 1-5 are stored; 2 is stale, 5 orphaned, 6-9 new. Of listed all are new."""
    made = DuckDBMetadataStore(tmp_path / "m.duckdb", graph=graph())
    made.write("video", pa.table({"id": [5, 4, 3, 2, 1], "x": ["a"] * 5}))
    first = made.resolve_update("crop")
    made.write("crop", pa.table({"id": [1, 2, 3, 4, 5], "y": [0] * 5}), increment=first)
    made.write("video", pa.table({"id": [9, 6, 8, 7, 2], "x": ["b"] * 5}))
    made.delete("video", filters="id = 5")
    made.write("bulky", pa.table({"id": [3, 1, 2], "x": [[1], [2], [3]]}))
    return made


def touch_delta(increment: Increment) -> None:
    increment.delta.num_rows  # noqa: B018 - a property that is remembered


def touch_frames(increment: Increment) -> None:
    increment.new.collect()


def touch_counts(increment: Increment) -> None:
    increment.counts.pending  # noqa: B018 - a property that is remembered


def touch_nothing(increment: Increment) -> None:
    del increment


def ids(increments: Iterator[Increment]) -> list[list[int]]:
    return [sorted(batch.pending.collect()["id"].to_list()) for batch in increments]


@pytest.mark.parametrize("touch", [touch_delta, touch_frames, touch_counts, touch_nothing])
@pytest.mark.parametrize(
    ("feature", "size", "expected"),
    [
        ("crop", 2, [[2, 6], [7, 8], [9]]),
        ("crop", 5, [[2, 6, 7, 8, 9]]),
        ("crop", 100, [[2, 6, 7, 8, 9]]),
        ("listed", 2, [[1, 2], [3]]),
        ("listed", 1, [[1], [2], [3]]),
        ("child", 3, [[1, 2, 3], [4, 6, 7], [8, 9]]),
    ],
)
def test_batches_are_the_same_whatever_was_asked_for_before(
    store: DuckDBMetadataStore,
    touch: Callable[[Increment], None],
    feature: str,
    size: int,
    expected: list[list[int]],
) -> None:
    increment = store.resolve_update(feature)
    touch(increment)
    batches = increment.batches(size)
    assert batches.samples == sum(map(len, expected))
    assert ids(batches) == expected


@pytest.mark.parametrize("touch", [touch_frames, touch_nothing])
@pytest.mark.parametrize(("feature", "bulky"), [("crop", False), ("crop", True), ("child", False)])
def test_batches_come_in_the_order_of_their_ids(
    tmp_path: Path, touch: Callable[[Increment], None], feature: str, bulky: bool
) -> None:
    """So many rows that an engine which was not asked for an order gives another one."""
    made = DuckDBMetadataStore(tmp_path / "m.duckdb", graph=graph())
    scattered = [number * 7919 % 5003 for number in range(5003)]
    content = [[0]] * 5003 if bulky else ["a"] * 5003
    made.write("video", pa.table({"id": scattered, "x": content}))
    increment = made.resolve_update(feature)
    touch(increment)
    found = [one for batch in ids(increment.batches(700)) for one in batch]
    assert found == list(range(5003))


@pytest.mark.parametrize("touch", [touch_delta, touch_frames, touch_nothing])
def test_a_batch_has_the_columns_and_provenance_of_the_whole(
    store: DuckDBMetadataStore, touch: Callable[[Increment], None]
) -> None:
    for feature in ("crop", "listed", "child"):
        plain = store.resolve_update(feature)
        whole, delta = plain.pending.collect().to_arrow().sort_by("id"), plain.delta
        increment = store.resolve_update(feature)
        touch(increment)
        batches = list(increment.batches(2))
        parts = [batch.pending.collect().to_arrow() for batch in batches]
        assert pa.concat_tables(parts).sort_by("id").equals(whole)
        assert all(batch.delta.schema.equals(delta.schema) for batch in batches)
        assert all(batch.whole is increment for batch in batches)


def test_what_else_an_increment_tells_is_the_same_after_batches(store: DuckDBMetadataStore) -> None:
    plain, batched = store.resolve_update("crop"), store.resolve_update("crop")
    batched.batches(2)
    assert batched.counts == plain.counts
    assert batched.orphaned_ids.to_pylist() == plain.orphaned_ids.to_pylist() == [{"id": 5}]
    assert batched.orphaned.collect()["id"].to_list() == [5]
    assert batched.stale.collect()["id"].to_list() == [2]
    for increment in (plain, batched):
        assert increment.ids([2]).to_pylist() == [{"id": 5}]
        assert increment.ids([1, 2]).sort_by("id").to_pylist() == [{"id": 2}, {"id": 5}]
        assert increment.ids([4]).to_pylist() == []
    assert batched.delta.sort_by("id").equals(plain.delta.sort_by("id"))


def test_quarantined_samples_are_in_no_batch(store: DuckDBMetadataStore) -> None:
    for _ in range(3):
        increment = store.resolve_update("crop")
        store.record_failures("crop", [{"id": 6}, {"id": 8}], "too dark", increment=increment)
    increment = store.resolve_update("crop")
    batches = increment.batches(2)
    assert (batches.samples, increment.counts.quarantined) == (3, 2)
    assert ids(batches) == [[2, 7], [9]]
    assert sorted(increment.quarantined.collect()["id"].to_list()) == [6, 8]


def test_batches_written_one_by_one_leave_nothing_pending(store: DuckDBMetadataStore) -> None:
    for batch in store.resolve_update("crop").batches(2):
        names = batch.pending.collect()["id"].to_list()
        store.write("crop", pa.table({"id": names, "y": [1] * len(names)}), increment=batch)
    assert store.resolve_update("crop").counts == type(store.resolve_update("crop").counts)(0, 0, 1)


def write_elsewhere(path: Path) -> None:
    made = DuckDBMetadataStore(path, graph=graph(), lock_timeout=patient(20))
    made.write("video", pa.table({"id": [1], "x": ["changed"]}))


def test_others_may_write_between_batches(store: DuckDBMetadataStore) -> None:
    batches = store.resolve_update("crop").batches(2)
    seen = ids(iter([next(batches)]))
    assert elsewhere(write_elsewhere, store.path) == 0
    assert seen + ids(batches) == [[2, 6], [7, 8], [9]], "the snapshot of the resolve"
    assert store.resolve_update("crop").counts.stale == 2


def test_more_open_samples_than_a_watermark_keeps_note_of(tmp_path: Path) -> None:
    made = DuckDBMetadataStore(tmp_path / "m.duckdb", graph=graph())
    made.write("video", pa.table({"id": range(MANY), "x": range(MANY)}))
    first, *_ = made.resolve_update("crop").batches(1_000)
    made.write("crop", pa.table({"id": range(1_000), "y": range(1_000)}), increment=first)
    assert made.resolve_update("crop").counts.new == MANY - 1_000
    rest = list(made.resolve_update("crop").batches(150_000))
    for batch in rest:
        found = batch.pending.collect().to_arrow()
        made.write("crop", found.select(["id", "x"]).rename_columns(["id", "y"]), increment=batch)
    assert [batch.counts.new for batch in rest] == [150_000, MANY - 151_000]
    assert made.resolve_update("crop").counts.pending == 0
    assert made.count("crop") == MANY


@given(
    parts=st.lists(st.integers(0, 5), max_size=6),
    start=st.integers(0, 12),
    number=st.integers(0, 12),
)
@settings(max_examples=80, deadline=None)
def test_a_spool_gives_back_any_slice(parts: list[int], start: int, number: int) -> None:
    total = sum(parts)
    rows = pa.table({"i": pa.array(range(total), pa.int64()), "t": [str(i) for i in range(total)]})
    rows = rows.cast(pa.schema([("i", pa.int64()), ("t", pa.string())]))
    spool, done = Spool(rows.schema), 0
    for part in parts:
        spool.append(rows.slice(done, part))
        done += part
    start = min(start, total)
    assert len(spool) == total
    assert spool.slice(start, number).to_pylist() == rows.slice(start, number).to_pylist()
    assert [row for part in spool.parts() for row in part.to_pylist()] == rows.to_pylist()


def test_a_spool_that_outgrows_memory_leaves_no_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(spool_module, "IN_MEMORY", 100)
    rows = pa.table({"i": range(1_000)})
    spool = Spool(rows.schema, tmp_path)
    for start in range(0, 1_000, 100):
        spool.append(rows.slice(start, 100))
    assert spool.slice(450, 100).column("i").to_pylist() == list(range(450, 550))
    assert list(tmp_path.iterdir()) == []


def test_a_directory_that_cannot_be_used_is_not(tmp_path: Path) -> None:
    rows = pa.table({"i": [1]})
    spool = Spool(rows.schema, tmp_path / "nowhere")
    spool.append(rows)
    assert spool.slice(0, 1).num_rows == 1
