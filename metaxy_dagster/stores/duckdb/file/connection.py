"""One way to the file: lock, connect, hand out, close, unlock.

Every opener of ours goes through an operating-system lock that is held from before ``connect``
to after ``close``. DuckDB 2.0.0 was seen to lose acknowledged commits when several processes
open and close one file without it. Readers share the lock, a writer has it alone; it is held for
one operation, never while user code computes.
"""

from __future__ import annotations

import contextlib
import json
import logging
import os
import random
import socket
import sqlite3
import threading
import time
from collections.abc import Iterator, Mapping
from contextvars import ContextVar
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import duckdb

from metaxy_dagster.errors import StoreBusyError, StoreError, shown
from metaxy_dagster.stores.arguments import is_number, one_of
from metaxy_dagster.stores.duckdb.file.aftermath import once_stored
from metaxy_dagster.stores.duckdb.file.faults import failed, out_of_memory
from metaxy_dagster.stores.duckdb.file.forked import another_name, bring_log_over
from metaxy_dagster.stores.duckdb.file.locking import HELD_AT_FORK, Mode, Timeout, locked
from metaxy_dagster.stores.duckdb.file.settings import check_settings
from metaxy_dagster.stores.duckdb.file.spelling import real_path, spelt
from metaxy_dagster.stores.duckdb.sql.identifiers import BLOCKS, CATALOG, literal

__all__ = ["DuckDBFile", "Mode", "found_before"]

# Some three weeks; SQLite cannot wait for longer.
_LONGEST_WAIT = 1_999_999
_LOGGER = logging.getLogger(__name__)


@dataclass
class _Lease:
    pid: int
    mode: Mode
    connection: duckdb.DuckDBPyConnection
    # What was found out through the connection; nobody else can write meanwhile.
    found: dict[object, Any] = field(default_factory=dict)
    # Threads and tasks that are begun inside the block know of it: one at a time may use it, and
    # those that outlive it must not.
    turn: threading.RLock = field(default_factory=threading.RLock)
    ended: bool = False


# Connections that are on loan to the code running now, by file.
_LEASES: ContextVar[Mapping[Path, _Lease]] = ContextVar("leases")
_NONE: Mapping[Path, _Lease] = {}


@dataclass(frozen=True)
class DuckDBFile:
    """A DuckDB file and how to open it. Holds no connection, so it can be copied and pickled.

    Args:
        path: the database file; it and its directory are made by the first write.
        lock_timeout: seconds to wait for other processes of ours.
        settings: DuckDB settings such as ``{"memory_limit": "2GB", "threads": 2}``.
    """

    path: Path
    lock_timeout: float = 60.0
    # Not shown: one of them may be a secret.
    settings: Mapping[str, str | int | float | bool] = field(default_factory=dict, repr=False)
    _local: threading.local = field(default_factory=threading.local, repr=False, compare=False)
    # What was found out while it was read, for the next write to keep.
    looks: dict[Any, Any] = field(default_factory=dict, repr=False, compare=False)

    def __post_init__(self) -> None:
        """Refuse what would only fail later, inside somebody's run."""
        wait = self.lock_timeout
        if not is_number(wait) or not 0 <= wait <= _LONGEST_WAIT:
            raise StoreError(
                "lock_timeout is not a number of seconds",
                found=shown(wait),
                allowed=f"0 to {_LONGEST_WAIT}",
                remedy="give the seconds to wait for other processes, for instance 60",
            )
        check_settings(self.settings)

    @property
    def exists(self) -> bool:
        """Whether the file is there; a store that was never written has none."""
        return self._is_there() and self.place.is_file()

    @property
    def place(self) -> Path:
        """The file itself, behind whatever links lead to it."""
        return real_path(self.path)

    def spelt(self, *, make: bool = False) -> Path:
        """A path by which DuckDB finds the file.

        Raises:
            StoreError: there is none.
        """
        try:
            return spelt(self.place, make=make)
        except (OSError, duckdb.Error) as error:
            raise self._unwritable(error) from error

    @contextlib.contextmanager
    def connect(self, mode: Mode) -> Iterator[duckdb.DuckDBPyConnection]:
        """A connection under the lock, closed and unlocked on the way out.

        Raises:
            StoreBusyError: others held the file for longer than ``lock_timeout``.
            StoreError: the file cannot be opened, read or written.
        """
        if leased := self._leased(mode):
            with leased.turn:
                # While this thread waited, the block may have ended.
                if not leased.ended:
                    with self._shared(leased, mode):
                        yield leased.connection
                    return
        if mode == "w":
            self._prepare_directory()
        elif not self._is_there():
            # A store that was never written is an empty one; reading must not make the file.
            with self.engine() as nothing:
                yield nothing
            return
        with self._locked(mode), self.engine() as connection:
            self._attach_in_turn(connection, mode)
            try:
                with self._speaking(mode):
                    yield connection
            finally:
                self._detach(connection)

    @contextlib.contextmanager
    def _shared(self, lease: _Lease, mode: Mode) -> Iterator[None]:
        try:
            with self._speaking(mode):
                yield
        except BaseException:
            if mode == "w":
                _undo(lease.connection)
            raise
        finally:
            if mode == "w":
                lease.found.clear()

    @contextlib.contextmanager
    def _speaking(self, mode: Mode) -> Iterator[None]:
        """What the engine raises inside the block is told in our words."""
        try:
            yield
        except duckdb.Error as error:
            raise failed(self, mode, error) from error
        except MemoryError as error:
            raise out_of_memory(error) from error

    @contextlib.contextmanager
    def lease(self, mode: Mode) -> Iterator[None]:
        """Let several calls in a row share one connection; never around a user's code."""
        one_of("mode", mode, ("r", "w"))
        with self.connect(mode) as connection:
            if self._leased(mode):
                yield
                return
            lease = _Lease(os.getpid(), mode, connection)
            token = _LEASES.set({**_LEASES.get({}), self.place: lease})
            try:
                yield
            finally:
                with lease.turn:
                    lease.ended = True
                with contextlib.suppress(ValueError):
                    # Ended in another context, such as that of a task which closes a generator.
                    _LEASES.reset(token)

    def _leased(self, mode: Mode) -> _Lease | None:
        leases = _LEASES.get(_NONE)
        lease = leases.get(self.place) if leases else None
        if lease is None or lease.ended or lease.pid != os.getpid():
            return None
        if lease.mode == "r" and mode == "w":
            raise StoreError(
                "a write was asked for inside a block that only reads",
                remedy="write before or after it",
            )
        return lease

    def _is_there(self) -> bool:
        try:
            return self.place.exists()
        except OSError as error:
            raise StoreError(
                f"the metadata store at {str(self.path)!r} cannot be reached",
                found=error,
                allowed="a path whose directories this process may enter",
                remedy="change the path of the store, or the permissions of its directories",
            ) from error

    def _prepare_directory(self) -> None:
        try:
            place = self.place
            place.parent.mkdir(parents=True, exist_ok=True)
            target = place if place.exists() else place.parent
            writable = os.access(target, os.W_OK) and not place.is_dir()
        except (OSError, ValueError) as error:
            raise self._unwritable(error) from error
        if not writable:
            raise self._unwritable(None)

    def _unwritable(self, error: Exception | None) -> StoreError:
        found = error or ("a directory" if self.path.is_dir() else "no permission to write there")
        return StoreError(
            f"the metadata store cannot be written at {str(self.path)!r}",
            found=found,
            allowed="a file in a directory that this process may write to",
            remedy="change the path of the store, or the permissions of its directory",
        )

    @contextlib.contextmanager
    def _locked(self, mode: Mode) -> Iterator[None]:
        lock_path = self._beside(".lock")
        if not self._takes_lock(mode, lock_path):
            yield
            return
        with contextlib.ExitStack() as held:
            try:
                held.enter_context(locked(lock_path, mode, self.lock_timeout))
            except Timeout as error:
                raise self._busy(mode) from error
            except (OSError, ValueError, RuntimeError, sqlite3.Error) as error:
                raise self._unwritable(error) from error
            if mode == "w":
                self._sign()
            try:
                yield
            finally:
                if mode == "w":
                    self._unsign()
                    self._share(lock_path)

    def _takes_lock(self, mode: Mode, lock_path: Path) -> bool:
        """A reader that cannot make or open the lock file reads without; DuckDB's own lock stays.

        So a store in a read-only directory, or one that another user writes, can still be read.
        """
        if mode == "w":
            return True
        return os.access(lock_path if lock_path.exists() else lock_path.parent, os.R_OK | os.W_OK)

    def _share(self, lock_path: Path) -> None:
        """Who may write the store may take its lock."""
        with contextlib.suppress(OSError):
            wanted = self.path.stat().st_mode & 0o666
            if lock_path.stat().st_mode & 0o777 != wanted:
                lock_path.chmod(wanted)

    @property
    def _holder_path(self) -> Path:
        return self._beside(".lock.holder")

    def _beside(self, ending: str) -> Path:
        """A file beside the store's; the same one by whatever links it is reached."""
        place = self.place
        return place.with_name(place.name + ending)

    def _sign(self) -> None:
        """Leave word of who writes, for the error message of those who wait in vain."""
        note = {"pid": os.getpid(), "host": socket.gethostname()}
        with contextlib.suppress(OSError):
            self._holder_path.write_text(json.dumps(note), encoding="utf-8")

    def _unsign(self) -> None:
        with contextlib.suppress(OSError):
            self._holder_path.unlink(missing_ok=True)

    def _busy(self, mode: Mode) -> StoreBusyError:
        try:
            note = json.loads(self._holder_path.read_text(encoding="utf-8"))
            holder = f"being written by process {note['pid']} on {note['host']}"
        except (OSError, ValueError, KeyError, TypeError):
            holder = "being read by other processes"
        return StoreBusyError(
            f"the metadata store at {str(self.path)!r} stayed busy for {self.lock_timeout:g} s "
            f"while waiting to {'read' if mode == 'r' else 'write'}",
            found=holder,
            remedy="wait, or end that process if it hangs; or set a longer lock_timeout",
        )

    def engine(self) -> duckdb.DuckDBPyConnection:
        """A new connection to this thread's in-memory database, to which the file is attached.

        Making a database costs more than attaching a file to one, so it is kept; closing the
        connection drops its temporary tables. A forked child makes its own.
        """
        pid, engine = getattr(self._local, "engine", (0, None))
        if engine is None or pid != os.getpid():
            # A table that is not there is missing, and no Python variable.
            own: dict[str, Any] = {
                "temp_directory": f"{self.spelt()}.tmp",
                "python_enable_replacements": False,
            }
            try:
                engine = duckdb.connect(":memory:", config={**own, **self.settings})
            except (duckdb.Error, OverflowError, RuntimeError) as error:
                # Without DuckDB's own words, which repeat the values.
                raise StoreError(
                    "DuckDB refuses the settings of the store",
                    found=sorted(self.settings),
                    remedy="correct the names and values of the settings; DuckDB lists them with "
                    "SELECT * FROM duckdb_settings()",
                ) from None if self.settings else error
            engine.execute("SET GLOBAL TimeZone = 'UTC'")
            # Not dropped in a forked child: ending it there would wait for its parent's threads.
            self._local.abandoned = getattr(self._local, "engine", None)
            self._local.engine = (os.getpid(), engine)
        return engine.cursor()

    def _attach_in_turn(self, connection: duckdb.DuckDBPyConnection, mode: Mode) -> None:
        """Attach the file; wait for others that have it open without the lock, for as long."""
        deadline = time.monotonic() + self.lock_timeout
        while True:
            try:
                return self._attach(connection, mode)
            except StoreBusyError as error:
                if not isinstance(error.__cause__, duckdb.IOException):
                    raise  # held by this very process, which would wait for itself
                if time.monotonic() >= deadline:
                    raise
            time.sleep(random.uniform(0.01, 0.05))  # noqa: S311 - when to try again is no secret

    def _attach(self, connection: duckdb.DuckDBPyConnection, mode: Mode) -> None:
        # With the type left open, DuckDB goes by the content and would fetch an extension for it.
        options = "TYPE duckdb, READ_ONLY" if mode == "r" else "TYPE duckdb"
        path = self.spelt(make=mode == "w")
        try:
            if not path.exists():
                # A file keeps the size that it was made with.
                options += f", {BLOCKS}"
            with self._named(path) as name:
                connection.execute(f"ATTACH {literal(str(name))} AS {CATALOG} ({options})")
        except duckdb.Error as error:
            raise failed(self, mode, error) from error

    @property
    def is_forked(self) -> bool:
        """Whether this process was forked while a thread had the file open."""
        # Asked at each opening: what the file is really called is found out where it matters.
        return bool(HELD_AT_FORK) and self._beside(".lock") in HELD_AT_FORK

    @contextlib.contextmanager
    def _named(self, path: Path) -> Iterator[Path]:
        if not self.is_forked:
            yield path
            return
        with another_name(path) as name:
            self._local.name = name
            yield name

    def _detach(self, connection: duckdb.DuckDBPyConnection) -> None:
        """Undo what was not committed and let go of the file."""
        try:
            try:
                # Refused inside a transaction, which is one that was not committed.
                connection.execute(f"DETACH {CATALOG}")
            except duckdb.TransactionException:
                _undo(connection)
                connection.execute(f"DETACH {CATALOG}")
        except duckdb.Error as error:
            # What was committed is stored, in the log beside the file: only bringing it over
            # into the file failed, for which the next to write has another chance. What was not
            # committed has raised before.
            _LOGGER.warning("the log of %s was not written back: %s", self.path, error)
            self._abandon()
        name = getattr(self._local, "name", None)
        if name is not None:
            self._local.name = None
            with once_stored(self.path, f"{name.name}.wal is still to be renamed"):
                bring_log_over(name, self.place)

    def _abandon(self) -> None:
        """Let go of an engine that may still have the file open, with all it knows."""
        _, engine = getattr(self._local, "engine", (0, None))
        self._local.engine = (0, None)
        if engine is not None:
            with contextlib.suppress(duckdb.Error):
                engine.close()


def _undo(connection: duckdb.DuckDBPyConnection) -> None:
    """End a transaction that was not committed, if there is one."""
    with contextlib.suppress(duckdb.Error):
        connection.execute("ROLLBACK")


def found_before(connection: duckdb.DuckDBPyConnection) -> dict[object, Any]:
    """What several calls that share a connection have found out; to be added to.

    Forgotten when one of them writes. Empty, and forgotten at once, where nothing is shared.
    """
    for lease in _LEASES.get({}).values():
        if lease.connection is connection and lease.pid == os.getpid():
            return lease.found
    return {}
