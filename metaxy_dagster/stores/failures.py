"""How many samples of a feature could not be computed."""

from __future__ import annotations

from dataclasses import dataclass

from metaxy_dagster.features import FeatureKey

__all__ = ["FailureResult", "SampleError"]

SampleError = str | BaseException


@dataclass(frozen=True)
class FailureResult:
    """Samples of a feature that failed.

    Attributes:
        feature: the feature that they were to be computed for.
        failed: how many they are.
        quarantined: those of them that have failed as often as is allowed, and are left out of
            increments until something changes.
        outdated: those of them of which rows are stored that an earlier computation made, and
            that whoever reads the feature still gets; counted by ``store.failed`` alone.

    Example:
        >>> FailureResult(FeatureKey("a"), failed=3, quarantined=1).retried
        2
    """

    feature: FeatureKey
    failed: int
    quarantined: int
    outdated: int = 0

    @property
    def retried(self) -> int:
        """Samples that the next increment asks for again."""
        return self.failed - self.quarantined
