"""A feature that was never written is an empty one, of the columns that its class declares."""

from __future__ import annotations

import datetime as dt
from pathlib import Path

import polars as pl
import pyarrow as pa
import pytest
from pydantic import Field

import metaxy_dagster as mxd


@pytest.fixture
def graph() -> mxd.FeatureGraph:
    graph = mxd.FeatureGraph()
    with graph.use():

        class Image(mxd.BaseFeature, spec=mxd.FeatureSpec("image", id_columns=["id"])):
            id: int
            path: str
            size: float | None = None
            sharp: bool
            thumb: bytes
            taken: dt.datetime
            day: dt.date
            boxes: list[list[float]]
            extra: dict[str, int]
            either: int | float
            spec_: str = Field(alias="spec")

        class Face(
            mxd.BaseFeature,
            spec=mxd.FeatureSpec(
                "face",
                id_columns=["id"],
                deps=[mxd.FeatureDep(Image, rename={"size": "image_size"})],
            ),
        ):
            id: int
            faces: int

    graph.add(
        mxd.FeatureSpec(
            "plain", id_columns=["id"], fields=[mxd.FieldSpec("audio", columns=["sound"])]
        )
    )
    return graph


@pytest.fixture
def store(tmp_path: Path, graph: mxd.FeatureGraph) -> mxd.DuckDBMetadataStore:
    return mxd.DuckDBMetadataStore(tmp_path / "m.duckdb", graph=graph)


TYPES = {
    "id": pl.Int64,
    "path": pl.String,
    "size": pl.Float64,
    "sharp": pl.Boolean,
    "thumb": pl.Binary,
    "taken": pl.Datetime("us"),
    "day": pl.Date,
    "boxes": pl.List(pl.List(pl.Float64)),
    "extra": pl.String,
    "either": pl.String,
    "spec": pl.String,
}


@pytest.mark.parametrize("exists", [False, True])
def test_it_reads_as_an_empty_frame(store: mxd.DuckDBMetadataStore, *, exists: bool) -> None:
    if exists:
        store.write("plain", pa.table({"id": [1], "sound": ["a"]}))
    frame = store.read("image").collect("polars").to_native()
    user = {name: kind for name, kind in frame.schema.items() if not name.startswith("metaxy_")}
    assert user == TYPES
    assert frame.height == 0
    assert frame.schema["metaxy_provenance_by_field"] == pl.Struct({"default": pl.String})
    named = store.read_table("image", columns=["day", "ID", "unheard_of"]).schema
    assert list(zip(named.names, named.types, strict=True)) == [
        ("day", pa.date32()),
        ("ID", pa.int64()),
        ("unheard_of", pa.string()),
    ]
    assert store.count("image") == 0


def test_a_spec_without_a_class_tells_ids_and_the_columns_of_fields(
    store: mxd.DuckDBMetadataStore,
) -> None:
    found = store.read("plain").collect_schema().names()
    assert [name for name in found if not name.startswith("metaxy_")] == ["id", "sound"]


def test_the_increment_over_it_has_its_columns(store: mxd.DuckDBMetadataStore) -> None:
    increment = store.resolve_update("face")
    assert increment.counts.new == 0
    upstream = increment.upstream("image").collect("polars").to_native()
    assert upstream.schema == TYPES
    pending = increment.pending.collect("polars").to_native()
    assert pending.filter(pl.col("image_size") > 1, pl.col("day") > dt.date(2024, 1, 1)).height == 0


def test_what_is_computed_of_it_can_be_written(store: mxd.DuckDBMetadataStore) -> None:
    increment = store.resolve_update("face")
    frame = increment.pending.collect("polars").to_native()
    made = frame.select("id", faces=pl.col("path").str.len_chars().cast(pl.Int64))
    assert store.write("face", made, increment=increment).written == 0
