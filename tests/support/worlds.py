"""Small worlds for the store tests: a graph, a store, and looks at the file from outside."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa
from patience import patient
from pydantic import ConfigDict

from metaxy_dagster import constants as c
from metaxy_dagster.features import (
    BaseFeature,
    FeatureDep,
    FeatureGraph,
    FeatureSpec,
    FieldSpec,
    LineageRelationship,
)
from metaxy_dagster.stores import DuckDBMetadataStore, Increment
from metaxy_dagster.stores.scan import Scan

IMAGES = [
    {"id": 1, "path": "a.png", "height": 720, "caption": "cat"},
    {"id": 2, "path": "b.png", "height": 1080, "caption": None},
    {"id": 3, "path": "c.png", "height": None, "caption": "dög 🐕"},
]


with FeatureGraph().use():

    class Typed(BaseFeature, spec=FeatureSpec("typed", id_columns=["id"])):
        """A feature with declared columns."""

        id: int
        size: int
        note: str | None = None

    class Closed(BaseFeature, spec=FeatureSpec("closed", id_columns=["id"])):
        """A feature with declared columns, and no others."""

        model_config = ConfigDict(extra="forbid")

        size: int
        note: str | None = None


def small_graph() -> FeatureGraph:
    """``image`` (root, two fields), ``score`` (derived), and two classes with columns."""
    graph = FeatureGraph()
    graph.add(
        FeatureSpec(
            "image",
            id_columns=["id"],
            fields=[
                FieldSpec("pixels", columns=["path", "height"]),
                FieldSpec("caption", columns=["caption"]),
            ],
        )
    )
    graph.add(FeatureSpec("score", id_columns=["id"], deps=["image"]))
    graph.add(FeatureSpec("plain", id_columns=["id"]))
    graph.add(FeatureSpec("pair", id_columns=["id", "n"]))
    graph.add(
        FeatureSpec(
            "crop",
            id_columns=["id", "k"],
            deps=[FeatureDep("image", lineage=LineageRelationship.expansion())],
        )
    )
    graph.add(Typed)
    graph.add(Closed)
    return graph


def small_store(folder: Path) -> DuckDBMetadataStore:
    """A store with three images, and scores for them."""
    store = DuckDBMetadataStore(folder / "m.duckdb", graph=small_graph(), lock_timeout=patient(10))
    store.write("image", pa.Table.from_pylist(IMAGES))
    increment = store.resolve_update("score")
    store.write("score", pa.table({"id": [1, 2, 3], "score": [0.1, 0.2, 0.3]}), increment=increment)
    return store


def image(number: int, path: str) -> pa.Table:
    """One image of :func:`small_store`, as it may come in later."""
    return pa.table({"id": [number], "path": [path], "height": [1], "caption": [path]})


def changed_store(folder: Path) -> DuckDBMetadataStore:
    """Two commits of the first sight, then image 1 changed twice and image 3 deleted: 5 commits."""
    store = small_store(folder)
    for path in "xy":
        store.write("image", image(1, path))
    store.delete("image", filters="id = 3")
    return store


def scanned(scan: Scan | pa.Table) -> pa.Table:
    """The rows of a scan, or of the table that few rows are."""
    if isinstance(scan, pa.Table):
        return scan
    return pa.Table.from_batches(scan.batches(), scan.schema)


def digest(path: Path) -> str:
    """All tables of a file, with their types and rows, read without the library."""
    if not path.is_file():
        return "no file"
    found = []
    with duckdb.connect(str(path), read_only=True) as connection:
        tables = connection.execute(
            "SELECT table_schema, table_name FROM information_schema.tables ORDER BY ALL"
        ).fetchall()
        for schema, table in tables:
            relation = connection.table(f'"{schema}"."{table}"')
            described = list(zip(relation.columns, map(str, relation.types), strict=True))
            found.append(repr((schema, table, described, sorted(map(repr, relation.fetchall())))))
    return hashlib.sha256("\n".join(found).encode()).hexdigest()


def rows(
    store: DuckDBMetadataStore, feature: str, columns: Sequence[str] | None = None, **options: Any
) -> list[dict[str, Any]]:
    """The stored rows without system columns, in the order of their ids."""
    table = store.read(feature, columns=columns, **options).collect().to_native()
    ids = [n for n in store.graph[feature].id_columns if n in table.column_names]
    found = sorted(table.to_pylist(), key=lambda row: repr([row[n] for n in ids]))
    if columns is not None:
        return found
    return [{k: v for k, v in row.items() if not k.startswith(c.PREFIX)} for row in found]


def statuses(increment: Increment) -> dict[str, list[Any]]:
    """The ids of an increment's new, stale and orphaned samples, without empty entries."""
    found = {}
    for name in ("new", "stale", "orphaned"):
        frame = getattr(increment, name).collect().to_native()
        ids = [tuple(row[n] for n in increment.sample_columns) for row in frame.to_pylist()]
        if ids:
            found[name] = sorted(one[0] if len(one) == 1 else one for one in ids)
    counts = increment.counts
    for name in ("new", "stale", "orphaned"):
        assert getattr(counts, name) == len(found.get(name, ()))
    return found


def versions(store: DuckDBMetadataStore, feature: str) -> dict[Any, Mapping[str, str]]:
    """The data version of every field, by id."""
    ids = store.graph[feature].id_columns
    return {
        tuple(row[n] for n in ids) if len(ids) > 1 else row[ids[0]]: row[
            c.COL_DATA_VERSION_BY_FIELD
        ]
        for row in store.read(feature).collect().to_native().to_pylist()
    }


def catch_up(store: DuckDBMetadataStore, feature: str, **columns: Any) -> Increment:
    """Answer a whole increment with one row per pending sample, orphans deleted."""
    increment = store.resolve_update(feature)
    ids = increment.pending.collect().to_native().select(list(increment.sample_columns))
    for name, value in columns.items():
        ids = ids.append_column(name, pa.array([value] * ids.num_rows))
    store.write(feature, ids, increment=increment, delete_orphaned=True)
    return increment
