"""How an asset's result becomes a write."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from metaxy_dagster import constants as c
from metaxy_dagster.errors import DeletionRefusedError, FrameError
from metaxy_dagster.features.columns import fold
from metaxy_dagster.late import narwhals as nw
from metaxy_dagster.late import pyarrow as pa
from metaxy_dagster.runtime.assets.feature_asset import FeatureAsset
from metaxy_dagster.runtime.partitions.scope import Scope
from metaxy_dagster.runtime.work.limits import Limits
from metaxy_dagster.stores import Increment, MetadataStore, WriteResult, frames

__all__ = ["Answer", "own_rows", "write_output"]

_SHOWN = 5


@dataclass(frozen=True)
class Answer:
    """How rows answer the increment of their step, beside what the asset's metadata says.

    Attributes:
        doubtful: samples that may have been computed from other rows than the increment knows;
            they stay pending.
        empty: samples that yielded nothing; ``None`` where the metadata decides.
        columns: of the rows, those that are stored; ``None`` for all.
        elsewhere: whether the rows themselves are stored in another place.
        by_content: whether the provenance that a root's rows carry is that of their content.
        announced: how many of the rows were made known before, and count as new.
    """

    doubtful: pa.Table | None = None
    empty: pa.Table | None = None
    columns: Sequence[str] | None = None
    elsewhere: bool = False
    by_content: bool = False
    announced: int = 0

    def certain(self, rows: frames.Rows, increment: Increment | None) -> frames.Rows:
        """The rows that are recorded.

        Args:
            rows: that the step returned.
            increment: that it answers.
        """
        if self.doubtful is None or increment is None or not self.doubtful.num_rows:
            return rows
        table = rows if isinstance(rows, pa.Table) else rows.read_all()
        if not table.num_rows:
            return table
        return frames.without(table, self.doubtful)


_AS_IT_IS = Answer()


def write_output(
    store: MetadataStore,
    asset: FeatureAsset,
    frame: frames.Rows,
    *,
    scope: Scope,
    increment: Increment | None,
    run_id: str,
    limits: Limits,
    batched: bool = False,
    answer: Answer = _AS_IT_IS,
) -> WriteResult:
    """Write what an asset returned.

    Args:
        store: where to.
        asset: the asset and its metadata.
        frame: what it returned, from :func:`own_rows`.
        scope: the samples that are the asset's own in this run; it may touch no others.
        increment: what its inputs were resolved from; ``None`` for a root.
        run_id: stored with each row.
        limits: how much a replace may delete.
        batched: whether batches have answered the increment already, and said what is empty.
        answer: what else is known of how the frame answers the increment.

    Raises:
        FrameError: the frame is refused; nothing was written.
    """
    frame = answer.certain(frame, increment)
    if asset.increment and increment is not None:
        rest = c.EMPTY_REST if asset.unreturned_empty and not batched else None
        if rest is not None and answer.doubtful is not None:
            rest = None  # some of the samples that are not returned were not computed
        return store.write(
            asset.feature,
            frame,
            increment=increment,
            empty=rest if answer.empty is None else answer.empty,
            columns=answer.columns,
            # Looked at in every run, and found out once: all of its rows are hashed for it.
            versioned=answer.elsewhere,
            delete_orphaned=True,
            delete_failed=limits.of_failed(asset) == c.FAILED_DELETE,
            materialization_id=run_id,
        )
    carried = c.COL_PROVENANCE_BY_FIELD in frames.column_names(frame)
    stamped = carried and not answer.by_content
    if increment is None and not stamped and not store.graph.plan(asset.feature).is_root:
        raise FrameError(
            "the provenance of these rows is unknown, so later changes could not be detected",
            feature=str(asset.feature),
            found="this step loaded no upstream feature through this IO manager",
            allowed=f"rows with {c.COL_PROVENANCE_BY_FIELD}, or upstreams taken as arguments",
            remedy="take the upstream features as arguments, or keep the provenance columns of "
            "store.resolve_update(...)",
        )
    mode: Any = asset.keys.write or (c.WRITE_UPSERT if stamped else c.WRITE_REPLACE)
    try:
        return store.write(
            asset.feature,
            frame,
            increment=None if stamped else increment,
            mode=mode,
            delete_failed=limits.of_failed(asset) == c.FAILED_DELETE,
            scope=(scope.filters(store.schema(asset.feature)) or None) if scope else None,
            max_deleted_share=limits.share(asset),
            materialization_id=run_id,
            columns=answer.columns,
            versioned=answer.elsewhere,
        )
    except DeletionRefusedError as error:
        explained = limits.explained(error)
        raise explained.with_traceback(error.__traceback__) from error.__cause__


def own_rows(frame: Any, asset: FeatureAsset, scope: Scope) -> frames.Rows:
    """What an asset returned, as Arrow rows with the columns of its partition.

    Args:
        frame: anything narwhals accepts, one row per sample.
        asset: the asset.
        scope: the samples that are the asset's own in this run.

    Returns:
        A table; for a lazy frame beyond a size a reader, which runs the user's code while the
        store collects it.

    Raises:
        FrameError: it is no frame, or has rows of other partitions.
    """
    rows = frames.to_rows(frame, str(asset.feature))
    if not scope or not frames.column_names(rows):
        return rows
    if isinstance(rows, pa.Table):
        return _within(scope, rows, asset)
    # Of no rows, to know the columns; it refuses columns that are missing, too.
    schema = _within(scope, rows.schema.empty_table(), asset).schema
    parts = (_within(scope, pa.Table.from_batches([batch]), asset) for batch in rows)
    batches = (batch for part in parts for batch in part.cast(schema).to_batches())
    return pa.RecordBatchReader.from_batches(schema, batches)


def _within(scope: Scope, table: pa.Table, asset: FeatureAsset) -> pa.Table:
    """The frame with its partition columns, which it may leave out where they are constant.

    Raises:
        FrameError: they cannot be filled in, or rows belong to other partitions.
    """
    made = nw.from_native(table, eager_only=True)
    present = {fold(name) for name in made.columns}
    absent = [column for column in scope.columns if fold(column) not in present]
    unknown = [column for column in absent if column not in scope.constants]
    if unknown:
        raise FrameError(
            "the frame lacks columns that tell which partition a sample belongs to",
            feature=str(asset.feature),
            found=f"missing {unknown}; the frame has {made.columns}",
            remedy="return these columns with the samples",
        )
    made = made.with_columns(*(nw.lit(scope.constants[name]).alias(name) for name in absent))
    foreign = made.filter(~scope.expression(made).fill_null(value=False))
    if len(foreign):
        raise FrameError(
            "the frame holds samples of other partitions than this run's",
            feature=str(asset.feature),
            found=foreign.select(*_named(made.columns, scope))
            .unique()
            .head(_SHOWN)
            .rows(named=True),
            allowed=[str(one) for one in scope.filters({})],
            remedy="return only samples of the partitions that the run was started for",
        )
    return made.to_arrow()


def _named(columns: list[str], scope: Scope) -> list[str]:
    """The columns of a frame that a scope decides by, as the frame names them."""
    decides = set(map(fold, scope.columns))
    return [name for name in columns if fold(name) in decides]
