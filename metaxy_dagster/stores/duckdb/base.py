"""What a store in a DuckDB file is before it reads or writes: its file, features and sessions."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Self

from metaxy_dagster.errors import ConfigError
from metaxy_dagster.features import CoercibleToFeatureKey, FeatureGraph, FeatureKey, FeaturePlan
from metaxy_dagster.late import late_modules
from metaxy_dagster.stores.protocol import MetadataStore

if TYPE_CHECKING:
    from metaxy_dagster.stores.duckdb import connection, pins, session
else:
    # A repository names the class in every process; few of them make a store.
    connection, pins, session = late_modules(__package__, "connection", "pins", "session")

__all__ = ["FileStore"]


class FileStore(MetadataStore):
    """A store in one file: options, the graph of features, sessions."""

    def __init__(
        self,
        path: str | Path,
        *,
        graph: FeatureGraph | None = None,
        lock_timeout: float = 60.0,
        settings: Mapping[str, str | int | float | bool] | None = None,
        max_incremental_share: float = 0.3,
        max_attempts: int = 3,
    ) -> None:
        if not isinstance(path, str | Path):
            raise ConfigError(
                "the path of a metadata store must be text or a Path",
                found=f"{path!r} of type {type(path).__qualname__}",
                remedy="name the file that the store is to be kept in",
            )
        attempts: object = max_attempts
        if isinstance(attempts, bool) or not isinstance(attempts, int) or attempts < 0:
            raise ConfigError(
                "max_attempts is not a number of attempts",
                found=repr(max_attempts),
                allowed="1 or more; 0 for any number",
                remedy="say how often a sample may fail before increments leave it out",
            )
        self._max_share = max_incremental_share
        self._max_attempts = max_attempts
        file = Path(path).expanduser().absolute()
        self._file = connection.DuckDBFile(file, lock_timeout, settings or {})
        self._graph = graph
        self._sessions = session.Sessions(self._file)

    def __reduce__(self) -> tuple[object, ...]:
        """Sent to another process, the store arrives closed."""
        return (_restore, (type(self), self._options()))

    def _options(self) -> dict[str, Any]:
        file = self._file
        return {
            "path": file.path,
            "graph": self._graph,
            "lock_timeout": file.lock_timeout,
            "settings": file.settings,
            "max_incremental_share": self._max_share,
            "max_attempts": self._max_attempts,
        }

    @property
    def path(self) -> Path:
        """The file."""
        return self._file.path

    @property
    def graph(self) -> FeatureGraph:
        """The features that this store knows; by default the current graph."""
        return self._graph if self._graph is not None else FeatureGraph.current()

    @property
    def has_graph(self) -> bool:
        """Whether the store was given a graph of its own."""
        return self._graph is not None

    def with_graph(self, graph: FeatureGraph) -> Self:
        """The same file, for other features."""
        return type(self)(**{**self._options(), "graph": graph})

    @property
    def uri(self) -> str:
        """The file as a URI."""
        return self.path.as_uri()

    def display(self) -> str:
        """The store for people."""
        return f"DuckDBMetadataStore({str(self.path)!r})"

    __repr__ = display

    # Sessions

    @contextlib.contextmanager
    def open(self, mode: Literal["r", "w"] = "r") -> Iterator[Self]:
        """A session: ``"r"`` reads one snapshot throughout, ``"w"`` also writes.

        Raises:
            StoreError: the file cannot be opened in this mode.
        """
        self._sessions.enter(mode)
        try:
            yield self
        finally:
            self._sessions.leave()

    def __enter__(self) -> Self:
        """Begin a session that reads."""
        self._sessions.enter("r")
        return self

    def __exit__(self, *exc: object) -> None:
        """End the session."""
        self._sessions.leave()

    @contextlib.contextmanager
    def without_session(self) -> Iterator[Self]:
        """Let calls stand for themselves, as if no session were open around them."""
        with self._sessions.hidden():
            yield self

    @contextlib.contextmanager
    def connected(self, mode: Literal["r", "w"] = "r") -> Iterator[Self]:
        """Let several calls in a row share one connection, for code that does nothing else.

        The file stays locked meanwhile, so no other work belongs inside.
        """
        with self._file.lease(mode):
            yield self

    def pin(self, name: str) -> int:
        """Give a name to the newest commit, for work that several processes do as of one moment.

        The first call with a name decides; later ones, from whatever process, give the same
        commit, for 30 days.
        """
        with self._file.connect("w") as opened:
            return pins.pin(opened, name)

    def pinned(self, name: str) -> int | None:
        """The commit that :meth:`pin` gave a name to; ``None`` if it was not called."""
        with self._file.connect("r") as opened:
            return pins.pinned(opened, name)

    def _plan(self, feature: CoercibleToFeatureKey) -> tuple[FeatureKey, FeaturePlan]:
        key = FeatureKey(feature)
        return key, self.graph.plan(key)


def _restore(cls: type[FileStore], options: Mapping[str, Any]) -> FileStore:
    return cls(**options)
