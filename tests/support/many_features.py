"""A job of several features of one root, for executors that build it in processes of their own."""

import os

import dagster as dg
import pyarrow as pa
from feature_runs import IO_MANAGER, feature

import metaxy_dagster as mxd

PATH = "METAXY_TEST_STORE"
COUNT = 4


def graph() -> mxd.FeatureGraph:
    made = mxd.FeatureGraph()
    made.add(mxd.FeatureSpec("root", id_columns=["id"]))
    for i in range(COUNT):
        made.add(mxd.FeatureSpec(f"f{i}", id_columns=["id"], deps=["root"]))
    return made


def make_job() -> dg.JobDefinition:
    @dg.asset(**feature("root"))
    def root() -> pa.Table:
        return pa.table({"id": list(range(100)), "x": list(range(100))})

    def derived(i: int) -> dg.AssetsDefinition:
        @dg.asset(name=f"f{i}", **feature(f"f{i}", input="increment"))
        def compute(root: pa.Table) -> pa.Table:
            return root

        return compute

    store = mxd.DuckDBMetadataStore(os.environ[PATH], graph=graph())
    defs = dg.Definitions(
        assets=[root, *map(derived, range(COUNT))],
        resources={IO_MANAGER: mxd.MetaxyIOManager(store=store)},
        jobs=[dg.define_asset_job("many_features")],
        executor=dg.multiprocess_executor,
    )
    return defs.resolve_job_def("many_features")
