"""A pytest plugin for the mutation run: each fault gets a fork of one process that knows all tests.

Collecting the tests takes longer than most faults live, so it is done once. Then, for each fault,
a child runs the tests that reach its line, until one fails. Most faults of a function fall to the
same few tests: those that noticed the last ones come first, then quick ones.

With ``MUTATION_REACH`` alone the tests run as ever, and which test reaches which line, in how many
seconds, is written there; tests that it does not know are taken to reach every line. With
``MUTATION_FAULTS``, a file of faults as lines of JSON, they are tried, and what became of each is
added to ``MUTATION_RESULTS``. ``MUTATION_SECONDS`` is how long the tests of one fault may take in
all; ``MUTATION_UNTIL`` when to stop, by the clock.
"""

from __future__ import annotations

import contextlib
import gc
import itertools
import json
import os
import select
import shutil
import signal
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import coverage
import pytest
from faults import Fault
from hypothesis import Phase, settings

REACH = os.environ.get("MUTATION_REACH")
FAULTS = os.environ.get("MUTATION_FAULTS")
SECONDS = float(os.environ.get("MUTATION_SECONDS", "inf"))
# A fault that makes an endless loop is noticed too: in seconds, beside what its tests take.
PATIENCE = 30.0
# Threads of allocators and of BLAS take care of forks; those that compute do not. A test that is
# collected may make frames, but polars or DuckDB must not compute anything for it.
LOST_BY_A_FORK = ("polars-0", "tokio", "duckdb")
# Random histories are not timed, and reach every line.
UNTIMED = 60.0


def pytest_configure(config: pytest.Config) -> None:
    if FAULTS is None and REACH:
        config.pluginmanager.register(Reach())


def pytest_collection() -> None:
    """The same examples each time, none made smaller: a fault is noticed or it is not."""
    phases = (Phase.explicit, Phase.generate)
    settings.register_profile(
        "mutation", deadline=None, derandomize=True, database=None, max_examples=25, phases=phases
    )
    settings.load_profile("mutation")


class Reach:
    """Notes which test reaches which line."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}
        measured = [str(Path("metaxy_dagster").resolve() / "*")]
        self.coverage = coverage.Coverage(data_file=None, include=measured, config_file=False)

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_protocol(self, item: pytest.Item) -> Iterator[None]:
        self.coverage.start()
        self.coverage.switch_context(item.nodeid)
        began = time.perf_counter()
        try:
            return (yield)
        finally:
            self.seconds[item.nodeid] = time.perf_counter() - began
            self.coverage.stop()

    def pytest_sessionfinish(self) -> None:
        data, tests = self.coverage.get_data(), list(self.seconds)
        number = {test: place for place, test in enumerate(tests)}
        lines: dict[str, dict[int, list[int]]] = {}
        for path in data.measured_files():
            found = data.contexts_by_lineno(path)
            lines[str(Path(path).relative_to(Path.cwd()))] = {
                line: sorted(number[test] for test in reaching if test)
                for line, reaching in found.items()
            }
        seconds = list(self.seconds.values())
        Path(os.environ["MUTATION_REACH"]).write_text(
            json.dumps({"tests": tests, "seconds": seconds, "lines": lines})
        )


def pytest_runtestloop(session: pytest.Session) -> bool | None:
    if FAULTS is None:
        return None
    if lost := sorted(name for name in threads() if name.startswith(LOST_BY_A_FORK)):
        raise pytest.UsageError(f"collecting the tests has started {lost}: a fork would lose them")
    gc.freeze()
    order = Order(session.items)
    until = float(os.environ["MUTATION_UNTIL"])
    with Path(os.environ["MUTATION_RESULTS"]).open("a") as results:
        for line in Path(FAULTS).read_text().splitlines():
            if time.time() > until:
                break
            fault = Fault(**json.loads(line))
            items = order.of(fault)
            patience = PATIENCE + 5 * order.spent(items)
            outcome = attempt(session, fault, items, patience) if items else ("no test", "")
            order.note(fault, outcome[1])
            found = {"name": fault.name, "outcome": outcome[0], "by": outcome[1]}
            results.write(json.dumps(found) + "\n")
            results.flush()
    return True


def threads() -> set[str]:
    """The names of the threads of this process, as Linux has them."""
    return {(task / "comm").read_text().strip() for task in Path("/proc/self/task").iterdir()}


class Order:
    """Which tests reach a fault, and which of them are likely to notice it."""

    def __init__(self, items: list[pytest.Item]) -> None:
        known: dict[str, Any] = json.loads(Path(os.environ["MUTATION_REACH"]).read_text())
        self.items = items
        self.tests: list[str] = known["tests"]
        self.seconds: dict[str, float] = dict(zip(self.tests, known["seconds"], strict=True))
        self.lines: dict[str, dict[str, list[int]]] = known["lines"]
        # The cases of one test find much the same: one of each test comes before the second of any.
        seen: Counter[str] = Counter()
        self.case: dict[str, int] = {}
        for item in items:
            test = item.nodeid.partition("[")[0]
            self.case[item.nodeid] = seen[test]
            seen[test] += 1
        self.noticed: dict[tuple[str, str], Counter[str]] = {}
        self.ever: Counter[str] = Counter()

    def note(self, fault: Fault, test: str) -> None:
        if test:
            self.noticed.setdefault((fault.module, fault.function), Counter())[test] += 1
            self.ever[test] += 1

    def of(self, fault: Fault) -> list[pytest.Item]:
        """The tests for a fault, as far as the time goes."""
        reached = self.lines.get(fault.module, {})
        first, last = fault.lines
        reach = {
            self.tests[number]
            for line in range(first, last + 1)
            for number in reached.get(str(line), ())
        }
        here = self.noticed.get((fault.module, fault.function), Counter())

        def rank(item: pytest.Item) -> tuple[int, int, int, float]:
            test = item.nodeid
            return -here[test], -self.ever[test], self.case[test], self.spent([item])

        items = [one for one in self.items if one.nodeid in reach or one.nodeid not in self.seconds]
        items.sort(key=rank)
        spent = itertools.accumulate(self.spent([item]) for item in items)
        within = [item for item, sofar in zip(items, spent, strict=True) if sofar < SECONDS]
        return within or items[:1]

    def spent(self, items: list[pytest.Item]) -> float:
        """How long tests take without a fault, in seconds."""
        return sum(self.seconds.get(item.nodeid, UNTIMED) for item in items)


def attempt(
    session: pytest.Session, fault: Fault, items: list[pytest.Item], patience: float
) -> tuple[str, str]:
    """In a word what became of a fault, and the test that noticed it."""
    folder = tempfile.mkdtemp(prefix="mutant-")
    reading, writing = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.close(reading)
        os.setsid()
        os.environ.update(MUTANT_UNDER_TEST=fault.name, PYTEST_DEBUG_TEMPROOT=folder, TMPDIR=folder)
        tempfile.tempdir = folder
        os.write(writing, (failing(session, items) or "survived").encode())
        os._exit(0)
    os.close(writing)
    ready, _, _ = select.select([reading], [], [], patience)
    said = os.read(reading, 4096).decode() if ready else ""
    os.close(reading)
    with contextlib.suppress(ProcessLookupError):
        os.killpg(pid, signal.SIGKILL)
    os.waitpid(pid, 0)
    shutil.rmtree(folder, ignore_errors=True)
    if said == "survived":
        return "survived", ""
    if said:
        return "killed", said
    return ("killed by a crash" if ready else "killed by time"), ""


def failing(session: pytest.Session, items: list[pytest.Item]) -> str | None:
    """The first test that fails."""
    for item, after in itertools.zip_longest(items, items[1:]):
        session.config.hook.pytest_runtest_protocol(item=item, nextitem=after)
        if session.testsfailed:
            return str(item.nodeid)
    return None
