"""Paths as DuckDB understands them.

It takes a backslash for a slash until it has found a file, and what stands behind a question mark
for options. A file whose own name has a backslash is therefore opened by a link beside it.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
from pathlib import Path

import duckdb

__all__ = ["log_of", "real_path", "spelt"]


def real_path(path: Path) -> Path:
    """The file itself, behind whatever links lead to it: all who open it must meet at one lock."""
    return Path(os.path.realpath(path))


def spelt(path: Path, *, make: bool) -> Path:
    """A path by which DuckDB opens this very file.

    Args:
        path: of the file, without links.
        make: also make the file, which DuckDB could not; under the lock.

    Raises:
        OSError: there is none, or the link that is needed cannot be made.
    """
    if os.sep != "/" or not ("\\" in str(path) or "?" in str(path.parent)):
        return path
    if "\\" in str(path.parent) or "?" in str(path.parent):
        raise OSError("DuckDB finds no file in a directory whose name has a backslash or a ?")
    link = path.with_name(f".metaxy~{hashlib.sha256(path.name.encode()).hexdigest()[:16]}")
    with contextlib.suppress(FileExistsError):
        link.symlink_to(path.name)
    if make and not path.exists():
        # Else the log of its first commit would be found by the name of the link.
        fresh = link.with_name(f"{link.name}.new")
        fresh.unlink(missing_ok=True)
        duckdb.connect(str(fresh)).close()
        fresh.replace(path)
    return link


def log_of(path: Path) -> Path:
    """Where DuckDB keeps what was committed and is not in the file yet."""
    name, sign, options = path.name.partition("?")
    return path.with_name(f"{name}.wal{sign}{options}")
