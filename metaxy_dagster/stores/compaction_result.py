"""What a compaction removed, or would remove."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from metaxy_dagster.features import FeatureKey

__all__ = ["CompactionResult"]


@dataclass(frozen=True)
class CompactionResult:
    """What a compaction removed, or would remove.

    Attributes:
        commit: the number of the compaction's own commit; 0 if no row was removed.
        horizon: everything can still be read as of this commit and of later ones.
        removed: rows of history removed, by feature; features without any are left out.
        kept: rows of history that are left, by feature.
        commits_removed: entries of the list of commits that nothing needs any more.
        bytes_before: size of the file.
        bytes_after: size of the file afterwards.

    Example:
        >>> CompactionResult(3, 2, {FeatureKey("a"): 10}, {}, 1, 800, 300).bytes_freed
        500
    """

    commit: int
    horizon: int
    removed: Mapping[FeatureKey, int]
    kept: Mapping[FeatureKey, int]
    commits_removed: int
    bytes_before: int
    bytes_after: int

    @property
    def rows_removed(self) -> int:
        """Rows of history removed, of all features."""
        return sum(self.removed.values())

    @property
    def bytes_freed(self) -> int:
        """Bytes that the file is smaller by."""
        return self.bytes_before - self.bytes_after
