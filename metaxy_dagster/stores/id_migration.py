"""What a change of id columns did to a stored feature, or would do."""

from __future__ import annotations

from dataclasses import dataclass

from metaxy_dagster.features import FeatureKey

__all__ = ["IdMigration"]


@dataclass(frozen=True)
class IdMigration:
    """What a change of id columns did to a stored feature, or would do.

    Attributes:
        feature: the feature.
        before: the id columns by which it was stored.
        after: those by which it is declared.
        rows: how many samples were stored.
        kept: how many of them are kept, with their provenance.
        duplicates: how many share their new ids with another one.
        nulls: how many have no value in one of the new id columns.
        lost: how many have an id that the new type cannot hold.
        missing: new id columns that are not stored.
        forgotten: marks of empty samples, and failures, that name no sample any more.
        downstream: the features that are computed from it; what they hold is looked at anew, and
            where their own id columns changed as well they are migrated by themselves.
        commit: the number of its commit; 0 if nothing was done.

    Example:
        >>> key = FeatureKey("shot")
        >>> IdMigration(key, ("id", "camera"), ("id",), rows=3, kept=3).is_clean
        True
    """

    feature: FeatureKey
    before: tuple[str, ...]
    after: tuple[str, ...]
    rows: int = 0
    kept: int = 0
    duplicates: int = 0
    nulls: int = 0
    lost: int = 0
    missing: tuple[str, ...] = ()
    forgotten: int = 0
    downstream: tuple[FeatureKey, ...] = ()
    commit: int = 0

    @property
    def is_clean(self) -> bool:
        """Whether each stored sample has new ids of its own."""
        return not (self.duplicates or self.nulls or self.lost or self.missing)
