"""A database in memory for questions that need no file; one a thread, since making one is slow."""

from __future__ import annotations

import contextlib
import os
import threading
from collections.abc import Iterator

import duckdb

__all__ = ["scratch"]

_LOCAL = threading.local()


@contextlib.contextmanager
def scratch() -> Iterator[duckdb.DuckDBPyConnection]:
    """A connection to this thread's database in memory; a forked child makes its own."""
    pid, engine = getattr(_LOCAL, "engine", (0, None))
    if engine is None or pid != os.getpid():
        # Not dropped in a forked child: ending it there would wait for its parent's threads.
        _LOCAL.abandoned = getattr(_LOCAL, "engine", None)
        engine = duckdb.connect(":memory:")
        _LOCAL.engine = (os.getpid(), engine)
    with engine.cursor() as connection:
        yield connection
