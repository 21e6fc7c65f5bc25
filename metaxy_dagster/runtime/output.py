"""How an asset's result becomes a write."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import dagster as dg
import narwhals as nw

from metaxy_dagster import constants as c
from metaxy_dagster.errors import FrameError, MetaxyError
from metaxy_dagster.runtime.feature_asset import FeatureAsset
from metaxy_dagster.runtime.scope import Scope
from metaxy_dagster.stores import Increment, MetadataStore, WriteResult
from metaxy_dagster.stores.frames import to_arrow

__all__ = ["located", "write_output"]

_SHOWN = 5


@contextmanager
def located(asset_key: dg.AssetKey) -> Iterator[None]:
    """Name the asset in errors of the floors below, which do not know it."""
    try:
        yield
    except MetaxyError as error:
        raise error.located(asset=asset_key.to_user_string()) from error


def write_output(
    store: MetadataStore,
    asset: FeatureAsset,
    frame: Any,
    *,
    scope: Scope,
    increment: Increment | None,
    run_id: str,
    max_deleted_share: float,
) -> WriteResult:
    """Write what an asset returned.

    Args:
        store: where to.
        asset: the asset and its metadata.
        frame: what it returned, one row per sample.
        scope: the samples that are the asset's own in this run; it may touch no others.
        increment: what its inputs were resolved from; ``None`` for a root.
        run_id: stored with each row.
        max_deleted_share: how much a replace may delete.

    Raises:
        FrameError: the frame is refused; nothing was written.
    """
    if scope:
        frame = _within(scope, frame, asset)
    if asset.increment and increment is not None:
        return store.write(
            asset.feature,
            frame,
            increment=increment,
            delete_orphaned=True,
            materialization_id=run_id,
        )
    stamped = _has_provenance(frame)
    if increment is None and not stamped and _is_derived_frame(store, asset, frame):
        raise FrameError(
            "the provenance of these rows is unknown, so later changes could not be detected",
            feature=str(asset.feature),
            found="this step loaded no upstream feature through this IO manager",
            allowed=f"rows with {c.COL_PROVENANCE_BY_FIELD}, or upstreams taken as arguments",
            remedy="take the upstream features as arguments, or keep the provenance columns of "
            "store.resolve_update(...); run the steps of a graph asset in one process",
        )
    mode: Any = asset.write or (c.WRITE_UPSERT if stamped else c.WRITE_REPLACE)
    return store.write(
        asset.feature,
        frame,
        increment=None if stamped else increment,
        mode=mode,
        scope=scope.filters(store.schema(asset.feature)) or None,
        max_deleted_share=max_deleted_share,
        materialization_id=run_id,
    )


def _has_provenance(frame: Any) -> bool:
    try:
        return c.COL_PROVENANCE_BY_FIELD in nw.from_native(frame).collect_schema()
    except TypeError:
        # Not a frame: the store says so, in better words.
        return False


def _is_derived_frame(store: MetadataStore, asset: FeatureAsset, frame: Any) -> bool:
    """Whether rows of a feature with upstreams were returned; what is no frame is none."""
    if store.graph.plan(asset.feature).is_root:
        return False
    try:
        nw.from_native(frame)
    except TypeError:
        return False
    return True


def _within(scope: Scope, frame: Any, asset: FeatureAsset) -> Any:
    """The frame with its partition columns, which it may leave out where they are constant.

    Raises:
        FrameError: they cannot be filled in, or rows belong to other partitions.
    """
    made = nw.from_native(to_arrow(frame, str(asset.feature)), eager_only=True)
    if not made.columns:
        return frame
    present = {name.casefold() for name in made.columns}
    absent = [column for column in scope.columns if column.casefold() not in present]
    unknown = [column for column in absent if column not in scope.constants]
    if unknown:
        raise FrameError(
            "the frame lacks columns that tell which partition a sample belongs to",
            feature=str(asset.feature),
            found=f"missing {unknown}; the frame has {made.columns}",
            remedy="return these columns with the samples",
        )
    made = made.with_columns(*(nw.lit(scope.constants[name]).alias(name) for name in absent))
    foreign = made.filter(~scope.expression(made.schema).fill_null(value=False))
    if len(foreign):
        raise FrameError(
            "the frame holds samples of other partitions than this run's",
            feature=str(asset.feature),
            found=foreign.select(*scope.columns).unique().head(_SHOWN).rows(named=True),
            allowed=[str(one) for one in scope.filters({})],
            remedy="return only samples of the partitions that the run was started for",
        )
    return made
