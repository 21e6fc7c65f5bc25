#!/usr/bin/env python3
"""Measure this library beside its nearest rival and beside hand-written SQL, on the same data.

Run ``python benchmarks/run.py``; see ``benchmarks/README.md`` for what is measured and how to
read the table that it writes there.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from collections.abc import Callable
from typing import Any

from environments import (
    HERE,
    ROOT,
    Environments,
    OutOfTimeError,
    StepError,
    build_rival,
    our_python,
    run_step,
)
from report import machine, write_report
from scenarios import MILLION, measure, scenarios
from shapes import SHAPES
from stages import Stages, row_digest

_CACHE = ROOT / ".venvs" / "bench-data"
_RESULTS = _CACHE / "results.json"
_PACKAGES = {
    "ours": ("metaxy-dagster", "dagster", "duckdb", "narwhals", "pyarrow", "pydantic"),
    "rival": ("metaxy", "sqlglot", "ibis-framework", "duckdb", "narwhals", "polars", "pyarrow"),
}
_UNITS = {"k": 1_000, "M": MILLION}


def main() -> None:
    """Measure, print and write the table."""
    options = _options()
    ends = time.monotonic() + 60 * options.budget_minutes

    def left() -> float:
        return max(1.0, ends - time.monotonic())

    engines = options.engines.split(",")
    rival = build_rival() if "rival" in engines else None
    environments = Environments(our_python(), rival)
    stages = Stages(_CACHE, environments, left)
    state = _earlier(fresh=options.fresh)
    state["machine"] = machine()
    state["versions"] |= _versions(environments)
    if "imports" in options.also:
        state["imports"] = _imports(environments, options.repeats)
    wanted = list(scenarios(options.sizes, options.shapes, options.shares))
    for number, scenario in enumerate(wanted, start=1):
        if options.only and scenario.name not in options.only:
            continue
        if ends < time.monotonic():
            print(f"out of time: {len(wanted) - number + 1} rows were not measured")
            break
        allowed = [name for name in engines if _in_reach(name, scenario.size, options)]
        print(f"[{number}/{len(wanted)}] {scenario.key}", end=" ", flush=True)
        try:
            row = measure(
                scenario,
                stages,
                repeats=options.repeats,
                patience=options.patience,
                engines=allowed,
            )
        except OutOfTimeError as error:
            print(error)
            continue
        state["rows"][scenario.key] = row
        print(_said(row), flush=True)
        _keep(state)
    _keep(state)


def _in_reach(engine: str, size: int, options: argparse.Namespace) -> bool:
    return engine in ("ours", "state") or size <= options.rival_max


def _said(row: dict[str, Any]) -> str:
    shown = [
        f"{name} {one['error']}" if "error" in one else f"{name} {one['cpu']:.3f} s"
        for name, one in row["engines"].items()
    ]
    return ", ".join(shown) + ("; THE SETS DIFFER" if row["same"] is False else "")


def _earlier(*, fresh: bool) -> dict[str, Any]:
    if fresh or not _RESULTS.exists():
        return {"rows": {}, "versions": {}}
    return json.loads(_RESULTS.read_text(encoding="utf-8"))


def _keep(state: dict[str, Any]) -> None:
    _CACHE.mkdir(parents=True, exist_ok=True)
    _RESULTS.write_text(json.dumps(state, indent=1), encoding="utf-8")
    write_report(HERE / "README.md", state, row_digest())


def _versions(environments: Environments) -> dict[str, dict[str, str]]:
    found = {}
    for side, names in _PACKAGES.items():
        if side == "rival" and environments.rival is None:
            continue
        task = {"step": "versions", "packages": names}
        found[side] = run_step(environments.python(side), task, 60)["versions"]
    if "rival" in found and found["rival"]["duckdb"] != found["ours"]["duckdb"]:
        print(
            f"the rival has DuckDB {found['rival']['duckdb']}, this environment"
            f" {found['ours']['duckdb']}: pin the same in rival-constraints.txt"
        )
    return found


def _imports(environments: Environments, repeats: int) -> dict[str, float]:
    found: dict[str, list[float]] = {"dagster": [], "library": []}
    # The first turn compiles the modules.
    for _ in range(repeats + 1):
        for name, seconds in found.items():
            task = {"step": "import", "library": name == "library"}
            seconds.append(run_step(environments.ours, task, 120)["cpu"])
    middle = {name: statistics.median(seconds[1:]) for name, seconds in found.items()}
    print(f"imports: dagster {middle['dagster']:.2f} s, with the library {middle['library']:.2f} s")
    return middle


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    add = parser.add_argument
    add("--sizes", type=_each(_size), default=[10_000, 100_000, MILLION], help="10k,100k,1M,10M")
    add("--shapes", type=_each(_shape), default=list(SHAPES), help=",".join(SHAPES))
    add("--shares", type=_each(float), default=[0.0, 0.001, 0.1, 1.0], help="0,0.001,0.1,1")
    add("--engines", default="rival,log,ours,state", help="which of the four take part")
    add("--only", type=_each(str), default=[], help="new,stale,run,write,read,counts,batches")
    add("--also", type=_each(str), default=["imports"], help="imports, or nothing")
    add("--repeats", type=int, default=3, help="turns of each engine; the median is shown")
    add("--patience", type=float, default=60, help="seconds after which no further turn begins")
    add("--rival-max", type=_size, default=MILLION, help="largest size for the rival's layout")
    add("--budget-minutes", type=float, default=60, help="the whole run ends after these")
    add("--fresh", action="store_true", help="forget the rows of earlier runs")
    add("--quick", action="store_true", help="10k simple and wide, 0 and 10%%, one turn")
    options = parser.parse_args()
    if options.quick:
        options.sizes, options.shapes = [10_000], ["simple", "wide"]
        options.shares, options.repeats = [0.0, 0.1], 1
    return options


def _each(convert: Callable[[str], Any]) -> Callable[[str], list[Any]]:
    def split(text: str) -> list[Any]:
        return [convert(part) for part in text.split(",") if part]

    return split


def _size(text: str) -> int:
    unit = _UNITS.get(text[-1:])
    return int(text) if unit is None else int(float(text[:-1]) * unit)


def _shape(text: str) -> str:
    if text not in SHAPES:
        message = f"{text!r} is none of {', '.join(SHAPES)}"
        raise argparse.ArgumentTypeError(message)
    return text


if __name__ == "__main__":
    try:
        main()
    except StepError as error:
        raise SystemExit(str(error)) from error
