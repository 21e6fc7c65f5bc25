"""A graph asset for worker processes, one of whose ops is configured by the run."""

import os
from pathlib import Path

import dagster as dg
import pyarrow as pa

import metaxy_dagster as mxd

KEYS = {"metaxy/id_columns": ["id"]}


@dg.asset(metadata={"metaxy/feature": "texts", **KEYS})
def texts() -> pa.Table:
    return pa.table({"id": [1, 2]})


@dg.op(config_schema={"scale": dg.Field(int, default_value=1), "note": dg.Field(str, "")})
def scaled(context: dg.OpExecutionContext, frame: pa.Table) -> pa.Table:
    with Path(os.environ["METAXY_TEST_TRACE"]).open("a") as file:
        file.write(f"{frame.num_rows} by {context.op_config['scale']}\n")
    return frame


@dg.op
def kept(frame: pa.Table) -> pa.Table:
    return frame


@dg.graph_asset(
    metadata={
        "metaxy/feature": "scores",
        "metaxy/input": "increment",
        "metaxy/config_version": ["scaled.scale"],
        **KEYS,
    }
)
def scores(texts):
    return kept(scaled(texts))


def job() -> dg.JobDefinition:
    defs = mxd.metaxify_definitions(
        dg.Definitions(
            assets=[texts, scores],
            jobs=[dg.define_asset_job("job", executor_def=dg.multiprocess_executor)],
        ),
        features=[],
        store=os.environ["METAXY_TEST_TRACE"] + ".duckdb",
    )
    return defs.resolve_job_def("job")
