"""What happens between a question and its answer is asked for again, or is known to be done.

Whatever happens, the next resolve finds what one that looks at everything finds.
"""

from __future__ import annotations

import datetime as dt
import itertools
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from metaxy_dagster.features import FeatureDep, FeatureGraph, FeatureSpec, LineageRelationship
from metaxy_dagster.stores import DuckDBMetadataStore, Increment
from metaxy_dagster.stores.counts import NEW, STALE, STATUS

NOTHING = pa.table({})


def graph(version: str = "1", *, wider: bool = False) -> FeatureGraph:
    found = FeatureGraph()
    found.add(FeatureSpec("image", id_columns=["id"]))
    fields = {"a": version, **({"b": "1"} if wider else {})}
    found.add(FeatureSpec("score", id_columns=["id"], deps=["image"], fields=fields))
    return found


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Five images and one without a score, of which the second was found empty."""
    path = tmp_path_factory.mktemp("prepared") / "m.duckdb"
    made = opened(path)
    made.write("image", pa.table({"id": range(5), "path": ["p"] * 5}))
    increment = made.resolve_update("score")
    rows = pa.table({"id": [0, 2, 3, 4], "y": [1] * 4})
    made.write("score", rows, increment=increment, empty=[{"id": 1}])
    made.write("image", pa.table({"id": [4, 5], "path": ["q", "q"]}))
    made.delete("image", filters="id = 3")
    return path


def opened(path: Path) -> DuckDBMetadataStore:
    return DuckDBMetadataStore(path, graph=graph(), max_incremental_share=100)


@pytest.fixture
def store(prepared: Path, tmp_path: Path) -> DuckDBMetadataStore:
    return opened(Path(shutil.copy(prepared, tmp_path / "m.duckdb")))


def listed(store: DuckDBMetadataStore, key: str = "score") -> list[dict[str, Any]]:
    delta = store.resolve_update(key).delta
    return sorted(delta.to_pylist(), key=lambda row: repr(list(row.values())))


def everything(store: DuckDBMetadataStore) -> DuckDBMetadataStore:
    return DuckDBMetadataStore(store.path, graph=store.graph, max_incremental_share=0)


def compact(store: DuckDBMetadataStore) -> None:
    store.compact(older_than=dt.timedelta())


def again(store: DuckDBMetadataStore, key: str) -> None:
    store.drop(key)
    if key == "image":
        store.write("image", pa.table({"id": [0, 1, 5], "path": ["p", "p", "q"]}))
    else:
        compute(store, store.resolve_update("score"), only=(0,))


def compute(store: DuckDBMetadataStore, increment: Increment, only: tuple[int, ...]) -> None:
    rows = increment.delta.to_pylist()
    ids = [row["id"] for row in rows if row["id"] in only and row[STATUS] in (NEW, STALE)]
    frame = pa.table({"id": pa.array(ids, pa.int64()), "y": [2] * len(ids)})
    store.write("score", frame, increment=increment)


def fail(store: DuckDBMetadataStore) -> None:
    for _ in range(3):
        increment = store.resolve_update("score")
        store.record_failures("score", [{"id": 5}], "torn", increment=increment)


def fail_and_retry(store: DuckDBMetadataStore) -> None:
    fail(store)
    store.retry("score")


def replace_it(store: DuckDBMetadataStore) -> None:
    increment = store.resolve_update("score", keep_unchanged=True)
    store.write("score", pa.table({"id": [2], "y": [3]}), increment=increment, mode="replace")


def forgotten_by_compaction(store: DuckDBMetadataStore, key: str, condition: str) -> None:
    store.delete(key, filters=condition)
    compact(store)


EVENTS: dict[str, Callable[[DuckDBMetadataStore], Any]] = {
    "nothing": lambda _: None,
    "a row erased": lambda s: s.delete("score", filters="id = 2", soft=False),
    "all rows erased": lambda s: s.delete("score", soft=False),
    "an entry of an empty sample erased": lambda s: s.delete("score", filters="id = 1", soft=False),
    "a row deleted and forgotten": lambda s: forgotten_by_compaction(s, "score", "id = 2"),
    "an entry of an empty sample forgotten": lambda s: forgotten_by_compaction(
        s, "score", "id = 1"
    ),
    "deleted": lambda s: s.delete("score", filters="id <= 2"),
    "compacted": compact,
    "dropped": lambda s: s.drop("score"),
    "dropped and begun again": lambda s: again(s, "score"),
    "replaced": replace_it,
    "computed by another": lambda s: compute(s, s.resolve_update("score"), only=(4, 5)),
    "found empty by another": lambda s: s.write(
        "score", NOTHING, increment=s.resolve_update("score"), empty="rest"
    ),
    "failed": fail,
    "failed and retried": fail_and_retry,
    "upstream rows erased": lambda s: s.delete("image", filters="id IN (1, 2, 5)", soft=False),
    "upstream dropped": lambda s: s.drop("image"),
    "upstream dropped and made with fewer rows": lambda s: again(s, "image"),
    "upstream rows deleted and forgotten": lambda s: forgotten_by_compaction(s, "image", "id < 3"),
    "upstream changed": lambda s: s.write("image", pa.table({"id": [0, 1], "path": ["z", "z"]})),
    "upstream replaced": lambda s: s.write(
        "image", pa.table({"id": [0, 3], "path": ["p", "z"]}), mode="replace"
    ),
    "code changed": lambda s: compute(
        changed := s.with_graph(graph("2")), changed.resolve_update("score"), only=(0, 2, 4)
    ),
    "a field added": lambda s: compute(
        changed := s.with_graph(graph(wider=True)), changed.resolve_update("score"), only=(0, 4)
    ),
}


def in_batches(store: DuckDBMetadataStore, increment: Increment) -> None:
    for batch in reversed(list(increment.batches(1))):
        compute(store, batch, only=(4, 5))


ANSWERS: dict[str, Callable[[DuckDBMetadataStore, Increment], Any]] = {
    "whole": lambda s, i: compute(s, i, only=(4, 5)),
    "in part": lambda s, i: compute(s, i, only=(5,)),
    "in batches": in_batches,
    "by nothing": lambda s, i: s.write("score", NOTHING, increment=i),
    "orphans alone": lambda s, i: s.write("score", NOTHING, increment=i, delete_orphaned=True),
    "empty": lambda s, i: s.write("score", NOTHING, increment=i, empty="rest"),
    "never": lambda s, i: None,
}
# So many of them also to an increment that nobody looked at before.
LOOKED_LATE = 2


@pytest.mark.parametrize("event", EVENTS)
def test_what_happened_meanwhile_is_asked_for(prepared: Path, tmp_path: Path, event: str) -> None:
    for number, (name, answer) in enumerate(ANSWERS.items()):
        late = number < LOOKED_LATE and "forgotten" not in event
        for looked in (True, False) if late else (True,):
            path = tmp_path / f"{number}{looked}.duckdb"
            store = opened(Path(shutil.copy(prepared, path)))
            increment = store.resolve_update("score")
            if looked:
                assert increment.delta.num_rows == 3
            EVENTS[event](store)
            # What was erased is gone from what is looked at later: then there is less to answer.
            answer(store, increment)
            full = everything(store)
            assert listed(store) == listed(full), (name, looked)
            counts = store.resolve_update("score").counts
            assert counts == full.resolve_update("score").counts, (name, looked)
            # And for whoever works through it afterwards.
            compute(store, store.resolve_update("score"), only=tuple(range(6)))
            assert listed(store) == listed(full), (name, looked)


def test_a_sample_that_was_erased_during_a_run_is_new(store: DuckDBMetadataStore) -> None:
    increment = store.resolve_update("score")
    ids = {row["id"] for row in increment.delta.to_pylist()}
    assert ids == {3, 4, 5}
    store.delete("score", filters="id <= 2", soft=False)
    compute(store, increment, only=(4, 5))
    found = {row["id"]: row[STATUS] for row in listed(store)}
    assert found == {0: 0, 1: 0, 2: 0, 3: 2}


def test_the_next_answer_makes_the_watermark_anew(store: DuckDBMetadataStore) -> None:
    """Also one of nothing, when what was erased was orphaned."""
    compute(store, store.resolve_update("score"), only=(4, 5))
    store.delete("score", filters="id = 3", soft=False)
    for wanted in (False, True):
        with store.connected():
            increment = store.resolve_update("score")
            assert increment.counts.pending == 0
            found = increment.source.resolve.open  # type: ignore[attr-defined]  # not for users
            with store._engine.file.connect("r") as connection:
                assert found(connection, compare=True).is_settled is wanted
        store.write("score", NOTHING, increment=increment)


# ----------------------------------------------------------------- the order of dependencies

FINE = {
    "frame": FeatureDep("frame"),
    "video": FeatureDep("video"),
    "video?": FeatureDep("video", optional=True),
    "note?": FeatureDep("note", optional=True),
    "notes?": FeatureDep(
        "note", optional=True, lineage=LineageRelationship.aggregation(on=["id", "n"])
    ),
    "notes of all?": FeatureDep(
        "note", optional=True, lineage=LineageRelationship.aggregation(on=["id"])
    ),
}
COMBINED = [
    ("frame", "video", "note?"),
    ("frame", "video?", "notes?"),
    ("frame", "video", "notes of all?"),
]
ORDERS = [order for one in COMBINED for order in itertools.permutations(one)]
CHANGES: dict[str, Callable[[DuckDBMetadataStore], Any]] = {
    "video changed": lambda s: s.write("video", pa.table({"id": [0, 1], "x": [9, 9]})),
    "video added": lambda s: s.write("video", pa.table({"id": [3], "x": [9]})),
    "video deleted": lambda s: s.delete("video", filters="id = 1"),
    "frame changed": lambda s: s.write("frame", pa.table({"id": [2], "n": [0], "z": [9]})),
    "frame deleted": lambda s: s.delete("frame", filters="id = 2"),
    "note added": lambda s: s.write("note", pa.table({"id": [2], "n": [0], "w": [9]})),
    "note deleted": lambda s: s.delete("note"),
    "notes dropped": lambda s: s.drop("note"),
    "notes dropped and made": lambda s: (
        s.drop("note"),
        s.write("note", pa.table({"id": [2], "n": [1], "w": [9]})),
    ),
}


@pytest.mark.parametrize("order", ORDERS, ids=", ".join)
def test_no_order_of_dependencies_hides_a_change(tmp_path: Path, order: tuple[str, ...]) -> None:
    found = FeatureGraph()
    for key, ids in {"video": ["id"], "frame": ["id", "n"], "note": ["id", "n"]}.items():
        found.add(FeatureSpec(key, id_columns=ids))
    deps = [FINE[name] for name in order]
    found.add(FeatureSpec("crop", id_columns=["id", "n"], deps=deps))
    store = DuckDBMetadataStore(tmp_path / "m.duckdb", graph=found, max_incremental_share=100)
    store.write("video", pa.table({"id": [0, 1, 2], "x": [0] * 3}))
    pairs = [(i, n) for i in range(4) for n in range(2)]
    ids, numbers = [i for i, _ in pairs], [n for _, n in pairs]
    store.write("frame", pa.table({"id": ids, "n": numbers, "z": [0] * 8}))
    store.write("note", pa.table({"id": [0], "n": [0], "w": [0]}))
    full, seen = everything(store), 0
    for name, change in CHANGES.items():
        increment = store.resolve_update("crop")
        rows = increment.delta.select(["id", "n"]).append_column(
            "y", pa.array([1] * increment.delta.num_rows)
        )
        pending = rows.filter(pa.compute.less(increment.delta.column(STATUS), 2))
        store.write("crop", pending, increment=increment, delete_orphaned=True)
        assert listed(store, "crop") == [], name
        change(store)
        assert listed(store, "crop") == listed(full, "crop"), name
        seen += len(listed(full, "crop"))
    assert seen


# ----------------------------------------------------------------- looked at after an erasure


ERASED: dict[str, Callable[[DuckDBMetadataStore], Any]] = {
    "rows erased": lambda s: s.delete("note", filters="n > 0", soft=False),
    "rows erased, then own ones deleted": lambda s: (
        s.delete("note", filters="n > 0", soft=False),
        s.delete("both", filters="id > 0"),
    ),
    "dropped": lambda s: s.drop("note"),
    "dropped, made anew, own ones deleted": lambda s: (
        s.drop("note"),
        s.write("note", pa.table({"id": [0], "n": [0], "w": [9]})),
        s.delete("both", filters="id > 0"),
    ),
}
GROUPS = {
    "optional": FeatureDep(
        "note", optional=True, lineage=LineageRelationship.aggregation(on=["id"])
    ),
    "required": FeatureDep("note", lineage=LineageRelationship.aggregation(on=["id"])),
}


@pytest.mark.parametrize("looked", [True, False])
@pytest.mark.parametrize("event", ERASED)
@pytest.mark.parametrize("group", GROUPS)
def test_an_answer_is_stamped_with_what_was_there_when_it_was_looked_at(
    tmp_path: Path, group: str, event: str, looked: bool
) -> None:
    """What is erased before anybody looks is not computed from, and does not count."""
    found = FeatureGraph()
    found.add(FeatureSpec("video", id_columns=["id"]))
    found.add(FeatureSpec("note", id_columns=["id", "n"]))
    found.add(FeatureSpec("both", id_columns=["id"], deps=["video", GROUPS[group]]))
    store = DuckDBMetadataStore(tmp_path / "m.duckdb", graph=found, max_incremental_share=100)
    store.write("video", pa.table({"id": [0, 1, 2], "x": [0] * 3}))
    notes = {"id": [0, 0, 1, 1, 2], "n": [0, 1, 0, 1, 0], "w": [0] * 5}
    store.write("note", pa.table(notes))
    first = store.resolve_update("both")
    store.write("both", pa.table({"id": [0, 2], "y": [0, 0]}), increment=first)
    store.delete("both", filters="id > 1")
    increment = store.resolve_update("both")
    if looked:
        assert increment.delta.num_rows == 2
    ERASED[event](store)
    asked = increment.delta.column("id").to_pylist()
    computed = [one for one in asked if one > 0]
    frame = pa.table({"id": pa.array(computed, pa.int64()), "y": [1] * len(computed)})
    store.write("both", frame, increment=increment)
    assert listed(store, "both") == listed(everything(store), "both")
    statuses = {row["id"]: row[STATUS] for row in listed(store, "both")}
    # Sample 1 lost a member of its group, or all of them.
    assert (statuses.get(1) is None) is (not looked)
