"""A repository whose partitions are mapped, for runs in processes of their own."""

# Annotations are not postponed here: Dagster reads that of the context when an op is made.

import os
from pathlib import Path

import dagster as dg
import polars as pl

import metaxy_dagster as mxd

FOLDER = "METAXY_TEST_MAPPED_DAYS"
HOURS = dg.HourlyPartitionsDefinition("2024-02-01-00:00", end_date="2024-02-03-00:00")
DAYS = dg.DailyPartitionsDefinition("2024-02-01", end_date="2024-02-03")


def graph() -> mxd.FeatureGraph:
    made = mxd.FeatureGraph()
    made.add(mxd.FeatureSpec("hourly", id_columns=["id"]))
    made.add(mxd.FeatureSpec("daily", id_columns=["id"], deps=["hourly"]))
    return made


def store() -> mxd.DuckDBMetadataStore:
    return mxd.DuckDBMetadataStore(Path(os.environ[FOLDER]) / "m.duckdb", graph=graph())


def make_job() -> dg.JobDefinition:
    hourly = dg.AssetSpec(
        "hourly",
        partitions_def=HOURS,
        metadata={"metaxy/feature": "hourly", "partition_by": "hour"},
    ).with_io_manager_key("metaxy_io_manager")

    @dg.asset(
        partitions_def=DAYS,
        io_manager_key="metaxy_io_manager",
        metadata={"metaxy/feature": "daily", "partition_by": "day", "metaxy/input": "increment"},
    )
    def daily(context: dg.AssetExecutionContext, hourly: pl.DataFrame) -> pl.DataFrame:
        return hourly.select("id", "hour", day=pl.lit(context.partition_key))

    opened = store()
    resources = {"store": opened, "metaxy_io_manager": mxd.MetaxyIOManager(store=opened)}
    defs = dg.Definitions(
        assets=[hourly, daily],
        resources=resources,
        jobs=[dg.define_asset_job("mapped_days", ["daily"])],
        executor=dg.multiprocess_executor,
    )
    return defs.resolve_job_def("mapped_days")
