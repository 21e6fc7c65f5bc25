#!/usr/bin/env python3
"""Peak memory of writing lazy frames, beside that of writing the same rows as a table.

Run ``python benchmarks/streaming.py [--rows 1M,4M] [--limit 512MB] [--only lazy]``; it prints a
Markdown table.

Ten columns, one of them a text of 200 characters. A root is written from a DuckDB relation, plain
and collected into an Arrow table first; then a feature derived from it, from the lazy frame of its
increment. Each measurement has a process and a store of its own, and DuckDB in the store and in
the source the same limit. Peaks are those of the whole process, so that the table stands in the
figure of whoever collects it; imports alone have the memory in the row "nothing".
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import duckdb
import narwhals as nw
from meter import peak_bytes

import metaxy_dagster as mxd

UNITS = {"k": 1_000, "M": 1_000_000}
MIB = 2**20
TASKS = (
    "nothing",
    "root, table",
    "root, lazy",
    "derived, table",
    "derived, lazy",
    "derived, lazy, increment=",
)


def rows(number: int, limit: str) -> duckdb.DuckDBPyRelation:
    """A root: ids, numbers, and a text of 200 characters that differs from row to row."""
    source = duckdb.connect(config={"memory_limit": limit, "threads": 2})
    return source.sql(
        "SELECT range AS id, repeat(md5(range::VARCHAR), 6) || 'endofit.' AS text,"
        " range % 7 AS a, range / 3 AS b, range % 100 AS c, sqrt(range) AS d, range + 1 AS e,"
        " range % 2 = 0 AS f, (range % 10)::VARCHAR AS g, range * 2 AS h FROM range($number)",
        params={"number": number},
    )


def store(folder: Path, limit: str) -> mxd.DuckDBMetadataStore:
    """One of a root and a feature derived from it."""
    graph = mxd.FeatureGraph()
    graph.add(mxd.FeatureSpec("image", id_columns=["id"]))
    graph.add(mxd.FeatureSpec("crop", id_columns=["id"], deps=["image"]))
    settings = {"memory_limit": limit, "threads": 2}
    return mxd.DuckDBMetadataStore(folder / "m.duckdb", graph=graph, settings=settings)


def perform(task: str, number: int, limit: str, folder: Path) -> None:
    """What one process does; it prints its seconds and its peak."""
    made = store(folder, limit)
    began, used = time.perf_counter(), time.process_time()
    if task.startswith("root"):
        frame = rows(number, limit)
        made.write("image", frame.to_arrow_table() if task.endswith("table") else frame)
    elif task.startswith("derived"):
        increment = made.resolve_update("crop")
        pending = increment.pending.with_columns(twice=nw.col("a") * 2)
        frame = pending.collect() if task.endswith("table") else pending
        made.write("crop", frame, increment=increment if task.endswith("=") else None)
    elif task == "fill":
        made.write("image", rows(number, limit))
    print(time.perf_counter() - began, time.process_time() - used, peak_bytes())


def measured(task: str, number: int, limit: str) -> tuple[float, ...]:
    """Seconds, seconds of CPU and peak bytes of a task in a process of its own."""
    found: tuple[float, ...] = ()
    with tempfile.TemporaryDirectory() as folder:
        for one in ("fill", task) if task.startswith("derived") else (task,):
            arguments = ["--task", one, "--rows", str(number), "--limit", limit, "--in", folder]
            command = [sys.executable, __file__, *arguments]
            done = subprocess.run(command, check=True, capture_output=True, text=True)  # noqa: S603
            found = tuple(float(word) for word in done.stdout.split())
    return found


def parsed(text: str) -> int:
    """``4M`` is four million."""
    unit = UNITS.get(text[-1], 1)
    return int(text.rstrip("".join(UNITS))) * unit


def main() -> None:
    """Measure, and print a table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--rows", default="1M,4M")
    parser.add_argument("--limit", default="512MB")
    parser.add_argument("--only", default="", help="a part of what is written, such as lazy")
    parser.add_argument("--task", help=argparse.SUPPRESS)
    parser.add_argument("--in", dest="folder", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.task:
        perform(options.task, parsed(options.rows), options.limit, options.folder)
        return
    print(f"`memory_limit` {options.limit}\n")
    print("| rows | written | seconds | CPU seconds | peak MiB |")
    print("|---|---|--:|--:|--:|")
    for size in options.rows.split(","):
        for task in (task for task in TASKS if options.only in task):
            clock, used, peak = measured(task, parsed(size), options.limit)
            print(f"| {size} | {task} | {clock:.1f} | {used:.1f} | {peak / MIB:,.0f} |", flush=True)


if __name__ == "__main__":
    main()
