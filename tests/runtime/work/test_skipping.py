"""Where nothing is pending, the body of an asset is left out."""

import asyncio
from collections.abc import Callable
from typing import Any

import dagster as dg
import narwhals as nw
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
from feature_runs import event, feature, images, stored

import metaxy_dagster as mxd
from metaxy_dagster.runtime.work.skipping import skipping_op

ROWS = {i: (f"p{i}", f"l{i}") for i in range(3)}


def skipping(asset: dg.AssetsDefinition) -> dg.AssetsDefinition:
    """The asset with its op exchanged, as the pass does it."""
    attributes = asset.get_attributes_dict()
    return dg.AssetsDefinition.dagster_internal_init(
        **{**attributes, "node_def": skipping_op(asset.op)}
    )


class Bodies:
    """Counts how often a body runs."""

    def __init__(self) -> None:
        self.calls = 0
        self.rows = dict(ROWS)

    def image(self) -> dg.AssetsDefinition:
        @dg.asset(**feature("image"))
        def image():
            return images(self.rows)

        return image

    def thumb(self, kind: Any) -> dg.AssetsDefinition:
        def thumb(image):
            self.calls += 1
            frame = image.collect("pyarrow").to_native()
            table = pa.table({"id": frame["id"], "thumb": frame["pixels"]})
            return MAKE[kind](table)

        if kind is not None:
            thumb.__annotations__["return"] = kind
        return skipping(dg.asset(thumb, **feature("thumb", input="increment")))


MAKE: dict[Any, Callable[[pa.Table], Any]] = {
    None: lambda table: table,
    pa.Table: lambda table: table,
    pl.DataFrame: pl.from_arrow,
    pl.LazyFrame: lambda table: pl.from_arrow(table).lazy(),
    pd.DataFrame: lambda table: table.to_pandas(),
    nw.DataFrame: nw.from_native,
    nw.LazyFrame: lambda table: nw.from_native(table).lazy(),
}


@pytest.mark.parametrize("kind", MAKE)
def test_the_body_runs_only_if_something_is_pending(
    run: Callable[..., Any], store: mxd.DuckDBMetadataStore, kind: Any
) -> None:
    bodies = Bodies()
    assets = [bodies.image(), bodies.thumb(kind)]
    run(*assets)
    run(*assets)
    assert bodies.calls == 1
    del bodies.rows[0]
    result = run(*assets)
    assert bodies.calls == 1
    assert event(result, "thumb")["metaxy/deleted"] == 1
    assert set(stored(store, "thumb")) == {1, 2}
    bodies.rows[1] = ("other", "l1")
    run(*assets)
    assert bodies.calls == 2


def test_an_async_body(run: Callable[..., Any]) -> None:
    bodies = Bodies()

    @dg.asset(**feature("thumb", input="increment"))
    async def thumb(image: pl.DataFrame) -> pl.DataFrame:
        bodies.calls += 1
        await asyncio.sleep(0)
        return image.select("id", thumb="pixels")

    assets = [bodies.image(), skipping(thumb)]
    run(*assets)
    run(*assets)
    assert bodies.calls == 1


def test_a_body_with_a_context_and_resources(run: Callable[..., Any]) -> None:
    bodies = Bodies()

    @dg.asset(**feature("thumb", input="increment"))
    def thumb(
        context: dg.AssetExecutionContext,
        image: pl.DataFrame,
        store: dg.ResourceParam[mxd.MetadataStore],
    ) -> pl.DataFrame:
        bodies.calls += 1
        assert context.asset_key
        assert store.count("image") == len(ROWS)
        return image.select("id", thumb="pixels")

    assets = [bodies.image(), skipping(thumb)]
    run(*assets)
    run(*assets)
    assert bodies.calls == 1


def test_an_idle_step_does_not_silence_another(run: Callable[..., Any]) -> None:
    """In one process, one step after the other."""
    bodies = Bodies()

    @dg.asset(deps=["thumb"], **feature("name"))
    def name(image: pl.DataFrame) -> pl.DataFrame:
        bodies.calls += 10
        return image.select("id", name="label")

    assets = [bodies.image(), bodies.thumb(pa.Table), skipping(name)]
    run(*assets)
    run(*assets)
    assert bodies.calls == 1 + 2 * 10


def test_called_directly_the_body_runs() -> None:
    @dg.op
    def compute(frame):
        return frame

    op = skipping_op(compute)
    assert op is not compute
    assert op("frame") == "frame"


@dg.op
def generator(frame):
    yield dg.Output(frame)


@dg.op
def no_frame(frame) -> dict:
    return frame


@dg.op(out={"a": dg.Out(), "b": dg.Out()})
def two(frame):
    return frame, frame


@pytest.mark.parametrize("op", [generator, no_frame, two], ids=lambda op: op.name)
def test_bodies_that_cannot_be_left_out_stay_as_they_are(op: dg.OpDefinition) -> None:
    assert skipping_op(op) is op


def test_wrapping_twice_is_wrapping_once() -> None:
    @dg.op
    def compute(frame) -> pl.DataFrame:
        return frame

    once = skipping_op(compute)
    assert once is not compute
    assert skipping_op(once) is once
    assert once.name == "compute"
    assert [each.name for each in once.input_defs] == ["frame"]
