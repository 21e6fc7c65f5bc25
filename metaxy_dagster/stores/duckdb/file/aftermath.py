"""Work behind a commit: what is stored does not raise, and what raised is not stored."""

from __future__ import annotations

import contextlib
import logging
import sqlite3
from collections.abc import Iterator

import duckdb

from metaxy_dagster.errors import MetaxyError

__all__ = ["once_stored"]

_LOGGER = logging.getLogger(__name__)
_FAULTS = (MetaxyError, duckdb.Error, sqlite3.Error, OSError, RuntimeError, MemoryError)


@contextlib.contextmanager
def once_stored(path: object, what: str) -> Iterator[None]:
    """Do something that can be done without, such as tidying up; a failure is a warning.

    A caller who is told that a write failed does it again, or takes what it made for lost.

    Args:
        path: the store.
        what: what is not done then, as a part of a sentence.

    Example:
        >>> with once_stored("m.duckdb", "its log was not written back"):
        ...     pass
    """
    try:
        yield
    except _FAULTS as error:
        _LOGGER.warning("what was asked of %s is done, but %s: %s", path, what, error)
