"""A repository that worker processes rebuild, with a function that is called in batches."""

from __future__ import annotations

import os
from pathlib import Path

import dagster as dg
import pyarrow as pa

from metaxy_dagster.definitions import metaxify_definitions
from metaxy_dagster.features import FeatureSpec

FEATURES = [
    FeatureSpec("f/a", id_columns=["id"]),
    FeatureSpec("f/b", id_columns=["id"], deps=["f/a"]),
]


@dg.asset(metadata={"metaxy/feature": "f/a"})
def a() -> pa.Table:
    return pa.table({"id": [1, 2, 3, 4, 5]})


@dg.asset(
    metadata={"metaxy/feature": "f/b", "metaxy/input": "increment", "metaxy/batch_size": 2},
)
def b(a: pa.Table) -> pa.Table:
    with Path(os.environ["METAXY_TEST_TRACE"]).open("a") as file:
        file.write(f"{a.num_rows}\n")
    return a


def job() -> dg.JobDefinition:
    defs = metaxify_definitions(
        dg.Definitions(
            assets=[a, b],
            jobs=[dg.define_asset_job("job", executor_def=dg.multiprocess_executor)],
        ),
        features=FEATURES,
        store=os.environ["METAXY_TEST_TRACE"] + ".duckdb",
    )
    return defs.resolve_job_def("job")
