"""Repositories in files, and the command line run on them."""

from __future__ import annotations

import itertools
import sys
import textwrap
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from metaxy_dagster.cli import main

NAMES = itertools.count()


@dataclass(frozen=True)
class Outcome:
    """What a command answered."""

    code: int
    out: str
    err: str


@pytest.fixture
def forget_modules() -> Iterator[None]:
    """A module that a test loaded is loaded anew by the next one."""
    before = set(sys.modules)
    yield
    for name in set(sys.modules) - before:
        if name.startswith("repo_"):
            del sys.modules[name]


@pytest.fixture
def repo(tmp_path: Path, forget_modules: None) -> Callable[..., Path]:
    """``repo(code)``: a Python file of that code, under a name of its own."""

    def write(code: str) -> Path:
        path = tmp_path / f"repo_{next(NAMES)}.py"
        path.write_text("import dagster as dg\nimport metaxy_dagster as mxd\n")
        with path.open("a") as file:
            file.write(textwrap.dedent(code))
        return path

    return write


@pytest.fixture
def run(capfd: pytest.CaptureFixture[str]) -> Callable[..., Outcome]:
    """``run("plan", "-f", path)``: the command line in this process."""

    def command(*arguments: object) -> Outcome:
        capfd.readouterr()
        try:
            code = main([str(argument) for argument in arguments])
        except SystemExit as error:
            code = error.code if isinstance(error.code, int) else 1
        printed = capfd.readouterr()
        return Outcome(code, printed.out, printed.err)

    return command
