"""Which bodies are called batch by batch: ``"metaxy/batch_size"``."""

from __future__ import annotations

from typing import TYPE_CHECKING

import dagster as dg

from metaxy_dagster.constants import KEY_BATCH_SIZE
from metaxy_dagster.definitions.draft.drafts import BODY
from metaxy_dagster.definitions.draft.findings import Fill
from metaxy_dagster.definitions.draft.pending import why_not_pending
from metaxy_dagster.definitions.draft.rule import UnitRule
from metaxy_dagster.definitions.plan.plans import Change
from metaxy_dagster.errors import DefinitionsError
from metaxy_dagster.runtime.io.batching import op_batch_size, why_not_in_batches

if TYPE_CHECKING:
    from collections.abc import Iterator

    from metaxy_dagster.definitions.bindings.bindings import Bindings
    from metaxy_dagster.definitions.draft.drafts import TiedDraft, UnitDraft

__all__ = ["batching", "cannot_be_batched"]


@UnitRule
def batching(bindings: Bindings, draft: UnitDraft) -> Iterator[Fill | DefinitionsError]:
    """Have a body called for one batch after the other.

    Nothing is said of what no function computes, and of a function that takes batches of this
    size already.
    """
    unit = draft.unit
    for asset in draft.tied:
        size = asset.asset.keys.samples_per_batch
        if not size or not unit.materializable or unit.definition is None:
            continue
        op = unit.definition.node_def
        why_not = why_not_pending(bindings, draft)
        if why_not is None:
            # The steps of a graph share one increment; none of them could write a part of it.
            why_not = why_not_in_batches(op) if isinstance(op, dg.OpDefinition) else "it is a graph"
        present = op_batch_size(op) if isinstance(op, dg.OpDefinition) else None
        if present is not None and present != size:
            why_not = f"its function is called in batches of {present} already"
        if why_not is not None:
            yield cannot_be_batched(asset, why_not)
        elif present is None:
            draft.batch_size = size
            called = "every sample" if size == 1 else f"every {size} samples"
            change = Change(BODY, f"called once for {called}", f"{KEY_BATCH_SIZE} is {size}")
            yield Fill(asset, None, None, (change,))


def cannot_be_batched(asset: TiedDraft, why: str) -> DefinitionsError:
    """The fault of an asset that asks for batches that it cannot have.

    Args:
        asset: the asset.
        why: what stands in the way.
    """
    return DefinitionsError(
        "its function cannot be called in batches",
        asset=asset.asset.name,
        feature=str(asset.feature),
        found=why,
        allowed="a function of its own that takes upstream features as arguments and returns one "
        "frame, which the feature IO manager writes",
        remedy=f'remove metadata "{KEY_BATCH_SIZE}", or go through each_batch(...) in the function',
    )
