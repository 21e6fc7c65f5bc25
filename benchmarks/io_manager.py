#!/usr/bin/env python3
"""Time per asset of a run with the feature IO manager, as a multiple of Dagster's in-memory one.

Run ``python benchmarks/io_manager.py [--assets 20] [--rows 100] [--repeats 5] [--profile]``; it
prints a Markdown table.

One root and so many features derived from it, small ones, so that what is measured is what every
asset pays and not what its rows cost. The same functions over the same assets are materialized in
this process with an instance in memory: with ``mem_io_manager``, with ``MetaxyIOManager`` where
inputs hold all rows, and where they hold an increment; the first time, and again with nothing
changed upstream. The runs take turns and the table has the fastest of the repeats of each. The
in-memory IO manager keeps an object and says nothing of it; ours compares, stores and commits
rows, and reports schema, counts, a preview and a data version to Dagster.
"""

from __future__ import annotations

import argparse
import cProfile
import os
import pstats
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import dagster as dg
import pyarrow as pa

import metaxy_dagster as mxd

IO_MANAGER = "io"
PROFILED = 45
# Seconds by the clock, and of processors; the second hardly knows what else the machine does.
Taken = tuple[float, float]
Run = Callable[[], Taken]


def graph(assets: int) -> mxd.FeatureGraph:
    """A root and the features that are derived from it."""
    made = mxd.FeatureGraph()
    made.add(mxd.FeatureSpec("root", id_columns=["id"]))
    for i in range(assets):
        made.add(mxd.FeatureSpec(f"f{i}", id_columns=["id"], deps=["root"]))
    return made


def definitions(assets: int, rows: int, mode: str) -> list[dg.AssetsDefinition]:
    """The assets; which IO manager they get is a matter of resources."""
    table = pa.table({"id": list(range(rows)), "x": [i / 7 for i in range(rows)]})

    @dg.asset(io_manager_key=IO_MANAGER, metadata={"metaxy/feature": "root"})
    def root() -> pa.Table:
        return table

    def derived(i: int) -> dg.AssetsDefinition:
        metadata = {"metaxy/feature": f"f{i}", "metaxy/input": mode}

        @dg.asset(name=f"f{i}", io_manager_key=IO_MANAGER, metadata=metadata)
        def compute(root: pa.Table) -> pa.Table:
            return root.select(["id", "x"])

        return compute

    return [root, *map(derived, range(assets))]


def materialized(assets: list[dg.AssetsDefinition], manager: object) -> Run:
    """What one run of all assets takes."""
    job = dg.Definitions(
        assets=assets,
        resources={IO_MANAGER: manager},
        executor=dg.in_process_executor,
    ).resolve_implicit_global_asset_job_def()

    def run() -> Taken:
        with dg.DagsterInstance.ephemeral() as instance:
            began, used = time.perf_counter(), time.process_time()
            result = job.execute_in_process(instance=instance)
            taken = time.perf_counter() - began, time.process_time() - used
        if not result.success:
            sys.exit("a run failed")
        return taken

    return run


def measured(assets: int, rows: int, repeats: int, folder: Path) -> dict[str, Taken]:
    """The least of each kind of run."""
    features = graph(assets)
    found: dict[str, list[Taken]] = {}
    plain = materialized(definitions(assets, rows, "all"), dg.mem_io_manager)
    plain()  # the first run of a process imports what later ones find
    for turn in range(repeats):
        found.setdefault("in-memory", []).append(plain())
        for mode in ("all", "increment"):
            store = mxd.DuckDBMetadataStore(folder / f"{mode}{turn}.duckdb", graph=features)
            run = materialized(definitions(assets, rows, mode), mxd.MetaxyIOManager(store=store))
            for what in ("first run", "nothing changed"):
                found.setdefault(f"{mode}, {what}", []).append(run())
    return {
        name: (min(clock for clock, _ in taken), min(used for _, used in taken))
        for name, taken in found.items()
    }


def profile(assets: int, rows: int, mode: str, folder: Path) -> None:
    """Where the time of a run goes, and of one in which nothing changed."""
    store = mxd.DuckDBMetadataStore(folder / "profile.duckdb", graph=graph(assets))
    run = materialized(definitions(assets, rows, mode), mxd.MetaxyIOManager(store=store))
    run()
    profiler = cProfile.Profile()
    profiler.runcall(run)
    pstats.Stats(profiler).sort_stats("cumulative").print_stats(PROFILED)


def main() -> None:
    """Measure, and print a table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--assets", type=int, default=20)
    parser.add_argument("--rows", type=int, default=100)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--profile", choices=("all", "increment"))
    options = parser.parse_args()
    os.environ["DAGSTER_DISABLE_TELEMETRY"] = "yes"
    with tempfile.TemporaryDirectory() as name:
        if options.profile:
            profile(options.assets, options.rows, options.profile, Path(name))
            return
        found = measured(options.assets, options.rows, options.repeats, Path(name))
    plain_clock, plain_used = found["in-memory"]
    print(f"{options.assets} derived assets of {options.rows} rows, best of {options.repeats}\n")
    print("| IO manager | ms per asset | times in-memory | CPU ms per asset | times in-memory |")
    print("|---|---|---|---|---|")
    share = 1000 / (options.assets + 1)
    for kind, (clock, used) in found.items():
        ratios = f"{clock / plain_clock:.1f} | {share * used:.1f} | {used / plain_used:.1f}"
        print(f"| {kind} | {share * clock:.1f} | {ratios} |")


if __name__ == "__main__":
    main()
