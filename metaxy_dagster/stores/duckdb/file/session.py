"""Sessions: what ``with store:`` means for the calls inside it.

A session keeps no connection: it only says whether calls may write, and for one that reads, as of
which commit they all read. Each thread and each async task has its own.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from contextvars import ContextVar
from dataclasses import dataclass

import duckdb

from metaxy_dagster.errors import StoreError
from metaxy_dagster.features import FeatureKey
from metaxy_dagster.stores.duckdb.file import layout
from metaxy_dagster.stores.duckdb.file.catalog import read_catalog
from metaxy_dagster.stores.duckdb.file.connection import DuckDBFile, Mode

__all__ = ["Sessions"]


@dataclass(frozen=True, eq=False)
class _Session:
    mode: Mode
    commit: int | None
    failing: frozenset[FeatureKey] = frozenset()
    # Who began it, where that is not said when it ends: the frame of a "with".
    owner: int | None = None


class Sessions:
    """The open sessions of one store, innermost last."""

    def __init__(self, file: DuckDBFile) -> None:
        self._file = file
        self._open: ContextVar[tuple[_Session, ...]] = ContextVar("sessions", default=())

    def enter(self, mode: Mode, owner: int | None = None) -> _Session:
        """Begin a session; a file that cannot be opened says so here.

        Args:
            mode: ``"r"`` or ``"w"``.
            owner: who begins it, if it will be ended by :meth:`leave_innermost`.

        Raises:
            StoreError: the file cannot be opened, or there is no such mode.
        """
        given: object = mode
        if not isinstance(given, str) or given not in ("r", "w"):
            raise StoreError(
                "a store is opened for reading or for writing",
                found=mode,
                allowed=["r", "w"],
                remedy='call store.open("r") or store.open("w")',
            )
        commit, failing = None, frozenset[FeatureKey]()
        with self._file.connect(mode) as connection:
            if mode == "w":
                layout.ensure_format(connection)
            else:
                catalog = read_catalog(connection, ())
                commit = catalog.commit
                failing = frozenset(k for k, entry in catalog.entries.items() if entry.failed)
        return self._begin(_Session(mode, commit, failing, owner))

    def _begin(self, session: _Session) -> _Session:
        self._open.set((*self._open.get(), session))
        return session

    def leave(self, session: _Session) -> None:
        """End a session, whatever was begun since: generators may end in any order."""
        self._open.set(tuple(one for one in self._open.get() if one is not session))

    def leave_innermost(self, owner: int) -> None:
        """End the innermost session of an owner; of any, if it began none itself."""
        mine = [one for one in self._open.get() if one.owner is not None]
        own = [one for one in mine if one.owner == owner]
        for session in (own or mine)[-1:]:
            self.leave(session)

    @contextlib.contextmanager
    def hidden(self) -> Iterator[None]:
        """Let calls stand for themselves, whatever sessions are open around them."""
        session = self._begin(_Session("w", None))
        try:
            yield
        finally:
            self.leave(session)

    def require_writable(self, key: FeatureKey) -> None:
        """Refuse a write inside a session that reads; outside any session it is allowed."""
        sessions = self._open.get()
        if sessions and sessions[-1].mode == "r":
            raise StoreError(
                "the store is open for reading",
                feature=str(key),
                remedy='write inside a block of: with store.open("w")',
            )

    def commit(self, connection: duckdb.DuckDBPyConnection) -> int:
        """The snapshot of the session, or what is newest now."""
        known = self.snapshot
        return read_catalog(connection, ()).commit if known is None else known

    @property
    def snapshot(self) -> int | None:
        """The commit as of which the session reads; ``None`` for the newest."""
        sessions = self._open.get()
        return sessions[-1].commit if sessions else None

    def has_failures(self, key: FeatureKey) -> bool:
        """Whether any sample of a feature had failed when the session began."""
        sessions = self._open.get()
        return bool(sessions) and key in sessions[-1].failing
