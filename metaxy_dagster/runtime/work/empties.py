"""Samples of a running step that yielded nothing, as its function reports them."""

from __future__ import annotations

from typing import Any

import dagster as dg

from metaxy_dagster.errors import RunError
from metaxy_dagster.features import CoercibleToFeatureKey
from metaxy_dagster.late import pyarrow as pa
from metaxy_dagster.runtime.work.current import StepWork, current_work, increment_of
from metaxy_dagster.stores import Increment, WriteResult, frames

__all__ = ["report_empty"]


def report_empty(samples: Any, *, feature: CoercibleToFeatureKey | None = None) -> WriteResult:
    """Say, inside the function of an asset, which samples were computed and yielded nothing.

    For assets whose inputs come through the IO manager. The function leaves these samples out of
    what it returns; they are not pending any more until what they are computed from changes, and
    rows that are stored of them end. Call it once for all of a run, or once a batch: each call is
    a write, which stands also if the step fails afterwards.

    Args:
        samples: rows of an input, as a frame or as dictionaries; the columns that name a sample
            are enough.
        feature: which one was to be computed; needed where the step computes several.

    Returns:
        What changed; ``empty`` is how many samples were not known to be empty before.

    Raises:
        RunError: there is no running step whose inputs came through the IO manager, or it
            computes several features and ``feature`` does not say which.
        FrameError: samples that are not pending.

    Example:
        >>> import metaxy_dagster as mxd, polars as pl, tempfile
        >>> graph = mxd.FeatureGraph()
        >>> _ = graph.add(mxd.FeatureSpec("image", id_columns=["id"]))
        >>> _ = graph.add(mxd.FeatureSpec("face", id_columns=["id"], deps=["image"]))
        >>> store = mxd.DuckDBMetadataStore(f"{tempfile.mkdtemp()}/m.duckdb", graph=graph)
        >>> _ = store.write("image", pl.DataFrame({"id": [1, 2], "people": [3, 0]}))
        >>> tie = {"metaxy/feature": "face", "metaxy/input": "increment"}
        >>> @dg.asset(io_manager_key="io", metadata=tie)
        ... def face(image: pl.DataFrame) -> pl.DataFrame:
        ...     seen = pl.col("people") > 0
        ...     _ = mxd.report_empty(image.filter(~seen))
        ...     return image.filter(seen).select("id", faces="people")
        >>> image = dg.AssetSpec("image", metadata={"metaxy/feature": "image"})
        >>> with dg.DagsterInstance.ephemeral() as instance:
        ...     done = dg.materialize(
        ...         [image.with_io_manager_key("io"), face],
        ...         instance=instance,
        ...         resources={"io": mxd.MetaxyIOManager(store=store)},
        ...     )
        >>> store.count("face"), store.resolve_update("face").counts
        (1, Counts(new=0, stale=0, orphaned=0))
    """
    work = current_work()
    if work is None:
        raise RunError(
            "empty samples were reported where no step is running that they belong to",
            allowed="a call in the function of an asset that takes its upstream features as "
            "arguments, from the thread that runs it",
            remedy="elsewhere, call store.write(feature, frame, increment=..., empty=samples)",
        )
    increment = increment_of(work, feature, "are empty")
    keys = {key for key, one in work.increments.items() if one is increment}
    for key in keys & work.elsewhere:
        return _noted(work, key, increment, samples)
    result = work.store.write(
        increment.feature,
        frames.no_rows(),
        increment=increment,
        empty=samples,
        materialization_id=work.step.run_id,
    )
    work.written.append(result)
    log = dg.OpExecutionContext.get().log
    log.info("feature %s: %d samples yielded nothing", result.feature, result.empty)
    return result


def _noted(
    work: StepWork, asset_key: dg.AssetKey, increment: Increment, samples: Any
) -> WriteResult:
    """Leave it to the output: what is stored of the samples in another place must go before."""
    feature = str(increment.feature)
    found = frames.named_samples(
        samples, names=increment.sample_columns, feature=feature, what="empty samples"
    )
    if found.num_rows:
        found = frames.distinct(frames.typed_as(found, increment.delta, feature=feature))
        before = work.emptied.get(asset_key)
        work.emptied[asset_key] = (
            found if before is None else frames.distinct(pa.concat_tables([before, found]))
        )
    return WriteResult(increment.feature, 0, 0, 0, 0, 0, found.num_rows)
