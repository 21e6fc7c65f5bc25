"""The lock beside a store's file: readers share it, a writer has it alone."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Literal

from filelock import ReadWriteLock, Timeout

from metaxy_dagster.stores.duckdb.file.aftermath import once_stored
from metaxy_dagster.stores.duckdb.file.forked_lock import forget_all, locked_after_fork

__all__ = ["HELD_AT_FORK", "Mode", "Timeout", "locked"]

Mode = Literal["r", "w"]
# The lock files that are in use now.
_ACTIVE: dict[object, Path] = {}
#: Those that were in use by this process's parent when it was forked.
HELD_AT_FORK: set[Path] = set()


@contextlib.contextmanager
def locked(path: Path, mode: Mode, timeout: float) -> Iterator[None]:
    """Have the lock inside the block.

    Args:
        path: of the lock file, without links.
        mode: ``"r"`` for a reader's part, ``"w"`` for all of it.
        timeout: seconds to wait.

    Raises:
        Timeout: others had it for longer.
        OSError: the lock file cannot be made or opened.
    """
    process, one = os.getpid(), object()
    _ACTIVE[one] = path
    try:
        if path in HELD_AT_FORK:
            with locked_after_fork(path, mode, timeout):
                yield
            return
        lock = ReadWriteLock(path, is_singleton=False)
        try:
            (lock.acquire_read if mode == "r" else lock.acquire_write)(timeout=timeout)
            try:
                yield
            finally:
                # In a child that was forked inside the block it is the parent's to give back.
                if process == os.getpid():
                    with once_stored(path, "the lock was not given back"):
                        lock.release()
        finally:
            if process == os.getpid():
                with once_stored(path, "the lock file was not closed"):
                    lock.close()
    finally:
        _ACTIVE.pop(one, None)


def _after_fork() -> None:
    """In the child: what its parent's threads had is not ours, and nobody gives it back here."""
    HELD_AT_FORK.update(_ACTIVE.values())
    _ACTIVE.clear()
    forget_all()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
