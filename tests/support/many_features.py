"""A job of several features of one root, for executors that build it in processes of their own."""

import os
import time
from pathlib import Path

import dagster as dg
import pyarrow as pa
from feature_runs import IO_MANAGER, feature
from patience import patient

import metaxy_dagster as mxd

# A folder with the store, and with the file ``round``: how often the job has been run before.
FOLDER = "METAXY_TEST_FOLDER"
COUNT, ROWS, CHANGED = 8, 2_000, 100
SECONDS = 120


def graph() -> mxd.FeatureGraph:
    made = mxd.FeatureGraph()
    made.add(mxd.FeatureSpec("root", id_columns=["id"]))
    for i in range(COUNT):
        made.add(mxd.FeatureSpec(f"f{i}", id_columns=["id"], deps=["root"]))
    return made


def content(number: int) -> dict[str, list[int]]:
    """The root in a round: in each, some samples are new and some differ from before."""
    ids = list(range(ROWS + CHANGED * number))
    return {"id": ids, "x": [i + (number if i < CHANGED * number else 0) for i in ids]}


def wait_for_all(folder: Path, number: int, name: str) -> None:
    """Go on when every asset has come as far, so that all of them write at once."""
    (folder / f"{name}.{number}").touch()
    deadline = time.monotonic() + patient(SECONDS)
    while len(list(folder.glob(f"f*.{number}"))) < COUNT:
        if time.monotonic() > deadline:
            raise TimeoutError(name)
        time.sleep(0.01)


def make_job() -> dg.JobDefinition:
    folder = Path(os.environ[FOLDER])
    number = int((folder / "round").read_text())

    @dg.asset(**feature("root"))
    def root() -> pa.Table:
        return pa.table(content(number))

    def derived(i: int) -> dg.AssetsDefinition:
        @dg.asset(name=f"f{i}", **feature(f"f{i}", input="increment"))
        def compute(root: pa.Table) -> pa.Table:
            wait_for_all(folder, number, f"f{i}")
            return root.select(["id", "x"])

        return compute

    store = mxd.DuckDBMetadataStore(folder / "m.duckdb", graph=graph())
    defs = dg.Definitions(
        assets=[root, *map(derived, range(COUNT))],
        resources={IO_MANAGER: mxd.MetaxyIOManager(store=store)},
        jobs=[dg.define_asset_job("many_features")],
        executor=dg.multiprocess_executor,
    )
    return defs.resolve_job_def("many_features")
