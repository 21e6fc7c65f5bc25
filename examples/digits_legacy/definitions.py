"""The repository: assets, a job, a schedule, resources."""

import dagster as dg

from . import images, labels, model
from .io_manager import FilesIOManager
from .workspace import Workspace

workspace = Workspace()

refresh = dg.define_asset_job(
    "refresh",
    selection=dg.AssetSelection.all(),
    description="Every asset, from the scans to the report.",
)

nightly = dg.ScheduleDefinition(
    name="nightly",
    job=refresh,
    cron_schedule="0 3 * * *",
    execution_timezone="Europe/Berlin",
)

defs = dg.Definitions(
    assets=dg.load_assets_from_modules([images, labels, model]),
    jobs=[refresh],
    schedules=[nightly],
    resources={
        "workspace": workspace,
        "io_manager": FilesIOManager(folder=f"{workspace.folder}/assets"),
    },
)
