"""Features of one step that are computed from each other.

What is pending of all of them is looked up before the function is called, when those upstream are
not stored yet. An output is computed from what the same call has made of its upstreams, so it is
looked up again once these are stored, provided that nothing else has changed since.
"""

from __future__ import annotations

from typing import Any

from metaxy_dagster.late import pyarrow as pa
from metaxy_dagster.runtime.assets.feature_asset import FeatureAsset
from metaxy_dagster.runtime.io.inputs import resolve
from metaxy_dagster.runtime.work.current import StepWork
from metaxy_dagster.stores import Increment, frames
from metaxy_dagster.stores.counts import NEW, STALE, UNCHANGED

__all__ = ["listed", "looked_up_again"]


def looked_up_again(
    work: StepWork, asset: FeatureAsset, increment: Increment
) -> tuple[Increment, bool]:
    """What an output answers, once the others of its step are stored that it is computed from.

    Args:
        work: what the step works on.
        asset: the output.
        increment: what was pending of it when the inputs were loaded.

    Returns:
        The same, and true, if its other upstreams have changed since: what was computed from new
        rows of the step has to wait for the next run (:func:`listed`).
    """
    outside = work.begun.get(asset.feature)
    if outside is None:
        return increment, False
    newest = work.store.newest_commits(list(outside))
    if {key: newest.get(key) for key in outside} != outside:
        return increment, True
    outputs = {asset: work.outputs[asset]}
    found = resolve(work.store, work.step, outputs, pinned=None, keep_unchanged=True)
    again = found[asset.asset_key]
    if increment.failed is not None:
        again.note_failed(increment.failed)
    return again, False


def listed(rows: frames.Rows, increment: Increment, log: Any) -> frames.Rows:
    """The rows of samples that were known when the inputs were loaded.

    Args:
        rows: what was returned.
        increment: what was pending then.
        log: of the run; told of the others.
    """
    if not frames.column_names(rows):
        return rows
    table = rows if isinstance(rows, pa.Table) else rows.read_all()
    found = frames.within(table, increment.ids((NEW, STALE, UNCHANGED)))
    if found.num_rows < table.num_rows:
        log.warning(
            "feature %s: other upstreams changed while the step ran; %d rows that were computed "
            "from new ones of the same step are pending",
            increment.feature,
            table.num_rows - found.num_rows,
        )
    return found
