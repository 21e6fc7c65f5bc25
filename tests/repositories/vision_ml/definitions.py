"""The code location. What is new in it is the line with metaxify_definitions."""

import os

import dagster as dg

import metaxy_dagster as mxd

from . import data, jobs, training
from .io import PickleIOManager


def legacy() -> dg.Definitions:
    """The code location as it was; the metadata keys alone do nothing."""
    pickles = PickleIOManager(folder=os.environ.get("VISION_FOLDER", "vision_data"))
    return dg.Definitions(
        assets=[
            *data.ALL,
            *dg.with_resources([data.labels], {"label_files": pickles}),
            *training.ALL,
        ],
        asset_checks=list(data.checks()),
        jobs=jobs.JOBS,
        schedules=jobs.SCHEDULES,
        sensors=jobs.SENSORS,
        resources={"pickles": pickles, "io_manager": pickles},
        executor=dg.in_process_executor,
    )


@mxd.metaxify_definitions(store=os.environ.get("VISION_STORE"))
@dg.definitions
def defs() -> dg.Definitions:
    return legacy()
