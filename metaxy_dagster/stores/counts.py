"""What an increment says about a sample, and how many samples of each kind there are."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import TYPE_CHECKING

from metaxy_dagster import constants as c

if TYPE_CHECKING:
    import pyarrow as pa

__all__ = ["NEW", "ORPHANED", "QUARANTINED", "STALE", "STATUS", "UNCHANGED", "Counts"]

STATUS = c.COL_STATUS
NEW, STALE, ORPHANED, UNCHANGED, QUARANTINED = range(5)


@dataclass(frozen=True)
class Counts:
    """How many samples an increment holds.

    Attributes:
        new: expected but not stored.
        stale: stored, computed from something else than what is upstream now.
        orphaned: stored, but nothing calls for them any more.
        quarantined: neither new nor stale any more, because they failed too often; shown only
            where there are any.

    Example:
        >>> Counts(new=3, stale=2, orphaned=1).pending
        5
        >>> Counts(new=0, stale=0, orphaned=0, quarantined=2)
        Counts(new=0, stale=0, orphaned=0, quarantined=2)
    """

    new: int
    stale: int
    orphaned: int
    quarantined: int = 0

    @classmethod
    def of(cls, delta: pa.Table | pa.RecordBatch) -> Counts:
        """The counts of a list of samples with their statuses."""
        entries = delta.column(STATUS).value_counts().to_pylist()
        found = {entry["values"]: entry["counts"] for entry in entries}
        return cls(*(found.get(status, 0) for status in (NEW, STALE, ORPHANED, QUARANTINED)))

    def __add__(self, other: Counts) -> Counts:
        """The counts of two lists together."""
        pairs = zip(dataclasses.astuple(self), dataclasses.astuple(other), strict=True)
        return Counts(*(one + another for one, another in pairs))

    def __repr__(self) -> str:
        return f"Counts({self.listed})"

    @property
    def listed(self) -> str:
        """The counts by name, as text."""
        names = ["new", "stale", "orphaned", *(["quarantined"] if self.quarantined else [])]
        return ", ".join(f"{name}={getattr(self, name)}" for name in names)

    @property
    def pending(self) -> int:
        """Samples to compute: new and stale."""
        return self.new + self.stale
