"""Calls that share a connection: each knows what those before it did, as a new one would."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from worlds import catch_up

from metaxy_dagster.features import FeatureDep, FeatureGraph, FeatureSpec
from metaxy_dagster.stores import Counts, DuckDBMetadataStore

KEYS = ("image", "crop", "label")


@pytest.fixture
def store(tmp_path: Path) -> DuckDBMetadataStore:
    graph = FeatureGraph()
    graph.add(FeatureSpec("image", id_columns=["id"]))
    graph.add(FeatureSpec("label", id_columns=["id"]))
    label = FeatureDep("label", optional=True)
    graph.add(FeatureSpec("crop", id_columns=["id"], deps=["image", label]))
    made = DuckDBMetadataStore(tmp_path / "m.duckdb", graph=graph, max_incremental_share=100)
    made.write("image", images(1, 2, 3))
    catch_up(made, "crop")
    return made


def images(*ids: int, **columns: Any) -> pa.Table:
    return pa.table({"id": ids, "x": ids, **columns})


def told(store: DuckDBMetadataStore) -> dict[str, Any]:
    tables = {key: store.read_table(key).sort_by("id") for key in KEYS}
    return {
        "rows": {key: table.to_pylist() for key, table in tables.items()},
        "types": {key: table.schema for key, table in tables.items()},
        "versions": {key: store.data_version(key) for key in KEYS},
        "pending": store.resolve_update("crop").delta.sort_by("id").to_pylist(),
        "features": store.features(),
    }


Change = Callable[[DuckDBMetadataStore], object]
CHANGES: dict[str, Change] = {
    "more rows": lambda store: store.write("image", images(4, 5)),
    "changed rows": lambda store: store.write("image", pa.table({"id": [1], "x": [9]})),
    "another column": lambda store: store.write("image", images(3, 4, y=["a", "b"])),
    "the same rows": lambda store: store.write("image", images(1, 2)),
    "a first write": lambda store: store.write("label", images(2)),
    "deleted": lambda store: store.delete("image", filters="id = 2"),
    "deleted for good": lambda store: store.delete("crop", filters="id = 2", soft=False),
    "dropped": lambda store: store.drop("crop"),
    "dropped, and written with other columns": lambda store: (
        store.drop("image"),
        store.write("image", pa.table({"id": [1, 7], "z": ["a", "b"]})),
    ),
    "dropped, and all found empty": lambda store: (
        store.drop("crop"),
        store.write("crop", pa.table({}), increment=store.resolve_update("crop"), empty="rest"),
    ),
    "answered": lambda store: (store.write("image", images(4)), catch_up(store, "crop")),
}


@pytest.mark.parametrize("name", CHANGES)
def test_what_a_call_did_is_known_to_the_next_ones(name: str, store: DuckDBMetadataStore) -> None:
    with store.connected("w"):
        told(store)
        CHANGES[name](store)
        inside = told(store)
    assert inside == told(store)


def test_a_session_knows_the_failures_of_every_feature(store: DuckDBMetadataStore) -> None:
    store.write("image", images(4, 5))
    for _ in range(3):
        increment = store.resolve_update("crop")
        store.record_failures("crop", [{"id": 5}], "too dark", increment=increment)
    with store:
        assert store.resolve_update("crop").counts == Counts(1, 0, 0, quarantined=1)
