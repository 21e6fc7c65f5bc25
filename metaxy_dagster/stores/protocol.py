"""What every metadata store does, whatever holds the rows."""

from __future__ import annotations

import abc
import datetime as dt
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal, Self

from metaxy_dagster.features import CoercibleToFeatureKey, FeatureGraph, FeatureKey

if TYPE_CHECKING:
    import narwhals as nw
    import pyarrow as pa

    from metaxy_dagster.stores.failures import FailureResult, SampleError
    from metaxy_dagster.stores.increment import Increment
from metaxy_dagster.stores.scan import Scan

__all__ = [
    "AlterResult",
    "CommitMark",
    "FeatureSummary",
    "MetadataStore",
    "WriteMode",
    "WriteResult",
]

WriteMode = Literal["upsert", "replace"]


@dataclass(frozen=True)
class WriteResult:
    """What one write changed.

    Attributes:
        feature: the feature written.
        commit: the number of the commit; 0 if nothing had to change.
        new: samples that were not stored before.
        updated: samples that were stored and differ now.
        unchanged: samples of the frame that were stored just so; they are left alone.
        deleted: samples that are stored no more.
        empty: samples that are known now to yield nothing, and were not before.
        warnings: what should be looked at though it was written: columns that the feature class
            declares and the frame lacks.

    Example:
        >>> WriteResult(FeatureKey("a"), 1, new=2, updated=1, unchanged=7, deleted=0).written
        3
    """

    feature: FeatureKey
    commit: int
    new: int
    updated: int
    unchanged: int
    deleted: int
    empty: int = 0
    warnings: tuple[str, ...] = ()

    @property
    def written(self) -> int:
        """Rows that this write put into the store."""
        return self.new + self.updated


@dataclass(frozen=True)
class AlterResult:
    """What a change of types does, or would do.

    Attributes:
        feature: the feature.
        columns: type before and after, of each column that changes.
        changed: of each of these, how many current values are other ones than before: they do not
            come back when they are cast back (0.5 to a whole number, ``"007"`` to 7).
        dry_run: whether nothing was changed.

    Example:
        >>> AlterResult(FeatureKey("a"), {"x": ("VARCHAR", "BIGINT")}, {"x": 0}).columns
        {'x': ('VARCHAR', 'BIGINT')}
    """

    feature: FeatureKey
    columns: Mapping[str, tuple[str, str]]
    changed: Mapping[str, int]
    dry_run: bool = False


@dataclass(frozen=True)
class CommitMark:
    """A commit of a feature, as it is known outside of the store.

    Attributes:
        number: of the commit. A store that was put back to a backup gives numbers again.
        at: when it was made; ``None`` if that is not known any more.
        first: when the feature was written first, as far as the store remembers.

    Example:
        >>> mark = CommitMark(7, dt.datetime(2026, 1, 1, tzinfo=dt.UTC))
        >>> str(mark), CommitMark.of(str(mark)) == mark
        ('7 2026-01-01T00:00:00+00:00', True)
        >>> CommitMark.of("yesterday") is None
        True
    """

    number: int
    at: dt.datetime | None = None
    first: dt.datetime | None = field(default=None, compare=False)

    def __str__(self) -> str:
        return str(self.number) if self.at is None else f"{self.number} {self.at.isoformat()}"

    @classmethod
    def of(cls, text: str) -> CommitMark | None:
        """What :meth:`__str__` gave; ``None`` for anything else."""
        number, _, at = text.partition(" ")
        try:
            return cls(int(number), dt.datetime.fromisoformat(at) if at else None)
        except ValueError:
            return None


@dataclass(frozen=True)
class FeatureSummary:
    """What is stored of a feature, as an event tells it.

    Attributes:
        schema: the user's columns and their types; empty if the feature was never written.
        rows: how many samples are stored.
        chosen: how many of them the filters hold for.
        data_version: of the chosen ones.
        preview: the first rows, by id; ``None`` if the feature was never written.
        failed: samples that failed and were not computed since.
    """

    schema: Mapping[str, str]
    rows: int
    chosen: int
    data_version: str
    preview: pa.Table | None
    failed: FailureResult


class MetadataStore(abc.ABC):
    """A place that remembers samples and what they were computed from.

    ``with store:`` reads, all from one snapshot; ``with store.open("w"):`` also writes. Outside
    a session every call stands for itself. No session keeps a file or a lock between calls.

    Example:
        >>> import metaxy_dagster as mxd
        >>> isinstance(mxd.DuckDBMetadataStore("m.duckdb"), MetadataStore)
        True
    """

    @property
    @abc.abstractmethod
    def graph(self) -> FeatureGraph:
        """The features that this store knows; by default the current graph."""

    @property
    @abc.abstractmethod
    def has_graph(self) -> bool:
        """Whether the store was given a graph of its own."""

    @abc.abstractmethod
    def with_graph(self, graph: FeatureGraph) -> Self:
        """The same store for other features."""

    @abc.abstractmethod
    def open(self, mode: Literal["r", "w"] = "r") -> AbstractContextManager[Self]:
        """A session."""

    @abc.abstractmethod
    def without_session(self) -> AbstractContextManager[Self]:
        """Let calls stand for themselves, as if no session were open around them."""

    @abc.abstractmethod
    def connected(self, mode: Literal["r", "w"] = "r") -> AbstractContextManager[Self]:
        """Let several calls in a row share what they need of the store."""

    @abc.abstractmethod
    def __enter__(self) -> Self:
        """Begin a session that reads."""

    @abc.abstractmethod
    def __exit__(self, *exc: object) -> None:
        """End the session."""

    @abc.abstractmethod
    def write(
        self,
        feature: CoercibleToFeatureKey,
        frame: Any,
        *,
        increment: Increment | None = None,
        empty: Any = None,
        mode: WriteMode = "upsert",
        delete_orphaned: bool = False,
        delete_failed: bool = False,
        max_deleted_share: float | None = None,
        materialization_id: str | None = None,
        scope: Any = None,
    ) -> WriteResult:
        """Write samples in one transaction."""

    @abc.abstractmethod
    def read(
        self,
        feature: CoercibleToFeatureKey,
        *,
        filters: Any = None,
        columns: Sequence[str] | None = None,
        history: bool = False,
    ) -> nw.LazyFrame[Any]:
        """Read samples lazily; the frame outlives the session."""

    @abc.abstractmethod
    def read_table(
        self,
        feature: CoercibleToFeatureKey,
        *,
        filters: Any = None,
        columns: Sequence[str] | None = None,
    ) -> pa.Table:
        """Read samples at once, as an Arrow table."""

    @abc.abstractmethod
    def scan(
        self,
        feature: CoercibleToFeatureKey,
        *,
        filters: Any = None,
        columns: Sequence[str] | None = None,
    ) -> Scan:
        """Read samples whenever an engine asks for batches of some columns."""

    @abc.abstractmethod
    def resolve_update(
        self,
        feature: CoercibleToFeatureKey,
        *,
        samples: Any = None,
        filters: Any = None,
        stale_when: Any = None,
        keep_unchanged: bool = False,
        as_of: int | None = None,
    ) -> Increment:
        """Ask what must be computed."""

    @abc.abstractmethod
    def pin(self, name: str) -> int:
        """Give a name to the newest commit, unless it was given to one before; tell which."""

    @abc.abstractmethod
    def pinned(self, name: str) -> int | None:
        """The commit that a name was given to."""

    @abc.abstractmethod
    def record_failures(
        self,
        feature: CoercibleToFeatureKey,
        samples: Any,
        error: SampleError | Sequence[SampleError],
        *,
        increment: Increment,
        materialization_id: str | None = None,
    ) -> FailureResult:
        """Note samples that could not be computed."""

    @abc.abstractmethod
    def failures(self, feature: CoercibleToFeatureKey, *, filters: Any = None) -> nw.LazyFrame[Any]:
        """The samples that failed and were not computed since."""

    @abc.abstractmethod
    def failed(
        self, feature: CoercibleToFeatureKey, *, increment: Increment | None = None
    ) -> FailureResult:
        """How many samples failed and were not computed since."""

    @abc.abstractmethod
    def retry(self, feature: CoercibleToFeatureKey, *, filters: Any = None) -> int:
        """Forget failures, so that quarantined samples become pending again."""

    @abc.abstractmethod
    def delete(
        self, feature: CoercibleToFeatureKey, *, filters: Any = None, soft: bool = True
    ) -> WriteResult:
        """Delete samples."""

    @abc.abstractmethod
    def alter(
        self,
        feature: CoercibleToFeatureKey,
        *,
        columns: Mapping[str, Any],
        dry_run: bool = False,
    ) -> AlterResult:
        """Change the types of stored columns, without dropping their history."""

    @abc.abstractmethod
    def drop(self, feature: CoercibleToFeatureKey) -> None:
        """Forget a feature with all its samples and history."""

    @abc.abstractmethod
    def features(self) -> list[FeatureKey]:
        """The features that were written."""

    @abc.abstractmethod
    def newest_commits(
        self, features: Sequence[CoercibleToFeatureKey], *, filters: Any = None
    ) -> Mapping[FeatureKey, CommitMark]:
        """The newest commit of each of these features that was ever written."""

    @abc.abstractmethod
    def has_commit(self, mark: CommitMark) -> bool:
        """Whether the store may have seen a commit; not if it was put back to an older state."""

    @abc.abstractmethod
    def count(self, feature: CoercibleToFeatureKey, *, filters: Any = None) -> int:
        """How many samples are stored."""

    @abc.abstractmethod
    def data_version(self, feature: CoercibleToFeatureKey, *, filters: Any = None) -> str:
        """One version for the feature: moves with any addition, deletion or change."""

    @abc.abstractmethod
    def summary(
        self, feature: CoercibleToFeatureKey, *, filters: Any = None, preview: int = 5
    ) -> FeatureSummary:
        """Schema, number, data version and first samples of a feature, found out at once."""

    @abc.abstractmethod
    def schema(self, feature: CoercibleToFeatureKey) -> Mapping[str, str]:
        """The user's columns and their types."""

    @abc.abstractmethod
    def table_name(self, feature: CoercibleToFeatureKey) -> str:
        """Where a person finds the feature inside the store."""

    @property
    @abc.abstractmethod
    def uri(self) -> str:
        """Where the store is; never holds a secret."""

    @abc.abstractmethod
    def display(self) -> str:
        """The store for people; never holds a secret."""
