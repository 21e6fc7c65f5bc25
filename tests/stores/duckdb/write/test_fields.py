"""Fields that a feature gets later have versions of their own, now and in the history."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
from worlds import versions

from metaxy_dagster import constants as c
from metaxy_dagster.features import FeatureGraph, FeatureSpec
from metaxy_dagster.stores import DuckDBMetadataStore


def graph(*fields: str) -> FeatureGraph:
    made = FeatureGraph()
    made.add(FeatureSpec("root", id_columns=["id"], fields=list(fields)))
    return made


def test_a_field_is_added_beside_the_others(tmp_path: Path) -> None:
    store = DuckDBMetadataStore(tmp_path / "m.duckdb", graph=graph("x"))
    store.write("root", pa.table({"id": [1, 2], "v": [0, 0]}))
    later = store.with_graph(graph("x", "y"))
    for value in (1, 2):
        assert later.write("root", pa.table({"id": [1], "v": [value]})).updated == 1
    found = versions(later, "root")
    assert sorted(found[1]) == sorted(found[2]) == ["x", "y"]
    assert None not in found[1].values()
    assert found[2]["y"] is None
    past = later.read("root", history=True, filters="id = 1").collect().to_native().to_pylist()
    known = [
        [name for name, part in row[c.COL_PROVENANCE_BY_FIELD].items() if part] for row in past
    ]
    assert known == [["x"], ["x", "y"], ["x", "y"]]
