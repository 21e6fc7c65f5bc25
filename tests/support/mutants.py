"""A pytest plugin for the mutation run: what is likely to notice a fault comes first.

Most faults of a function fall to the same few tests, so those that noticed the last ones start,
then quick ones. ``MUTANT_UNDER_TEST`` is mutmut's; ``MUTATION_FOLDER`` holds its durations, and our
note of what noticed what; tests that would take longer than ``MUTATION_SECONDS`` in all are left.
"""

from __future__ import annotations

import itertools
import json
import os
from collections import Counter
from pathlib import Path

import pytest
from hypothesis import Phase, settings

FOLDER = Path(os.environ.get("MUTATION_FOLDER", ""))
SECONDS = float(os.environ.get("MUTATION_SECONDS", "inf"))
NOTES = FOLDER / "noticed.txt"


def pytest_collection() -> None:
    """The same examples each time, none made smaller: a fault is noticed or it is not."""
    phases = (Phase.explicit, Phase.generate)
    settings.register_profile(
        "mutation", deadline=None, derandomize=True, database=None, max_examples=25, phases=phases
    )
    settings.load_profile("mutation")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    if not function():
        return
    took = json.loads((FOLDER / "mutants" / "mutmut-stats.json").read_text())["duration_by_test"]
    notes = (
        [line.split(" ", 1) for line in NOTES.read_text().splitlines()] if NOTES.exists() else []
    )
    here = Counter(test for of, test in notes if of == function())
    ever = Counter(test for _, test in notes)

    def seconds(item: pytest.Item) -> float:
        return float(took.get(item.nodeid, 0))

    items.sort(key=lambda item: (-here[item.nodeid], -ever[item.nodeid], seconds(item)))
    spent = itertools.accumulate(map(seconds, items))
    within = [item for item, sofar in zip(items, spent, strict=True) if sofar < SECONDS]
    items[:] = within or items[:1]


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    if report.failed and function():
        with NOTES.open("a") as notes:
            notes.write(f"{function()} {report.nodeid}\n")


def function() -> str:
    """The function that has the fault; nothing while there is none."""
    return os.environ.get("MUTANT_UNDER_TEST", "").rpartition("__mutmut_")[0]
