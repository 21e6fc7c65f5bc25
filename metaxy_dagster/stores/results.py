"""What a store answers: what a write changed, what was adopted, what is stored."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

from metaxy_dagster.features import FeatureKey

if TYPE_CHECKING:
    import pyarrow as pa

    from metaxy_dagster.stores.failures import FailureResult

__all__ = ["Adoption", "AlterResult", "CommitMark", "FeatureSummary", "WriteMode", "WriteResult"]

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
class Adoption:
    """What of a frame was taken as computed, or would be.

    Attributes:
        feature: the feature.
        rows: of the frame.
        adopted: rows that are stored now as computed from what is upstream.
        known: rows of samples that are up to date in the store; they were left alone.
        unexpected: rows that no upstream row calls for; they were left out.
        ambiguous: rows that share their ids with another one, or have none; they were left out.
        pending: samples that are still to be computed.
        commit: the number of the commit; 0 if nothing was written.
        dry_run: whether nothing was written on purpose.

    Example:
        >>> Adoption(FeatureKey("a"), rows=10, adopted=8, known=1, unexpected=1).is_whole
        False
    """

    feature: FeatureKey
    rows: int
    adopted: int
    known: int = 0
    unexpected: int = 0
    ambiguous: int = 0
    pending: int = 0
    commit: int = 0
    dry_run: bool = False

    @property
    def is_whole(self) -> bool:
        """Whether no row of the frame was left out."""
        return not (self.unexpected or self.ambiguous)


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
