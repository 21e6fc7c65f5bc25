"""A repository that worker processes rebuild: ``@metaxify`` alone declares its features."""

from __future__ import annotations

import os

import dagster as dg
import pyarrow as pa

from metaxy_dagster.definitions import metaxify
from metaxy_dagster.features import FeatureSpec
from metaxy_dagster.runtime import MetaxyIOManager, MetaxyStoreFromConfigResource


@metaxify(feature=FeatureSpec("by/spec", id_columns=["id"]))
@dg.asset(io_manager_key="metaxy_io_manager")
def by_spec() -> pa.Table:
    return pa.table({"id": [1, 2]})


@metaxify
@dg.asset(
    io_manager_key="metaxy_io_manager",
    metadata={
        "metaxy/feature": "by/keys",
        "metaxy/id_columns": ["id"],
        "metaxy/input": "increment",
    },
    ins={"rows": dg.AssetIn(key=["by", "spec"])},
)
def by_keys(rows: pa.Table) -> pa.Table:
    return rows


def job() -> dg.JobDefinition:
    store = MetaxyStoreFromConfigResource(path=os.environ["METAXY_TEST_STORE"])
    defs = dg.Definitions(
        assets=[by_spec, by_keys],
        resources={"store": store, "metaxy_io_manager": MetaxyIOManager(store=store)},
        jobs=[dg.define_asset_job("job", executor_def=dg.multiprocess_executor)],
    )
    return defs.resolve_job_def("job")
