"""Where only parts are ever computed, the whole costs what changed, and nothing is missed."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from metaxy_dagster.features import FeatureDep, FeatureGraph, FeatureSpec, LineageRelationship
from metaxy_dagster.stores import DuckDBMetadataStore, Increment
from metaxy_dagster.stores.counts import STATUS

DAYS = range(4)
ROWS = 5


def graph(code: str = "1") -> FeatureGraph:
    made = FeatureGraph()
    made.add(FeatureSpec("event", id_columns=["id"]))
    made.add(FeatureSpec("note", id_columns=["id"]))
    fields = {"default": code}
    made.add(FeatureSpec("clean", id_columns=["id"], deps=["event"], fields=fields))
    note = FeatureDep("note", optional=True, select=())
    made.add(FeatureSpec("noted", id_columns=["id"], deps=["event", note]))
    members = FeatureDep("event", lineage=LineageRelationship.aggregation(on=["place"]))
    made.add(FeatureSpec("place", id_columns=["place"], deps=[members]))
    return made


@pytest.fixture
def store(tmp_path: Path) -> DuckDBMetadataStore:
    return DuckDBMetadataStore(tmp_path / "m.duckdb", graph=graph(), max_incremental_share=100)


def events(day: int, *, changed: tuple[int, ...] = (), of: int | None = None) -> pa.Table:
    ids = [day * ROWS + n for n in range(ROWS)]
    values = {"id": ids, "day": [of if of is not None else day] * ROWS, "place": ["a", *"bbbb"]}
    return pa.table({**values, "x": [-1 if n in changed else n for n in ids]})


def run(
    store: DuckDBMetadataStore, key: str, filters: Any, *, upto: int | None = None, **options: Any
) -> Increment:
    """Compute a part, or its first samples."""
    increment = store.resolve_update(key, filters=filters)
    store.write(key, pending(increment).slice(0, upto), increment=increment, **options)
    return increment


def pending(increment: Increment) -> pa.Table:
    """What is stored of the samples that are asked for, in order."""
    frame = increment.pending.collect().to_native().sort_by(increment.sample_columns[0])
    return frame.select([*increment.sample_columns, *({"day"} & set(frame.column_names))])


def of_day(day: int, key: str = "clean") -> dict[str, str]:
    return {"event": f"day = {day}", key: f"day = {day}"}


def waiting(store: DuckDBMetadataStore, key: str) -> list[tuple[int, Any]]:
    """What a look by what is known finds; a look at everything finds the same."""
    whole = DuckDBMetadataStore(store.path, graph=store.graph, max_incremental_share=0)
    found, wanted = (
        sorted(
            (row[STATUS], row[one.sample_columns[0]])
            for one in [each.resolve_update(key)]
            for row in one.delta.to_pylist()
        )
        for each in (store, whole)
    )
    assert found == wanted
    return found


FLOWS: dict[str, Callable[[int], Any]] = {
    "by feature": of_day,
    "by sample": lambda day: f"day = {day}",
    "by upstream alone": lambda day: {"event": f"day <= {day}"},
}


@pytest.mark.parametrize("flow", FLOWS)
def test_a_look_at_the_whole_costs_what_changed_since(
    store: DuckDBMetadataStore, narrowed: list[int | None], flow: str
) -> None:
    """Day after day is written and computed; nobody ever asks for all of them."""
    for day in DAYS:
        store.write("event", events(day))
        run(store, "clean", FLOWS[flow](day))
        narrowed.clear()
        assert not waiting(store, "clean")
        # Nothing is looked at, not even a list of candidates.
        assert narrowed in ([], [0])
    store.write("event", events(1, changed=(6,)))
    narrowed.clear()
    assert waiting(store, "clean") == [(1, 6)]
    assert narrowed == [1]


def test_a_backfill_by_days_leaves_what_is_still_to_be_computed(
    store: DuckDBMetadataStore, narrowed: list[int | None]
) -> None:
    for day in DAYS:
        store.write("event", events(day))
    for day in reversed(DAYS):
        run(store, "clean", of_day(day))
        narrowed.clear()
        assert len(waiting(store, "clean")) == day * ROWS
        assert narrowed[:1] in ([], [day * ROWS])


def _leave_some(store: DuckDBMetadataStore) -> None:
    run(store, "clean", of_day(2), upto=2)


def _move(store: DuckDBMetadataStore) -> None:
    """The samples of a day are now of another, whose run has not been yet."""
    store.write("event", events(1, of=9))
    run(store, "clean", of_day(1), delete_orphaned=True)


def _change_meanwhile(store: DuckDBMetadataStore) -> None:
    increment = store.resolve_update("clean", filters=of_day(2))
    store.write("event", events(2, changed=(11,)))
    store.write("event", events(0, changed=(3,)))
    store.delete("clean", filters="id = 1")
    store.write("clean", pending(increment), increment=increment)


def _erase_meanwhile(store: DuckDBMetadataStore) -> None:
    increment = store.resolve_update("clean", filters=of_day(2))
    store.delete("clean", filters="id = 1", soft=False)
    store.write("clean", pending(increment), increment=increment)


def _older_answer(store: DuckDBMetadataStore) -> None:
    older = store.resolve_update("clean", filters=of_day(2))
    store.write("event", events(0, changed=(4,)))
    run(store, "clean", of_day(3))
    store.write("clean", pending(older), increment=older)


def _empty(store: DuckDBMetadataStore) -> None:
    run(store, "clean", of_day(2), upto=1, empty="rest")
    store.write("event", events(2, changed=(12, 13)))


def _narrower(store: DuckDBMetadataStore) -> None:
    """What a part does not call for goes, though the whole does."""
    store.write("event", events(0, changed=(0,)))
    run(store, "clean", {"event": "id = 0", "clean": "day = 0"}, delete_orphaned=True)


def _take_back_what_was_empty(store: DuckDBMetadataStore) -> None:
    run(store, "clean", of_day(2), upto=4, empty="rest")
    store.delete("clean", filters="id = 14")
    run(store, "clean", of_day(3))


def _fail(store: DuckDBMetadataStore) -> None:
    increment = store.resolve_update("clean", filters=of_day(2))
    store.record_failures("clean", [{"id": 10}], "torn", increment=increment)
    store.write("clean", pending(increment).slice(1), increment=increment)


LATER = [(0, n) for n in range(10, 20)]
#: What happens to days 0 to 3, of which the first two are computed; what waits then.
EVENTS: dict[str, tuple[Callable[[DuckDBMetadataStore], None], list[tuple[int, int]]]] = {
    "some of a part are left": (_leave_some, [(0, n) for n in range(12, 20)]),
    "samples move to another part": (_move, [(0, n) for n in range(5, 20)]),
    "others change and delete meanwhile": (
        _change_meanwhile,
        [(0, 1), *((0, n) for n in range(15, 20)), (1, 3), (1, 11)],
    ),
    "others erase meanwhile": (_erase_meanwhile, [(0, 1), *((0, n) for n in range(15, 20))]),
    "an older question is answered last": (_older_answer, [(1, 4)]),
    "samples yield nothing": (_empty, [*((0, n) for n in (12, 13, *range(15, 20)))]),
    "a part calls for less": (_narrower, [*((0, n) for n in (1, 2, 3, 4)), *LATER]),
    "what was empty is taken back": (_take_back_what_was_empty, [(0, 14)]),
    "a sample fails": (_fail, [(0, 10), *((0, n) for n in range(15, 20))]),
}


@pytest.mark.parametrize("event", EVENTS)
def test_what_waits_outside_of_a_part_is_still_asked_for(
    store: DuckDBMetadataStore, event: str
) -> None:
    for day in DAYS:
        store.write("event", events(day))
    for day in (0, 1):
        run(store, "clean", of_day(day))
    happens, expected = EVENTS[event]
    happens(store)
    assert waiting(store, "clean") == expected


def test_another_code_begins_anew(store: DuckDBMetadataStore) -> None:
    """What an older one knew says nothing of what the new one has to compute."""
    for day in DAYS:
        store.write("event", events(day))
        run(store, "clean", of_day(day))
    other = store.with_graph(graph("2"))
    run(other, "clean", of_day(0))
    assert waiting(other, "clean") == [(1, n) for n in range(5, 20)]


def test_what_was_computed_of_a_part_of_its_upstreams_is_not_done(
    store: DuckDBMetadataStore,
) -> None:
    """A group lacks members, and a sample its note: the whole calls for something else."""
    for day in DAYS:
        store.write("event", events(day))
    store.write("note", pa.table({"id": [0, 1], "word": ["a", "b"]}))
    run(store, "place", {"event": "day = 0"})
    assert waiting(store, "place") == [(1, "a"), (1, "b")]
    run(store, "noted", {"event": "day = 0", "note": "word = 'a'", "noted": "day = 0"})
    assert waiting(store, "noted") == [*((0, n) for n in range(5, 20)), (1, 1)]
