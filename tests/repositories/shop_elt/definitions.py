"""The code location. What is new in it is the last line."""

import os

import dagster as dg

import metaxy_dagster as mxd

from . import automation, checks, dbt_project, ingest, marts, sources
from .resources import Api, Warehouse, WarehouseIOManager


def legacy() -> dg.Definitions:
    """The code location as it was; the metadata keys alone do nothing."""
    folder = os.environ.get("SHOP_WAREHOUSE", "warehouse")
    warehouse = Warehouse(folder=folder)
    return dg.Definitions(
        assets=[*sources.ALL, *ingest.ALL, *dbt_project.ALL, *marts.ALL],
        asset_checks=checks.ALL,
        jobs=automation.JOBS,
        schedules=automation.SCHEDULES,
        sensors=automation.SENSORS,
        resources={
            "api": Api(token="not-a-real-token"),  # noqa: S106
            "warehouse": warehouse,
            "warehouse_io": WarehouseIOManager(warehouse=warehouse),
        },
    )


defs = mxd.metaxify_definitions(legacy(), store=os.environ.get("SHOP_STORE"))
