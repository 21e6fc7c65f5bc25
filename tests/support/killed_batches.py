"""Runs an asset that is called in batches; its process is killed in the middle of one.

``python killed_batches.py FOLDER [BATCH]``: killed while it computes this batch, counted from 0.
"""

import os
import signal
import sys
from pathlib import Path

import dagster as dg
import polars as pl
from feature_runs import IO_MANAGER, feature, images

import metaxy_dagster as mxd
from metaxy_dagster.runtime.io.batching import batching_op

ROWS = {i: (f"p{i}", f"l{i}") for i in range(10)}
SIZE = 3


def graph() -> mxd.FeatureGraph:
    made = mxd.FeatureGraph()
    made.add(mxd.FeatureSpec("image", id_columns=["id"]))
    made.add(mxd.FeatureSpec("thumb", id_columns=["id"], deps=["image"]))
    return made


def open_store(folder: Path) -> mxd.DuckDBMetadataStore:
    return mxd.DuckDBMetadataStore(folder / "m.duckdb", graph=graph())


def in_batches(asset: dg.AssetsDefinition, size: int = SIZE) -> dg.AssetsDefinition:
    """The asset with its op exchanged, as the pass does it."""
    attributes = asset.get_attributes_dict()
    return dg.AssetsDefinition.dagster_internal_init(
        **{**attributes, "node_def": batching_op(asset.op, size)}
    )


def run(folder: Path, kill_at: int | None) -> list[list[int]]:
    """Materialize the asset; gives the ids of each batch."""
    given: list[list[int]] = []

    @dg.asset(**feature("thumb", input="increment"))
    def thumb(image: pl.DataFrame) -> pl.DataFrame:
        if len(given) == kill_at:
            os.kill(os.getpid(), signal.SIGKILL)
        given.append(sorted(image["id"].to_list()))
        return image.select("id", thumb=pl.col("pixels").str.to_uppercase())

    image = dg.AssetSpec("image", metadata={"metaxy/feature": "image"})
    made = in_batches(thumb)
    with dg.DagsterInstance.ephemeral() as instance:
        dg.materialize(
            [image.with_io_manager_key(IO_MANAGER), made],
            selection=[made],
            instance=instance,
            resources={IO_MANAGER: mxd.MetaxyIOManager(store=open_store(folder))},
        )
    return given


if __name__ == "__main__":
    target = Path(sys.argv[1])
    open_store(target).write("image", images(ROWS))
    run(target, int(sys.argv[2]))
