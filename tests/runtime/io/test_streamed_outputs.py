"""Assets that return large lazy frames: the store is filled as by a table."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import dagster as dg
import narwhals as nw
import polars as pl
import pyarrow as pa
import pytest
from feature_runs import feature

import metaxy_dagster as mxd
from metaxy_dagster.runtime.io import output
from metaxy_dagster.stores.frames import lazy, spool

DAYS = dg.StaticPartitionsDefinition(["mon", "tue"])
ROWS = 400
Make = Callable[[pl.DataFrame], Any]
FRAMES: dict[str, Make] = {
    "table": lambda frame: frame,
    "polars": lambda frame: frame.lazy(),
    "narwhals": lambda frame: nw.from_native(frame.lazy()),
    "reader": lambda frame: frame.to_arrow().to_reader(64),
}
each_frame = pytest.mark.parametrize("make", FRAMES.values(), ids=FRAMES)


@pytest.fixture(autouse=True)
def _small_is_large(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(spool, "IN_MEMORY", 1_000)
    monkeypatch.setattr(lazy, "BATCH_ROWS", 64)


def rows(**other: Any) -> pl.DataFrame:
    columns = {"id": range(ROWS), "pixels": range(ROWS), "label": [f"no. {i}" for i in range(ROWS)]}
    return pl.DataFrame({**columns, **other})


def daily(make: Make, **other: Any) -> dg.AssetsDefinition:
    @dg.asset(partitions_def=DAYS, **feature("image", partition_by="day"))
    def image(context):
        first = ROWS if context.partition_key == "tue" else 0
        return make(rows(id=range(first, first + ROWS), **other))

    return image


@each_frame
def test_the_partition_is_filled_in(
    run: Callable[..., Any], store: mxd.DuckDBMetadataStore, make: Make
) -> None:
    for day in ("mon", "tue", "mon"):
        assert run(daily(make), partition_key=day).success
    found = store.read("image", columns=["id", "day"]).collect()
    assert sorted(found["id"].to_list()) == list(range(2 * ROWS))
    assert sorted(found.filter(nw.col("day") == "tue")["id"].to_list()) == list(
        range(ROWS, 2 * ROWS)
    )
    made = daily(FRAMES["table"])
    before = store.data_version("image")
    assert run(made, partition_key="tue").success
    assert store.data_version("image") == before, "a table has the same versions"


@each_frame
def test_rows_of_another_partition_in_a_late_batch(
    run: Callable[..., Any], store: mxd.DuckDBMetadataStore, make: Make
) -> None:
    asset = daily(make, day=["mon"] * (ROWS - 1) + ["tue"])
    with pytest.raises(mxd.FrameError, match="samples of other partitions") as caught:
        run(asset, partition_key="mon")
    assert "asset 'image'" in str(caught.value)
    assert "[{'day': 'tue'}]" in str(caught.value)
    assert store.count("image") == 0


@each_frame
def test_an_error_of_the_write_names_the_asset(
    run: Callable[..., Any], store: mxd.DuckDBMetadataStore, make: Make
) -> None:
    asset = daily(make, pixels=[*range(ROWS - 1), None])
    assert run(asset, partition_key="mon").success
    with pytest.raises(mxd.FrameError, match="would delete more samples") as caught:
        run(daily(lambda frame: make(frame.head(ROWS // 4))), partition_key="mon")
    assert "asset 'image'" in str(caught.value)
    assert store.count("image") == ROWS


@each_frame
def test_an_increment(run: Callable[..., Any], store: mxd.DuckDBMetadataStore, make: Make) -> None:
    def image(number: int) -> dg.AssetsDefinition:
        @dg.asset(name="image", **feature("image", write="upsert"))
        def produce():
            return make(rows().head(number))

        return produce

    @dg.asset(**feature("thumb", input="increment"))
    def thumb(image: pa.Table):
        return make(pl.DataFrame(pl.from_arrow(image)).select("id", "label"))

    for number in (ROWS // 2, ROWS):
        assert run(image(number), thumb).success
        assert store.count("thumb") == number
        assert store.resolve_update("thumb").counts == mxd.Counts(0, 0, 0)


def test_that_these_frames_are_streamed() -> None:
    asset = output.FeatureAsset.required(dg.AssetKey("image"), {"metaxy/feature": "image"})
    kinds = {name: output.own_rows(make(rows()), asset, None) for name, make in FRAMES.items()}
    assert isinstance(kinds["reader"], pa.RecordBatchReader)
    assert isinstance(kinds["table"], pa.Table)
