"""How far a write of a run may go, and what becomes of rows that it could not bring up to date."""

from __future__ import annotations

from dataclasses import dataclass

from metaxy_dagster import constants as c
from metaxy_dagster.errors import DeletionRefusedError, RunError
from metaxy_dagster.features.shares import SHARE_RULE, is_share
from metaxy_dagster.runtime._compat import Step
from metaxy_dagster.runtime.assets.feature_asset import FeatureAsset

__all__ = ["Limits"]


@dataclass(frozen=True)
class Limits:
    """What may be deleted, by whom it was said.

    Attributes:
        max_deleted_share: the setting of the IO manager.
        failed_rows: the setting of the IO manager.
        once: what the run's tag says instead; ``None`` if it has none.

    Example:
        >>> import dagster as dg
        >>> asset = FeatureAsset.of(dg.AssetKey("a"), {"metaxy/feature": "a"})
        >>> Limits(0.5).share(asset), Limits(0.5, once=1.0).share(asset)
        (0.5, 1.0)
    """

    max_deleted_share: float
    failed_rows: str = c.FAILED_KEEP
    once: float | None = None

    @classmethod
    def of(cls, max_deleted_share: float, failed_rows: str, step: Step | None) -> Limits:
        """The limits of a running step.

        Raises:
            RunError: the run's tag holds no share.
        """
        said = None if step is None else step.run_tags.get(c.TAG_MAX_DELETED_SHARE)
        return cls(max_deleted_share, failed_rows, None if said is None else _read(said))

    def share(self, asset: FeatureAsset) -> float:
        """How much a replace of an asset may delete: the run's word, the asset's, the setting."""
        if self.once is not None:
            return self.once
        own = asset.keys.max_deleted_share
        return self.max_deleted_share if own is None else own

    def of_failed(self, asset: FeatureAsset) -> str:
        """What becomes of rows of an asset's failed samples that an earlier run made."""
        return asset.keys.failed_rows or self.failed_rows

    def explained(self, error: DeletionRefusedError) -> DeletionRefusedError:
        """A refused replace, with all places where more can be allowed."""
        return error.with_remedy(
            f'if the frame is right, allow it: for one run by a run tag "{c.TAG_MAX_DELETED_SHARE}"'
            f': "1.0", for this asset by metadata "{c.KEY_MAX_DELETED_SHARE}": 1.0, for all by '
            "MetaxyIOManager(max_deleted_share=...) or the pass's setting of that name; if the "
            f'frame holds only some of the samples, set metadata "{c.KEY_WRITE}": '
            f'"{c.WRITE_UPSERT}"'
        )


def _read(said: str) -> float:
    try:
        share = float(said)
    except ValueError:
        share = float("nan")
    if not is_share(share):
        raise RunError(
            f'the run\'s tag "{c.TAG_MAX_DELETED_SHARE}" has a value that is not allowed',
            found=repr(said),
            allowed=SHARE_RULE,
            remedy="correct the tag, or start the run without it",
        )
    return share
