"""Features of which a resolve knows what changed since the last one, and changes in them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pyarrow as pa

from metaxy_dagster.features import FeatureDep, FeatureGraph, FeatureSpec, LineageRelationship
from metaxy_dagster.stores import DuckDBMetadataStore, Increment
from metaxy_dagster.stores.counts import STATUS

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


def store_at(folder: Path) -> DuckDBMetadataStore:
    made = DuckDBMetadataStore(folder / "m.duckdb", graph=graph(), max_incremental_share=100)
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
