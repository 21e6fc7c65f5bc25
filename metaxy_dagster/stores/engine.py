"""What an engine supplies to a metadata store; what every store does alike stands above it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, Protocol, TypeAlias

from metaxy_dagster.features import FeatureGraph, FeatureKey, FeaturePlan, FeatureSpec
from metaxy_dagster.features.class_columns import ClassColumns

if TYPE_CHECKING:
    import narwhals as nw
    import pyarrow as pa

    from metaxy_dagster.stores.failures import FailureResult, SampleError
    from metaxy_dagster.stores.increment import Increment
    from metaxy_dagster.stores.results import CommitMark, FeatureSummary, WriteResult
    from metaxy_dagster.stores.scan import Scan

__all__ = ["Engine", "Readable", "Writing"]

# A feature, and the class that declares its columns, if there is one.
Readable: TypeAlias = tuple[FeatureSpec, type | None]
Mode: TypeAlias = Literal["r", "w"]


@dataclass(frozen=True, kw_only=True)
class Writing:
    """How samples are to be written; the arguments of ``MetadataStore.write``, checked."""

    plan: FeaturePlan
    version: str
    declared: ClassColumns
    increment: Increment | None
    empty: Any
    replace: bool
    scope: Any
    delete_orphaned: bool
    delete_failed: bool
    max_deleted_share: float | None
    materialization_id: str | None
    versioned: bool


class Sessions(Protocol):
    """What ``with store:`` means for the calls inside it."""

    def enter(self, mode: Mode, owner: int | None = None) -> Any:
        """Begin a session."""

    def leave(self, session: Any) -> None:
        """End a session."""

    def leave_innermost(self, owner: int) -> None:
        """End the innermost session of an owner."""

    def hidden(self) -> AbstractContextManager[None]:
        """Let calls stand for themselves."""

    def require_writable(self, key: FeatureKey) -> None:
        """Refuse a write inside a session that reads."""


class Commits(Protocol):
    """The commits of a store, and names for them."""

    def newest(self, keys: Sequence[FeatureKey], filters: Any) -> Mapping[FeatureKey, CommitMark]:
        """The newest commit of each feature."""

    def has(self, mark: CommitMark) -> bool:
        """Whether the store may have seen a commit."""

    def pin(self, name: str) -> int:
        """Give a name to the newest commit, once."""

    def pinned(self, name: str) -> int | None:
        """The commit that has a name."""


class Reader(Protocol):
    """Stored samples."""

    def lazy(
        self, asked: Readable, filters: Any, columns: Sequence[str] | None, *, history: bool
    ) -> nw.LazyFrame[Any]:
        """A frame that reads its snapshot when it is collected."""

    def scan(self, asked: Readable, filters: Any, columns: Sequence[str] | None) -> Scan:
        """The same for an engine that asks for batches."""

    def table(self, asked: Readable, filters: Any, columns: Sequence[str] | None) -> pa.Table:
        """The samples at once."""

    def count(self, asked: Readable, filters: Any) -> int:
        """How many there are."""

    def has(self, asked: Readable, filters: Any) -> bool:
        """Whether there is any."""

    def data_version(self, spec: FeatureSpec, filters: Any) -> str:
        """One version for all of them."""

    def schema(self, key: FeatureKey) -> Mapping[str, str]:
        """The user's columns and their types."""

    def features(self) -> list[FeatureKey]:
        """The features that were written."""

    def table_name(self, key: FeatureKey) -> str:
        """Where a person finds the feature."""


class Resolver(Protocol):
    """What must be computed, and what there is."""

    def resolve(
        self,
        graph: FeatureGraph,
        key: FeatureKey,
        *,
        samples: Any,
        filters: Any,
        stale_when: Any,
        keep_unchanged: bool,
        as_of: int | None,
    ) -> Increment:
        """The samples that are new, stale or orphaned."""

    def summary(self, plan: FeaturePlan, filters: Any, preview: int) -> FeatureSummary:
        """A feature at one look."""


class Writer(Protocol):
    """Changes of samples, each all or nothing."""

    def write(self, frame: Any, asked: Writing) -> WriteResult:
        """Add, update and replace samples."""

    def delete(self, plan: FeaturePlan, version: str, filters: Any, *, soft: bool) -> WriteResult:
        """Delete samples."""

    def invalidate(self, plan: FeaturePlan, samples: Any) -> WriteResult:
        """Let stored samples be stale until they are written again."""

    def drop(self, key: FeatureKey) -> None:
        """Forget a feature."""


class Failures(Protocol):
    """Samples that could not be computed."""

    def record(
        self,
        plan: FeaturePlan,
        version: str,
        samples: Any,
        error: SampleError | Sequence[SampleError],
        *,
        increment: Increment,
        materialization_id: str | None,
    ) -> FailureResult:
        """Note them."""

    def list(self, plan: FeaturePlan, filters: Any) -> nw.LazyFrame[Any]:
        """Those that were not computed since."""

    def count(self, plan: FeaturePlan, increment: Increment | None) -> FailureResult:
        """How many they are."""

    def forget(self, plan: FeaturePlan, filters: Any) -> int:
        """Let them be pending again."""


class Engine(Protocol):
    """What holds the rows of a store, by its parts."""

    @property
    def sessions(self) -> Sessions:
        """Its sessions."""

    @property
    def commits(self) -> Commits:
        """Its commits."""

    @property
    def reader(self) -> Reader:
        """What reads."""

    @property
    def resolver(self) -> Resolver:
        """What resolves."""

    @property
    def writer(self) -> Writer:
        """What writes."""

    @property
    def failures(self) -> Failures:
        """What remembers failures."""

    def connected(self, mode: Mode) -> AbstractContextManager[None]:
        """Let several calls share what they need of the store."""
