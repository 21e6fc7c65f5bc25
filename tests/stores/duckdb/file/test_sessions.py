"""Sessions in sessions: the innermost one says what may be done, and ends alone."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from worlds import small_graph, small_store, statuses

from metaxy_dagster.errors import StoreError
from metaxy_dagster.stores import DuckDBMetadataStore


@pytest.fixture
def store(tmp_path: Path) -> DuckDBMetadataStore:
    return small_store(tmp_path)


@pytest.fixture
def other(store: DuckDBMetadataStore) -> DuckDBMetadataStore:
    return DuckDBMetadataStore(store.path, graph=store.graph)


def image(number: int, path: str = "x") -> pa.Table:
    return pa.table({"id": [number], "path": [path], "height": [1], "caption": [path]})


def test_each_reads_its_own_moment(store: DuckDBMetadataStore, other: DuckDBMetadataStore) -> None:
    with store:
        other.write("image", image(4))
        with store:
            other.write("image", image(5))
            assert store.count("image") == 4
        assert store.count("image") == 3
        with store.open("w"):
            assert store.count("image") == 5
        with store.without_session():
            assert store.count("image") == 5
            store.write("image", image(6))
        assert store.count("image") == 3
    assert store.count("image") == 6


def test_the_innermost_says_whether_writes_are_allowed(store: DuckDBMetadataStore) -> None:
    with store.open("w"):
        with store.open("r"), pytest.raises(StoreError, match="open for reading") as caught:
            store.write("image", image(4))
        assert 'store.open("w")' in str(caught.value.remedy)
        assert store.write("image", image(4)).new == 1
    with store:
        with store.open("w"):
            assert store.write("image", image(5)).new == 1
        for write in (
            lambda: store.write("image", image(6)),
            lambda: store.delete("image"),
            lambda: store.drop("image"),
        ):
            with pytest.raises(StoreError, match="open for reading"):
                write()
    assert store.count("image") == 5


@pytest.mark.parametrize("mode", ["R", "W", "rw", "", None])
def test_there_are_two_modes(mode: Any, tmp_path: Path) -> None:
    store = DuckDBMetadataStore(tmp_path / "m.duckdb", graph=small_graph())
    with pytest.raises(StoreError, match="for reading or for writing") as caught:
        store.open(mode).__enter__()
    assert caught.value.found == mode
    assert caught.value.remedy
    assert not list(tmp_path.iterdir())


def test_one_that_writes_makes_the_file_and_one_that_reads_does_not(tmp_path: Path) -> None:
    store = DuckDBMetadataStore(tmp_path / "m.duckdb", graph=small_graph())
    with store:
        assert store.count("image") == 0
    assert not store.path.exists()
    with store.open("w"):
        assert store.path.is_file()


def test_failures_count_as_they_were_when_it_began(
    store: DuckDBMetadataStore, other: DuckDBMetadataStore
) -> None:
    patient = DuckDBMetadataStore(store.path, graph=store.graph, max_attempts=1)
    other.write("image", pa.concat_tables([image(4), image(5)]))
    increment = other.resolve_update("score")
    with patient:
        other.record_failures("score", [{"id": 4}], "broken", increment=increment)
        with patient:
            assert statuses(patient.resolve_update("score")) == {"new": [5]}
        assert statuses(patient.resolve_update("score")) == {"new": [4, 5]}
    assert statuses(patient.resolve_update("score")) == {"new": [5]}


@pytest.mark.parametrize("name", ["write", "delete", "drop", "pin"])
def test_a_block_that_only_reads_refuses_writes(name: str, store: DuckDBMetadataStore) -> None:
    writes = {
        "write": lambda: store.write("image", image(4)),
        "delete": lambda: store.delete("image"),
        "drop": lambda: store.drop("image"),
        "pin": lambda: store.pin("run"),
    }
    with store.connected("r"):
        with pytest.raises(StoreError, match="inside a block that only reads"):
            writes[name]()
        assert store.count("image") == 3


def test_a_refusal_names_the_feature(store: DuckDBMetadataStore) -> None:
    for write in (
        lambda: store.write("image", image(4)),
        lambda: store.delete("image"),
        lambda: store.drop("image"),
    ):
        with store, pytest.raises(StoreError) as caught:
            write()
        assert "image" in str(caught.value)
