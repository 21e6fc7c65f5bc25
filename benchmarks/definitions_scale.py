#!/usr/bin/env python3
"""Time of the pass over large repositories, as a multiple of Dagster's own load of the same one.

Run ``python benchmarks/definitions_scale.py [--sizes 1000 5000 10000] [--repeats 3] [--profile]``;
it prints a Markdown table.

Every asset carries a feature that its metadata keys declare, with two upstream features: one is
the asset that it depends on in Dagster already, the other is a dep that the pass has to inject
and bind. So every asset is rewritten, and none is a cheap case. Flat: two layers. Deep: fifty.
Ten jobs select by group, two by lineage and key, and each has a schedule.

Dagster's load is ``get_repository_def()`` and every job of it, on the repository as it was before
the pass: what a code location costs without this library. The pass is ``metaxify_definitions``.
Each is measured on Definitions of its own, right after a garbage collection, in turn; the table
has the fastest of the repeats of each and their quotient. ``after`` is Dagster's load of what the
pass returned: it has twice the deps.
"""

from __future__ import annotations

import argparse
import cProfile
import gc
import itertools
import pstats
import sys
import time
import warnings
from collections.abc import Callable
from dataclasses import dataclass, field

import dagster as dg

import metaxy_dagster as mxd

SIZES = (1_000, 5_000, 10_000)
SHAPES = {"flat": 2, "deep": 50}
GROUPS = 10
PROFILED = 30


def repository(size: int, layers: int) -> dg.Definitions:
    """Definitions of so many assets in so many layers, with jobs and schedules."""
    width = size // layers
    assets = [
        _asset(layer, index, width)
        for layer, index in itertools.product(range(layers), range(width))
    ]
    selections = {f"group_{i}": dg.AssetSelection.groups(f"group_{i}") for i in range(GROUPS)}
    selections["everything"] = dg.AssetSelection.all()
    selections["one"] = dg.AssetSelection.assets("a0_0").downstream()
    jobs = [dg.define_asset_job(f"{name}_job", selection=s) for name, s in selections.items()]
    schedules = [
        dg.ScheduleDefinition(name=f"{job.name}_daily", job=job, cron_schedule="0 0 * * *")
        for job in jobs
    ]
    return dg.Definitions(assets=assets, jobs=jobs, schedules=schedules)


def _asset(layer: int, index: int, width: int) -> dg.AssetsDefinition:
    before = [f"a{layer - 1}_{index}", f"a{layer - 1}_{(index + 1) % width}"] if layer else []

    @dg.asset(
        name=f"a{layer}_{index}",
        deps=before[:1],
        group_name=f"group_{index % GROUPS}",
        metadata={
            "metaxy/feature": f"f/a{layer}_{index}",
            "metaxy/id_columns": ["id"],
            "metaxy/deps": [f"f/{name}" for name in dict.fromkeys(before)],
        },
    )
    def compute() -> None: ...

    return compute


def load(defs: dg.Definitions) -> dg.Definitions:
    """What Dagster does when it loads a code location."""
    defs.get_repository_def().get_all_jobs()
    return defs


def tie(defs: dg.Definitions) -> dg.Definitions:
    """The pass."""
    return mxd.metaxify_definitions(defs, features=[])


@dataclass
class Seconds:
    """Measured times of one shape and size."""

    dagster: list[float] = field(default_factory=list)
    pass_: list[float] = field(default_factory=list)
    after: list[float] = field(default_factory=list)


def timed(
    work: Callable[[dg.Definitions], dg.Definitions], defs: dg.Definitions, into: list[float]
) -> dg.Definitions:
    """Do the work on the Definitions and note the seconds that it took."""
    gc.collect()
    started = time.perf_counter()
    made = work(defs)
    into.append(time.perf_counter() - started)
    return made


def measure(size: int, layers: int, repeats: int) -> Seconds:
    """Measure one shape and size; every repeat makes its own Definitions."""
    seconds = Seconds()
    for _ in range(repeats):
        timed(load, repository(size, layers), seconds.dagster)
        made = timed(tie, repository(size, layers), seconds.pass_)
        timed(load, made, seconds.after)
    return seconds


def profile(size: int, layers: int) -> None:
    """Print where the time of the pass goes."""
    defs = repository(size, layers)
    profiler = cProfile.Profile()
    profiler.runcall(tie, defs)
    for order in ("cumulative", "tottime"):
        pstats.Stats(profiler, stream=sys.stdout).sort_stats(order).print_stats(PROFILED)


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description="Time of the pass over large repositories.")
    parser.add_argument("--sizes", type=int, nargs="+", default=SIZES, help="assets")
    parser.add_argument("--repeats", type=int, default=3, help="measurements of each")
    parser.add_argument("--profile", action="store_true", help="profile the pass instead")
    options = parser.parse_args()
    warnings.simplefilter("ignore")
    load(tie(repository(100, 2)))  # imports what is loaded at first use
    if options.profile:
        for size, layers in itertools.product(options.sizes, SHAPES.values()):
            profile(size, layers)
        return
    print(
        "| shape | assets | Dagster's load (s) | pass (s) | pass / load | µs an asset | after (s) |"
    )
    print("|---|--:|--:|--:|--:|--:|--:|")
    for shape, layers in SHAPES.items():
        for size in options.sizes:
            seconds = measure(size, layers, options.repeats)
            dagster, ours, after = min(seconds.dagster), min(seconds.pass_), min(seconds.after)
            print(
                f"| {shape} | {size:,} | {dagster:.2f} | {ours:.2f} | {ours / dagster:.2f} "
                f"| {ours / size * 1e6:.0f} | {after:.2f} |",
                flush=True,
            )


if __name__ == "__main__":
    main()
