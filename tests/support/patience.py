"""How long a test waits for what will come, and children that never outlive it.

A deadline tells what hangs from what is slow. On a machine that does much else, "slow" may be many
times what it is on an idle one: ``METAXY_TEST_PATIENCE`` says how many times (5 unless it is set).
"""

from __future__ import annotations

import multiprocessing
import os
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from multiprocessing.context import SpawnProcess
from typing import Any

FACTOR = float(os.environ.get("METAXY_TEST_PATIENCE", "5"))
SPAWN = multiprocessing.get_context("spawn")


def patient(seconds: float) -> float:
    """So many seconds of an idle machine."""
    return seconds * FACTOR


@contextmanager
def child(target: Callable[..., Any], *args: Any) -> Iterator[SpawnProcess]:
    """A process that calls this; it is killed at the end of the block."""
    process = SPAWN.Process(target=target, args=args)
    process.start()
    try:
        yield process
    finally:
        process.kill()
        process.join()


def elsewhere(target: Callable[..., Any], *args: Any, seconds: float = 60) -> int | None:
    """Call this in another process; its exit code, none if it takes too long."""
    with child(target, *args) as process:
        process.join(patient(seconds))
        return process.exitcode


@contextmanager
def program(*command: str, **options: Any) -> Iterator[subprocess.Popen[Any]]:
    """A program that runs; it is killed at the end of the block."""
    process = subprocess.Popen(command, **options)  # noqa: S603 - our own interpreter
    try:
        yield process
    finally:
        process.kill()
        process.wait()
