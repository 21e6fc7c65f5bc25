"""A graph asset for worker processes: an op of its inner graph does not use the graph's input."""

from __future__ import annotations

import os
from pathlib import Path

import dagster as dg

from metaxy_dagster.definitions import metaxify_definitions

KEYS = {"metaxy/id_columns": ["id"]}


def trace(name: str) -> None:
    with Path(os.environ["METAXY_TEST_TRACE"]).open("a") as file:
        file.write(f"{name}\n")


@dg.asset(metadata={"metaxy/feature": "weather", **KEYS})
def zz_weather() -> None:
    trace("root")


@dg.op
def numbered() -> int:
    trace("numbered")
    return 1


@dg.op
def measured() -> int:
    trace("measured")
    return 2


@dg.op(ins={"number": dg.In(int)}, out=dg.Out(dg.Nothing))
def fitted(number: int, more: int) -> None:
    trace("fitted")


@dg.graph
def model(number):
    return fitted(number, measured())


@dg.graph_asset(metadata={"metaxy/feature": "fit", "metaxy/deps": ["weather"], **KEYS})
def fit():
    return model(numbered())


def job() -> dg.JobDefinition:
    defs = metaxify_definitions(
        dg.Definitions(
            assets=[fit, zz_weather],
            jobs=[dg.define_asset_job("job", executor_def=dg.multiprocess_executor)],
        ),
        store=os.environ["METAXY_TEST_TRACE"] + ".duckdb",
    )
    return defs.resolve_job_def("job")
