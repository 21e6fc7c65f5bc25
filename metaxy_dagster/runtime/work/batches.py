"""Long work in batches, with word of how it goes."""

from __future__ import annotations

import contextlib
import importlib.util
import sys
import time
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any, TextIO

import dagster as dg

from metaxy_dagster import constants as c
from metaxy_dagster.keys import named_feature
from metaxy_dagster.late import late_modules
from metaxy_dagster.runtime import _compat
from metaxy_dagster.stores import Increment

if TYPE_CHECKING:
    from rich import console as rich_console
    from rich import progress as shown
else:
    rich_console, shown = late_modules("rich", "console", "progress")

__all__ = ["each_batch"]

# Beyond this many seconds between two lines (events), somebody who waits wants to know.
_LOG_EVERY = 1.0
_EVENT_EVERY = 60.0


def each_batch(
    context: Any,
    increment: Increment,
    size: int = 1000,
    *,
    clock: Callable[[], float] = time.time,
    terminal: TextIO | None = None,
) -> Iterator[Increment]:
    """Go through an increment batch by batch, telling what is done, what is left and how long.

    Write each batch before the next is asked for: then a crash loses one batch at most, and the
    next run goes on with the rest, because what was written is pending no more. Samples that
    cannot be computed are reported with ``store.record_failures(..., increment=batch)``.

    Progress is logged, a line a second at most; in the step of an asset it is also
    observed once a minute, as numbers that Dagster plots; on a terminal there is a bar, if the
    extra ``cli`` is installed.

    Args:
        context: of the running asset or op; its log is written to.
        increment: from ``store.resolve_update``.
        size: samples per batch, at least 1.
        clock: tells seconds since 1970.
        terminal: where the bar is shown; by default the standard error output, if it is one.

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
    batches = increment.batches(size)
    total = batches.samples
    context.log.info("feature %s: %d samples to compute", increment.feature, total)
    progress = _Progress(context, increment, total, clock)
    with _bar(str(increment.feature), total, terminal) as advance:
        for batch in batches:
            yield batch
            done = batch.counts.pending
            advance(done)
            progress.add(done)


class _Progress:
    """What is done of an increment, told now and then."""

    def __init__(
        self, context: Any, increment: Increment, total: int, clock: Callable[[], float]
    ) -> None:
        self._context = context
        self._feature = increment.feature
        self._total = total
        self._clock = clock
        self._began = self._logged = self._observed = clock()
        self._done = 0

    def add(self, samples: int) -> None:
        self._done += samples
        now = self._clock()
        last = self._done >= self._total
        if last or now - self._logged >= _LOG_EVERY:
            self._logged = now
            self._log(now)
        if not last and now - self._observed >= _EVENT_EVERY:
            self._observed = now
            self._observe(now)

    def _rate(self, now: float) -> float:
        seconds = now - self._began
        return self._done / seconds if seconds > 0 else float("inf")

    def _log(self, now: float) -> None:
        rate = self._rate(now)
        self._context.log.info(
            "feature %s: %d of %d samples (%.0f %%), %.1f a second, %.0f s to go",
            self._feature,
            self._done,
            self._total,
            100 * self._done / self._total,
            rate,
            (self._total - self._done) / rate,
        )

    def _observe(self, now: float) -> None:
        """An event with numbers; the last word is the materialization."""
        if not isinstance(self._context, dg.AssetExecutionContext | dg.OpExecutionContext):
            return
        rate, left = self._rate(now), self._total - self._done
        metadata: dict[str, Any] = {
            c.KEY_DONE: self._done,
            c.KEY_LEFT: left,
            c.KEY_RATE: rate,
            c.KEY_EXPECTED_END: dg.MetadataValue.timestamp(now + left / rate),
        }
        operation = getattr(self._context, "op_execution_context", self._context)
        if not _compat.belongs_to_assets(operation):
            return
        for key in sorted(operation.selected_asset_keys):
            spec = operation.assets_def.specs_by_key[key]
            if named_feature(spec.metadata) == self._feature:
                told = f"{self._done} of {self._total} samples are done"
                self._context.log_event(
                    dg.AssetObservation(key, metadata=metadata, description=told)
                )


@contextlib.contextmanager
def _bar(name: str, total: int, terminal: TextIO | None) -> Iterator[Callable[[int], None]]:
    """A bar on a terminal; nothing elsewhere, so that logs hold no bars."""
    stream = sys.stderr if terminal is None else terminal
    if not total or not stream.isatty() or importlib.util.find_spec("rich") is None:
        yield lambda _: None
        return
    columns = (
        shown.TextColumn("{task.description}"),
        shown.BarColumn(),
        shown.MofNCompleteColumn(),
        shown.TimeRemainingColumn(),
    )
    console = rich_console.Console(file=stream)
    with shown.Progress(*columns, console=console, transient=True) as progress:
        task = progress.add_task(name, total=total)
        yield lambda samples: progress.advance(task, samples)
