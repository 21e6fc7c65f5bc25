"""Long work in batches, with word of how it goes."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import Any

from metaxy_dagster.stores import Increment

__all__ = ["each_batch"]


def each_batch(
    context: Any,
    increment: Increment,
    size: int = 1000,
    *,
    clock: Callable[[], float] = time.monotonic,
) -> Iterator[Increment]:
    """Go through an increment batch by batch, logging what is done, what is left and how long.

    Write each batch before the next is asked for: then a crash loses one batch at most, and the
    next run goes on with the rest, because what was written is pending no more.

    Args:
        context: of the running asset or op; its log is written to.
        increment: from ``store.resolve_update``.
        size: samples per batch, at least 1.
        clock: tells seconds.

    Yields:
        Increments of at most ``size`` pending samples each.

    Raises:
        ValueError: ``size`` is less than 1.

    Example:
        >>> import logging, tempfile, types, pyarrow as pa, metaxy_dagster as mxd
        >>> graph = mxd.FeatureGraph()
        >>> _ = graph.add(mxd.FeatureSpec("image", id_columns=["id"]))
        >>> _ = graph.add(mxd.FeatureSpec("score", id_columns=["id"], deps=["image"]))
        >>> store = mxd.DuckDBMetadataStore(f"{tempfile.mkdtemp()}/m.duckdb", graph=graph)
        >>> _ = store.write("image", pa.table({"id": [1, 2, 3], "path": ["a", "b", "c"]}))
        >>> context = types.SimpleNamespace(log=logging.getLogger("example"))
        >>> for batch in mxd.each_batch(context, store.resolve_update("score"), 2):
        ...     print(store.write("score", batch.pending, increment=batch).new)
        2
        1
    """
    # The samples are listed once, and counted from that list.
    total = increment.delta.num_rows and increment.counts.pending
    context.log.info("feature %s: %d samples to compute", increment.feature, total)
    began, done = clock(), 0
    for batch in increment.batches(size):
        yield batch
        done += batch.counts.pending
        seconds = clock() - began
        rate = done / seconds if seconds > 0 else float("inf")
        context.log.info(
            "feature %s: %d of %d samples (%.0f %%), %.1f a second, %.0f s to go",
            increment.feature,
            done,
            total,
            100 * done / total,
            rate,
            (total - done) / rate,
        )
