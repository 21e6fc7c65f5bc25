"""Rows that exist already are taken as computed: after a retrofit, nothing is computed twice."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager
from dataclasses import replace
from functools import reduce
from typing import TYPE_CHECKING, Any, Final, Literal, Protocol

import narwhals as nw
import pyarrow as pa
import pyarrow.compute as pc

from metaxy_dagster.errors import FrameError
from metaxy_dagster.features import FeatureKey, FeaturePlan
from metaxy_dagster.stores.counts import NEW, QUARANTINED, STALE, STATUS, UNCHANGED
from metaxy_dagster.stores.frames.rows import to_arrow
from metaxy_dagster.stores.frames.samples import typed_as
from metaxy_dagster.stores.results import Adoption

if TYPE_CHECKING:
    from metaxy_dagster.stores.increment import Increment
    from metaxy_dagster.stores.results import WriteResult

__all__ = ["adopt"]

_ROW: Final = "metaxy_row"
_WANTED: Final = (NEW, STALE, QUARANTINED)


class _Store(Protocol):
    """What is needed of a store."""

    def connected(self, mode: Literal["r", "w"] = ...) -> AbstractContextManager[Any]: ...

    def resolve_update(
        self, feature: FeatureKey, *, samples: Any = ..., keep_unchanged: bool = ...
    ) -> Increment: ...

    def write(
        self,
        feature: FeatureKey,
        frame: Any,
        *,
        increment: Increment | None = ...,
        columns: Sequence[str] | None = ...,
    ) -> WriteResult: ...


def adopt(
    store: _Store,
    plan: FeaturePlan,
    frame: Any,
    *,
    columns: Sequence[str] | None = None,
    dry_run: bool,
) -> Adoption:
    """Take the rows of a frame as what their upstream rows come to at the current versions.

    Args:
        store: the store.
        plan: of the feature.
        frame: anything narwhals accepts, with the id columns, and in an expansion those of the
            parent.
        columns: those that are stored beside the ids; ``None`` for all.
        dry_run: tell what would be taken, and write nothing.

    Raises:
        FrameError: the frame lacks columns by which samples are told apart, or is refused as a
            write would refuse it.
        StoreError: the store cannot be read or written.
    """
    table = to_arrow(frame, str(plan.key))
    _check_columns(table, plan.spec.id_columns, plan)
    twice = _twice(table, plan.spec.id_columns)
    once = table.filter(pc.invert(twice))
    with store.connected("r" if dry_run else "w"):
        found = (_adopt_root if plan.is_root else _adopt_derived)(
            store, plan, once, columns, dry_run=dry_run
        )
    return replace(found, rows=table.num_rows, ambiguous=table.num_rows - once.num_rows)


def _adopt_root(
    store: _Store,
    plan: FeaturePlan,
    table: pa.Table,
    columns: Sequence[str] | None,
    *,
    dry_run: bool,
) -> Adoption:
    """Nothing is upstream of a root: its rows are what they are."""
    adopted = store.resolve_update(plan.key, samples=table).counts.pending
    commit = 0 if dry_run or not adopted else store.write(plan.key, table, columns=columns).commit
    known = table.num_rows - adopted
    return Adoption(plan.key, 0, adopted, known=known, commit=commit, dry_run=dry_run)


def _adopt_derived(
    store: _Store,
    plan: FeaturePlan,
    table: pa.Table,
    columns: Sequence[str] | None,
    *,
    dry_run: bool,
) -> Adoption:
    increment = store.resolve_update(plan.key, keep_unchanged=True)
    _check_columns(table, increment.sample_columns, plan)
    status = _statuses(table, increment)
    wanted = pc.is_in(status, pa.array(_WANTED, status.type))
    known = pc.sum(pc.equal(status, UNCHANGED)).as_py() or 0
    taken = table.filter(wanted)
    answered = taken.select(list(increment.sample_columns)).group_by(list(increment.sample_columns))
    pending = len(increment.ids(_WANTED)) - answered.aggregate([]).num_rows
    commit = 0
    if taken.num_rows and not dry_run:
        commit = store.write(plan.key, taken, increment=increment, columns=columns).commit
    return Adoption(
        plan.key,
        rows=0,
        adopted=taken.num_rows,
        known=known,
        unexpected=table.num_rows - taken.num_rows - known,
        pending=pending,
        commit=commit,
        dry_run=dry_run,
    )


def _statuses(table: pa.Table, increment: Increment) -> pa.ChunkedArray:
    """What the increment says of each row; null of those that it does not know."""
    names = list(increment.sample_columns)
    listed = increment.delta.select([*names, STATUS])
    if not (table.num_rows and listed.num_rows):
        # Of what was never written, not even the types are known.
        return pa.chunked_array([pa.nulls(table.num_rows, listed.schema.field(STATUS).type)])
    ids = typed_as(table.select(names), listed, feature=str(increment.feature))
    numbered = ids.append_column(_ROW, pa.array(range(table.num_rows), pa.int64()))
    joined = numbered.join(listed, keys=names, join_type="left outer")
    return joined.sort_by(_ROW).column(STATUS)


def _twice(table: pa.Table, names: Sequence[str]) -> pa.ChunkedArray:
    """Which rows share their ids with another one, or have none."""
    shared = nw.from_native(table.select(list(names)), eager_only=True).is_duplicated().to_native()
    return reduce(pc.or_, (pc.is_null(table.column(name)) for name in names), shared)


def _check_columns(table: pa.Table, names: Sequence[str], plan: FeaturePlan) -> None:
    missing = [name for name in names if name not in table.column_names]
    if missing:
        raise FrameError(
            "what is adopted is told apart by columns that the frame lacks",
            feature=str(plan.key),
            found=f"missing {missing}; the frame has {table.column_names}",
            allowed=f"all of {list(names)}",
            remedy="pass a frame with these columns, under these names",
        )
