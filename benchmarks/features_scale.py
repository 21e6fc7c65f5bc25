#!/usr/bin/env python3
"""Time it takes to declare feature graphs and compute all of their versions and plans.

Run ``python benchmarks/features_scale.py``. Each line starts from an empty graph, adds every
feature (downstream features first, the harder order), and asks for the version, the code version
and the plan of each. An edge is a dependency of one feature on another; with two fields a side,
each stands for two dependencies of a field on a field. Time that grows linearly shows as a flat
last column; it is measured once more with Python's garbage collector off, whose full sweeps walk
all objects that are alive and so grow with whatever else the process holds.
"""

from __future__ import annotations

import gc
import random
import sys
import time
from collections.abc import Callable, Sequence

from metaxy_dagster.features import FeatureGraph, FeatureSpec

LAYERS = 10
FAN_IN = 5
LAYERED_SIZES = (500, 1_000, 2_000, 3_000, 4_000, 5_000)
CHAIN_SIZES = (300, 1_000, 2_000, 3_000)


def layered(size: int) -> list[FeatureSpec]:
    """Ten layers; each feature depends on five random ones of the layer before it."""
    width = size // LAYERS
    chance = random.Random(size)  # noqa: S311 - repeatable, not secret
    specs = []
    for layer in range(LAYERS):
        for index in range(width):
            before = chance.sample(range(width), min(FAN_IN, width)) if layer else ()
            deps = [f"layer{layer - 1}/f{other}" for other in before]
            specs.append(_spec(f"layer{layer}/f{index}", deps))
    return specs


def chain(size: int) -> list[FeatureSpec]:
    """Each feature depends on the one before it."""
    return [_spec(f"f{i}", [f"f{i - 1}"] if i else []) for i in range(size)]


def _spec(key: str, deps: Sequence[str]) -> FeatureSpec:
    return FeatureSpec(key, id_columns=["id"], fields=["audio", "frames"], deps=deps)


def measure(make: Callable[[int], list[FeatureSpec]], size: int) -> str:
    """Declare and compute one graph, with and without the collector; return a line of the table."""
    features, edges, declare, compute = _timed(make, size)
    gc.disable()
    try:
        *_, declare_alone, compute_alone = _timed(make, size)
    finally:
        gc.enable()
    total = declare + compute
    alone = declare_alone + compute_alone
    return (
        f"{make.__name__:<8} {features:>8,} {edges:>8,} {declare:>8.2f} {compute:>8.2f}"
        f" {total:>8.2f} {total / edges * 1e6:>8.1f} {alone / edges * 1e6:>14.1f}"
    )


def _timed(make: Callable[[int], list[FeatureSpec]], size: int) -> tuple[int, int, float, float]:
    """How many features and edges, and the seconds it takes to declare and to compute them."""
    started = time.perf_counter()
    specs = make(size)
    graph = FeatureGraph()
    for spec in reversed(specs):
        graph.add(spec)
    declared = time.perf_counter()
    for key in graph:
        graph.feature_version(key)
        graph.code_version(key)
        graph.plan(key)
    graph.topological_order()
    computed = time.perf_counter()
    edges = sum(len(spec.deps) for spec in specs)
    return len(graph), edges, declared - started, computed - declared


def main() -> None:
    """Print the table."""
    head = ("features", "edges", "declare", "compute", "seconds", "us/edge")
    names = " ".join(f"{name:>8}" for name in head)
    sys.stdout.write(f"{'graph':<8} {names} {'us/edge, no gc':>14}\n")
    for make, sizes in ((layered, LAYERED_SIZES), (chain, CHAIN_SIZES)):
        for size in sizes:
            sys.stdout.write(measure(make, size) + "\n")


if __name__ == "__main__":
    main()
