"""A repository that worker processes rebuild: names say the wrong order, deps the right one."""

from __future__ import annotations

import os
import time
from pathlib import Path

import dagster as dg

from metaxy_dagster.definitions import metaxify_definitions
from metaxy_dagster.features import FeatureSpec

FEATURES = [
    FeatureSpec("f/a", id_columns=["id"]),
    FeatureSpec("f/b", id_columns=["id"], deps=["f/a"]),
    FeatureSpec("f/c", id_columns=["id"], deps=["f/b"]),
]


def trace(name: str) -> None:
    # Long enough that everything that may start at once has started.
    time.sleep(0.3)
    with Path(os.environ["METAXY_TEST_TRACE"]).open("a") as file:
        file.write(f"{name}\n")


@dg.asset(metadata={"metaxy/feature": "f/a"})
def zz_root() -> None:
    trace("root")


@dg.op(out=dg.Out(dg.Nothing))
def inner() -> None:
    trace("graph")


@dg.graph_asset(metadata={"metaxy/feature": "f/b"})
def mm_graph():
    return inner()


@dg.asset(metadata={"metaxy/feature": "f/c"})
def aa_leaf() -> None:
    trace("leaf")


def job() -> dg.JobDefinition:
    defs = metaxify_definitions(
        dg.Definitions(
            assets=[aa_leaf, mm_graph, zz_root],
            jobs=[dg.define_asset_job("job", executor_def=dg.multiprocess_executor)],
        ),
        features=FEATURES,
        store=os.environ["METAXY_TEST_TRACE"] + ".duckdb",
    )
    return defs.resolve_job_def("job")
