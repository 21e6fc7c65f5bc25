"""The lock beside a store's file in a process that was forked while a thread had it.

The lock is one of SQLite's, which keeps its own account of the locks of a process; a child that was
forked inherits the account and not the locks. So it takes the same ones of the operating system by
itself, on the bytes that SQLite's documentation of its file format names, in its order.
"""

from __future__ import annotations

import contextlib
import os
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, Literal

from filelock import Timeout

try:
    import fcntl
except ImportError:  # Windows, where nothing is forked
    fcntl = None  # type: ignore[assignment]

__all__ = ["forget_all", "locked_after_fork"]

_PENDING: Final = 0x40000000
_RESERVED: Final = _PENDING + 1
_SHARED: Final = (_PENDING + 2, 510)
_PAUSE: Final = 0.01


@dataclass
class _Held:
    """What the threads of this process have of one lock: the system knows one owner a process."""

    turn: threading.Condition = field(default_factory=threading.Condition)
    readers: int = 0
    writes: bool = False
    file: int = -1


_HELD: dict[Path, _Held] = {}


@contextlib.contextmanager
def locked_after_fork(path: Path, mode: Literal["r", "w"], timeout: float) -> Iterator[None]:
    """As :func:`locked`, in such a process.

    Raises:
        Timeout: others had it for longer.
        OSError: the lock file cannot be opened.
    """
    deadline = time.monotonic() + timeout
    held = _HELD.setdefault(path, _Held())
    with held.turn:
        free = held.turn.wait_for(
            lambda: not held.writes and (mode == "r" or not held.readers), timeout
        )
        if not free:
            raise Timeout(str(path))
        if not held.readers:
            _take(held, path, mode, deadline)
        held.readers += mode == "r"
        held.writes = mode == "w"
    try:
        yield
    finally:
        with held.turn:
            held.readers -= mode == "r"
            held.writes = False
            if not held.readers:
                # Gives back all that this process has of it; nobody else here has the file open.
                os.close(held.file)
            held.turn.notify_all()


def forget_all() -> None:
    """In a process that was forked from such a one: none of it is ours."""
    _HELD.clear()


def _take(held: _Held, path: Path, mode: Literal["r", "w"], deadline: float) -> None:
    held.file = os.open(path, os.O_RDWR)
    try:
        _wait(held.file, path, mode, deadline)
    except BaseException:
        os.close(held.file)
        raise


def _wait(file: int, path: Path, mode: Literal["r", "w"], deadline: float) -> None:
    while not (_read(file) if mode == "r" else _write(file)):
        if time.monotonic() >= deadline:
            raise Timeout(str(path))
        time.sleep(_PAUSE)


def _read(file: int) -> bool:
    """A reader's part: only while no writer waits for the other readers."""
    taken = _lock(file, fcntl.LOCK_SH, _PENDING, 1) and _lock(file, fcntl.LOCK_SH, *_SHARED)
    _lock(file, fcntl.LOCK_UN, _PENDING, 1)
    return taken


def _write(file: int) -> bool:
    taken = (
        _lock(file, fcntl.LOCK_EX, _RESERVED, 1)
        and _lock(file, fcntl.LOCK_EX, _PENDING, 1)
        and _lock(file, fcntl.LOCK_EX, *_SHARED)
    )
    if not taken:
        _lock(file, fcntl.LOCK_UN, _PENDING, 2 + _SHARED[1])
    return taken


def _lock(file: int, how: int, start: int, length: int) -> bool:
    try:
        fcntl.lockf(file, how if how == fcntl.LOCK_UN else how | fcntl.LOCK_NB, length, start)
    except (BlockingIOError, PermissionError):
        return False
    return True
