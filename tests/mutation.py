"""A mutation run: small faults are put into a copy of the package; do the tests notice?

``make mutation`` runs it, in ``.mutation/``; the working tree is only read. Groups of modules come
in the order of their risk, each with the tests that are about it. A run that was cut short goes on
with ``--resume``. The result is a table for each group, and the faults that no test noticed in its
``survivors.txt``.

A fault is given ten seconds of tests at first. Those that passed are given all tests of their group
and some random histories, once every group had its turn.
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
SEMANTICS = ["semantics", "semantics_writes", "watermark", "hashes", "assumptions", "never_written"]
FRAMES = ["bad_input", "content", "frame_errors"]
# Modules, and the tests that are about them, in the order of their risk. A test runs for the
# functions that it reaches (tests/support/mutants.py).
GROUPS: dict[str, tuple[list[str], list[str]]] = {
    "features": (["*"], ["*"]),
    "content": (["content"], ["content"]),
    "resolve": (
        ["duckdb/views", "duckdb/resolve", "duckdb/staging", "duckdb/writer"],
        [*SEMANTICS, "bad_input", "bulk"],
    ),
    "watermark": (
        [
            "duckdb/watermark",
            "duckdb/candidates",
            "duckdb/provenance",
            "duckdb/catalog",
            "encoding",
        ],
        SEMANTICS,
    ),
    "frames": (["checks", "frames", "spool"], [*SEMANTICS, *FRAMES, "batches"]),
    "increment": (["increment", "counts"], [*SEMANTICS, "bad_input"]),
    "types": (["duckdb/types", "duckdb/declared"], [*SEMANTICS, *FRAMES]),
    "reader": (
        ["duckdb/reader", "duckdb/filtering", "duckdb/frame", "duckdb/snapshot", "duckdb/source"],
        [*SEMANTICS, "bad_input", "injection"],
    ),
    "quarantine": (["duckdb/quarantine", "duckdb/failing", "failures"], ["quarantine"]),
    "layout": (
        ["duckdb/layout", "duckdb/migration", "duckdb/compaction", "duckdb/retention"],
        [*SEMANTICS, "format", "compaction"],
    ),
    "config": (["config"], ["bad_config", "injection"]),
}
ORACLE = "tests/stores/test_oracle.py::TestOracle"
SETTINGS = """
[tool.mutmut]
source_paths = ["metaxy_dagster"]
only_mutate = {modules}
also_copy = ["README.md", "CHANGELOG.md", "docs", "examples"]
pytest_add_cli_args_test_selection = {tests}
pytest_add_cli_args = ["-p", "no:cacheprovider", "-p", "no:xdist", "-p", "mutants"]
# The words of errors are held by tests/features/messages.txt, not word by word everywhere; SQL in
# small letters is the same SQL.
do_not_mutate_patterns = [
    '\\braise [\\w.]+\\(', '^\\s*__all__', '\\bmessage = ', '^\\s*(found|allowed|remedy|where)=',
    '^\\s*"[a-z ,]', '\\bexecute\\("[A-Z ]+"\\)$',
]
use_git_change_detection = false
track_dependencies = false
timeout_multiplier = 5.0
timeout_constant = 10.0
# Threads (those of DuckDB that tests leave behind, those of polars that some make while they are
# collected) would not survive a fork: what is forked only imported what is slow to import.
process_isolation = "forkserver"
forkserver_warmup = "import"
preload_modules_file = "preload.txt"
"""
PRELOADED = [
    "dagster",
    "duckdb",
    "narwhals",
    "pandas",
    "polars",
    "pyarrow.compute",
    "pyarrow.dataset",
]


def room(group: str) -> str:
    """The part of the package that a group is of."""
    return "features" if group == "features" else "stores"


def selected(group: str) -> list[str]:
    """The tests of a group, as pytest knows them."""
    patterns = (f"tests/{room(group)}/test_{name}.py" for name in GROUPS[group][1])
    return [str(path.relative_to(ROOT)) for one in patterns for path in sorted(ROOT.glob(one))]


def prepare(group: str) -> Path:
    """A fresh copy of what the tests of a group need."""
    modules, _ = GROUPS[group]
    folder = COPY / group
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    for name in TREE:
        source = ROOT / name
        ignored = shutil.ignore_patterns("__pycache__", "workspace", "*.duckdb*")
        if source.is_dir():
            shutil.copytree(source, folder / name, ignore=ignored)
        else:
            shutil.copy(source, folder)
    (folder / "preload.txt").write_text("\n".join(PRELOADED))
    settings = folder / "pyproject.toml"
    paths = [f"metaxy_dagster/{room(group)}/{name}.py" for name in modules]
    tests = selected(group)
    text = settings.read_text().replace('    "--doctest-modules",\n', "")
    settings.write_text(text + SETTINGS.format(modules=json.dumps(paths), tests=json.dumps(tests)))
    return folder


def environment(folder: Path, **more: str) -> dict[str, str]:
    """What the plugin in tests/support/mutants.py must find."""
    plugins = str(folder / "tests" / "support")
    return {**os.environ, "MUTATION_FOLDER": str(folder), "PYTHONPATH": plugins, **more}


def mutate(folder: Path, seconds: float) -> None:
    """Run mutmut in a copy, for so long."""
    command = [sys.executable, "-m", "mutmut", "run", "--max-children", "1"]
    # A session of its own, so that what mutmut forked ends with it.
    with subprocess.Popen(  # noqa: S603 - our own interpreter
        command,
        cwd=folder,
        env=environment(folder, MUTATION_SECONDS="10"),
        start_new_session=True,
    ) as process:
        try:
            process.wait(timeout=seconds)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGTERM)


def look_again(group: str, deadline: float) -> None:
    """Run all tests of a group, then random histories, on the faults that were let pass."""
    folder = COPY / group
    command = [sys.executable, "-m", "pytest", "-x", "-q", "-p", "no:xdist", "-p", "mutants"]
    command += selected(group) + ([] if group == "features" else [ORACLE])
    for module, mutants in results(folder).items():
        meta = folder / "mutants" / f"{module}.py.meta"
        for name in (n for n, what in mutants.items() if what == "survived"):
            if (left := deadline - time.monotonic()) < 1:
                return
            found = environment(folder, MUTANT_UNDER_TEST=name, METAXY_ORACLE_EXAMPLES="6")
            try:
                code = subprocess.run(  # noqa: S603 - our own interpreter
                    command, cwd=folder / "mutants", env=found, timeout=left, check=False
                ).returncode
            except subprocess.TimeoutExpired:
                return
            if code == 1:  # tests failed
                noted = json.loads(meta.read_text())
                noted["exit_code_by_key"][name] = code
                meta.write_text(json.dumps(noted, indent=4))


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
    parser.add_argument("--groups", nargs="+", choices=GROUPS, default=list(GROUPS))
    parser.add_argument("--resume", action="store_true", help="go on with the copies there are")
    options = parser.parse_args()
    deadline = time.monotonic() + options.minutes * 60
    ran = []
    for group in options.groups:
        if (left := deadline - time.monotonic()) < 1:
            break
        ran.append(group)
        folder = COPY / group
        if not (options.resume and folder.is_dir()):
            prepare(group)
        mutate(folder, left)
    for group in ran:
        look_again(group, deadline)
        folder = COPY / group
        (folder / "survivors.txt").write_text(survivors(folder) + "\n")
        sys.stdout.write(f"\n{report(folder)}\n\nsurvivors: {folder / 'survivors.txt'}\n")


if __name__ == "__main__":
    main()
