"""What a store in a DuckDB file is before it reads or writes: its file, features and sessions."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Self

from metaxy_dagster.errors import ConfigError, shown
from metaxy_dagster.features import CoercibleToFeatureKey, FeatureGraph, FeatureKey, FeaturePlan
from metaxy_dagster.late import late_modules
from metaxy_dagster.stores.arguments import check_text, is_number, is_whole
from metaxy_dagster.stores.paths import local_path
from metaxy_dagster.stores.protocol import MetadataStore
from metaxy_dagster.stores.running import graph_of_run

if TYPE_CHECKING:
    from metaxy_dagster.stores.duckdb.file import connection, pins, session
else:
    # A repository names the class in every process; few of them make a store.
    connection, pins, session = late_modules(
        __package__, "file.connection", "file.pins", "file.session"
    )

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
        file = local_path(path)
        if not is_whole(max_attempts) or max_attempts < 0:
            raise ConfigError(
                "max_attempts is not a number of attempts",
                found=shown(max_attempts),
                allowed="1 or more; 0 for any number",
                remedy="say how often a sample may fail before increments leave it out",
            )
        if not is_number(max_incremental_share) or max_incremental_share < 0:
            raise ConfigError(
                "max_incremental_share is no share of a feature's samples",
                found=shown(max_incremental_share),
                allowed="0 or more; 0 to look at everything always",
                remedy="leave it out, or give for instance 0.3",
            )
        _check_graph(graph)
        self._max_share = max_incremental_share
        self._max_attempts = max_attempts
        self._file = connection.DuckDBFile(file, lock_timeout, {} if settings is None else settings)
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
        """The features that this store knows; by default the current graph.

        In a run they are as the run computes them, see ``metaxy/config_version``.
        """
        return graph_of_run(self._graph if self._graph is not None else FeatureGraph.current())

    @property
    def has_graph(self) -> bool:
        """Whether the store was given a graph of its own."""
        return self._graph is not None

    def with_graph(self, graph: FeatureGraph) -> Self:
        """The same file, for other features."""
        _check_graph(graph)
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
        begun = self._sessions.enter(mode)
        try:
            yield self
        finally:
            self._sessions.leave(begun)

    def __enter__(self) -> Self:
        """Begin a session that reads."""
        # Blocks of generators may end in another order than they began: each ends its own.
        self._sessions.enter("r", owner=id(sys._getframe(1)))  # noqa: SLF001 - the way to it
        return self

    def __exit__(self, *exc: object) -> None:
        """End the session."""
        self._sessions.leave_innermost(id(sys._getframe(1)))  # noqa: SLF001 - as above

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
        check_text("name", name)
        with self._file.connect("w") as opened:
            return pins.pin(opened, name)

    def pinned(self, name: str) -> int | None:
        """The commit that :meth:`pin` gave a name to; ``None`` if it was not called."""
        check_text("name", name)
        with self._file.connect("r") as opened:
            return pins.pinned(opened, name)

    def _plan(self, feature: CoercibleToFeatureKey) -> tuple[FeatureKey, FeaturePlan]:
        key = FeatureKey(feature)
        return key, self.graph.plan(key)


def _check_graph(graph: object) -> None:
    if graph is not None and not isinstance(graph, FeatureGraph):
        raise ConfigError(
            "the graph of a metadata store is no FeatureGraph",
            found=shown(graph),
            allowed="a FeatureGraph; None for the current one",
            remedy="leave graph out, or pass the one that the features were added to",
        )


def _restore(cls: type[FileStore], options: Mapping[str, Any]) -> FileStore:
    return cls(**options)
