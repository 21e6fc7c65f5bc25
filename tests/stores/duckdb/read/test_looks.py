"""What was looked for and is not there is not looked for again among the same rows."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from random import Random
from typing import Any

import duckdb
import pyarrow as pa
import pytest

from metaxy_dagster.features import FeatureGraph, FeatureSpec
from metaxy_dagster.stores import DuckDBMetadataStore
from metaxy_dagster.stores.duckdb.read import reader

ODD = "day IS NULL OR day = 'soon'"


@pytest.fixture(autouse=True)
def _every_look_is_noted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reader, "_WORTH_NOTING", 1)


@pytest.fixture
def store(tmp_path: Path) -> DuckDBMetadataStore:
    graph = FeatureGraph()
    for key in ("event", "other"):
        graph.add(FeatureSpec(key, id_columns=["id"]))
    made = DuckDBMetadataStore(tmp_path / "m.duckdb", graph=graph)
    write(made, range(5))
    return made


def write(store: DuckDBMetadataStore, ids: Any, day: str | None = "2024-02-01") -> None:
    ids = list(ids)
    store.write("event", pa.table({"id": ids, "day": pa.array([day] * len(ids), pa.string())}))


def remembered(store: DuckDBMetadataStore) -> list[int]:
    with duckdb.connect(str(store.path)) as connection:
        try:
            rows = connection.execute("SELECT as_of FROM metaxy.looks").fetchall()
        except duckdb.CatalogException:
            return []
    return [number for (number,) in rows]


def again(store: DuckDBMetadataStore) -> DuckDBMetadataStore:
    """The store of another process."""
    return DuckDBMetadataStore(store.path, graph=store.graph)


def test_the_next_write_remembers_and_others_begin_there(
    store: DuckDBMetadataStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert not store.has("event", filters=ODD)
    assert remembered(store) == [], "reading writes nothing"
    write(store, range(5))
    assert remembered(store) == [1], "also a write that changes nothing"
    seen: list[str] = []
    original = reader.DistinctTexts

    def watched(connection: Any, rows: str) -> Any:
        seen.append(rows)
        return original(connection, rows)

    monkeypatch.setattr(reader, "DistinctTexts", watched)
    other = again(store)
    assert not other.has("event", filters=ODD)
    assert seen == [], "nothing was written since"
    write(other, [7], None)
    assert other.has("event", filters=ODD)
    assert "> 1" in seen[-1]
    assert other.has("event", filters="id = 1"), "another question"


def _odd(store: DuckDBMetadataStore) -> None:
    write(store, [9], "soon")


def _changed(store: DuckDBMetadataStore) -> None:
    write(store, [2], None)


def _dropped_and_made_anew(store: DuckDBMetadataStore) -> None:
    store.drop("event")
    write(store, [1], "soon")


def _other_type(store: DuckDBMetadataStore) -> None:
    write(store, [1], "soon")
    store.alter("event", columns={"id": "VARCHAR"})


def _put_back(store: DuckDBMetadataStore) -> None:
    """To before all was looked at, and then another way."""
    shutil.copy(store.path.with_suffix(".copy"), store.path)
    write(store, [9], "soon")


def _put_back_and_written_elsewhere(store: DuckDBMetadataStore) -> None:
    shutil.copy(store.path.with_suffix(".copy"), store.path)
    write(again(store), [9], "soon")


EVENTS: dict[str, Callable[[DuckDBMetadataStore], None]] = {
    "a new sample": _odd,
    "a sample that changes": _changed,
    "the feature is dropped and made anew": _dropped_and_made_anew,
    "a column gets another type": _other_type,
    "the file is put back": _put_back,
    "the file is put back, and others write": _put_back_and_written_elsewhere,
}


@pytest.mark.parametrize("kept", [True, False])
@pytest.mark.parametrize("event", EVENTS)
def test_what_comes_later_is_found(store: DuckDBMetadataStore, event: str, *, kept: bool) -> None:
    """Whether the look was written down, or only known to the store that made it."""
    write(store, [6])
    shutil.copy(store.path, store.path.with_suffix(".copy"))
    write(store, [7])
    assert not store.has("event", filters=ODD)
    if kept:
        write(store, [7])
        assert remembered(store) == [3]
    EVENTS[event](store)
    assert store.has("event", filters=ODD)
    assert again(store).has("event", filters=ODD)


def test_an_older_state_is_looked_at_by_itself(store: DuckDBMetadataStore) -> None:
    write(store, [3], None)
    with store:
        assert store.has("event", filters=ODD)
        write_now = again(store)
        write(write_now, [3])
        assert not write_now.has("event", filters=ODD)
        write(write_now, [3])
        assert remembered(store) == [3]
        assert store.has("event", filters=ODD)
    assert not store.has("event", filters=ODD)


@pytest.mark.parametrize("seed", range(5))
def test_any_history_says_what_a_count_says(store: DuckDBMetadataStore, seed: int) -> None:
    pick = Random(seed)  # noqa: S311 - a seed that repeats
    for _ in range(25):
        what = pick.choice(["write", "write", "odd", "delete", "erase", "drop", "compact"])
        ids = pick.sample(range(6), 2)
        if what in ("write", "odd"):
            write(store, ids, pick.choice([None, "soon"]) if what == "odd" else "2024-02-01")
        elif what in ("delete", "erase"):
            store.delete("event", filters=f"id = {ids[0]}", soft=what == "delete")
        elif what == "drop":
            store.drop("event")
            write(store, ids)
        else:
            store.compact()
        for filters in (ODD, f"id > {ids[0]}"):
            one = pick.choice([store, again(store)])
            assert one.has("event", filters=filters) == bool(one.count("event", filters=filters))
