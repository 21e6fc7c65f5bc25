"""The embedded engine: the parts of a store in one DuckDB file."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

from metaxy_dagster.stores.duckdb.compact.upkeep import Upkeep
from metaxy_dagster.stores.duckdb.file.commit_log import CommitLog
from metaxy_dagster.stores.duckdb.file.connection import DuckDBFile, Mode
from metaxy_dagster.stores.duckdb.file.session import Sessions
from metaxy_dagster.stores.duckdb.read.sample_reader import SampleReader
from metaxy_dagster.stores.duckdb.resolve.resolver import Resolver
from metaxy_dagster.stores.duckdb.write.failure_notes import FailureNotes
from metaxy_dagster.stores.duckdb.write.sample_writer import SampleWriter

__all__ = ["DuckDBEngine"]


class DuckDBEngine:
    """What holds the samples of a store in one file; the arguments are those of the store."""

    def __init__(
        self,
        path: Path,
        lock_timeout: float,
        settings: Mapping[str, str | int | float | bool],
        *,
        max_incremental_share: float,
        max_attempts: int,
    ) -> None:
        self.file = file = DuckDBFile(path, lock_timeout, settings)
        self.sessions = sessions = Sessions(file)
        self.commits = CommitLog(file)
        self.reader = SampleReader(file, sessions)
        self.resolver = Resolver(file, sessions, max_incremental_share, max_attempts)
        self.writer = SampleWriter(file)
        self.failures = FailureNotes(file, max_attempts)
        self.upkeep = Upkeep(file)
        self.options: dict[str, Any] = {
            "path": path,
            "lock_timeout": lock_timeout,
            "settings": settings,
            "max_incremental_share": max_incremental_share,
            "max_attempts": max_attempts,
        }

    def connected(self, mode: Mode) -> AbstractContextManager[None]:
        """Let several calls share one connection; see :meth:`DuckDBFile.lease`."""
        return self.file.lease(mode)
