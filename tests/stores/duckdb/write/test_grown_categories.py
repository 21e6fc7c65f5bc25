"""Values beyond the categories that a column began with are there in every library."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from metaxy_dagster.features import FeatureGraph, FeatureSpec
from metaxy_dagster.stores import DuckDBMetadataStore

FIRST = pl.Enum(["é", "b"])
# What comes later: another enumeration, text, categories.
LATER: dict[str, Any] = {
    "enumeration": pl.Enum(["z", "é", "b"]),
    "text": pl.String(),
    "categories": pl.Categorical(),
}
Made = Callable[[str, Any], pl.Series]
NESTED: dict[str, tuple[Made, Callable[[Any], Any]]] = {
    "list": (
        lambda value, kind: pl.Series([[value]], dtype=pl.List(kind)),
        lambda found: [list(one) for one in found],
    ),
    "struct": (lambda value, kind: pl.Series([{"e": value}], dtype=pl.Struct({"e": kind})), list),
    "list of structs": (
        lambda value, kind: pl.Series([[{"e": value}]], dtype=pl.List(pl.Struct({"e": kind}))),
        lambda found: [list(one) for one in found],
    ),
}


@pytest.fixture
def store(tmp_path: Path) -> DuckDBMetadataStore:
    graph = FeatureGraph()
    graph.add(FeatureSpec("clip", id_columns=["id"]))
    graph.add(FeatureSpec("crop", id_columns=["id"], deps=["clip"]))
    return DuckDBMetadataStore(tmp_path / "m.duckdb", graph=graph)


@pytest.mark.parametrize("library", ["polars", "pandas", "pyarrow"])
@pytest.mark.parametrize("later", LATER)
@pytest.mark.parametrize("nested", NESTED)
def test_nested_values_beyond_the_first_categories_are_not_null(
    store: DuckDBMetadataStore, nested: str, later: str, library: Any
) -> None:
    made, listed = NESTED[nested]
    store.write("clip", pl.DataFrame({"id": [1], "x": made("é", FIRST)}))
    store.write("clip", pl.DataFrame({"id": [2], "x": made("z", LATER[later])}))
    found = store.read("clip").collect(library).to_native()
    column = found["x"].to_pylist() if library == "pyarrow" else found["x"].to_list()
    expected = [*made("é", pl.String).to_list(), *made("z", pl.String).to_list()]
    assert listed(column) == expected


@pytest.mark.parametrize("nested", NESTED)
def test_nested_categories_without_a_value_stay(store: DuckDBMetadataStore, nested: str) -> None:
    frame = pl.DataFrame({"id": [1], "x": NESTED[nested][0]("é", FIRST)})
    store.write("clip", frame)
    found = store.read("clip", columns=["id", "x"]).collect("polars").to_native()
    assert found.schema["x"] == frame.schema["x"]


@pytest.mark.parametrize("later", LATER)
def test_ids_beyond_the_first_categories_are_asked_for_and_found(
    store: DuckDBMetadataStore, later: str
) -> None:
    store.write("clip", pl.DataFrame({"id": pl.Series(["é"], dtype=FIRST)}))
    for _ in range(2):
        increment = store.resolve_update("crop")
        pending = increment.pending.collect("polars").to_native()
        store.write("crop", pending.select("id"), increment=increment)
        store.write("clip", pl.DataFrame({"id": pl.Series(["z"], dtype=LATER[later])}))
    assert store.resolve_update("crop").counts.pending == 0
    found = store.read("crop").collect("polars").to_native()["id"].cast(pl.String)
    assert sorted(found) == ["z", "é"]
