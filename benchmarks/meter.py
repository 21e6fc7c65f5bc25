"""What a measured part of a process costs."""

from __future__ import annotations

import resource
import sys
import time
from pathlib import Path
from typing import Self

__all__ = ["Meter", "peak_bytes"]

_STATUS = Path("/proc/self/status")


class Meter:
    """Process CPU (all threads, user and system) and wall seconds of a ``with`` block.

    ``process`` is the CPU of the whole process up to the end of the block, imports included.
    """

    def __init__(self) -> None:
        self.cpu = 0.0
        self.wall = 0.0
        self.process = 0.0

    def __enter__(self) -> Self:
        """Begin."""
        self._cpu, self._wall = _cpu_seconds(), time.perf_counter()
        return self

    def __exit__(self, *exc: object) -> None:
        """End."""
        self.process = _cpu_seconds()
        self.cpu += self.process - self._cpu
        self.wall += time.perf_counter() - self._wall


def peak_bytes() -> int:
    """The most memory that this process has had resident.

    On Linux the figure of ``getrusage`` begins with what the parent process had, so the kernel's
    own figure for this program is preferred where there is one.
    """
    if _STATUS.exists():
        for line in _STATUS.read_text(encoding="ascii").splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * 1024
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit


def _cpu_seconds() -> float:
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return usage.ru_utime + usage.ru_stime
