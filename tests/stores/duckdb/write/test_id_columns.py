"""Id columns that are declared anew: every call says so, and a migration keeps what it can."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from metaxy_dagster.errors import MetaxyError, StoreError
from metaxy_dagster.features import (
    FeatureDep,
    FeatureGraph,
    FeatureSpec,
    FieldSpec,
    LineageRelationship,
)
from metaxy_dagster.stores import DuckDBMetadataStore, Increment


def open_at(
    folder: Path, shot: tuple[str, ...], crop: tuple[str, ...] | None = None
) -> DuckDBMetadataStore:
    """``shot``, ``crop`` computed from it by the same ids, ``scene`` from all shots of one id."""
    graph = FeatureGraph()
    graph.add(FeatureSpec("shot", id_columns=shot, fields=[FieldSpec("x", columns=["x"])]))
    renamed = {name: here for name, here in zip(shot, crop or shot, strict=True) if name != here}
    graph.add(
        FeatureSpec("crop", id_columns=crop or shot, deps=[FeatureDep("shot", rename=renamed)])
    )
    gathered = LineageRelationship.aggregation(on=["id"])
    dep = FeatureDep("shot", lineage=gathered)
    graph.add(FeatureSpec("scene", id_columns=["id"], deps=[dep] if "id" in shot else []))
    return DuckDBMetadataStore(folder / "m.duckdb", graph=graph)


def shots(*ids: tuple[int, int]) -> pa.Table:
    return pa.table(
        {
            "id": [one for one, _ in ids],
            "camera": [two for _, two in ids],
            "x": list(range(len(ids))),
        }
    )


def catch_up(store: DuckDBMetadataStore, key: str) -> None:
    store.write(key, store.resolve_update(key).pending)


def counts(store: DuckDBMetadataStore, key: str) -> tuple[int, int, int]:
    found = store.resolve_update(key).counts
    return found.new, found.stale, found.orphaned


def ids_of(store: DuckDBMetadataStore, key: str) -> list[dict[str, Any]]:
    names = list(store.graph[key].id_columns)
    rows = store.read_table(key, columns=names).to_pylist()
    return sorted(rows, key=lambda row: [str(row[name]) for name in names])


@pytest.fixture
def two(tmp_path: Path) -> Path:
    """A store by two ids, of which all is computed."""
    store = open_at(tmp_path, ("id", "camera"))
    store.write("shot", shots((1, 0), (1, 1), (2, 0)))
    catch_up(store, "crop")
    catch_up(store, "scene")
    return tmp_path


ROW = pa.table({name: [1] for name in ("id", "camera", "lens", "angle", "x")})
Call = Callable[[DuckDBMetadataStore, Increment], object]
CALLS: dict[str, Call] = {
    "write": lambda store, _: store.write("shot", ROW),
    "replace": lambda store, _: store.write("shot", ROW, mode="replace"),
    "delete": lambda store, _: store.delete("shot", filters="x > 0"),
    "erase": lambda store, _: store.delete("shot", filters="x > 0", soft=False),
    "samples": lambda store, _: store.resolve_update("shot", samples=ROW).counts,
    "resolve": lambda store, _: store.resolve_update("crop").counts,
    "resolve downstream": lambda store, _: store.resolve_update("scene").counts,
    "answer": lambda store, given: store.write("crop", ROW, increment=given),
    "failures": lambda store, given: store.record_failures("crop", ROW, "dark", increment=given),
    "listed failures": lambda store, _: store.failures("crop"),
    "retry": lambda store, _: store.retry("crop"),
    "data version": lambda store, _: store.data_version("shot"),
    "summary": lambda store, _: store.summary("shot"),
}
OTHERS = [("id",), ("id", "camera", "lens"), ("id", "angle")]


@pytest.mark.parametrize("ids", OTHERS, ids=str)
@pytest.mark.parametrize("name", CALLS)
def test_every_call_says_that_ids_changed_and_names_the_way_out(
    name: str, ids: tuple[str, ...], two: Path
) -> None:
    before = open_at(two, ("id", "camera"))
    given, newer = before.resolve_update("crop"), open_at(two, ids)
    state = before.read_table("shot").to_pylist()
    with pytest.raises(MetaxyError, match="id_columns") as refusal:
        CALLS[name](newer, given)
    text = str(refusal.value)
    assert "migrate_ids" in text or "resolve again" in text
    assert before.read_table("shot").to_pylist() == state


@pytest.mark.parametrize("ids", OTHERS, ids=str)
def test_what_is_right_all_the_same_goes_on(ids: tuple[str, ...], two: Path) -> None:
    store = open_at(two, ids)
    assert (store.count("shot"), store.read_table("shot").num_rows) == (3, 3)
    assert store.features()
    assert store.compact(dry_run=True).rows_removed == 0
    store.drop("shot")
    assert store.count("shot") == 0


def test_other_order_is_no_change(two: Path) -> None:
    before = open_at(two, ("id", "camera"))
    version, store = before.data_version("shot"), open_at(two, ("camera", "id"))
    for key in ("crop", "scene"):
        assert counts(store, key) == (0, 0, 0)
    result = store.write("shot", shots((1, 0), (1, 1), (2, 0)))
    assert (result.commit, store.data_version("shot")) == (0, version)
    store.write("shot", shots((1, 0), (1, 1), (2, 0), (3, 0)))
    every = store.data_version("shot", filters="id IS NOT NULL")
    assert store.data_version("shot") == every == before.data_version("shot")
    assert store.migrate_ids("shot").commit == 0


def test_another_case_is_another_name(tmp_path: Path) -> None:
    open_at(tmp_path, ("id",)).write("shot", pa.table({"id": [1, 2], "x": [1, 1]}))
    upper = open_at(tmp_path, ("ID",))
    with pytest.raises(StoreError, match="migrate_ids"):
        upper.write("shot", pa.table({"ID": [1], "x": [1]}))
    assert upper.migrate_ids("shot").kept == 2
    assert upper.write("shot", pa.table({"ID": [1], "x": [1]})).unchanged == 1


def test_fewer_ids_keep_what_is_unique(two: Path) -> None:
    store = open_at(two, ("id",))
    told = store.migrate_ids("shot", dry_run=True)
    assert (told.rows, told.kept, told.duplicates, told.commit) == (3, 1, 2, 0)
    assert list(map(str, told.downstream)) == ["crop", "scene"]
    with pytest.raises(StoreError, match="new ids") as refusal:
        store.migrate_ids("shot")
    assert "2 samples that share" in str(refusal.value)
    assert 'keep="newest"' in str(refusal.value)
    assert store.count("shot") == 3


@pytest.mark.parametrize(
    ("keep", "cameras"), [("newest", [1, 0]), ("oldest", [0, 0]), ("none", [0])]
)
def test_which_of_those_alike_stays_is_said(keep: Any, cameras: list[int], tmp_path: Path) -> None:
    before = open_at(tmp_path, ("id", "camera"))
    for row in ((2, 0), (1, 0), (1, 1)):
        before.write("shot", shots(row))
    store = open_at(tmp_path, ("id",))
    told = store.migrate_ids("shot", keep=keep, dry_run=True)
    done = store.migrate_ids("shot", keep=keep)
    assert done.kept == told.kept == len(cameras)
    rows = store.read_table("shot").sort_by("id").to_pylist()
    assert [row["camera"] for row in rows] == cameras
    # They are deleted, and not erased.
    assert store.read("shot", history=True).collect().to_native().num_rows == 3
    result = store.write("shot", shots((1, 5), (2, 5)))
    assert (store.count("shot"), result.unchanged) == (2, 0)


def test_more_ids_come_from_stored_columns_or_a_constant(two: Path) -> None:
    store = open_at(two, ("id", "camera", "x"))
    assert store.migrate_ids("shot").kept == 3
    newer = open_at(two, ("id", "camera", "x", "lens"))
    told = newer.migrate_ids("shot", dry_run=True)
    assert (told.missing, told.kept) == (("lens",), 0)
    with pytest.raises(StoreError, match="new ids") as refusal:
        newer.migrate_ids("shot")
    assert "['lens'] not stored" in str(refusal.value)
    assert newer.migrate_ids("shot", fill={"lens": "wide"}).kept == 3
    assert ids_of(newer, "shot")[0] == {"id": 1, "camera": 0, "x": 0, "lens": "wide"}


def test_null_ids_need_a_constant(tmp_path: Path) -> None:
    before = open_at(tmp_path, ("id",))
    before.write("shot", pa.table({"id": [1, 2], "camera": [None, 5], "x": [0, 0]}))
    store = open_at(tmp_path, ("id", "camera"))
    assert store.migrate_ids("shot", dry_run=True).nulls == 1
    with pytest.raises(StoreError, match="1 samples with null ids"):
        store.migrate_ids("shot", keep="newest")
    assert store.migrate_ids("shot", fill={"camera": 0}).kept == 2
    assert ids_of(store, "shot") == [{"id": 1, "camera": 0}, {"id": 2, "camera": 5}]


def test_what_is_derived_keeps_its_provenance(two: Path) -> None:
    """An id more, everywhere: nothing is computed anew but where members are named otherwise."""
    store = open_at(two, ("id", "camera", "x"))
    store.migrate_ids("shot")
    with pytest.raises(StoreError, match="'crop': the feature is stored by other id columns"):
        store.resolve_update("crop")
    store.migrate_ids("crop")
    assert counts(store, "crop") == (0, 0, 0)
    assert counts(store, "scene") == (0, 2, 0)
    catch_up(store, "scene")
    assert counts(store, "scene") == (0, 0, 0)


def test_an_upstream_that_is_not_migrated_is_named_downstream(two: Path) -> None:
    store = open_at(two, ("id", "camera", "x"))
    for key in ("crop", "scene"):
        with pytest.raises(StoreError, match="id columns") as refusal:
            store.resolve_update(key)
        assert "shot" in str(refusal.value) or key == "crop"


def test_renamed_ids(two: Path) -> None:
    store = open_at(two, ("id", "camera"), ("key", "lens"))
    told = {"id": "key", "camera": "lens"}
    assert store.migrate_ids("crop", rename=told).kept == 3
    assert counts(store, "crop") == (0, 0, 0)
    assert ids_of(store, "crop")[0] == {"key": 1, "lens": 0}
    assert [
        row["key"] for row in store.read("crop", history=True).collect().to_native().to_pylist()
    ]
    swapped = open_at(two, ("id", "camera"), ("lens", "key"))
    assert swapped.migrate_ids("crop").commit == 0
    assert counts(swapped, "crop")[0] > 0


def test_ids_of_another_type(two: Path) -> None:
    store = open_at(two, ("id", "camera"))
    assert store.migrate_ids("shot", types={"id": "VARCHAR"}, dry_run=True).kept == 3
    store.migrate_ids("shot", types={"id": "VARCHAR"})
    assert store.schema("shot")["id"] == "VARCHAR"
    assert counts(store, "crop") == counts(store, "scene") == (0, 0, 0)
    every = store.data_version("shot", filters="id IS NOT NULL")
    assert store.data_version("shot") == every
    store.write("shot", pa.table({"id": ["x"], "camera": [0], "x": [1]}))
    assert store.migrate_ids("shot", types={"id": "BIGINT"}, dry_run=True).lost == 1
    with pytest.raises(StoreError, match="cannot hold"):
        store.migrate_ids("shot", types={"id": "BIGINT"})
    store.write("shot", pa.table({"id": ["01"], "camera": [0], "x": [1]}))
    store.delete("shot", filters="id = 'x'")
    assert store.migrate_ids("shot", types={"id": "BIGINT"}, dry_run=True).duplicates == 2


def test_dropped_ids_are_needed_no_more(two: Path) -> None:
    store = open_at(two, ("id",))
    store.migrate_ids("shot", keep="newest", drop=["camera"])
    assert list(store.schema("shot")) == ["id", "x"]
    assert store.write("shot", pa.table({"id": [1], "x": [9]})).updated == 1


def test_empty_and_failed_samples_come_along_or_are_asked_for(tmp_path: Path) -> None:
    before = open_at(tmp_path, ("id", "camera"))
    before.write("shot", shots((1, 0), (2, 0), (3, 0), (3, 1), (4, 0)))
    increment = before.resolve_update("crop")
    before.record_failures("crop", shots((2, 0), (3, 0)), "dark", increment=increment)
    rows = increment.pending.collect().to_native().slice(0, 0)
    samples = [{"id": one, "camera": two} for one, two in ((1, 0), (3, 0), (3, 1))]
    before.write("crop", rows, increment=increment, empty=samples)
    store = open_at(tmp_path, ("id",))
    store.migrate_ids("shot", keep="newest")
    done = store.migrate_ids("crop")
    # Two marks of one sample say nothing of it.
    assert done.forgotten == 2
    assert store.failed("crop").failed == 1
    increment = store.resolve_update("crop")
    assert sorted(increment.ids((0, 1)).column("id").to_pylist()) == [2, 3, 4]


def test_what_was_made_before_is_void(two: Path) -> None:
    before = open_at(two, ("id", "camera"))
    frame, increment = before.read("shot"), before.resolve_update("crop")
    store = open_at(two, ("id",))
    store.migrate_ids("shot", keep="newest", drop=["camera"])
    with pytest.raises(StoreError, match="compacted away, or got other ids"):
        frame.collect()
    with pytest.raises(StoreError, match="stored by other id columns"):
        _ = increment.counts


@pytest.mark.parametrize(
    "options",
    [
        {"rename": {"nowhere": "id"}},
        {"rename": {"camera": "other"}},
        {"rename": {"x": "id"}},
        {"fill": {"x": 1}},
        {"fill": {"id": [1]}},
        {"types": {"id": "DOUBLE"}},
        {"types": {"id": "BIGINT; DROP TABLE shot"}},
        {"drop": ["id"]},
        {"drop": ["nowhere"]},
        {"keep": "any"},
    ],
    ids=str,
)
def test_ways_that_say_nothing_are_refused(options: dict[str, Any], two: Path) -> None:
    with pytest.raises(StoreError, match="cannot be migrated in this way"):
        open_at(two, ("id",)).migrate_ids("shot", **options)


def test_nothing_stored_is_nothing_to_do(tmp_path: Path) -> None:
    store = open_at(tmp_path, ("id",))
    assert store.migrate_ids("shot").commit == 0
    store.write("shot", pa.table({"id": [1], "x": [1]}))
    assert (store.migrate_ids("shot").commit, store.migrate_ids("crop").commit) == (0, 0)
