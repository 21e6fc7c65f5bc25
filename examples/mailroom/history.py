"""Ten days of the mail room, so that there is something to look at.

Usage: python -m mailroom.history (with DAGSTER_HOME set, in the folder examples)
"""

import random

import dagster as dg

from . import room
from .assets import DAILY
from .definitions import defs

ROUNDS = 10
# The days of a backfill that somebody starts before the round of this number.
BACKFILL, BACKFILLED = 6, slice(13, 16)
QUIET = {"loggers": {"console": {"config": {"log_level": "WARNING"}}}}


def run(instance: dg.DagsterInstance, job: str, *days: str) -> None:
    """Run a job, for a range of days or for none."""
    tags = {}
    if days:
        tags["dagster/asset_partition_range_start"] = days[0]
        tags["dagster/asset_partition_range_end"] = days[-1]
    defs.resolve_job_def(job).execute_in_process(QUIET, instance=instance, tags=tags)


def play(instance: dg.DagsterInstance, rounds: int = ROUNDS) -> None:
    """Scan a day, repeat what was too faint, type in what came the day before, read the news."""
    chance = random.Random(5)  # noqa: S311 (which scans were faint is no secret)
    days = DAILY.get_partition_keys()
    for today in range(rounds):
        if today == BACKFILL:
            run(instance, "scan", *days[BACKFILLED])
        run(instance, "scan", days[today])
        if today:
            yesterday = list(room.scanned_on(today - 1))
            room.scan_again(chance.sample(yesterday, chance.randint(2, 15)), 1.6)
            run(instance, "scan", days[today - 1])
            room.type_in(yesterday)
        else:
            room.type_in(list(room.scanned_on(today))[:12])
        run(instance, "watch")
        run(instance, "read")
    # The desk was quick today: these verdicts are pending, and the check says so.
    room.type_in(list(room.scanned_on(rounds - 1))[:31])
    run(instance, "watch")
    run(instance, "check")


if __name__ == "__main__":
    with dg.DagsterInstance.get() as home:
        play(home)
