"""How an asset's result becomes a write, and what is reported about it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import dagster as dg
import narwhals as nw

from metaxy_dagster import constants as c
from metaxy_dagster.errors import MetaxyError
from metaxy_dagster.runtime.feature_asset import FeatureAsset
from metaxy_dagster.stores import Increment, MetadataStore, WriteResult

__all__ = ["located", "needs_increment", "write_output"]


@contextmanager
def located(asset_key: dg.AssetKey) -> Iterator[None]:
    """Name the asset in errors of the floors below, which do not know it."""
    try:
        yield
    except MetaxyError as error:
        raise error.located(asset=asset_key.to_user_string()) from error


def needs_increment(store: MetadataStore, asset: FeatureAsset) -> bool:
    """Whether results of the asset are stamped by id: those of a feature that has upstreams."""
    return not store.graph.plan(asset.feature).is_root


def write_output(
    store: MetadataStore,
    asset: FeatureAsset,
    frame: Any,
    *,
    increment: Increment | None,
    run_id: str,
    max_deleted_share: float,
) -> WriteResult:
    """Write what an asset returned.

    Args:
        store: where to.
        asset: the asset and its metadata.
        frame: what it returned, one row per sample.
        increment: what its inputs were resolved from; ``None`` for a root.
        run_id: stored with each row.
        max_deleted_share: how much a replace may delete.

    Raises:
        FrameError: the frame is refused; nothing was written.
    """
    if asset.increment and increment is not None:
        return store.write(
            asset.feature,
            frame,
            increment=increment,
            delete_orphaned=True,
            materialization_id=run_id,
        )
    stamped = _has_provenance(frame)
    return store.write(
        asset.feature,
        frame,
        increment=None if stamped else increment,
        mode=_write_mode(asset, stamped=stamped),
        max_deleted_share=max_deleted_share,
        materialization_id=run_id,
    )


def _write_mode(asset: FeatureAsset, *, stamped: bool) -> Any:
    """A plain frame is the whole state, as with any other IO manager of Dagster."""
    return asset.write or (c.WRITE_UPSERT if stamped else c.WRITE_REPLACE)


def _has_provenance(frame: Any) -> bool:
    try:
        names = nw.from_native(frame).collect_schema().names()
    except TypeError:
        # Not a frame: the store says so, in better words.
        return False
    return c.COL_PROVENANCE_BY_FIELD in names
