"""A graph asset whose steps run in processes of their own, for executors that build it there."""

import os
import shutil
from pathlib import Path

import dagster as dg
import polars as pl
from feature_runs import IO_MANAGER, feature, images

import metaxy_dagster as mxd

# A folder with the store; the file ``fails`` in it lets the last op fail, ``meddles`` lets the
# first one write to the root while the graph is half done, ``thins`` lets it report one sample as
# failed and one as empty, and leave out a third. ``loses_scale`` or ``loses_again`` has the op of
# that name lose what the store had, in the way that the file says.
FOLDER = "METAXY_TEST_FOLDER"
ROWS = {i: (f"p{i}", f"l{i}") for i in range(4)}
MOVED = {**ROWS, 0: ("moved", "l0"), 9: ("p9", "l9")}


def graph() -> mxd.FeatureGraph:
    made = mxd.FeatureGraph()
    made.add(mxd.FeatureSpec("image", id_columns=["id"]))
    made.add(mxd.FeatureSpec("thumb", id_columns=["id"], deps=["image"]))
    return made


def open_store(folder: Path) -> mxd.DuckDBMetadataStore:
    return mxd.DuckDBMetadataStore(folder / "m.duckdb", graph=graph())


def lose(folder: Path, op: str) -> None:
    said = folder / f"loses_{op}"
    if not said.exists():
        return
    path, backup = folder / "m.duckdb", folder / "backup.duckdb"
    path.unlink()
    if said.read_text() == "put back":
        shutil.copy(backup, path)
    elif said.read_text() == "made anew":
        open_store(folder).write("image", images(ROWS))


@dg.op
def scale(image: pl.DataFrame) -> pl.DataFrame:
    folder = Path(os.environ[FOLDER])
    (folder / "seen").write_text(str(sorted(image["id"].to_list())))
    if (folder / "meddles").exists():
        open_store(folder).write("image", images(MOVED))
    if (folder / "thins").exists():
        mxd.report_failures([{"id": 0}], "torn")
        mxd.report_empty([{"id": 1}])
        image = image.filter(pl.col("id") > 2)
    lose(folder, "scale")
    return image.select("id", "pixels")


@dg.op
def again(image: pl.DataFrame, scaled: pl.DataFrame) -> pl.DataFrame:
    """Another feature input, in a later process: it must show the same moment."""
    folder = Path(os.environ[FOLDER])
    if (folder / "fails").exists():
        raise RuntimeError
    joined = scaled.join(image.select("id", other="pixels"), on="id")
    (folder / "pairs").write_text(str(joined.sort("id").rows()))
    lose(folder, "again")
    return joined.select("id", "pixels")


@dg.op(out=dg.Out(io_manager_key=IO_MANAGER))
def finish(scaled: pl.DataFrame) -> pl.DataFrame:
    return scaled.select("id", thumb=pl.col("pixels").str.to_uppercase())


@dg.graph_asset(
    metadata=feature("thumb", input="increment", **{"metaxy/unreturned": "empty"})["metadata"]
)
def thumb(image):
    return finish(again(image, scale(image)))


def make_job() -> dg.JobDefinition:
    folder = Path(os.environ[FOLDER])
    image = dg.AssetSpec("image", metadata={"metaxy/feature": "image"})
    defs = dg.Definitions(
        assets=[image.with_io_manager_key(IO_MANAGER), thumb],
        resources={IO_MANAGER: mxd.MetaxyIOManager(store=open_store(folder))},
        jobs=[dg.define_asset_job("shared_steps", selection=[thumb])],
        executor=dg.multiprocess_executor,
    )
    return defs.resolve_job_def("shared_steps")
