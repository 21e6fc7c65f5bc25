#!/usr/bin/env python3
"""What must not grow: columns, fields, partitions, features and writes that change nothing.

Run ``python benchmarks/growth.py [--before CHECKOUT] [--only columns,fields]``; it prints a
Markdown table. CHECKOUT is another state of this repository, for instance made by ``git worktree
add``; what it takes is measured in the same run. Each measurement has a process and a store of its
own; it is CPU time, the best of three, or the peak of memory.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import duckdb
import pyarrow as pa
from meter import peak_bytes

import metaxy_dagster as mxd

HERE = Path(__file__).resolve()
KIB = 1024
ENGINE = duckdb.connect()
# What is done with one partition among many; see partitioned.py.
PARTITIONED = (
    "resolve, nothing changed",
    "look for values of no partition",
    "read",
    "write, nothing changed",
    "event",
    "checks",
    "run, nothing changed",
    "run, ten samples changed",
    "look at all of them",
)
# What is measured, at which sizes, and in which unit.
TASKS: dict[str, tuple[tuple[int, ...], str]] = {
    "columns: write of 50 rows, nothing changed": ((400, 2_400), "s"),
    "columns: first write of 50 rows": ((400, 2_400), "s"),
    "columns: as many again are added": ((200, 1_200), "s"),
    "fields on as many fields: resolve of 50 rows": ((25, 100), "s"),
    **{f"partitions: {what}": ((30, 300, 3_000), "s") for what in PARTITIONED},
    "partitions computed one by one: look at all of them": ((30, 300), "s"),
    "partitions computed one by one: checks": ((30, 300), "s"),
    "features in the file: resolve of nothing": ((10, 300, 1_000), "s"),
    "features in the file: attached and let go, by DuckDB alone": ((10, 300, 1_000), "s"),
    "features in the file: size of each": ((10, 300), "KiB"),
    "rows: peak of the first write": ((1_000_000,), "MiB"),
    "rows: peak of a write that changes nothing": ((1_000_000,), "MiB"),
}


def best(action: Callable[[], object]) -> float:
    """Seconds of CPU; the best of three."""
    found = []
    for _ in range(3):
        began = time.process_time()
        action()
        found.append(time.process_time() - began)
    return min(found)


def opened(folder: Path, *specs: mxd.FeatureSpec) -> mxd.DuckDBMetadataStore:
    """A store of some features."""
    graph = mxd.FeatureGraph()
    for spec in specs:
        graph.add(spec)
    return mxd.DuckDBMetadataStore(folder / "m.duckdb", graph=graph)


def columns(task: str, number: int, folder: Path) -> float:
    """A frame of many columns."""
    store = opened(folder, *(mxd.FeatureSpec(name, id_columns=["id"]) for name in "abcd"))
    ids = {"id": list(range(50))}
    frame = pa.table({**ids, **{f"c{n}": [float(n)] * 50 for n in range(number)}})
    names = iter("bcd")
    if "first" in task:
        return best(lambda: store.write(next(names), frame))
    if "added" in task:
        more = pa.table({**ids, **{f"c{n}": [float(n)] * 50 for n in range(2 * number)}})
        for name in "bcd":
            store.write(name, frame)
        return best(lambda: store.write(next(names), more))
    store.write("a", frame)
    return best(lambda: store.write("a", frame))


def fields(_: str, number: int, folder: Path) -> float:
    """Each field depends on all fields of the upstream."""
    made = [[mxd.FieldSpec(f"{name}{n}") for n in range(number)] for name in "xy"]
    root = mxd.FeatureSpec("root", id_columns=["id"], fields=made[0])
    leaf = mxd.FeatureSpec("leaf", id_columns=["id"], deps=["root"], fields=made[1])
    store = opened(folder, root, leaf)
    store.write("root", pa.table({"id": range(50), "v": range(50)}))
    return best(lambda: store.resolve_update("leaf").counts and store.resolve_update("leaf").delta)


def partitions(task: str, number: int, folder: Path) -> float:
    """One of many partitions of 1,000 rows, all of which were computed."""
    # Older states of the library lack what it imports.
    from partitioned import Partitioned  # noqa: PLC0415

    # Made once for all tasks of a checkout; each has a copy of its own.
    by_day = "one by one" in task
    made = folder.parent / f"{number}{' by day' * by_day}.duckdb"
    made_of = Partitioned(number, folder, made, by_day=by_day)
    action = made_of.actions[PARTITIONED.index(task.partition(": ")[2])]
    # What is imported late, and definitions, are not counted.
    action()
    return best(action)


def features(task: str, number: int, folder: Path) -> float:
    """Small features, in one file with many others."""
    specs = [mxd.FeatureSpec(f"f{n}", id_columns=["id"]) for n in range(number)]
    leaf = mxd.FeatureSpec("leaf", id_columns=["id"], deps=["f0"])
    made = folder.parent / f"features{number}"
    if not made.exists():
        store = opened(made, *specs, leaf)
        with store.connected("w"):
            for spec in specs:
                store.write(spec.key, pa.table({"id": range(50), "v": range(50)}))
        store.write("leaf", pa.table({"id": range(50)}), increment=store.resolve_update("leaf"))
    store = opened(made, *specs, leaf)
    if "DuckDB" in task:
        return best(lambda: attached(store.path))
    if "size" in task:
        return store.path.stat().st_size / number / KIB
    return best(lambda: store.resolve_update("leaf").counts)


def attached(path: Path) -> None:
    """What a call cannot do without; a resolve and its counts are two."""
    ENGINE.execute(f"ATTACH '{path}' AS f (READ_ONLY)")
    ENGINE.execute("DETACH f")


def rows(task: str, number: int, folder: Path) -> float:
    """A root whose provenance is given; the write that changes nothing has a process of its own."""
    store = opened(folder, mxd.FeatureSpec("root", id_columns=["id"]))
    given = pa.StructArray.from_arrays([pa.array(f"{i:032x}" for i in range(number))], ["default"])
    paths = pa.array(f"s3://bucket/{i:09}.png" for i in range(number))
    table = {"id": range(number), "path": paths, "metaxy_provenance_by_field": given}
    frame = pa.table(table)
    if "nothing" in task and not store.path.exists():
        command = [sys.executable, str(HERE), "--task", task, "--size", str(number)]
        store.write("root", frame)
        found = subprocess.run(  # noqa: S603 - this very script
            [*command, "--folder", str(folder)], check=True, capture_output=True, text=True
        )
        return float(json.loads(found.stdout))
    store.write("root", frame)
    return peak_bytes() / KIB / KIB


KINDS = {one.__name__: one for one in (columns, fields, partitions, features, rows)}


def perform(task: str, size: int, folder: Path) -> float:
    """What one process does."""
    return KINDS[task.split(maxsplit=1)[0].rstrip(":")](task, size, folder)


def measured(task: str, size: int, checkout: Path | None, shared: str) -> str:
    """The figure of a task in a process of its own; none where a checkout cannot do it."""
    paths = [str(checkout or HERE.parents[1]), str(HERE.parent)]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(paths)}
    with tempfile.TemporaryDirectory(dir=shared) as folder:
        found = subprocess.run(  # noqa: S603 - this very script
            [sys.executable, str(HERE), "--task", task, "--size", str(size), "--folder", folder],
            check=checkout is None,
            capture_output=True,
            text=True,
            env=environment,
        )
    return "-" if found.returncode else f"{float(json.loads(found.stdout)):,.3g}"


def main() -> None:
    """Measure one task, or all of them in turn."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--before",
        type=Path,
        action="append",
        default=[],
        help="another checkout to measure beside this one; may be given several times",
    )
    parser.add_argument("--only", default="", help="beginnings of tasks, with commas between them")
    parser.add_argument("--task")
    parser.add_argument("--size", type=int)
    parser.add_argument("--folder", type=Path)
    chosen = parser.parse_args()
    if chosen.task is not None:
        print(json.dumps(perform(chosen.task, chosen.size, chosen.folder)))
        return
    states: list[tuple[str, Path | None]] = [(one.name, one) for one in chosen.before]
    states.append(("now", None))
    print("| what | size |", " | ".join(name for name, _ in states), "| unit |")
    print("|---|--:|", "|".join("--:" for _ in states), "|---|")
    with contextlib.ExitStack() as kept:
        shared = {name: kept.enter_context(tempfile.TemporaryDirectory()) for name, _ in states}
        for task, (sizes, unit) in TASKS.items():
            if not task.startswith(tuple(chosen.only.split(","))):
                continue
            for size in sizes:
                found = [measured(task, size, path, shared[name]) for name, path in states]
                print(f"| {task} | {size:,} | {' | '.join(found)} | {unit} |", flush=True)


if __name__ == "__main__":
    main()
