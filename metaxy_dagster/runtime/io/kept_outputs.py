"""Outputs that an IO manager of the repository's own stores, and the metadata store knows of.

There are three writes, in an order in which a crash at any point costs work and no correctness,
also if what is upstream has changed and changes back:

1. samples of which something will change or go are invalidated, and new ones are made known as
   rows of no known provenance: all of these are pending until they are recorded;
2. the inner IO manager stores the whole: what it holds, with the rows that were computed;
3. the rows are recorded with the provenance of their increment.
"""

from __future__ import annotations

import uuid
from dataclasses import dataclass, replace
from typing import Any, Final

import dagster as dg

from metaxy_dagster import constants as c
from metaxy_dagster.errors import DeletionRefusedError, FrameError, RunError
from metaxy_dagster.features.class_columns import ClassColumns
from metaxy_dagster.features.needed import needed_columns
from metaxy_dagster.late import pyarrow as pa
from metaxy_dagster.runtime import _compat
from metaxy_dagster.runtime.io.output import Answer
from metaxy_dagster.runtime.io.recording import Recording
from metaxy_dagster.stores import Increment, MetadataStore, frames
from metaxy_dagster.stores.counts import NEW, ORPHANED, STALE

__all__ = ["KeptOutput"]

# Beyond so many new samples, some of them stand for all: one that is pending, or orphaned, is
# enough for the whole to be stored again.
_MADE_KNOWN: Final = 10_000


@dataclass(frozen=True)
class KeptOutput:
    """An output of a running step: a feature whose rows another IO manager stores.

    Attributes:
        inner: the other one.
        output: on its way into the store.
        is_batch: whether others answer the same increment, and one of them is told to Dagster.
    """

    inner: Any
    output: Recording
    is_batch: bool = False

    def store(self, obj: Any, asked: pa.Table | None = None) -> None:
        """Store what a step returned, and record it.

        Args:
            obj: what it returned.
            asked: the sample columns of the samples that it answers; by default all that are
                pending.

        Raises:
            FrameError: it is refused; nothing was written.
            RunError: it cannot be merged into what the inner one holds.
            DeletionRefusedError: too many samples would be deleted; nothing was written.
        """
        output, work = self.output, self.output.work
        if work is not None and work.unrecorded is not None:
            self._store_unrecorded(obj, work.unrecorded)
            return
        if obj is None and work is not None and output.asset.asset_key in work.recorded:
            self._store(None)  # its function has made it, and all is said
            return
        if obj is None:
            if output.increment is None or not self._known().num_rows:
                self._store(None)
            self._record(None, Answer(elsewhere=True))
            return
        if not frames.is_frame(obj):
            self._store_other(obj)
            return
        if self._is_unknown():
            self._store_unrecorded(
                obj,
                f"the step loaded none of the upstreams of feature {output.asset.feature} "
                "through an IO manager, so nobody knows what its rows are computed from",
            )
            return
        # What is lazy would run the user's code each time.
        obj = frames.read_once(obj, str(output.asset.feature))
        rows = output.rows(self._with_levels(obj))
        table = rows if isinstance(rows, pa.Table) else rows.read_all()
        if self._is_part(table):
            self._merge(obj, table, asked)
        else:
            self._replace(obj, table)

    # What is returned is a part of the whole

    def _is_part(self, table: pa.Table) -> bool:
        asset, increment = self.output.asset, self.output.increment
        if asset.increment and increment is not None:
            return True
        stamped = c.COL_PROVENANCE_BY_FIELD in table.column_names
        return (asset.keys.write or (c.WRITE_UPSERT if stamped else None)) == c.WRITE_UPSERT

    def _merge(self, obj: Any, table: pa.Table, asked: pa.Table | None) -> None:
        output, asset, store = self.output, self.output.asset, self.output.store
        increment, feature, key = output.increment, str(asset.feature), asset.feature
        ids, samples = self._ids, list(self._samples)
        answered = frames.distinct(table.select(samples)) if table.num_rows else None
        if increment is not None and answered is not None:
            _check_asked_for(answered, increment, feature)
        known = self._known()
        going, answer = self._going(answered, asked)
        changed = [going] if answered is None else [going, answered]
        gone = pa.concat_tables([one.cast(changed[-1].schema) for one in changed])
        staying = frames.without(known, gone) if known.num_rows else known
        if not staying.num_rows:
            # The frame of a body that was left out has no columns; others look for those.
            is_left_out = known.num_rows and not table.num_columns
            whole, lost = self._held_without_rows() if is_left_out else obj, staying
        elif answered is None and not frames.within(known, going).num_rows:
            self._record(table, answer)
            return
        else:
            whole, lost = self._with_held(obj, table, staying)
        stored = (
            frames.distinct(frames.within(known, gone).select(samples)) if known.num_rows else None
        )
        if lost.num_rows:
            self._told_lost(lost, staying)
            lost = frames.distinct(lost.select(samples))
            stored = lost if stored is None else pa.concat_tables([stored, lost])
        if stored is not None and stored.num_rows:
            store.invalidate(key, stored)
        new = frames.without(table, known) if table.num_rows and known.num_rows else table
        if new.num_rows and not store.graph.plan(key).is_root:
            new = new.slice(0, _MADE_KNOWN)
            answer = replace(answer, announced=new.num_rows)
            store.write(key, _unproven(new, store, key), columns=self._columns or ids)
        self._store(whole)
        self._record(table, answer)

    def _going(self, answered: pa.Table | None, asked: pa.Table | None) -> tuple[pa.Table, Answer]:
        """The samples whose rows end, and how the rows answer the increment."""
        output, work = self.output, self.output.work
        increment, asset = output.increment, output.asset
        columns, doubtful = self._columns, output.answer().doubtful
        answer = Answer(doubtful, None, columns, elsewhere=True)
        if increment is None:
            return pa.table({name: pa.array([]) for name in self._samples}), answer
        pending = increment.ids((NEW, STALE)) if asked is None else asked
        parts = [increment.orphaned_ids]
        empty = None if work is None else work.emptied.get(asset.asset_key)
        if asset.unreturned_empty:
            left = pending
            for others in (answered, increment.failed, doubtful):
                if others is not None and others.num_rows:
                    left = frames.without(left, others)
            empty = left if empty is None else frames.distinct(pa.concat_tables([empty, left]))
        if empty is not None:
            parts.append(empty)
            answer = Answer(doubtful, empty, columns, elsewhere=True)
        if output.limits.of_failed(asset) == c.FAILED_DELETE and increment.failed is not None:
            parts.append(increment.failed)
        schema = pending.schema
        return pa.concat_tables([one.select(schema.names).cast(schema) for one in parts]), answer

    def _with_held(self, obj: Any, table: pa.Table, staying: pa.Table) -> tuple[Any, pa.Table]:
        """What is held with what was returned; and the ids of rows that are held no more.

        Raises:
            RunError: nothing of what should stay is held.
        """
        feature, constants = str(self.output.asset.feature), self.output.scope.constants
        nothing = not table.num_columns
        held = frames.as_one_frame(self._held(None if nothing else obj), feature)
        ids = frames.ids_of(held, self._ids, feature=feature, constants=constants)
        lost = frames.without(staying, ids)
        if lost.num_rows == staying.num_rows:
            raise RunError(
                "the samples that need not be computed are missing where the feature is stored",
                feature=feature,
                found=f"{ids.num_rows} rows by {type(self.inner).__name__}"
                f"{_examples(ids)}; the metadata store counts {staying.num_rows} others as "
                f"computed{_examples(staying)}",
                remedy=f'have them computed again: store.invalidate("{feature}", '
                f'store.read("{feature}")), or adopt what is there',
            )
        stays = frames.is_among(ids, staying)
        if nothing:
            return frames.filtered(held, stays), lost
        at = frames.places(ids, table.select(list(self._ids)))
        return frames.merged(
            held, obj, frames.merged_order(stays, at, table.num_rows), feature
        ), lost

    def _held_without_rows(self) -> Any:
        feature, constants = str(self.output.asset.feature), self.output.scope.constants
        held = frames.as_one_frame(self._held(None), feature)
        ids = frames.ids_of(held, self._ids, feature=feature, constants=constants)
        return frames.filtered(held, frames.is_among(ids, ids.slice(0, 0)))

    def _held(self, like: Any) -> Any:
        """What the inner one holds of the partitions of this run, in the type of a value."""
        context, kind = self.output.context, self.output.context.dagster_type
        if like is not None:
            made = frames.eager_type(like)
            kind = kind if kind.typing_type is made else dg.PythonObjectDagsterType(made)
        return self.inner.load_input(_compat.own_output(context, kind))

    def _told_lost(self, lost: pa.Table, staying: pa.Table) -> None:
        self.output.context.log.warning(
            "feature %s: %d of %d samples that count as computed are not in what %s holds, for "
            "example %s: they are pending again",
            self.output.asset.feature,
            lost.num_rows,
            staying.num_rows,
            type(self.inner).__name__,
            lost.slice(0, 3).to_pylist(),
        )

    # What is returned is the whole

    def _replace(self, obj: Any, table: pa.Table) -> None:
        output, store, key = self.output, self.output.store, self.output.asset.feature
        columns, increment = self._columns, output.increment
        plan, known = store.graph.plan(key), self._known()
        rows = table
        if increment is None:
            kept = table.column_names if columns is None else columns
            declared = ClassColumns.of(store.graph.feature_class(key))
            versioned = frames.kept_rows(table, plan, kept, declared)
            rows = table if columns is None else versioned
            filters = output.scope.filters(store.schema(key)) if output.scope else None
            increment = store.resolve_update(key, samples=versioned, filters=filters)
        changed = increment.ids((STALE, ORPHANED))
        going = frames.without(known, table) if known.num_rows and table.num_rows else known
        self._guard(going.num_rows, known.num_rows)
        going = going.select(changed.column_names)
        if known.num_rows:
            parts = [
                frames.within(known, one).select(changed.column_names)
                for one in (changed, going)
                if one.num_rows
            ]
            if parts:
                store.invalidate(key, frames.distinct(pa.concat_tables(parts)))
        self._store(obj)
        answer = output.answer()
        self._record(
            rows,
            Answer(answer.doubtful, None, columns, elsewhere=True, by_content=rows is not table),
            table,
        )

    def _guard(self, deleted: int, stored: int) -> None:
        """Refuse before anything is overwritten what the store would refuse afterwards.

        Raises:
            DeletionRefusedError: too many samples would be deleted.
        """
        asset, limits = self.output.asset, self.output.limits
        if deleted <= limits.share(asset) * stored:
            return
        raise limits.explained(
            DeletionRefusedError(
                "replacing the feature by this frame would delete more samples than is allowed",
                feature=str(asset.feature),
                found=f"{deleted} of {stored} samples are not in the frame",
                allowed=f"at most {limits.share(asset):.1%} at once",
            )
        )

    # What cannot be recorded

    def _is_unknown(self) -> bool:
        """Whether nothing tells what a derived feature was computed from."""
        output = self.output
        plan = output.store.graph.plan(output.asset.feature)
        return output.increment is None and not plan.is_root

    def _store_other(self, obj: Any) -> None:
        """What is no frame goes where it went.

        Raises:
            RunError: it was made of pending samples alone.
        """
        output = self.output
        kind = f"what the asset returns is no frame but a {type(obj).__name__}"
        if output.asset.increment and output.increment is not None:
            raise RunError(
                "what was made of pending samples is no frame, so that it cannot be merged into "
                "what is stored",
                feature=str(output.asset.feature),
                found=f"{type(obj).__module__}.{type(obj).__qualname__}",
                allowed="a frame with a row per sample",
                remedy=f'remove "{c.KEY_INPUT}": "{c.INPUT_INCREMENT}" from the asset, so that it '
                "gets all samples, or return a frame",
            )
        self._store_unrecorded(obj, kind)

    def _store_unrecorded(self, obj: Any, reason: str) -> None:
        """Store as before; what was recorded earlier is true no more."""
        output, known = self.output, self._known()
        if known.num_rows:
            samples = frames.distinct(known.select(list(self._samples)))
            output.store.invalidate(output.asset.feature, samples)
        self._store(obj)
        output.context.log.warning(
            "asset %s is stored, and not recorded: %s",
            output.asset.asset_key.to_user_string(),
            reason,
        )

    def _record(
        self, rows: pa.Table | None, answer: Answer, returned: pa.Table | None = None
    ) -> None:
        output, work = self.output, self.output.work
        if not self.is_batch:
            self._tell_columns(rows if returned is None else returned)
            output.record(rows, answer)
        elif rows is not None and work is not None:
            work.written.append(output.write(rows, answer))

    def _tell_columns(self, rows: pa.Table | None) -> None:
        """Tell the columns of what was returned, unless the inner one did: the store lacks some."""
        context = self.output.context
        if rows is None or not rows.num_rows:
            return
        if c.KEY_COLUMN_SCHEMA not in context.get_logged_metadata():
            names = [each for each in rows.schema if not each.name.startswith(c.PREFIX)]
            columns = [dg.TableColumn(each.name, str(each.type)) for each in names]
            context.add_output_metadata({c.KEY_COLUMN_SCHEMA: dg.TableSchema(columns=columns)})

    def _store(self, obj: Any) -> None:
        self.inner.handle_output(self.output.context, obj)

    # What is known

    @property
    def _ids(self) -> tuple[str, ...]:
        return self.output.store.graph[self.output.asset.feature].id_columns

    @property
    def _samples(self) -> tuple[str, ...]:
        increment = self.output.increment
        return self._ids if increment is None else increment.sample_columns

    @property
    def _columns(self) -> tuple[str, ...] | None:
        """The columns that the store keeps; ``None`` for all."""
        asset, graph = self.output.asset, self.output.store.graph
        chosen = asset.keys.stored_columns
        if chosen == c.STORED_ALL:
            return None
        named = (
            *self._ids,
            *asset.keys.partition,
            *asset.keys.partition_by.values(),
            *needed_columns(graph, asset.feature),
            *(chosen or ()),
        )
        return tuple(dict.fromkeys(named))

    def _known(self) -> pa.Table:
        """The ids of the samples that the store knows, of those that are the asset's own."""
        output, store, key = self.output, self.output.store, self.output.asset.feature
        with store.connected():
            schema = store.schema(key)
            if not schema:
                return pa.table({name: pa.array([]) for name in self._ids})
            filters = output.scope.filters(schema) if output.scope else None
            return store.read_table(key, columns=list(self._ids), filters=filters)

    def _with_levels(self, obj: Any) -> Any:
        """A pandas frame whose ids are its index, with these as columns."""
        levels = frames.index_levels(obj, self._ids)
        return obj.reset_index(levels) if levels else obj


def _check_asked_for(answered: pa.Table, increment: Increment, feature: str) -> None:
    """Refuse before anything is stored what the store would refuse afterwards.

    Raises:
        FrameError: samples that the increment did not ask for.
    """
    listed = increment.delta
    strangers = frames.without(answered, listed.select(answered.column_names))
    if strangers.num_rows:
        raise FrameError(
            "the frame has samples that the increment did not ask for",
            feature=feature,
            found=f"{strangers.num_rows} samples, for example {strangers.slice(0, 5).to_pylist()}",
            allowed=f"{listed.num_rows} listed samples",
            remedy="return only ids that came in through the increment's frames",
        )


def _unproven(rows: pa.Table, store: MetadataStore, key: Any) -> pa.Table:
    """Rows that are known, and computed from nothing that there is."""
    token = uuid.uuid4().hex
    names = [str(field.key) for field in store.graph.plan(key).fields]
    told = [name for name in rows.column_names if name.startswith(c.PREFIX)]
    struct = pa.StructArray.from_arrays([pa.array([token] * rows.num_rows)] * len(names), names)
    return rows.drop_columns(told).append_column(c.COL_PROVENANCE_BY_FIELD, struct)


def _examples(ids: pa.Table) -> str:
    return f", for example {ids.slice(0, 3).to_pylist()}" if ids.num_rows else ""
