"""A pytest plugin for the mutation run: what is likely to notice a fault comes first.

Most faults of a function fall to the same few tests, so those that noticed the last ones start;
slow tests (random histories) only run for a fault that all others let pass. ``MUTANT_UNDER_TEST``
is mutmut's; ``MUTATION_FOLDER`` keeps its durations, and our note of what noticed what.
"""

from __future__ import annotations

import json
import os
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from hypothesis import Phase, settings

SLOW = 1.0  # seconds
FOLDER = Path(os.environ.get("MUTATION_FOLDER", ""))
NOTES = FOLDER / "noticed.txt"


def pytest_collection() -> None:
    """The same examples each time, none made smaller: a fault is noticed or it is not."""
    phases = (Phase.explicit, Phase.generate)
    settings.register_profile(
        "mutation", deadline=None, derandomize=True, database=None, max_examples=25, phases=phases
    )
    settings.load_profile("mutation")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    stats = FOLDER / "mutants" / "mutmut-stats.json"
    took = json.loads(stats.read_text())["duration_by_test"] if stats.exists() else {}
    notes = NOTES.read_text().splitlines() if NOTES.exists() else []
    noticed = Counter(test for of, _, test in (n.partition(" ") for n in notes) if of == function())

    def order(item: pytest.Item) -> Any:
        seconds = took.get(item.nodeid, 0)
        # File by file, for the sake of what the tests of a file share.
        return -noticed[item.nodeid], seconds > SLOW, str(item.path), seconds

    items.sort(key=order)


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    if report.failed and "__mutmut_" in os.environ.get("MUTANT_UNDER_TEST", ""):
        with NOTES.open("a") as notes:
            notes.write(f"{function()} {report.nodeid}\n")


def function() -> str:
    """The function that has the fault."""
    return os.environ.get("MUTANT_UNDER_TEST", "").rpartition("__mutmut_")[0]
