"""Answers to an increment that were computed from something else: refused, or right."""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal
from pathlib import Path
from typing import Any

import polars as pl
import pyarrow as pa
import pytest

from metaxy_dagster import constants as c
from metaxy_dagster.errors import FrameError, MetaxyError
from metaxy_dagster.features import FeatureDep, FeatureGraph, FeatureSpec, FieldSpec
from metaxy_dagster.stores import DuckDBMetadataStore, Increment

VERSIONS = c.COL_DATA_VERSION_BY_FIELD
IDS = pa.int64()


def open_at(folder: Path, *, code: str = "1", **derived: Any) -> DuckDBMetadataStore:
    """A root ``clip``, and ``crop`` and ``tag`` computed from it."""
    graph = FeatureGraph()
    graph.add(FeatureSpec("clip", id_columns=["id"]))
    fields = derived.pop("fields", ["default"])
    spec = {"id_columns": ["id"], "deps": ["clip"], **derived}
    graph.add(FeatureSpec("crop", fields=[FieldSpec(f, code_version=code) for f in fields], **spec))
    graph.add(FeatureSpec("tag", id_columns=["id"], deps=["crop"]))
    # Everything is looked at, whatever an earlier write noted.
    return DuckDBMetadataStore(folder / "m.duckdb", graph=graph, max_incremental_share=0)


@pytest.fixture
def store(tmp_path: Path) -> DuckDBMetadataStore:
    made = open_at(tmp_path)
    made.write("clip", clips(x=1))
    return made


def clips(*, x: int, given: str | None = None) -> pa.Table:
    table = pa.table({"id": [1, 2], "x": [x, x]})
    if given is None:
        return table
    return table.append_column(VERSIONS, pa.array([{"default": given}] * 2))


def collected(frame: Any) -> pa.Table:
    found: pa.Table = frame.collect().to_native()
    return found


def catch_up(store: DuckDBMetadataStore, key: str) -> None:
    store.write(key, store.resolve_update(key).pending)


def counts(store: DuckDBMetadataStore, key: str) -> tuple[int, int, int]:
    found = store.resolve_update(key).counts
    return found.new, found.stale, found.orphaned


# Rows that came along from elsewhere


def test_what_came_along_with_an_upstreams_rows_is_not_the_features(
    store: DuckDBMetadataStore, tmp_path: Path
) -> None:
    increment = store.resolve_update("crop")
    store.write("crop", store.read("clip"), increment=increment)
    assert counts(store, "crop") == (0, 0, 0)
    catch_up(store, "tag")
    newer = open_at(tmp_path, code="2")
    newer.write("crop", newer.read("clip"), increment=newer.resolve_update("crop"))
    assert counts(newer, "crop") == (0, 0, 0)
    assert counts(newer, "tag") == (0, 2, 0), "the bump stops at crop"


def test_versions_that_a_user_gave_to_an_upstream_are_not_the_features(
    store: DuckDBMetadataStore,
) -> None:
    store.write("clip", clips(x=2, given="theirs"))
    increment = store.resolve_update("crop")
    with pytest.raises(FrameError, match="data versions of another feature") as refusal:
        store.write("crop", store.read("clip"), increment=increment)
    assert "drop the metaxy_ columns" in str(refusal.value)
    assert store.count("crop") == 0


def test_rows_of_an_older_state_do_not_keep_their_data_versions(
    store: DuckDBMetadataStore,
) -> None:
    catch_up(store, "crop")
    catch_up(store, "tag")
    store.write("clip", clips(x=2))
    before, increment = collected(store.read("crop")), store.resolve_update("crop")
    with pytest.raises(FrameError, match="provenance of something else"):
        store.write("crop", before, increment=increment)
    store.write("crop", before.drop_columns([c.COL_PROVENANCE_BY_FIELD]), increment=increment)
    assert counts(store, "crop") == (0, 0, 0)


@pytest.mark.parametrize("given", [None, "mine"])
def test_a_frame_that_was_read_is_written_back_as_it_is(
    store: DuckDBMetadataStore, given: str | None
) -> None:
    store.write("clip", clips(x=1, given=given))
    before = collected(store.read("clip"))
    result = store.write("clip", before)
    assert (result.commit, result.unchanged) == (0, 2)
    assert collected(store.read("clip")).equals(before)


def test_rows_of_two_increments_are_refused_together_and_right_apart(
    store: DuckDBMetadataStore,
) -> None:
    first = store.resolve_update("crop")
    early = collected(first.pending)
    store.write("clip", clips(x=2))
    second = store.resolve_update("crop")
    mixed = pa.concat_tables([early.slice(0, 1), collected(second.pending).slice(1, 1)])
    for increment in (first, second):
        with pytest.raises(FrameError, match="provenance of something else"):
            store.write("crop", mixed, increment=increment)
    store.write("crop", mixed)
    assert counts(store, "crop") == (0, 1, 0)


def test_an_increment_may_be_answered_twice_and_late(store: DuckDBMetadataStore) -> None:
    late = store.resolve_update("crop")
    rows = collected(late.pending)
    store.write("clip", clips(x=2))
    catch_up(store, "crop")
    for _ in range(2):
        store.write("crop", rows, increment=late)
        assert counts(store, "crop") == (0, 2, 0)


# Increments of something else


def test_an_increment_of_another_feature_is_refused(store: DuckDBMetadataStore) -> None:
    with pytest.raises(FrameError, match="not one of this feature"):
        store.write("tag", pa.table({"id": [1]}), increment=store.resolve_update("crop"))


def test_an_increment_of_another_file_stamps_what_it_says(
    store: DuckDBMetadataStore, tmp_path: Path
) -> None:
    (tmp_path / "other").mkdir()
    other = open_at(tmp_path / "other")
    other.write("clip", clips(x=9))
    increment = other.resolve_update("crop")
    store.write("crop", increment.pending, increment=increment)
    # It was computed from other rows than these.
    assert counts(store, "crop") == (0, 2, 0)


REDEFINED: dict[str, dict[str, Any]] = {
    "a field more": {"fields": ["default", "y"]},
    "another field": {"fields": ["y"]},
    "a filter": {"deps": [FeatureDep("clip", filters="x > 1")]},
    "a renamed id": {"id_columns": ["key"], "deps": [FeatureDep("clip", rename={"id": "key"})]},
    "an id more": {
        "id_columns": ["id", "x"],
        "deps": [FeatureDep("clip", lineage={"type": "expansion"})],
    },
}


@pytest.mark.parametrize("name", REDEFINED)
@pytest.mark.parametrize("call", ["write", "failures", "empty"])
def test_an_increment_of_another_definition_is_refused(
    name: str, call: str, store: DuckDBMetadataStore, tmp_path: Path
) -> None:
    increment = store.resolve_update("crop")
    newer = open_at(tmp_path, **REDEFINED[name])
    rows = pa.table({name: [1, 2] for name in ("id", "key", "x")})
    calls: dict[str, Callable[[], object]] = {
        "write": lambda: newer.write("crop", rows, increment=increment),
        "failures": lambda: newer.record_failures("crop", rows, "dark", increment=increment),
        "empty": lambda: newer.write("crop", rows.slice(0, 0), increment=increment, empty="rest"),
    }
    with pytest.raises(FrameError, match="another definition") as refusal:
        calls[call]()
    assert "resolve again" in str(refusal.value)
    assert newer.count("crop") == newer.failed("crop").failed == 0


def test_what_was_computed_by_older_code_is_stale(
    store: DuckDBMetadataStore, tmp_path: Path
) -> None:
    increment = store.resolve_update("crop")
    newer = open_at(tmp_path, code="2")
    newer.write("crop", pa.table({"id": [1, 2]}), increment=increment)
    assert counts(newer, "crop") == (0, 2, 0)
    assert counts(store, "crop") == (0, 0, 0)


# Ids in another spelling


@pytest.mark.parametrize(
    ("ids", "right"),
    [
        (["7", "8"], True),
        ([Decimal(7), Decimal(8)], True),
        (["007", "8"], False),
        ([" 7", "8"], False),
        (["7.2", "8"], False),
        ([Decimal("7.2"), Decimal(8)], False),
        (["x", "8"], False),
    ],
    ids=str,
)
def test_ids_are_found_again_or_refused(ids: list[Any], right: bool, tmp_path: Path) -> None:
    store = open_at(tmp_path)
    store.write("clip", pa.table({"id": [7, 8]}))
    frame, increment = pa.table({"id": ids}), store.resolve_update("crop")
    if right:
        store.write("crop", frame, increment=increment)
        assert counts(store, "crop") == (0, 0, 0)
    else:
        with pytest.raises(FrameError, match="another type than the increment"):
            store.write("crop", frame, increment=increment)
        assert store.count("crop") == 0


def test_texts_that_a_number_stands_for_twice_are_refused(tmp_path: Path) -> None:
    store = open_at(tmp_path)
    store.write("clip", pa.table({"id": ["7", "007", "x"]}))
    with pytest.raises(FrameError, match="another type than the increment"):
        store.write("crop", pa.table({"id": [7]}), increment=store.resolve_update("crop"))


@pytest.mark.parametrize("ids", [["007", "8"], ["x", "8"], ["7 ", "8"]], ids=str)
def test_samples_of_a_root_are_named_in_one_spelling(ids: list[str], tmp_path: Path) -> None:
    store = open_at(tmp_path)
    store.write("clip", pa.table({"id": [7, 8]}))
    with pytest.raises(FrameError, match="by text"):
        _ = store.resolve_update("clip", samples=pa.table({"id": ids})).counts


@pytest.mark.parametrize("ids", [[2**63, 2**64 - 1], [0, 2**63]], ids=str)
def test_large_ids_are_named_by_dictionaries(ids: list[int], tmp_path: Path) -> None:
    store = open_at(tmp_path)
    store.write("clip", pa.table({"id": pa.array(ids, pa.uint64())}))
    increment = store.resolve_update("crop")
    one, other = ({"id": number, "more": object()} for number in ids)
    assert store.record_failures("crop", [one], "dark", increment=increment).failed == 1
    nothing = pa.table({"id": pa.array([], pa.uint64())})
    assert store.write("crop", nothing, increment=increment, empty=[other]).empty == 1


@pytest.mark.parametrize("ids", [[2**64], [-1, 2**63], ["a", 1], [{"a": 1}, 2]], ids=str)
def test_ids_that_have_no_type_in_common_are_refused(ids: list[Any], tmp_path: Path) -> None:
    store = open_at(tmp_path)
    store.write("clip", pa.table({"id": [1]}))
    samples = [{"id": one} for one in ids]
    with pytest.raises(MetaxyError):
        store.record_failures("crop", samples, "dark", increment=store.resolve_update("crop"))


# Data versions of samples


def by_frame(store: DuckDBMetadataStore, increment: Increment) -> None:
    store.write("clip", collected(increment.pending))


def lazily(store: DuckDBMetadataStore, increment: Increment) -> None:
    store.write("clip", increment.pending)


def by_id(store: DuckDBMetadataStore, increment: Increment) -> None:
    store.write("clip", collected(increment.pending).select(["id", "x"]), increment=increment)


def in_batches(store: DuckDBMetadataStore, increment: Increment) -> None:
    for batch in increment.batches(1):
        store.write("clip", batch.pending)


def streamed(store: DuckDBMetadataStore, increment: Increment) -> None:
    store.write("clip", collected(increment.pending).to_reader(1))


def by_polars(store: DuckDBMetadataStore, increment: Increment) -> None:
    frame = pl.from_arrow(collected(increment.pending))
    store.write("clip", frame, increment=increment)


@pytest.mark.parametrize("write", [by_frame, lazily, by_id, in_batches, streamed, by_polars])
def test_a_samples_data_version_is_what_downstream_follows(
    write: Callable[[DuckDBMetadataStore, Increment], None], store: DuckDBMetadataStore
) -> None:
    def told() -> list[object]:
        return collected(store.read("clip", columns=[VERSIONS])).column(VERSIONS).to_pylist()

    write(store, store.resolve_update("clip", samples=clips(x=2, given="v1")))
    assert told() == [{"default": "v1"}] * 2
    catch_up(store, "crop")
    # The same data by its version, though the columns are others.
    write(store, store.resolve_update("clip", samples=clips(x=3, given="v1")))
    assert counts(store, "crop") == (0, 0, 0)
    # Another version alone calls for the samples too.
    increment = store.resolve_update("clip", samples=clips(x=3, given="v2"))
    assert increment.counts.stale == 2
    write(store, increment)
    assert counts(store, "crop") == (0, 2, 0)
    assert store.resolve_update("clip", samples=clips(x=3, given="v2")).counts.stale == 0


# Orphans and filters


@pytest.mark.parametrize("size", [1, 2])
def test_orphaned_samples_go_with_any_batch(size: int, store: DuckDBMetadataStore) -> None:
    catch_up(store, "crop")
    store.write("clip", pa.table({"id": [3, 4], "x": [1, 1]}), mode="replace")
    batch = next(store.resolve_update("crop").batches(size))
    result = store.write("crop", batch.pending, increment=batch, delete_orphaned=True)
    assert result.deleted == 2
    assert counts(store, "crop") == (2 - size, 0, 0)


def test_filters_on_an_upstreams_column_hold_after_the_first_write(
    store: DuckDBMetadataStore,
) -> None:
    store.write("clip", pa.table({"id": [1, 2, 3], "x": [1, 2, 3]}))
    for limit, new in ((2, 1), (1, 1), (0, 1)):
        increment = store.resolve_update("crop", filters=f"x > {limit}")
        assert increment.counts.new == new
        store.write("crop", collected(increment.pending).select(["id"]), increment=increment)
    store.write("clip", pa.table({"id": [3], "x": [9]}))
    assert store.resolve_update("crop", filters="x > 2").counts.stale == 1
    assert store.resolve_update("crop", filters="x < 3").counts.stale == 0
    # What upstream has no row of any more is not known to be meant.
    store.delete("clip", filters="id = 1")
    assert store.resolve_update("crop", filters="x < 3").counts.orphaned == 0
    assert store.resolve_update("crop").counts.orphaned == 1
    with pytest.raises(MetaxyError):
        _ = store.resolve_update("crop", filters="nowhere > 2").counts


def test_a_field_that_was_dropped_is_written_back(tmp_path: Path) -> None:
    orders = (["x", "y"], ["y"], ["y", "x"], ["x"], ["x", "y"])
    open_at(tmp_path).write("clip", clips(x=1))
    for fields in orders:
        store = open_at(tmp_path, fields=fields)
        assert sum(counts(store, "crop")) == 2
        catch_up(store, "crop")
        assert counts(store, "crop") == (0, 0, 0)
        [row, _] = collected(store.read("crop")).to_pylist()
        known = {name for name, one in row[c.COL_PROVENANCE_BY_FIELD].items() if one is not None}
        assert known == set(fields)
        catch_up(store, "tag")
        assert counts(store, "tag") == (0, 0, 0)


def test_two_dependencies_on_one_feature_say_how_pairs_are_made() -> None:
    sides = [FeatureDep("clip", rename={"id": side}) for side in ("left", "right")]
    with pytest.raises(MetaxyError, match="two dependencies on one feature") as refusal:
        FeatureSpec("pair", id_columns=["left", "right"], deps=sides)
    assert "to pair samples" in str(refusal.value)


# Rows of a root that were read, changed and written back


@pytest.mark.parametrize("given", [False, True])
@pytest.mark.parametrize("streamed_in", [False, True])
def test_changed_rows_of_a_root_are_new_content(
    given: bool, streamed_in: bool, store: DuckDBMetadataStore
) -> None:
    if given:
        etags = pa.array([{"default": "e1"}, {"default": "e2"}])
        store.write("clip", clips(x=1).append_column(c.COL_PROVENANCE_BY_FIELD, etags))
    catch_up(store, "crop")
    read = collected(store.read("clip"))
    changed = read.set_column(read.column_names.index("x"), "x", pa.array([1, 7], pa.int64()))
    assert store.write("clip", changed.to_reader(1) if streamed_in else changed).updated == 1
    increment = store.resolve_update("crop")
    assert increment.ids((0, 1)).to_pylist() == [{"id": 2}]
    catch_up(store, "crop")
    assert store.write("clip", store.read("clip")).commit == 0
    if not given:
        # As if they had been written by somebody who never read them.
        assert store.write("clip", pa.table({"id": [1, 2], "x": [1, 7]})).commit == 0
