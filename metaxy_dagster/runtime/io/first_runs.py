"""Steps that run although nothing is pending: others must find something to read."""

from __future__ import annotations

from metaxy_dagster.runtime.io.inputs import Needed

__all__ = ["may_be_left_out"]


def may_be_left_out(need: Needed) -> bool:
    """Whether nothing is pending, and nobody would miss what the body returns.

    Where an IO manager of the repository's own has never stored anything, others would find
    nothing to read: it is to store what the function makes of no rows.

    Args:
        need: what the step needs of it.
    """
    if not need.idle:
        return False
    store = need.work.store
    for asset, scope in need.work.outputs.items():
        if asset.asset_key not in need.work.elsewhere:
            continue
        filters = scope.filters(store.schema(asset.feature)) if scope else None
        if not store.schema(asset.feature) or not store.count(asset.feature, filters=filters):
            return False
    return True
