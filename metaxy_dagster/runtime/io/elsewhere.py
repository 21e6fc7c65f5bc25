"""What is stored by IO managers of a repository's own."""

from __future__ import annotations

import abc
from typing import TYPE_CHECKING, Any

from metaxy_dagster.runtime import _compat
from metaxy_dagster.runtime.assets.feature_asset import FeatureAsset

if TYPE_CHECKING:
    import dagster as dg

    from metaxy_dagster.runtime.work.current import StepWork
    from metaxy_dagster.stores import Increment

__all__ = ["StoresElsewhere", "kept_by"]


class StoresElsewhere(abc.ABC):
    """An IO manager that stores the rows of features in another place than the metadata store."""

    @abc.abstractmethod
    def store_batch(
        self, work: StepWork, asset: FeatureAsset, batch: Increment, result: Any
    ) -> None:
        """Take what a function returned for a batch; it is stored now or with later ones.

        Args:
            work: what the step works on.
            asset: the asset that is computed.
            batch: that was computed.
            result: what the function returned for it.
        """


def kept_by(step: Any, asset_key: dg.AssetKey) -> StoresElsewhere | None:
    """The IO manager that stores an asset elsewhere; ``None`` if the metadata store holds it.

    Args:
        step: the context of a running step.
        asset_key: an asset that the step produces.
    """
    found = _compat.output_manager(step, asset_key)
    return found if isinstance(found, StoresElsewhere) else None
