"""The side of every store that is read: features, sessions, rows, counts, versions, summaries."""

from __future__ import annotations

import abc
import contextlib
import sys
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal, Self, TypeAlias, cast

from metaxy_dagster.errors import ConfigError, StoreError, shown
from metaxy_dagster.features import (
    CoercibleToFeatureKey,
    FeatureGraph,
    FeatureKey,
    FeaturePlan,
    Filter,
)
from metaxy_dagster.features.columns import in_order
from metaxy_dagster.late import narwhals as nw
from metaxy_dagster.late import pyarrow as pa
from metaxy_dagster.stores.arguments import check_flags, check_text, is_whole
from metaxy_dagster.stores.results import CommitMark, FeatureSummary
from metaxy_dagster.stores.running import graph_of_run
from metaxy_dagster.stores.scan import Scan

if TYPE_CHECKING:
    from metaxy_dagster.stores.engine import Engine, Readable

__all__ = ["ReadableStore", "check_graph"]

_Filters: TypeAlias = "str | Filter | nw.Expr | Sequence[str | Filter | nw.Expr] | None"


class ReadableStore(abc.ABC):
    """A store of samples that can be read, whatever holds the rows.

    What every store does alike is done here: its features, its sessions, the checks of arguments.
    The engine supplies the rest.
    """

    _engine: Engine

    def __init__(self, graph: FeatureGraph | None) -> None:
        check_graph(graph)
        self._graph = graph

    @abc.abstractmethod
    def _options(self) -> dict[str, Any]:
        """What the store was made with, by the names of its arguments."""

    @property
    @abc.abstractmethod
    def uri(self) -> str:
        """Where the store is; never holds a secret."""

    @abc.abstractmethod
    def display(self) -> str:
        """The store for people; never holds a secret."""

    def __reduce__(self) -> tuple[object, ...]:
        """Sent to another process, the store arrives closed."""
        return (_restore, (type(self), self._options()))

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
        """The same store, for other features."""
        check_graph(graph)
        return type(self)(**{**self._options(), "graph": graph})

    # Sessions

    @contextlib.contextmanager
    def open(self, mode: Literal["r", "w"] = "r") -> Iterator[Self]:
        """A session: ``"r"`` reads one snapshot throughout, ``"w"`` also writes.

        Raises:
            StoreError: the store cannot be opened in this mode.
        """
        begun = self._engine.sessions.enter(mode)
        try:
            yield self
        finally:
            self._engine.sessions.leave(begun)

    def __enter__(self) -> Self:
        """Begin a session that reads."""
        # Blocks of generators may end in another order than they began: each ends its own.
        self._engine.sessions.enter("r", owner=id(sys._getframe(1)))  # noqa: SLF001 - the way to it
        return self

    def __exit__(self, *exc: object) -> None:
        """End the session."""
        self._engine.sessions.leave_innermost(id(sys._getframe(1)))  # noqa: SLF001 - as above

    @contextlib.contextmanager
    def without_session(self) -> Iterator[Self]:
        """Let calls stand for themselves, as if no session were open around them."""
        with self._engine.sessions.hidden():
            yield self

    @contextlib.contextmanager
    def connected(self, mode: Literal["r", "w"] = "r") -> Iterator[Self]:
        """Let several calls in a row share one connection, for code that does nothing else.

        The store stays locked meanwhile, so no other work belongs inside.
        """
        with self._engine.connected(mode):
            yield self

    def pin(self, name: str) -> int:
        """Give a name to the newest commit, for work that several processes do as of one moment.

        The first call with a name decides; later ones, from whatever process, give the same
        commit, for 30 days.
        """
        check_text("name", name)
        return self._engine.commits.pin(name)

    def pinned(self, name: str) -> int | None:
        """The commit that :meth:`pin` gave a name to; ``None`` if it was not called."""
        check_text("name", name)
        return self._engine.commits.pinned(name)

    # Reading

    def read(
        self,
        feature: CoercibleToFeatureKey,
        *,
        filters: _Filters = None,
        columns: Sequence[str] | None = None,
        history: bool = False,
    ) -> nw.LazyFrame[Any]:
        """Read samples as they are now; the frame stays usable after the session.

        Args:
            feature: key, spec or class.
            filters: text such as ``"height > 720"``, several of them, or a narwhals expression.
            columns: which columns; all of them, system columns included, by default.
            history: also superseded and deleted rows, oldest first.

        Returns:
            A lazy frame over a snapshot. It opens the file only while it is collected, and only
            the columns and rows that are needed then are read.

        Raises:
            StoreError: unknown columns, or the file cannot be read.
        """
        check_flags(history=history)
        return self._engine.reader.lazy(self._readable(feature), filters, columns, history=history)

    def scan(
        self,
        feature: CoercibleToFeatureKey,
        *,
        filters: _Filters = None,
        columns: Sequence[str] | None = None,
    ) -> Scan:
        """As :meth:`read`, for an engine that asks for batches of some columns itself."""
        return self._engine.reader.scan(self._readable(feature), filters, columns)

    def read_table(
        self,
        feature: CoercibleToFeatureKey,
        *,
        filters: _Filters = None,
        columns: Sequence[str] | None = None,
    ) -> pa.Table:
        """As :meth:`read`, at once: one copy in memory, as an Arrow table."""
        return self._engine.reader.table(self._readable(feature), filters, columns)

    def count(self, feature: CoercibleToFeatureKey, *, filters: _Filters = None) -> int:
        """How many samples are stored."""
        return self._engine.reader.count(self._readable(feature), filters)

    def has(self, feature: CoercibleToFeatureKey, *, filters: _Filters) -> bool:
        """Whether there is any sample for which the filters hold.

        That there is none is remembered by the next write of this store, if many were looked at:
        later calls with the same filters look only at what was written since.

        Args:
            feature: key, spec or class.
            filters: as in :meth:`count`; of narwhals expressions those that a filter can say.

        Raises:
            StoreError: filters that cannot be used on the feature.
        """
        return self._engine.reader.has(self._readable(feature), filters)

    def data_version(self, feature: CoercibleToFeatureKey, *, filters: _Filters = None) -> str:
        """One version for a feature, or a part of it, exact and independent of the order of rows.

        Any addition, deletion or change of a data version moves it; an identical rewrite does not.

        Args:
            feature: key, spec or class.
            filters: only samples for which these hold count, as text or parsed.
        """
        return self._engine.reader.data_version(self._plan(feature)[1].spec, filters)

    def summary(
        self, feature: CoercibleToFeatureKey, *, filters: _Filters = None, preview: int = 5
    ) -> FeatureSummary:
        """Schema, number, data version and first samples of a feature, found out at once.

        Args:
            feature: key, spec or class.
            filters: the samples that the data version is of, as text or parsed.
            preview: how many samples to show.
        """
        if not is_whole(preview) or preview < 0:
            raise StoreError(
                "preview is no number of samples",
                found=shown(preview),
                allowed="0 or more",
                remedy="correct preview, or leave it out",
            )
        return self._engine.resolver.summary(self._plan(feature)[1], filters, preview)

    def schema(self, feature: CoercibleToFeatureKey) -> Mapping[str, str]:
        """The user's columns and their types; empty if the feature was never written."""
        return self._engine.reader.schema(FeatureKey(feature))

    def features(self) -> list[FeatureKey]:
        """The features that were written, in the order of their keys."""
        return self._engine.reader.features()

    def newest_commits(
        self,
        features: Sequence[CoercibleToFeatureKey],
        *,
        filters: _Filters = None,
    ) -> Mapping[FeatureKey, CommitMark]:
        """The newest commit of each of these features that was ever written.

        Args:
            features: keys, specs or classes.
            filters: only commits that brought, changed or deleted samples for which these hold;
                any commit of a feature that lacks their columns.
        """
        named = cast("tuple[CoercibleToFeatureKey, ...]", in_order(features, "features"))
        return self._engine.commits.newest([FeatureKey(one) for one in named], filters)

    def has_commit(self, mark: CommitMark) -> bool:
        """Whether the store may have seen a commit; not if it was put back to an older state."""
        if not isinstance(mark, CommitMark):
            raise StoreError(
                "what was passed is no mark of a commit",
                found=shown(mark),
                allowed="what store.newest_commits(…) gave, or CommitMark.of(text)",
                remedy="pass one of these",
            )
        return self._engine.commits.has(mark)

    def table_name(self, feature: CoercibleToFeatureKey) -> str:
        """The table that a person who opens the store with SQL finds the feature in."""
        return self._engine.reader.table_name(FeatureKey(feature))

    def _plan(self, feature: CoercibleToFeatureKey) -> tuple[FeatureKey, FeaturePlan]:
        key = FeatureKey(feature)
        return key, self.graph.plan(key)

    def _readable(self, feature: CoercibleToFeatureKey) -> Readable:
        spec = self._plan(feature)[1].spec
        return spec, self.graph.feature_class(spec.key)


def check_graph(graph: object) -> None:
    """Refuse what holds no features.

    Raises:
        ConfigError: with what is allowed.
    """
    if graph is not None and not isinstance(graph, FeatureGraph):
        raise ConfigError(
            "the graph of a metadata store is no FeatureGraph",
            found=shown(graph),
            allowed="a FeatureGraph; None for the current one",
            remedy="leave graph out, or pass the one that the features were added to",
        )


def _restore(cls: type[ReadableStore], options: Mapping[str, Any]) -> ReadableStore:
    return cls(**options)
