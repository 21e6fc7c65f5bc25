"""Arguments for assets that no definition of a repository makes."""

from __future__ import annotations

import functools

import dagster as dg
from dagster._core.definitions.assets.graph.asset_graph import AssetGraph

__all__ = ["may_lack_assets"]


@functools.cache
def may_lack_assets() -> bool:
    """Whether an argument may be bound to a key that no asset has, if it orders the op as well.

    Dagster refuses a value of a key that nothing defines, and makes a stub for one that is only
    waited for. Older
    releases look at each input of a key, later ones at the last.
    """

    @dg.op(ins={"after": dg.In(dg.Nothing)})
    def probe(value: object) -> None:
        del value

    missing = dg.AssetKey("metaxy_missing")
    asset = dg.AssetsDefinition(
        node_def=probe,
        keys_by_input_name={"value": missing, "after": missing},
        keys_by_output_name={"result": dg.AssetKey("metaxy_probe")},
    )
    try:
        AssetGraph.from_assets([asset])
    except dg.DagsterInvalidDefinitionError:
        return False
    return True
