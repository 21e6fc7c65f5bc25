"""Single faults of a mutation run: show what is left, try it with some tests, say why it may stay.

    one.py show stores.duckdb.views                     # what no test noticed, and is not explained
    one.py try stores.duckdb.views join_order:3,4 tests/stores/duckdb/resolve -k join
    one.py explain stores.duckdb.views join_order:3,4 "another order of the same joins"

Tests are those of the working tree: they are copied to where the faults are. Of a file that was
there before, those are run that reach the line of the fault.
"""

from __future__ import annotations

import json
import os
import pickle
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from faults import Explained, Fault, explain, find_faults, outcomes, survived
from run import PYTEST

ROOT = Path(__file__).parents[2]
COPY = Path(os.environ.get("MUTATION_COPY", ROOT / ".mutation"))


def known(room: str) -> list[Fault]:
    """All faults; reading them takes a while."""
    kept = COPY / room / "faults.pickle"
    if not kept.exists():
        kept.write_bytes(pickle.dumps(list(find_faults(COPY / room))))
    return list(pickle.loads(kept.read_bytes()))  # noqa: S301 - written above


def show(module: str) -> None:
    room = module.partition(".")[0]
    became, explained = outcomes(COPY / room), Explained.load()
    for fault in known(room):
        outcome = became.get(fault.name, "not run")
        if fault.short_module != module or explained.why(fault):
            continue
        if survived(outcome) or outcome == "not run":
            sys.stdout.write(f"## {fault.function}:{fault.number} line {fault.lines[0]}")
            sys.stdout.write(f" {outcome}\n{fault.change}\n")


def named(module: str, which: str) -> list[Fault]:
    function, _, numbers = which.partition(":")
    wanted = {int(number) for number in numbers.split(",")} if numbers else None
    room = module.partition(".")[0]
    found = [
        fault
        for fault in known(room)
        if fault.short_module == module
        and fault.function == function
        and (wanted is None or fault.number in wanted)
    ]
    if not found:
        raise SystemExit(f"no such faults: {module} {which}")
    return found


def attempt(faults: list[Fault], arguments: list[str]) -> None:
    """Run some tests of the working tree on each fault; what notices it is noted."""
    room = faults[0].short_module.partition(".")[0]
    mutants = COPY / room / "mutants"
    for argument in arguments:
        file = argument.partition("::")[0]
        if file.endswith(".py"):
            shutil.copy(ROOT / file, mutants / file)
    with tempfile.TemporaryDirectory() as scratch:
        listed, told = Path(scratch) / "faults.jsonl", Path(scratch) / "results.jsonl"
        listed.write_text("\n".join(json.dumps(vars(fault)) for fault in faults))
        found = os.environ | {
            "PYTHONPATH": str(Path(__file__).parent),
            "MUTANT_UNDER_TEST": "",
            "MUTATION_REACH": str(COPY / room / "reach.json"),
            "MUTATION_FAULTS": str(listed),
            "MUTATION_RESULTS": str(told),
            "MUTATION_UNTIL": "inf",
        }
        done = subprocess.run(  # noqa: S603 - our own interpreter
            [*PYTEST, *arguments],
            cwd=mutants,
            env=found,
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode not in (0, 5):
            raise SystemExit(done.stdout + done.stderr)
        results = told.read_text()
    sys.stdout.write(results)
    noticed = [line for line in results.splitlines() if "killed" in line]
    with (COPY / room / "results.jsonl").open("a") as file:
        file.writelines(f"{line}\n" for line in noticed)


def main() -> None:
    command, module, *rest = sys.argv[1:]
    if command == "show":
        show(module)
    elif command == "try":
        attempt(named(module, rest[0]), rest[1:])
    elif command == "explain":
        explain(named(module, rest[0]), rest[1])
    else:
        raise SystemExit(__doc__)


if __name__ == "__main__":
    main()
