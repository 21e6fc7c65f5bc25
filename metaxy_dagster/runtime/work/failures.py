"""Failed samples of a running step: reported by its function, left pending, then quarantined."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import dagster as dg

from metaxy_dagster import constants as c
from metaxy_dagster.errors import RunError
from metaxy_dagster.features import CoercibleToFeatureKey, In
from metaxy_dagster.runtime._compat import Step
from metaxy_dagster.runtime.assets.feature_asset import FeatureAsset
from metaxy_dagster.runtime.work.current import StepWork, current_work, increment_of
from metaxy_dagster.runtime.work.limits import Limits
from metaxy_dagster.stores import FailureResult, Increment, MetadataStore, frames
from metaxy_dagster.stores.failures import SampleError

__all__ = ["counted_in_run", "note_reported", "report_failures", "stop_for_failed"]


def report_failures(
    samples: Any,
    error: SampleError | Sequence[SampleError],
    *,
    feature: CoercibleToFeatureKey | None = None,
) -> FailureResult:
    """Say, inside the function of an asset, which samples could not be computed.

    For assets whose inputs come through the IO manager. The function leaves these samples out of
    what it returns, so they stay pending; after ``max_attempts`` of the store they are
    quarantined. Call it once for all failures of a run, or once a batch: each call is a write.

    Args:
        samples: rows of an input, as a frame or as dictionaries; the columns that name a sample
            are enough.
        error: what went wrong, as text or an exception; one for all, or one per sample.
        feature: which one was to be computed; needed where the step computes several.

    Returns:
        How many were noted, and how many of them are quarantined now.

    Raises:
        RunError: there is no running step whose inputs came through the IO manager, or it
            computes several features and ``feature`` does not say which.
        FrameError: samples that are not pending, or not one error per sample.

    Example:
        >>> import metaxy_dagster as mxd, polars as pl, tempfile
        >>> graph = mxd.FeatureGraph()
        >>> _ = graph.add(mxd.FeatureSpec("image", id_columns=["id"]))
        >>> _ = graph.add(mxd.FeatureSpec("score", id_columns=["id"], deps=["image"]))
        >>> store = mxd.DuckDBMetadataStore(f"{tempfile.mkdtemp()}/m.duckdb", graph=graph)
        >>> _ = store.write("image", pl.DataFrame({"id": [1, 2], "path": ["a.png", "b.txt"]}))
        >>> tie = {"metaxy/feature": "score", "metaxy/input": "increment"}
        >>> @dg.asset(io_manager_key="io", metadata=tie)
        ... def score(image: pl.DataFrame) -> pl.DataFrame:
        ...     good = pl.col("path").str.ends_with(".png")
        ...     _ = mxd.report_failures(image.filter(~good), "not an image")
        ...     return image.filter(good).select("id", score=1)
        >>> image = dg.AssetSpec("image", metadata={"metaxy/feature": "image"})
        >>> with dg.DagsterInstance.ephemeral() as instance:
        ...     done = dg.materialize(
        ...         [image.with_io_manager_key("io"), score],
        ...         instance=instance,
        ...         resources={"io": mxd.MetaxyIOManager(store=store)},
        ...     )
        >>> store.failures("score").collect()["metaxy_error"].to_list()
        ['not an image']
    """
    work = current_work()
    if work is None:
        raise RunError(
            "failed samples were reported where no step is running that they belong to",
            allowed="a call in the function of an asset that takes its upstream features as "
            "arguments, from the thread that runs it",
            remedy="elsewhere, call store.record_failures(feature, samples, error, increment=...)",
        )
    increment = increment_of(work, feature, "failed")
    if work.isolates:
        samples, error = _not_counted(work, increment, samples, error)
    result = work.store.record_failures(
        increment.feature,
        samples,
        error,
        increment=increment,
        materialization_id=work.step.run_id,
    )
    dg.OpExecutionContext.get().log.warning(
        "feature %s: %d failed, %d quarantined",
        result.feature,
        result.failed,
        result.quarantined,
    )
    return result


def counted_in_run(work: StepWork, increment: Increment) -> set[tuple[Any, ...]]:
    """The samples of an increment of which the run has noted a failure already."""
    of_runs = In(c.COL_MATERIALIZATION_ID, (work.step.run_id, *work.step.runs))
    failures = work.store.failures(increment.feature, filters=of_runs)
    return set(failures.select(*increment.sample_columns).collect(backend="pyarrow").rows())


def _not_counted(
    work: StepWork, increment: Increment, samples: Any, error: SampleError | Sequence[SampleError]
) -> tuple[Any, SampleError | Sequence[SampleError]]:
    """Samples and their errors, without those that failed in the run before.

    Where a batch is computed again in parts, its function reports the same ones again.
    """
    counted = counted_in_run(work, increment)
    if not counted:
        return samples, error
    names, feature = increment.sample_columns, str(increment.feature)
    table = frames.named_samples(samples, names=names, feature=feature, what="failed samples")
    errors = error if isinstance(error, str | BaseException) else list(error)
    if isinstance(errors, list) and len(errors) != table.num_rows:
        return samples, errors  # refused by the store
    fresh = [i for i, row in enumerate(table.to_pylist()) if tuple(row.values()) not in counted]
    chosen = [errors[i] for i in fresh] if isinstance(errors, list) else errors
    return table.take(fresh), chosen


def note_reported(store: MetadataStore, step: Step, increment: Increment) -> None:
    """Let an increment know of failures that other processes reported for the same steps.

    Args:
        store: where they were noted.
        step: the running step.
        increment: of the feature that is computed.
    """
    of_runs = In(c.COL_MATERIALIZATION_ID, tuple(step.runs))
    failures = store.failures(increment.feature, filters=of_runs)
    found = failures.select(*increment.sample_columns).collect(backend="pyarrow").to_native()
    if found.num_rows:
        increment.note_failed(found)


def stop_for_failed(
    store: MetadataStore, asset: FeatureAsset, increment: Increment, limits: Limits
) -> None:
    """Let a step fail whose failed samples still have rows of an earlier run, if that is asked for.

    Args:
        store: where the step has written the others.
        asset: the asset that was written.
        increment: that it answered.
        limits: what is to become of such rows.

    Raises:
        RunError: there are such rows, and they shall stop the step.
    """
    if limits.of_failed(asset) != c.FAILED_RAISE:
        return
    found = store.failed(asset.feature, increment=increment)
    if found.outdated:
        raise RunError(
            "failed samples still have rows that an earlier run made, and these shall stop the "
            "step; the samples that did not fail are written",
            feature=str(asset.feature),
            found=f"{found.outdated} of {store.failed(asset.feature).failed} failed samples",
            allowed=f'none, by metadata "{c.KEY_FAILED_ROWS}": "{c.FAILED_RAISE}" or the setting '
            "failed_rows",
            remedy="correct what fails, make the samples pending again with metaxy-dagster retry, "
            f'and run again; or set "{c.KEY_FAILED_ROWS}" to "{c.FAILED_DELETE}" or '
            f'"{c.FAILED_KEEP}"',
        )
