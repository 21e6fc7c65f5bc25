"""Videos, crops of them and what follows from these, some of which yield nothing."""

from __future__ import annotations

from typing import Any

import duckdb
import pyarrow as pa

from metaxy_dagster.features import (
    FeatureDep,
    FeatureGraph,
    FeatureSpec,
    LineageRelationship,
)
from metaxy_dagster.stores import Counts, DuckDBMetadataStore
from metaxy_dagster.stores.counts import STATUS

NOTHING = Counts(0, 0, 0)


STATUSES = ("new", "stale", "orphaned", "unchanged", "quarantined")


def graph(version: str = "1") -> FeatureGraph:
    made = FeatureGraph()
    made.add(FeatureSpec("video", id_columns=["id"]))
    made.add(FeatureSpec("crop", id_columns=["id"], deps=["video"], fields={"default": version}))
    parent = FeatureDep("video", lineage=LineageRelationship.expansion())
    made.add(FeatureSpec("child", id_columns=["id", "n"], deps=[parent]))
    members = FeatureDep("child", lineage=LineageRelationship.aggregation(on=["id"]))
    made.add(FeatureSpec("group", id_columns=["id"], deps=[members]))
    made.add(FeatureSpec("after", id_columns=["id"], deps=["crop"]))
    made.add(FeatureSpec("pair", id_columns=["id", "n"], deps=["child"]))
    return made


def videos(rows: dict[Any, int], kind: pa.DataType | None = None) -> pa.Table:
    return pa.table({"id": pa.array(list(rows), kind or pa.int64()), "x": list(rows.values())})


def crops(*ids: Any) -> pa.Table:
    return pa.table({"id": pa.array(ids, pa.int64()), "value": [1] * len(ids)})


def named(*ids: Any) -> list[dict[str, Any]]:
    return [{"id": one} for one in ids]


def found(store: DuckDBMetadataStore, key: str = "crop", **options: Any) -> dict[Any, str]:
    delta = store.resolve_update(key, **options).delta.to_pylist()
    statuses = {row["id"]: STATUSES[row[STATUS]] for row in delta}
    assert len(statuses) == len(delta), "each sample once"
    return statuses


def ids(store: DuckDBMetadataStore, key: str = "crop") -> list[Any]:
    return sorted(store.read_table(key, columns=["id"]).column("id").to_pylist())


def compute(store: DuckDBMetadataStore, *kept: int, key: str = "crop", empty: Any = "rest") -> Any:
    """Write rows of some samples; by default the others are empty."""
    return store.write(key, crops(*kept), increment=store.resolve_update(key), empty=empty)


def outside(store: DuckDBMetadataStore, sql: str) -> list[Any]:
    with duckdb.connect(str(store.path)) as connection:
        return connection.execute(sql).fetchall()
