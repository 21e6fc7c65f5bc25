"""A backfill of thirty days, in a process of its own that may be killed anywhere.

Usage: python backfills.py HOME STORE LOG DAYS_PER_RUN [PLACE ASSET DAY]

``PLACE`` is where the process kills itself in the run of a day: ``body``, in the function of the
asset, or ``written``, when the store has the rows and Dagster has not heard of them.
"""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path
from typing import Any

import dagster as dg
import pyarrow as pa
from patience import patient

import metaxy_dagster as mxd

DAILY = dg.DailyPartitionsDefinition("2024-05-01", end_date="2024-05-31")
DAYS = DAILY.get_partition_keys()
PER_DAY = 20
ASSETS = ("reading", "level", "daily")
KillAt = tuple[str, str, str]


def readings(days: list[str], generation: int) -> pa.Table:
    """Readings of some days; in the second generation some differ, some are gone, some are new."""
    gone = 7 if generation else 0
    rows = [
        {"reading": f"{day}#{i}", "day": day, "value": i + (100 * generation if i % 3 == 0 else 0)}
        for day in days
        for i in range(PER_DAY + generation)
        if not gone or i % gone != 1
    ]
    return pa.Table.from_pylist(rows)


def killed_here(kill_at: KillAt | None, place: str, asset: str, days: list[str]) -> None:
    """Die as a process dies that the machine ran out of memory for."""
    if kill_at is not None and kill_at[:2] == (place, asset) and kill_at[2] in days:
        os.kill(os.getpid(), signal.SIGKILL)


def definitions(store: Path, generation: int, kill_at: KillAt | None = None) -> dg.Definitions:
    """reading -> level (increment) and daily (aggregation), all by day, through the pass."""

    def tied(feature: str, id_column: str, **metadata: Any) -> dict[str, Any]:
        keys = {"feature": feature, "id_columns": [id_column], **metadata}
        named = {f"metaxy/{name}": value for name, value in keys.items()}
        return {"partitions_def": DAILY, "metadata": {"partition_by": "day", **named}}

    @dg.asset(**tied("reading", "reading"))
    def reading(context) -> pa.Table:
        killed_here(kill_at, "body", "reading", context.partition_keys)
        return readings(context.partition_keys, generation)

    @dg.asset(**tied("level", "reading", input="increment"))
    def level(context, reading: pa.Table) -> pa.Table:
        killed_here(kill_at, "body", "level", context.partition_keys)
        kept = reading.select(["reading", "day"]).to_pylist()
        values = reading["value"].to_pylist()
        return pa.Table.from_pylist(
            [{**row, "level": value * 10} for row, value in zip(kept, values, strict=True)],
            schema=pa.schema({"reading": pa.string(), "day": pa.string(), "level": pa.int64()}),
        )

    by_day = {"feature": "reading", "lineage": {"type": "aggregation", "on": ["day"]}}

    @dg.asset(**tied("daily", "day", deps=[by_day]))
    def daily(context, reading: pa.Table) -> pa.Table:
        killed_here(kill_at, "body", "daily", context.partition_keys)
        return reading.group_by("day").aggregate([("value", "sum")])

    class Manager(mxd.MetaxyIOManager):
        def handle_output(self, context: dg.OutputContext, obj: Any) -> None:
            super().handle_output(context, obj)
            asset = context.asset_key.to_user_string()
            killed_here(kill_at, "written", asset, list(context.asset_partition_keys))

    file = mxd.DuckDBMetadataStore(store, lock_timeout=patient(30))
    defs = dg.Definitions(
        assets=[reading, level, daily],
        jobs=[dg.define_asset_job("days")],
        resources={"store": file, "metaxy_io_manager": Manager(store=file)},
    )
    return mxd.metaxify_definitions(defs)


def opened(home: Path) -> dg.DagsterInstance:
    """A Dagster instance that outlives its process, with all events in one file."""
    home.mkdir(parents=True, exist_ok=True)
    storage = {
        "module": "dagster._core.storage.event_log",
        "class": "ConsolidatedSqliteEventLogStorage",
        "config": {"base_dir": str(home)},
    }
    return dg.DagsterInstance.local_temp(str(home), overrides={"event_log_storage": storage})


def run_days(defs: dg.Definitions, instance: dg.DagsterInstance, days: list[str]) -> None:
    """One run for one day, or for a range of days."""
    job = defs.resolve_job_def("days")
    quiet = {"loggers": {"console": {"config": {"log_level": "ERROR"}}}}
    if len(days) == 1:
        job.execute_in_process(quiet, instance=instance, partition_key=days[0])
        return
    tags = {
        "dagster/asset_partition_range_start": days[0],
        "dagster/asset_partition_range_end": days[-1],
    }
    job.execute_in_process(quiet, instance=instance, tags=tags)


def missing(instance: dg.DagsterInstance, days: list[str]) -> list[str]:
    """The days for which Dagster lacks a materialization of an asset."""
    done = [instance.get_materialized_partitions(dg.AssetKey(asset)) for asset in ASSETS]
    return [day for day in days if not all(day in each for each in done)]


def backfill(home: Path, store: Path, log: Path, per_run: int, kill_at: KillAt | None) -> None:
    """Run what is missing, a log line for each run that ended."""
    defs = definitions(store, 1, kill_at)
    with opened(home) as instance, log.open("a", buffering=1) as lines:
        lines.write("started\n")
        for first in range(0, len(DAYS), per_run):
            days = DAYS[first : first + per_run]
            if missing(instance, days):
                run_days(defs, instance, days)
                lines.write(f"{days[0]}\n")


def main() -> None:
    home, store, log, per_run, *place = sys.argv[1:]
    kill_at = (place[0], place[1], place[2]) if place else None
    backfill(Path(home), Path(store), Path(log), int(per_run), kill_at)


if __name__ == "__main__":
    main()
