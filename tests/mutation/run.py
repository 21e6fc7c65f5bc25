"""A mutation run: small faults are put into a copy of the package; do the tests notice?

``make mutation`` runs it, in ``.mutation/``; the working tree is only read. mutmut makes the
faults; ``mutants.py`` notes which test reaches which line, and tries one fault after the other, in
as many processes as there are cores. A run that was cut short goes on with ``--resume``. The result
is a table of modules, and the faults that no test noticed in ``left.txt``; those that
``explained/`` knows are counted, and not tried. ``one.py`` shows, tries and explains single faults.

A fault is given four seconds of tests at first. Those that passed are given all tests that reach
their line, and some random histories, in the end.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterable
from pathlib import Path

from faults import Explained, Fault, find_faults, outcomes, survived

ROOT = Path(__file__).parents[2]
COPY = ROOT / ".mutation"
TREE = (
    "metaxy_dagster",
    "tests",
    "docs",
    "examples",
    "pyproject.toml",
    "README.md",
    "CHANGELOG.md",
)
ROOMS = ("features", "stores")
# They start processes of their own, which take too long; random histories look at what is left.
LEFT_OUT = ["test_oracle", "test_processes", "test_crashes", "test_permissions"]
ORACLE = "tests/stores/test_oracle.py::TestOracle"
PYTEST = [sys.executable, "-m", "pytest", "-q", "-s", "--tb=no"]
PYTEST += ["-p", "no:cacheprovider", "-p", "no:xdist", "-p", "mutants"]
WORKERS = os.cpu_count() or 1
NOTHING = "nothing"
SETTINGS = """
[tool.mutmut]
source_paths = ["metaxy_dagster"]
only_mutate = ["metaxy_dagster/{room}/*"]
also_copy = ["README.md", "CHANGELOG.md", "docs", "examples"]
pytest_add_cli_args_test_selection = ["tests/test_imports.py"]
pytest_add_cli_args = ["-p", "no:cacheprovider", "-p", "no:xdist"]
# The words of errors are held by tests/features/messages.txt, not word by word everywhere.
do_not_mutate_patterns = [
    '\\braise [\\w.]+\\(', '^\\s*__all__', '\\bmessage = ', '^\\s*(found|allowed|remedy|where)=',
    '^\\s*"[a-z ,]', '\\bexecute\\("[A-Z ]+"\\)$',
]
use_git_change_detection = false
track_dependencies = false
"""


def prepare(room: str) -> None:
    """A fresh copy, in which mutmut puts its faults, and which test reaches which line."""
    folder = COPY / room
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    for name in TREE:
        source = ROOT / name
        ignored = shutil.ignore_patterns("__pycache__", "workspace", "*.duckdb*")
        if source.is_dir():
            shutil.copytree(source, folder / name, ignore=ignored)
        else:
            shutil.copy(source, folder)
    settings = folder / "pyproject.toml"
    text = settings.read_text().replace('    "--doctest-modules",\n', "")
    settings.write_text(text + SETTINGS.format(room=room))
    # No fault has this name: mutmut stops when all are made.
    command = [sys.executable, "-m", "mutmut", "run", "--max-children", "1", NOTHING]
    told = run(command, folder, {})
    if not any((folder / "mutants").rglob("*.meta")):
        raise SystemExit(f"mutmut made no faults in {folder}:\n{told}")
    told = run([*PYTEST, *tests_of(room)], folder, {"MUTATION_REACH": str(folder / "reach.json")})
    if not (folder / "reach.json").exists():
        raise SystemExit(f"the tests do not pass without a fault:\n{told}")


def run(command: list[str], folder: Path, more: dict[str, str]) -> str:
    done = subprocess.run(  # noqa: S603 - our own interpreter
        command,
        cwd=folder,
        env=environment(folder) | more,
        capture_output=True,
        text=True,
        check=False,
    )
    return done.stdout + done.stderr


def tests_of(room: str) -> list[str]:
    """The files of tests that were copied."""
    folder = COPY / room
    files = (path.relative_to(folder) for path in (folder / "tests" / room).rglob("test_*.py"))
    return sorted(str(path) for path in files if path.stem not in LEFT_OUT)


def environment(folder: Path) -> dict[str, str]:
    """Where the plugin is; no fault for now."""
    return {**os.environ, "PYTHONPATH": str(folder / "tests" / "mutation"), "MUTANT_UNDER_TEST": ""}


def attempt(room: str, tried: list[Fault], until: float, *, again: bool) -> None:
    """Try faults, until a time of the clock: with a few tests, or again with all there are."""
    folder = COPY / room
    tests = tests_of(room)
    more = {
        "MUTATION_REACH": str(folder / "reach.json"),
        "MUTATION_RESULTS": str(folder / "results.jsonl"),
        "MUTATION_UNTIL": str(until),
    }
    if again:
        tests += [] if room == "features" else [ORACLE]
        more["METAXY_ORACLE_EXAMPLES"] = "6"
    else:
        more["MUTATION_SECONDS"] = "4"
    running = []
    for worker in range(WORKERS):
        mine = folder / f"faults-{worker}.jsonl"
        mine.write_text("\n".join(json.dumps(vars(fault)) for fault in tried[worker::WORKERS]))
        found = environment(folder) | more | {"MUTATION_FAULTS": str(mine)}
        with (folder / f"output-{worker}.txt").open("w") as output:
            running.append(
                subprocess.Popen(  # noqa: S603 - our own interpreter
                    [*PYTEST, *tests],
                    cwd=folder / "mutants",
                    env=found,
                    stdout=output,
                    stderr=output,
                )
            )
    try:
        # 5: it ran no test itself.
        if any(process.wait() not in (0, 5) for process in running):
            raise SystemExit(f"a worker ended early: see {folder}/output-*.txt")
    finally:
        for process in running:
            process.terminate()


def report(faults: Iterable[Fault], became: dict[str, str], explained: Explained) -> str:
    """The table, as Markdown."""
    modules: dict[str, Counter[str]] = {}
    for fault in faults:
        count = modules.setdefault(fault.short_module, Counter())
        if survived(became.get(fault.name)) or fault.name not in became:
            what = "left" if fault.name in became else "not run"
            count["explained" if explained.why(fault) else what] += 1
        else:
            count["noticed"] += 1
    lines = ["| module | faults | noticed | explained | left | not run |", "|---|" + "---|" * 5]
    for module, count in modules.items():
        told = [count[what] for what in ("noticed", "explained", "left", "not run")]
        lines.append(f"| `{module}` | {' | '.join(map(str, [count.total(), *told]))} |")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", type=float, default=60)
    parser.add_argument("--room", choices=ROOMS, default="stores")
    parser.add_argument("--modules", nargs="+", default=[], help="as stores.duckdb.views")
    parser.add_argument("--resume", action="store_true", help="go on with the copy there is")
    parser.add_argument("--once", action="store_true", help="do not look at what passed again")
    options = parser.parse_args()
    until = time.time() + options.minutes * 60
    room, folder = options.room, COPY / options.room
    if not (options.resume and folder.is_dir()):
        prepare(room)
    explained, faults = Explained.load(), list(find_faults(folder))
    if asked := options.modules:
        faults = [fault for fault in faults if fault.short_module in asked]
        faults.sort(key=lambda fault: asked.index(fault.short_module))
    tried, became = [one for one in faults if not explained.why(one)], outcomes(folder)
    attempt(room, [one for one in tried if one.name not in became], until, again=False)
    became = outcomes(folder)
    if not options.once:
        passed = [one for one in tried if survived(became.get(one.name))]
        attempt(room, passed, until, again=True)
        became = outcomes(folder)
    left = [one for one in tried if survived(became.get(one.name))]
    told = [f"## {one.name}: {became[one.name]}\n{one.change}" for one in left]
    (folder / "left.txt").write_text("\n".join(told) + "\n")
    sys.stdout.write(f"{report(faults, became, explained)}\n\nleft: {folder / 'left.txt'}\n")


if __name__ == "__main__":
    main()
