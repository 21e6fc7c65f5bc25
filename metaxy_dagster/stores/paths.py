"""Where a store may be: a file of this machine, however its path is written."""

from __future__ import annotations

import re
import urllib.parse
import urllib.request
from pathlib import Path
from typing import Final

from metaxy_dagster.errors import ConfigError, shown

__all__ = ["local_path"]

# One letter is a drive of Windows.
_URL: Final = re.compile(r"(?P<scheme>[A-Za-z][A-Za-z0-9+.-]+):/")
# What DuckDB itself would take for something else than a file.
_ELSEWHERE: Final = re.compile(
    r"(?P<scheme>md|motherduck|ducklake|postgres|postgresql|mysql|sqlite|quack|iceberg):",
    re.IGNORECASE,
)


def local_path(given: object, base: Path | None = None) -> Path:
    """The absolute path of a local file, from a path or a ``file:`` URL.

    Args:
        given: text or a path; ``~`` is the user's home directory.
        base: the directory that a relative path counts from; by default the current one.

    Raises:
        ConfigError: it is no path, or names something that is not on this machine's disks. What
            was found is not repeated where it may hold a password.

    Example:
        >>> local_path("file:///data/my%20store.duckdb").as_posix()
        '/data/my store.duckdb'
    """
    if not isinstance(given, str | Path) or not str(given).strip("/"):
        raise ConfigError(
            "the path of a metadata store must be text or a Path",
            found=shown(given),
            remedy="name the file that the store is to be kept in",
        )
    text = str(given)
    _check_characters(text)
    if text.lower().startswith(":memory:"):
        raise ConfigError(
            "a metadata store in memory would be lost between two calls",
            found=":memory:",
            allowed="the path of a file",
            remedy="for tests, name a file in a temporary directory: tmp_path / 'metaxy.duckdb'",
        )
    if text.lower().startswith("file:/"):
        path = _of_url(text)
    elif found := _URL.match(text) or _ELSEWHERE.match(text):
        raise ConfigError(
            "the embedded metadata store is a file of this machine",
            found=f"something that begins with {found['scheme']}:",
            allowed="the path of a local file, or file:///…",
            remedy="name a local file; data itself may stay where it is",
        )
    else:
        path = Path(given)
    try:
        path = path.expanduser()
        return (path if base is None else base / path).absolute()
    except (RuntimeError, OSError) as error:
        raise ConfigError(
            "the path of a metadata store leads nowhere",
            found=f"{text!r}: {error}",
            allowed="an absolute path, or one that counts from a directory that is there",
            remedy="write the path in full",
        ) from error


def _check_characters(text: str) -> None:
    try:
        text.encode()
    except UnicodeEncodeError:
        pass
    else:
        if "\0" not in text:
            return
    raise ConfigError(
        "the path of a metadata store has characters that no file name has",
        found=ascii(text),
        allowed="text that can be written as UTF-8, without null characters",
        remedy="correct the path, or rename the file or its directory",
    )


def _of_url(text: str) -> Path:
    parts = urllib.parse.urlsplit(text)
    if parts.netloc not in ("", "localhost") or parts.query or parts.fragment:
        raise ConfigError(
            "the URL of a metadata store names more than a file of this machine",
            found="a host, a query or a fragment",
            allowed="file:///directory/file.duckdb",
            remedy="write the path as it is, or with %3F for ? and %23 for #",
        )
    path = urllib.request.url2pathname(parts.path)
    _check_characters(path)
    return Path(path)
