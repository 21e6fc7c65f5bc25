"""A way to the file in a process that was forked while another thread had it open.

What DuckDB knows is copied with the process, so the copy takes the file for open and refuses it by
every path that leads to it. By another name, a hard link, it is another file to DuckDB, and the
same one to the system and to all who wait for its locks. The name is gone once the file is open.
The log that belongs to that name is brought over to the file's own if it could not be written back.
"""

from __future__ import annotations

import contextlib
import os
import secrets
from collections.abc import Iterator
from pathlib import Path

from metaxy_dagster.errors import StoreError
from metaxy_dagster.stores.duckdb.file.spelling import log_of

__all__ = ["another_name", "bring_log_over", "forked_error"]


@contextlib.contextmanager
def another_name(place: Path) -> Iterator[Path]:
    """Another name of a file, for as long as it takes to open it; its lock is held.

    Raises:
        StoreError: there can be none, or a log is there that only the file's own name leads to.
    """
    if log_of(place).exists():
        raise forked_error(place, f"and {log_of(place).name} was left behind")
    name = place.with_name(f"{place.name}.{os.getpid()}-{secrets.token_hex(4)}")
    try:
        os.link(place, name)
    except OSError as error:
        raise forked_error(place, f"and it can have no other name ({error})") from error
    try:
        yield name
    finally:
        name.unlink(missing_ok=True)


def bring_log_over(name: Path, place: Path) -> None:
    """What was committed under another name, and is not in the file yet, is left to the next."""
    with contextlib.suppress(FileNotFoundError):
        log_of(name).replace(log_of(place))


def forked_error(path: Path, why: str) -> StoreError:
    """What to say where there is no way to the file."""
    return StoreError(
        f"this process was forked while a thread had the metadata store at {str(path)!r} open",
        found=f"what DuckDB knows of the file stays as it was then, {why}",
        remedy="fork when no thread uses the store, or begin processes by spawn or"
        " forkserver: multiprocessing.set_start_method('spawn')",
    )
