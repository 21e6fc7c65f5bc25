"""One example for each reason that a sample may have changed since the last resolve."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa
import pytest

from metaxy_dagster.features import FeatureDep, FeatureGraph, FeatureSpec, LineageRelationship
from metaxy_dagster.stores import Counts, DuckDBMetadataStore, Increment
from metaxy_dagster.stores.counts import STATUS
from metaxy_dagster.stores.duckdb.resolve import full as resolve_module
from metaxy_dagster.stores.duckdb.resolve import watermark as watermark_module

STATUSES = ("new", "stale", "orphaned")


def graph(version: str = "1", filters: str | None = None) -> FeatureGraph:
    found = FeatureGraph()
    found.add(FeatureSpec("video", id_columns=["id"]))
    found.add(FeatureSpec("label", id_columns=["id"]))
    found.add(FeatureSpec("frame", id_columns=["id", "n"]))
    dep = FeatureDep("video", filters=filters)
    found.add(FeatureSpec("crop", id_columns=["id"], deps=[dep], fields={"default": version}))
    optional = FeatureDep("label", optional=True)
    found.add(FeatureSpec("tagged", id_columns=["id"], deps=["video", optional]))
    found.add(FeatureSpec("fine", id_columns=["id", "n"], deps=["frame", "video"]))
    members = FeatureDep("frame", lineage=LineageRelationship.aggregation(on=["id"]))
    found.add(FeatureSpec("group", id_columns=["id"], deps=[members]))
    parent = FeatureDep("video", lineage=LineageRelationship.expansion())
    found.add(FeatureSpec("child", id_columns=["id", "k"], deps=[parent]))
    found.add(FeatureSpec("part", id_columns=["n", "m"]))
    found.add(FeatureSpec("spread", id_columns=["id", "n", "m"], deps=["frame", "part"]))
    found.add(FeatureSpec("summed", id_columns=["id", "n"], deps=["frame", over("mark", "id")]))
    found.add(FeatureSpec("mark", id_columns=["id", "m"]))
    found.add(FeatureSpec("never", id_columns=["id"]))
    never = FeatureDep("never", optional=True)
    found.add(FeatureSpec("hopeful", id_columns=["id"], deps=["video", never]))
    return found


def over(key: str, *on: str) -> FeatureDep:
    return FeatureDep(key, lineage=LineageRelationship.aggregation(on=on))


@pytest.fixture
def narrowed(monkeypatch: pytest.MonkeyPatch) -> list[int | None]:
    """How many candidates each resolve looked at."""
    seen: list[int | None] = []
    find = resolve_module.find_candidates

    def watched(*args: Any, **options: Any) -> int | None:
        seen.append(find(*args, **options))
        return seen[-1]

    monkeypatch.setattr(resolve_module, "find_candidates", watched)
    return seen


@pytest.fixture
def store(tmp_path: Path) -> DuckDBMetadataStore:
    made = DuckDBMetadataStore(tmp_path / "m.duckdb", graph=graph(), max_incremental_share=100)
    ids = list(range(1, 7))
    made.write("video", pa.table({"id": ids, "x": ids}))
    made.write("label", pa.table({"id": ids[:3], "y": ["a", "b", "c"]}))
    pairs = [(i, n) for i in (*ids, 7) for n in (1, 2)]
    columns = {"id": [i for i, _ in pairs], "n": [n for _, n in pairs], "x": [0] * len(pairs)}
    made.write("frame", pa.table(columns))
    made.write("part", pa.table({"n": [1, 2], "m": [1, 1], "z": [0, 0]}))
    made.write("mark", pa.table({"id": [1, 2, 2], "m": [1, 1, 2], "z": [0, 0, 0]}))
    return made


def answer(store: DuckDBMetadataStore, key: str, increment: Increment, **options: Any) -> None:
    rows = [r for r in increment.delta.to_pylist() if r[STATUS] in (0, 1)]
    values = [{n: row[n] for n in increment.sample_columns} for row in rows]
    if key == "child":
        values = [{**row, "k": k} for row in values for k in (0, 1)]
    frame = pa.Table.from_pylist([{**row, "value": 1} for row in values])
    store.write(key, frame, increment=increment, **options)


def found(store: DuckDBMetadataStore, key: str) -> dict[Any, str]:
    increment = store.resolve_update(key)
    names = increment.sample_columns
    statuses = {
        tuple(row[n] for n in names) if len(names) > 1 else row[names[0]]: STATUSES[row[STATUS]]
        for row in increment.delta.to_pylist()
    }
    assert len(statuses) == increment.delta.num_rows, "each sample is listed once"
    return statuses


def change_video(store: DuckDBMetadataStore) -> None:
    store.write("video", pa.table({"id": [2], "x": [99]}))


def add_video(store: DuckDBMetadataStore) -> None:
    store.write("video", pa.table({"id": [7], "x": [7]}))


def delete_video(store: DuckDBMetadataStore) -> None:
    store.delete("video", filters="id = 2")


def erase_video(store: DuckDBMetadataStore) -> None:
    store.delete("video", filters="id = 2", soft=False)


def delete_own(store: DuckDBMetadataStore) -> None:
    store.delete("crop", filters="id = 2")


def erase_own(store: DuckDBMetadataStore) -> None:
    store.delete("crop", filters="id = 2", soft=False)


def change_frame(store: DuckDBMetadataStore) -> None:
    store.write("frame", pa.table({"id": [2], "n": [1], "x": [99]}))


def delete_frames(store: DuckDBMetadataStore) -> None:
    store.delete("frame", filters="id = 2")


def add_label(store: DuckDBMetadataStore) -> None:
    store.write("label", pa.table({"id": [5], "y": ["e"]}))


def change_two_upstreams(store: DuckDBMetadataStore) -> None:
    change_video(store)
    add_label(store)


def change_part(store: DuckDBMetadataStore) -> None:
    store.write("part", pa.table({"n": [2], "m": [1], "z": [9]}))


def change_mark(store: DuckDBMetadataStore) -> None:
    store.write("mark", pa.table({"id": [2], "m": [2], "z": [9]}))


def write_never(store: DuckDBMetadataStore) -> None:
    store.write("never", pa.table({"id": [3], "z": [9]}))


def nothing(store: DuckDBMetadataStore) -> None:
    pass


CASES: list[tuple[str, Callable[[DuckDBMetadataStore], None], dict[Any, str]]] = [
    ("crop", nothing, {}),
    ("crop", change_video, {2: "stale"}),
    ("crop", add_video, {7: "new"}),
    ("crop", delete_video, {2: "orphaned"}),
    ("crop", erase_video, {2: "orphaned"}),
    ("crop", delete_own, {2: "new"}),
    ("crop", erase_own, {2: "new"}),
    ("tagged", change_video, {2: "stale"}),
    ("tagged", add_label, {5: "stale"}),
    ("fine", change_video, {(2, 1): "stale", (2, 2): "stale"}),
    ("fine", delete_video, {(2, 1): "orphaned", (2, 2): "orphaned"}),
    ("fine", change_frame, {(2, 1): "stale"}),
    ("fine", add_video, {(7, 1): "new", (7, 2): "new"}),
    ("group", change_frame, {2: "stale"}),
    ("group", delete_frames, {2: "orphaned"}),
    ("child", change_video, {2: "stale"}),
    ("child", delete_video, {2: "orphaned"}),
    ("child", add_video, {7: "new"}),
    ("tagged", change_two_upstreams, {2: "stale", 5: "stale"}),
    ("hopeful", change_video, {2: "stale"}),
    ("hopeful", write_never, {3: "stale"}),
]
# What one row of these touches cannot be told, so all is looked at.
UNTOLD: list[tuple[str, Callable[[DuckDBMetadataStore], None], dict[Any, str]]] = [
    ("spread", change_part, {(i, 2, 1): "stale" for i in range(1, 8)}),
    ("spread", change_frame, {(2, 1, 1): "stale"}),
    ("summed", change_mark, {(2, 1): "stale", (2, 2): "stale"}),
]


def mark_elsewhere(store: DuckDBMetadataStore) -> None:
    """Another writer finds the changed sample empty; it was stale, and needs nothing now."""
    change_video(store)
    elsewhere = DuckDBMetadataStore(store.path, graph=graph(), max_incremental_share=0)
    increment = elsewhere.resolve_update("crop")
    elsewhere.write("crop", pa.table({}), increment=increment, empty=[{"id": 2}])


def mark_and_change(store: DuckDBMetadataStore) -> None:
    mark_elsewhere(store)
    store.write("video", pa.table({"id": [2], "x": [100]}))


def mark_and_delete_own(store: DuckDBMetadataStore) -> None:
    mark_elsewhere(store)
    store.resolve_update("crop").delta  # noqa: B018 - somebody looks in between
    store.delete("crop", filters="id = 2")


def mark_and_erase_own(store: DuckDBMetadataStore) -> None:
    mark_elsewhere(store)
    store.delete("crop", filters="id = 2", soft=False)


def mark_and_delete_video(store: DuckDBMetadataStore) -> None:
    mark_elsewhere(store)
    delete_video(store)


def mark_an_older_state(store: DuckDBMetadataStore) -> None:
    change_video(store)
    increment = store.resolve_update("crop")
    increment.delta  # noqa: B018 - as of now
    store.write("video", pa.table({"id": [2], "x": [100]}))
    store.write("crop", pa.table({}), increment=increment, empty="rest")


def mark_by_an_older_answer(store: DuckDBMetadataStore) -> None:
    """Of which the watermark takes no note: somebody who resolved later knows more."""
    older = store.resolve_update("crop", keep_unchanged=True)
    older.delta  # noqa: B018 - as of now
    change_video(store)
    store.write("crop", pa.table({}), increment=store.resolve_update("crop"))
    store.write("crop", pa.table({}), increment=older, empty=[{"id": 1}])


def mark_children(store: DuckDBMetadataStore) -> None:
    change_video(store)
    increment = store.resolve_update("child")
    store.write("child", pa.table({}), increment=increment, empty="rest")


def mark_children_and_change(store: DuckDBMetadataStore) -> None:
    mark_children(store)
    store.write("video", pa.table({"id": [2], "x": [100]}))


CASES += [
    ("crop", mark_elsewhere, {}),
    ("crop", mark_and_change, {2: "new"}),
    ("crop", mark_and_delete_own, {2: "new"}),
    ("crop", mark_and_erase_own, {2: "new"}),
    ("crop", mark_and_delete_video, {}),
    ("crop", mark_an_older_state, {2: "new"}),
    ("crop", mark_by_an_older_answer, {2: "stale"}),
    ("child", mark_children, {}),
    ("child", mark_children_and_change, {2: "new"}),
]


@pytest.mark.parametrize(
    ("key", "change", "expected"), CASES, ids=[f"{k}-{c.__name__}" for k, c, _ in CASES]
)
def test_a_change_is_found(
    store: DuckDBMetadataStore,
    narrowed: list[int | None],
    key: str,
    change: Callable[[DuckDBMetadataStore], None],
    expected: dict[Any, str],
) -> None:
    answer(store, key, store.resolve_update(key))
    change(store)
    narrowed.clear()
    assert found(store, key) == expected
    erased = change in (erase_video, erase_own, mark_and_erase_own)
    assert bool(narrowed) is not erased, "erased rows leave no trace, so all must be looked at"
    if narrowed:
        assert narrowed[0] is not None
        assert narrowed[0] <= 2


@pytest.mark.parametrize(
    ("key", "change", "expected"), UNTOLD, ids=[f"{k}-{c.__name__}" for k, c, _ in UNTOLD]
)
def test_a_change_whose_reach_cannot_be_told_is_found(
    store: DuckDBMetadataStore,
    narrowed: list[int | None],
    key: str,
    change: Callable[[DuckDBMetadataStore], None],
    expected: dict[Any, str],
) -> None:
    answer(store, key, store.resolve_update(key))
    narrowed.clear()
    change(store)
    assert found(store, key) == expected
    assert narrowed == [None]


def test_all_reasons_at_once(store: DuckDBMetadataStore, narrowed: list[int | None]) -> None:
    increment = store.resolve_update("tagged")
    store.write("tagged", pa.table({"id": [1, 2, 3, 4, 5], "v": [1] * 5}), increment=increment)
    change_two_upstreams(store)
    store.delete("tagged", filters="id = 1")
    assert found(store, "tagged") == {1: "new", 2: "stale", 5: "stale", 6: "new"}
    assert narrowed[-1] == 4


def test_what_others_did_before_an_answer_is_kept_by_the_next_answer(
    store: DuckDBMetadataStore,
) -> None:
    """Two questions are open, of which the younger is answered last."""
    answer(store, "crop", store.resolve_update("crop"))
    change_video(store)
    older = store.resolve_update("crop")
    assert older.counts.stale == 1
    store.write("video", pa.table({"id": [3], "x": [77]}))
    younger = store.resolve_update("crop")
    assert younger.counts.stale == 2
    store.delete("crop", filters="id = 5")
    answer(store, "crop", older)
    answer(store, "crop", younger)
    assert found(store, "crop") == {5: "new"}


def test_what_others_did_last_before_an_answer_of_nothing_is_kept(
    store: DuckDBMetadataStore,
) -> None:
    answer(store, "crop", store.resolve_update("crop"))
    delete_video(store)
    increment = store.resolve_update("crop")
    assert increment.counts.orphaned == 1
    store.delete("crop", filters="id = 5")
    nothing_returned = pa.table({"id": pa.array([], pa.int64())})
    store.write("crop", nothing_returned, increment=increment)
    assert found(store, "crop") == {2: "orphaned", 5: "new"}


def marks(store: DuckDBMetadataStore) -> list[tuple[int, int]]:
    with duckdb.connect(str(store.path)) as connection:
        return connection.execute(
            "SELECT upstream_commit, own_commit FROM metaxy.features WHERE fingerprint IS NOT NULL"
        ).fetchall()


def test_an_answer_of_nothing_to_a_question_of_nothing_writes_nothing(
    store: DuckDBMetadataStore,
) -> None:
    answer(store, "crop", store.resolve_update("crop"))
    before = marks(store)
    store.write("label", pa.table({"id": [9], "y": ["z"]}))
    store.write("crop", pa.table({}), increment=store.resolve_update("crop"))
    assert marks(store) == before
    change_video(store)
    store.write("video", pa.table({"id": [2], "x": [2]}))
    store.write("crop", pa.table({}), increment=store.resolve_update("crop"))
    assert marks(store) > before
    assert len(marks(store)) == len(before) == 1, "one row of the feature"
    before = marks(store)
    store.write("label", pa.table({"id": [10], "y": ["z"]}))
    store.write("crop", pa.table({}), increment=store.resolve_update("crop"))
    assert marks(store) == before


def test_a_definition_that_changes_nothing_gets_its_own_watermark(
    store: DuckDBMetadataStore, narrowed: list[int | None]
) -> None:
    answer(store, "crop", store.resolve_update("crop"))
    other = store.with_graph(graph(filters="x > 0"))
    narrowed.clear()
    other.write("crop", pa.table({}), increment=other.resolve_update("crop"))
    assert narrowed == []
    assert found(other, "crop") == {}
    assert narrowed == [0]


@pytest.mark.parametrize(("left", "noted"), [(2, True), (3, False)])
def test_so_many_open_samples_are_noted_and_no_more(
    store: DuckDBMetadataStore,
    narrowed: list[int | None],
    monkeypatch: pytest.MonkeyPatch,
    left: int,
    noted: bool,
) -> None:
    monkeypatch.setattr(watermark_module, "_MAX_PENDING", 2)
    increment = store.resolve_update("crop")
    done = list(range(1, 7 - left))
    store.write("crop", pa.table({"id": done, "v": done}), increment=increment)
    narrowed.clear()
    assert found(store, "crop") == dict.fromkeys(range(7 - left, 7), "new")
    assert narrowed == ([left] if noted else [])


def test_open_samples_that_become_too_many_are_forgotten(
    store: DuckDBMetadataStore, narrowed: list[int | None], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(watermark_module, "_MAX_PENDING", 2)
    increment = store.resolve_update("crop")
    store.write("crop", pa.table({"id": [1, 2, 3, 4], "v": [1] * 4}), increment=increment)
    store.delete("crop", filters="id <= 2")
    store.write("crop", pa.table({"id": [5], "v": [1]}), increment=increment)
    narrowed.clear()
    assert found(store, "crop") == dict.fromkeys((1, 2, 6), "new")
    assert narrowed == []


def test_unanswered_samples_stay_pending(
    store: DuckDBMetadataStore, narrowed: list[int | None]
) -> None:
    increment = store.resolve_update("crop")
    store.write("crop", pa.table({"id": [1, 2], "v": [1, 1]}), increment=increment)
    assert found(store, "crop") == dict.fromkeys((3, 4, 5, 6), "new")
    store.write("crop", pa.table({"id": [3], "v": [1]}), increment=increment)
    assert found(store, "crop") == dict.fromkeys((4, 5, 6), "new")
    assert narrowed[-1] == len((4, 5, 6)), "what was answered is not looked at again"


@pytest.mark.parametrize("more", [{}, {"empty": [{"id": 2}]}], ids=["rows", "and empty"])
def test_many_children_of_one_parent_do_not_answer_for_the_others(
    store: DuckDBMetadataStore, more: dict[str, Any]
) -> None:
    children = pa.table({"id": [1] * 6, "k": range(6)})
    increment = store.resolve_update("child")
    assert increment.open_count == children.num_rows
    store.write("child", children, increment=increment, **more)
    assert found(store, "child") == dict.fromkeys(range(3 if more else 2, 7), "new")


def test_what_others_did_between_two_batches_is_not_lost(store: DuckDBMetadataStore) -> None:
    first, second = store.resolve_update("crop").batches(3)
    answer(store, "crop", first)
    store.delete("crop", filters="id = 1")
    answer(store, "crop", second)
    assert found(store, "crop") == {1: "new"}


def test_batches_leave_the_rest_pending(store: DuckDBMetadataStore) -> None:
    first, *_ = store.resolve_update("crop").batches(4)
    answer(store, "crop", first)
    assert found(store, "crop") == {5: "new", 6: "new"}


def test_batches_of_samples_with_several_ids_are_noted_one_by_one(
    store: DuckDBMetadataStore, narrowed: list[int | None]
) -> None:
    batches = list(store.resolve_update("summed").batches(1))
    for batch, left in zip(batches, (3, 2, 1, 0), strict=True):
        answer(store, "summed", batch)
        narrowed.clear()
        assert len(found(store, "summed")) == left
        assert narrowed == [left]


def test_an_answer_to_an_older_question_is_news(store: DuckDBMetadataStore) -> None:
    old = store.resolve_update("crop")
    change_video(store)
    answer(store, "crop", store.resolve_update("crop"))
    assert found(store, "crop") == {}
    answer(store, "crop", old)
    assert found(store, "crop") == {2: "stale"}


def test_what_others_wrote_meanwhile_is_not_taken_for_known(
    store: DuckDBMetadataStore, narrowed: list[int | None]
) -> None:
    answer(store, "crop", store.resolve_update("crop"))
    change_video(store)
    increment = store.resolve_update("crop")
    assert increment.counts.stale == 1
    store.delete("crop", filters="id = 5")
    answer(store, "crop", increment)
    assert found(store, "crop") == {5: "new"}
    assert narrowed[-1] == 1, "not what was answered"


def empty(store: DuckDBMetadataStore, increment: Increment, *ids: int) -> None:
    found = [{"id": one} for one in ids]
    store.write("crop", pa.table({}), increment=increment, empty=found)


@pytest.mark.parametrize("behind", [True, False])
def test_empty_samples_are_not_looked_at_again(
    store: DuckDBMetadataStore, narrowed: list[int | None], behind: bool
) -> None:
    increment = store.resolve_update("crop")
    store.write("crop", pa.table({"id": [1], "v": [1]}), increment=increment, empty=[{"id": 2}])
    assert found(store, "crop") == dict.fromkeys((3, 4, 5, 6), "new")
    assert narrowed == [4]
    if behind:
        change_video(store)
    empty(store, store.resolve_update("crop"), 3, 4)
    narrowed.clear()
    again = {2: "new"} if behind else {}
    assert found(store, "crop") == {**dict.fromkeys((5, 6), "new"), **again}
    assert narrowed == [len(again) + 2]


def test_what_others_did_to_empty_samples_is_not_lost(store: DuckDBMetadataStore) -> None:
    """A mark that somebody ends, or puts back, between a question and its answer."""
    older = store.resolve_update("crop")
    older.delta  # noqa: B018 - as of now
    change_video(store)
    increment = store.resolve_update("crop")
    store.write("crop", pa.table({"id": [5], "value": [1]}), increment=increment)
    empty(store, store.resolve_update("crop"), 1, 2, 3)
    add_video(store)
    increment = store.resolve_update("crop")
    assert {row["id"] for row in increment.delta.to_pylist()} == {4, 6, 7}
    store.delete("crop", filters="id = 1")
    empty(store, older, 2)
    answer(store, "crop", increment)
    assert found(store, "crop") == {1: "new", 2: "new"}


def test_what_others_did_to_empty_samples_before_an_answer_of_nothing_is_kept(
    store: DuckDBMetadataStore,
) -> None:
    increment = store.resolve_update("crop")
    store.write("crop", pa.table({"id": [5], "value": [1]}), increment=increment)
    empty(store, store.resolve_update("crop"), 1, 2, 3)
    add_video(store)
    increment = store.resolve_update("crop")
    assert {row["id"] for row in increment.delta.to_pylist()} == {4, 6, 7}
    store.delete("crop", filters="id = 1")
    empty(store, increment, 4)
    assert found(store, "crop") == dict.fromkeys((1, 6, 7), "new")


@pytest.mark.parametrize("marked", [True, False])
def test_empty_samples_count_among_those_that_are_known(
    store: DuckDBMetadataStore, narrowed: list[int | None], marked: bool
) -> None:
    half = DuckDBMetadataStore(store.path, graph=graph(), max_incremental_share=0.5)
    increment = half.resolve_update("crop", filters=None if marked else "id <= 2")
    frame = pa.table({"id": [1, 2], "v": [1, 1]})
    half.write("crop", frame, increment=increment, empty="rest" if marked else None)
    if not marked:
        half.delete("video", filters="id > 2")
        half.write("crop", pa.table({}), increment=half.resolve_update("crop"))
    half.write("video", pa.table({"id": [1, 2], "x": [8, 9]}))
    narrowed.clear()
    assert found(half, "crop") == {1: "stale", 2: "stale"}
    assert narrowed == [2 if marked else None]


def test_orphans_left_alone_stay_orphaned(
    store: DuckDBMetadataStore, narrowed: list[int | None]
) -> None:
    answer(store, "crop", store.resolve_update("crop"))
    delete_video(store)
    add_video(store)
    answer(store, "crop", store.resolve_update("crop"))
    assert found(store, "crop") == {2: "orphaned"}
    store.write("crop", pa.table({}), increment=store.resolve_update("crop"), delete_orphaned=True)
    narrowed.clear()
    assert found(store, "crop") == {}
    assert narrowed == [1], "what was known is known still"


@pytest.mark.parametrize(
    ("changed", "expected"),
    [
        (graph("2"), dict.fromkeys(range(1, 7), "stale")),
        (graph(filters="x > 2"), {1: "orphaned", 2: "orphaned"}),
        (graph(), {}),
    ],
    ids=["code version", "filters", "nothing"],
)
def test_another_definition_voids_the_watermark(
    store: DuckDBMetadataStore, changed: FeatureGraph, expected: dict[Any, str]
) -> None:
    answer(store, "crop", store.resolve_update("crop"))
    assert found(store.with_graph(changed), "crop") == expected


def test_a_dropped_and_rewritten_upstream_is_seen(store: DuckDBMetadataStore) -> None:
    answer(store, "crop", store.resolve_update("crop"))
    store.drop("video")
    store.write("video", pa.table({"id": [1, 2], "x": [1, 50]}))
    assert found(store, "crop") == {2: "stale", **dict.fromkeys((3, 4, 5, 6), "orphaned")}


def test_changes_that_need_nothing_are_looked_at_once(
    store: DuckDBMetadataStore, narrowed: list[int | None]
) -> None:
    """An increment of nothing, answered by nothing, still moves the watermark."""
    answer(store, "crop", store.resolve_update("crop"))
    store.write("video", pa.table({"id": [1], "x": [50]}))
    store.write("video", pa.table({"id": [1], "x": [1]}))
    narrowed.clear()
    increment = store.resolve_update("crop")
    assert (increment.counts.pending, narrowed) == (0, [1])
    store.write("crop", pa.table({}), increment=increment)
    assert found(store, "crop") == {}
    assert narrowed[-1] == 0


@pytest.mark.parametrize(("changed", "looked_at"), [(3, 3), (4, None)])
def test_too_many_candidates_take_the_full_resolve(
    tmp_path: Path, narrowed: list[int | None], changed: int, looked_at: int | None
) -> None:
    """Up to a share of the stored samples, here three tenths of ten."""
    narrow = DuckDBMetadataStore(tmp_path / "m.duckdb", graph=graph(), max_incremental_share=0.3)
    narrow.write("video", pa.table({"id": range(10), "x": range(10)}))
    answer(narrow, "crop", narrow.resolve_update("crop"))
    narrow.write("video", pa.table({"id": range(changed), "x": [99] * changed}))
    assert found(narrow, "crop") == dict.fromkeys(range(changed), "stale")
    assert narrowed == [looked_at]


@pytest.mark.parametrize(
    ("change", "expected"),
    [(change_video, {2: "stale"}), (delete_video, {2: "orphaned"}), (add_video, {7: "new"})],
)
def test_an_upstream_that_moved_right_after_the_question(
    store: DuckDBMetadataStore,
    change: Callable[[DuckDBMetadataStore], None],
    expected: dict[Any, str],
) -> None:
    """The very next commit after the one that was looked at is news."""
    increment = store.resolve_update("crop")
    change(store)
    answer(store, "crop", increment)
    assert found(store, "crop") == expected


def test_the_very_next_commit_of_the_feature_itself_is_news(store: DuckDBMetadataStore) -> None:
    answer(store, "crop", store.resolve_update("crop"))
    store.delete("crop", filters="id = 2")
    assert found(store, "crop") == {2: "new"}


def test_what_was_erased_before_the_question_is_no_news(
    store: DuckDBMetadataStore, narrowed: list[int | None]
) -> None:
    """Nor is it known any more how many samples are stored: they are counted."""
    answer(store, "crop", store.resolve_update("crop"))
    erase_video(store)
    erase_own(store)
    store.write("crop", pa.table({}), increment=store.resolve_update("crop"))
    store.write("video", pa.table({"id": [3], "x": [77]}))
    narrowed.clear()
    assert found(store, "crop") == {3: "stale"}
    assert narrowed == [1]


@pytest.mark.parametrize("deleted", [0, 1, 2])
def test_a_question_that_was_answered_whole_may_be_answered_again(
    store: DuckDBMetadataStore, narrowed: list[int | None], deleted: int
) -> None:
    """Also if somebody deletes samples in between."""
    increment = store.resolve_update("crop")
    answer(store, "crop", increment)
    if deleted:
        store.delete("crop", filters=f"id <= {deleted}")
    store.write("crop", pa.table({"id": [6], "value": [2]}), increment=increment)
    narrowed.clear()
    assert found(store, "crop") == dict.fromkeys(range(1, deleted + 1), "new")
    assert narrowed == [deleted]


def test_an_answer_for_a_sample_that_needed_none_stands_for_no_other(
    store: DuckDBMetadataStore,
) -> None:
    answer(store, "crop", store.resolve_update("crop"))
    change_video(store)
    increment = store.resolve_update("crop", keep_unchanged=True)
    store.write("crop", pa.table({"id": [1], "value": [2]}), increment=increment)
    assert found(store, "crop") == {2: "stale"}


def lists(store: DuckDBMetadataStore) -> list[str]:
    with duckdb.connect(str(store.path)) as connection:
        found = connection.execute(
            "SELECT table_name FROM duckdb_tables() WHERE schema_name = 'pending'"
        ).fetchall()
    return [name for (name,) in found]


@pytest.mark.parametrize("moved", [True, False])
def test_a_list_of_open_samples_is_kept_while_there_are_any(
    store: DuckDBMetadataStore, moved: bool
) -> None:
    increment = store.resolve_update("crop")
    store.write("crop", pa.table({"id": [1, 2], "value": [1, 1]}), increment=increment)
    assert lists(store) == ["crop"]
    if moved:
        change_video(store)
    answer(store, "crop", store.resolve_update("crop"))
    assert lists(store) == []


def test_an_answer_under_one_definition_is_none_under_another(store: DuckDBMetadataStore) -> None:
    newer = store.with_graph(graph("2"))
    increment, other = store.resolve_update("crop"), newer.resolve_update("crop")
    assert increment.counts.new == other.counts.new == 6
    answer(store, "crop", increment)
    newer.write("crop", pa.table({"id": [1], "value": [2]}), increment=other)
    assert found(newer, "crop") == dict.fromkeys(range(2, 7), "stale")


def test_what_an_answer_finds_empty_is_not_taken_for_what_others_did(
    store: DuckDBMetadataStore, narrowed: list[int | None]
) -> None:
    increment = store.resolve_update("crop")
    store.write("crop", pa.table({"id": [1], "v": [1]}), increment=increment, empty=[{"id": 2}])
    store.delete("crop", filters="id = 1")
    empty(store, increment, 3)
    narrowed.clear()
    assert found(store, "crop") == dict.fromkeys((1, 4, 5, 6), "new")
    assert narrowed == [4]


def test_an_answer_of_nothing_leaves_what_else_is_known_of_the_feature(
    store: DuckDBMetadataStore,
) -> None:
    def known() -> list[tuple[Any, ...]]:
        sql = "SELECT feature_version, spec, newest, content_rows, content_low, content_high"
        with duckdb.connect(str(store.path)) as connection:
            sql += " FROM metaxy.features WHERE feature = 'crop'"
            return connection.execute(sql).fetchall()

    answer(store, "crop", store.resolve_update("crop"))
    before, behind = known(), marks(store)
    assert None not in before[0]
    store.write("video", pa.table({"id": [2], "x": [99]}))
    store.write("crop", pa.table({}), increment=store.resolve_update("crop"))
    assert (known(), marks(store) > behind) == (before, True)


def test_quarantined_samples_keep_no_others_from_being_noted(
    store: DuckDBMetadataStore, narrowed: list[int | None]
) -> None:
    for _ in range(3):
        increment = store.resolve_update("crop")
        store.record_failures("crop", [{"id": 6}], "too dark", increment=increment)
    answer(store, "crop", store.resolve_update("crop"))
    narrowed.clear()
    assert store.resolve_update("crop").counts == Counts(0, 0, 0, quarantined=1)
    assert narrowed == [1]


def test_an_answer_to_a_question_to_another_file_is_none(
    store: DuckDBMetadataStore, tmp_path: Path
) -> None:
    """Its commits have other numbers: those here that were not looked at may be lower."""
    other = DuckDBMetadataStore(tmp_path / "other.duckdb", graph=graph(), max_incremental_share=100)
    ids = list(range(1, 7))
    other.write("video", pa.table({"id": ids, "x": ids}))
    answer(other, "crop", store.resolve_update("crop"))
    change_video(other)
    for value in range(9):
        other.write("label", pa.table({"id": [1], "y": [str(value)]}))
    assert found(other, "crop") == {2: "stale"}


def test_empty_samples_of_several_ids(store: DuckDBMetadataStore) -> None:
    for change, pending in ((nothing, 4), (change_frame, 1), (change_mark, 2), (nothing, 0)):
        change(store)
        increment = store.resolve_update("summed")
        assert (increment.counts.pending, increment.counts.orphaned) == (pending, 0)
        store.write("summed", pa.table({}), increment=increment, empty="rest")
