"""The two environments that processes run in: this library's and the rival's.

The rival's is built by pip from the package index, from pinned versions, the first time it is
needed and again when the pins changed.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import venv
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

__all__ = [
    "ROOT",
    "THREADS",
    "Environments",
    "OutOfTimeError",
    "StepError",
    "build_rival",
    "run_step",
]

HERE = Path(__file__).parent
ROOT = HERE.parent
THREADS = 2
_CONSTRAINTS = HERE / "rival-constraints.txt"
_RIVAL = ROOT / ".venvs" / "rival"
_WANTED = ("metaxy[duckdb]", "pyarrow", "sqlglot")
_LAST = 600


class StepError(RuntimeError):
    """A process of the benchmark failed."""


class OutOfTimeError(Exception):
    """The budget ended while a process ran; it was stopped."""


@dataclass(frozen=True)
class Environments:
    """The Python of each side; the rival's is ``None`` if it is left out."""

    ours: Path
    rival: Path | None

    def python(self, engine: str) -> Path:
        """The interpreter that an engine needs."""
        if engine != "rival":
            return self.ours
        if self.rival is None:
            message = "the rival was left out"
            raise StepError(message)
        return self.rival


def build_rival() -> Path:
    """The rival's interpreter, made if need be.

    Raises:
        StepError: pip failed.
    """
    python = _RIVAL / ("Scripts" if os.name == "nt" else "bin") / "python"
    stamp, pins = _RIVAL / ".installed", _CONSTRAINTS.read_text(encoding="utf-8")
    if stamp.exists() and stamp.read_text(encoding="utf-8") == pins:
        return python
    print(f"building the rival's environment in {_RIVAL.relative_to(ROOT)}", flush=True)
    venv.create(_RIVAL, clear=True, with_pip=True)
    command = [python, "-m", "pip", "install", "--quiet", "--constraint", _CONSTRAINTS, *_WANTED]
    done = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603
    if done.returncode:
        message = f"pip could not install the rival:\n{done.stderr[-_LAST:]}"
        raise StepError(message)
    stamp.write_text(pins, encoding="utf-8")
    return python


def run_step(python: Path, task: Mapping[str, Any], seconds: float) -> dict[str, Any]:
    """Run one task in a fresh process.

    Args:
        python: the interpreter.
        task: what ``worker.py`` is given.
        seconds: after which it is stopped.

    Raises:
        StepError: it failed.
        OutOfTimeError: it was stopped.
    """
    names = ("POLARS_MAX_THREADS", "OMP_NUM_THREADS", "ARROW_IO_THREADS")
    limits = dict.fromkeys(names, str(THREADS))
    environment = {**os.environ, **limits, "DAGSTER_DISABLE_TELEMETRY": "yes"}
    command = [str(python), "-W", "ignore", str(HERE / "worker.py"), json.dumps(task)]
    try:
        done = subprocess.run(  # noqa: S603 - the benchmark's own worker
            command, capture_output=True, text=True, timeout=seconds, env=environment, check=False
        )
    except subprocess.TimeoutExpired as error:
        message = f"stopped after {seconds:.0f} s"
        raise OutOfTimeError(message) from error
    if done.returncode:
        said = done.stderr.strip().splitlines()
        message = said[-1][:_LAST] if said else f"ended with code {done.returncode}"
        raise StepError(message)
    return json.loads(done.stdout.splitlines()[-1])


def our_python() -> Path:
    """The interpreter that runs the benchmark is that of the development environment."""
    return Path(sys.executable)
