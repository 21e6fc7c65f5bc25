"""A mutation run: small faults are put into a copy of the package; do the tests notice?

``make mutation`` runs it, in ``.mutation/``; the working tree is only read. Modules come in the
order of their risk, each room with the tests that are about it. A run that was cut short goes on
with ``--resume``. The result is a table, and the faults that no test noticed in ``survivors.txt``.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

ROOT = Path(__file__).parents[1]
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
STORES = ["semantics", "semantics_writes", "watermark", "content", "hashes", "assumptions"]
# Room: groups of modules, in the order of their risk, and tests. Each group costs a run of these.
ROOMS: dict[str, tuple[list[list[str]], list[str]]] = {
    "features": ([["*"]], ["tests/features"]),
    "stores": (
        [
            ["duckdb/candidates", "duckdb/watermark", "duckdb/provenance", "encoding"],
            ["duckdb/resolve", "duckdb/views", "duckdb/catalog"],
            ["duckdb/writer", "duckdb/staging", "content"],
        ],
        [f"tests/stores/test_{name}.py" for name in STORES],
    ),
}
SETTINGS = """
[tool.mutmut]
source_paths = ["metaxy_dagster"]
only_mutate = {modules}
also_copy = ["README.md", "CHANGELOG.md", "docs", "examples"]
pytest_add_cli_args_test_selection = {tests}
pytest_add_cli_args = ["-p", "no:cacheprovider", "-p", "no:xdist"]
# The words of errors are held by tests/features/messages.txt, not word by word everywhere.
do_not_mutate_patterns = [
    '\\braise [\\w.]+\\(', '^\\s*__all__', '\\bmessage = ', '^\\s*(found|allowed|remedy|where)=',
    '^\\s*"[a-z ,]',
]
use_git_change_detection = false
track_dependencies = false
timeout_multiplier = 5.0
timeout_constant = 10.0
# Tests leave the threads of DuckDB behind, which a fork would not survive.
process_isolation = "forkserver"
"""


def prepare(room: str) -> Path:
    """A fresh copy of what the tests of a room need."""
    groups, tests = ROOMS[room]
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
    paths = [f"metaxy_dagster/{room}/{name}.py" for group in groups for name in group]
    text = settings.read_text().replace('    "--doctest-modules",\n', "")
    settings.write_text(text + SETTINGS.format(modules=json.dumps(paths), tests=json.dumps(tests)))
    return folder


def mutate(room: str, folder: Path, seconds: float) -> None:
    """Run mutmut on one group of modules after the other, for so long."""
    deadline = time.monotonic() + seconds
    environment = {**os.environ, "CI": "true"}  # the same random examples each time
    for group in ROOMS[room][0]:
        left = deadline - time.monotonic()
        if left < 1:
            break
        command = [sys.executable, "-m", "mutmut", "run", "--max-children", "1"]
        command += [f"metaxy_dagster.{room}.{name.replace('/', '.')}*" for name in group]
        # A session of its own, so that what mutmut forked ends with it.
        with subprocess.Popen(  # noqa: S603 - our own interpreter
            command, cwd=folder, env=environment, start_new_session=True
        ) as process:
            try:
                process.wait(timeout=left)
            except subprocess.TimeoutExpired:
                os.killpg(process.pid, signal.SIGTERM)
                break


def outcome(code: int | None) -> str:
    """What mutmut notes of a mutant, in a word."""
    if code is None:
        return "not run"
    return {0: "survived", 1: "killed", 3: "killed", 33: "no test"}.get(code, "killed by time")


def results(folder: Path) -> dict[str, dict[str, str]]:
    """Of each module, its mutants and what became of them."""
    found = {}
    for path in sorted((folder / "mutants" / "metaxy_dagster").rglob("*.meta")):
        codes = json.loads(path.read_text())["exit_code_by_key"]
        if codes:
            module = str(path.relative_to(folder / "mutants")).removesuffix(".py.meta")
            found[module] = {name: outcome(code) for name, code in codes.items()}
    return found


def report(folder: Path) -> str:
    """The table, as Markdown."""
    lines = ["| module | mutants | killed | survived | not run |", "|---|---|---|---|---|"]
    for module, mutants in results(folder).items():
        count = Counter(mutants.values())
        killed = count["killed"] + count["killed by time"]
        survived = count["survived"] + count["no test"]
        name = module.removeprefix("metaxy_dagster/")
        lines.append(f"| `{name}` | {len(mutants)} | {killed} | {survived} | {count['not run']} |")
    return "\n".join(lines)


def survivors(folder: Path) -> str:
    """Each mutant that no test noticed, as a difference of lines."""
    from mutmut.mutation.diff_apply import get_diff_for_mutant  # noqa: PLC0415 - not always there

    here, shown = Path.cwd(), []
    os.chdir(folder)  # where mutmut looks for its files
    try:
        for module, mutants in results(folder).items():
            for name in (n for n, what in mutants.items() if what in ("survived", "no test")):
                changed = get_diff_for_mutant(name, path=f"{module}.py").splitlines()
                lines = [line for line in changed if re.match(r"[-+](?![-+])", line)]
                shown.append("\n".join([f"## {name}", *lines]))
    finally:
        os.chdir(here)
    return "\n".join(shown)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", type=float, default=60)
    parser.add_argument("--rooms", nargs="+", choices=sorted(ROOMS), default=sorted(ROOMS))
    parser.add_argument("--resume", action="store_true", help="go on with the copies there are")
    options = parser.parse_args()
    seconds = options.minutes * 60 / len(options.rooms)
    for room in options.rooms:
        folder = COPY / room
        if not (options.resume and folder.is_dir()):
            prepare(room)
        mutate(room, folder, seconds)
        (folder / "survivors.txt").write_text(survivors(folder) + "\n")
        sys.stdout.write(f"\n{report(folder)}\n\nsurvivors: {folder / 'survivors.txt'}\n")


if __name__ == "__main__":
    main()
