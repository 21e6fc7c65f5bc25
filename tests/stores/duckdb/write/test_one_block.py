"""Writes in one block: they do what they do on their own, in any order, whatever fails between."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from metaxy_dagster.errors import MetaxyError
from metaxy_dagster.features import FeatureGraph, FeatureSpec
from metaxy_dagster.stores import DuckDBMetadataStore

KEYS = ("old", "new", "derived")


def made(folder: Path) -> DuckDBMetadataStore:
    folder.mkdir()
    graph = FeatureGraph()
    graph.add(FeatureSpec("old", id_columns=["id"]))
    graph.add(FeatureSpec("new", id_columns=["id"]))
    graph.add(FeatureSpec("derived", id_columns=["id"], deps=["old"]))
    store = DuckDBMetadataStore(folder / "m.duckdb", graph=graph)
    store.write("old", pa.table({"id": [1]}))
    return store


def compute(store: DuckDBMetadataStore) -> None:
    increment = store.resolve_update("derived")
    frame = increment.pending.collect().to_native()
    store.write("derived", frame, increment=increment, delete_orphaned=True)


def nothing_found(store: DuckDBMetadataStore) -> None:
    increment = store.resolve_update("derived")
    frame = pa.table({"id": pa.array([], pa.int64())})
    store.write("derived", frame, increment=increment, empty="rest")


def fail_samples(store: DuckDBMetadataStore) -> None:
    increment = store.resolve_update("derived")
    samples = increment.pending.collect().to_native()
    store.record_failures("derived", samples, "no network", increment=increment)


def drop_and_write(store: DuckDBMetadataStore) -> None:
    store.drop("old")
    store.write("old", pa.table({"id": pa.array([7, 8], pa.int8())}))


def refused(store: DuckDBMetadataStore) -> None:
    for key in ("old", "new"):
        with pytest.raises(MetaxyError):
            store.write(key, pa.table({"id": [3, 3]}))
    with pytest.raises(MetaxyError):
        # Refused only once it is compared with what is stored.
        store.write("old", pa.table({"id": ["text"]}))


STEPS: dict[str, Callable[[DuckDBMetadataStore], Any]] = {
    "stored": lambda store: store.write("old", pa.table({"id": [1, 2]})),
    "first": lambda store: store.write("new", pa.table({"id": [1]})),
    "computed": compute,
    "empty": nothing_found,
    "failed": fail_samples,
    "dropped": lambda store: store.drop("new"),
    "dropped and written": drop_and_write,
    "deleted": lambda store: store.delete("old", filters="id = 1"),
    "refused": refused,
}


def told(store: DuckDBMetadataStore) -> dict[str, Any]:
    increment = store.resolve_update("derived")
    return {
        "rows": {
            key: store.read_table(key, columns=["id"]).sort_by("id").to_pylist() for key in KEYS
        },
        "versions": {key: store.data_version(key) for key in KEYS},
        "pending": increment.delta.sort_by("id").to_pylist(),
        "failed": store.failed("derived").failed,
        "stored": store.features(),
    }


@pytest.mark.parametrize("first", STEPS)
def test_any_steps_in_one_block_do_what_they_do_apart(first: str, tmp_path: Path) -> None:
    for number, rest in enumerate(itertools.permutations(STEPS, 2)):
        if number % 4:
            continue
        apart, together = (made(tmp_path / f"{number}{name}") for name in "ab")
        order = (first, *rest)
        for name in order:
            STEPS[name](apart)
        with together.connected("w"):
            for name in order:
                STEPS[name](together)
            within = told(together)
        assert within == told(together) == told(apart), order


@pytest.mark.parametrize("keys", list(itertools.permutations(("old", "new", "new", "old"), 3)))
def test_new_and_stored_features_may_be_written_in_one_block(
    keys: tuple[str, ...], tmp_path: Path
) -> None:
    store = made(tmp_path / "s")
    with store.connected("w"):
        for number, key in enumerate(keys):
            store.write(key, pa.table({"id": [1, 2 + number]}))
    for key in set(keys):
        assert store.count(key) == 1 + keys.count(key)
