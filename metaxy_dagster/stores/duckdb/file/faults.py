"""What the engine raises, in our words."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Protocol

import duckdb

from metaxy_dagster.errors import StoreBusyError, StoreError

__all__ = ["failed", "out_of_memory"]

_HOLDER = re.compile(r"PID (\d+)")


class File(Protocol):
    """What is told of the file."""

    @property
    def path(self) -> Path:
        """As it was given."""
        ...

    @property
    def lock_timeout(self) -> float:
        """Seconds that were waited."""
        ...


def failed(file: File, mode: str, error: duckdb.Error) -> StoreError:
    """What DuckDB raised while a file was used."""
    text = str(error)
    if holder := _HOLDER.search(text):
        return StoreBusyError(
            f"another program has the metadata store at {str(file.path)!r} open",
            found=f"process {holder.group(1)}, for longer than {file.lock_timeout:g} s",
            remedy="close that program's connection; or set a longer lock_timeout",
        )
    if "different configuration" in text or "file handle conflict" in text:
        return StoreBusyError(
            f"this process has {str(file.path)!r} open through a connection of its own",
            found=text.splitlines()[0],
            remedy="close that connection before the store is used",
        )
    remedy = "check that the file is a metadata store and was not written by a newer DuckDB"
    if isinstance(error, duckdb.OutOfMemoryException):
        return out_of_memory(error)
    if isinstance(error, duckdb.DataError | duckdb.ProgrammingError):
        remedy = "compare columns in filters with values of their own type: numbers and true or "
        remedy += "false bare, text, dates and times in single quotes"
    elif "space" in text or "File too large" in text:
        remedy = "make room on the disk; nothing of this write was stored"
    return StoreError(
        f"the metadata store at {str(file.path)!r} cannot be "
        f"{'read' if mode == 'r' else 'written'}",
        found=text,
        remedy=remedy,
    )


def out_of_memory(error: BaseException) -> StoreError:
    """Memory that ran out, in our words."""
    return StoreError(
        "there is not enough memory for this",
        found=str(error).partition("\n")[0] or type(error).__name__,
        remedy="read fewer columns or rows at a time, or give DuckDB more memory: "
        'settings={"memory_limit": "4GB"}',
    )
