"""An old repository with storage of its own, which worker processes rebuild."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import dagster as dg

sys.path.insert(0, str(Path(__file__).parent.parent / "support"))
from kept_repositories import Shop, repository


def job() -> dg.JobDefinition:
    shop = Shop(Path(os.environ["METAXY_TEST_SHOP"]))
    defs = repository("pickled", shop, passed=True)
    every = dg.define_asset_job("job", executor_def=dg.multiprocess_executor)
    return dg.Definitions.merge(defs, dg.Definitions(jobs=[every])).resolve_job_def("job")
