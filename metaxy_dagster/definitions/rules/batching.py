"""Which bodies are called batch by batch: ``"metaxy/batch_size"``."""

from __future__ import annotations

from typing import TYPE_CHECKING

import dagster as dg

from metaxy_dagster.constants import KEY_BATCH_SIZE
from metaxy_dagster.definitions.plan.plans import Change
from metaxy_dagster.definitions.rules.skipping import BODY
from metaxy_dagster.errors import DefinitionsError
from metaxy_dagster.runtime.io.batching import op_batch_size, why_not_in_batches

if TYPE_CHECKING:
    from metaxy_dagster.definitions.repository.collect import Asset, Unit
    from metaxy_dagster.features.keys import FeatureKey

__all__ = ["cannot_be_batched", "plan_batches"]


def plan_batches(
    unit: Unit, asset: Asset, feature: FeatureKey, *, why_not: str | None
) -> Change | DefinitionsError | None:
    """Have a body called for one batch after the other.

    Args:
        unit: what defines the asset.
        asset: one that asks for batches.
        feature: its feature.
        why_not: why its inputs and outputs do not allow it; None if they do.

    Returns:
        The change of the body, or why there can be none; None for what no function computes, and
        for a function that takes batches of this size already.
    """
    size = asset.keys.samples_per_batch
    if size is None or not unit.materializable or unit.definition is None:
        return None
    op = unit.definition.node_def
    if why_not is None:
        # The steps of a graph share one increment; none of them could write a part of it.
        why_not = why_not_in_batches(op) if isinstance(op, dg.OpDefinition) else "it is a graph"
    present = op_batch_size(op) if isinstance(op, dg.OpDefinition) else None
    if present is not None and present != size:
        why_not = f"its function is called in batches of {present} already"
    if why_not is not None:
        return cannot_be_batched(asset, feature, why_not)
    if present is not None:
        return None
    called = "every sample" if size == 1 else f"every {size} samples"
    return Change(BODY, f"called once for {called}", f"{KEY_BATCH_SIZE} is {size}")


def cannot_be_batched(asset: Asset, feature: FeatureKey, why: str) -> DefinitionsError:
    """The fault of an asset that asks for batches that it cannot have.

    Args:
        asset: the asset.
        feature: its feature.
        why: what stands in the way.
    """
    return DefinitionsError(
        "its function cannot be called in batches",
        asset=asset.name,
        feature=str(feature),
        found=why,
        allowed="a function of its own that takes upstream features as arguments and returns one "
        "frame, which the feature IO manager writes",
        remedy=f'remove metadata "{KEY_BATCH_SIZE}", or go through each_batch(...) in the function',
    )
