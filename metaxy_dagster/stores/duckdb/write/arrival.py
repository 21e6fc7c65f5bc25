"""From a user's frame to one that may be staged: checks, and where its provenance comes from.

What is in memory is checked at once. What is collected batch by batch goes through a file on its
way, so that it is checked as a whole, and the user's code has run, before the store is locked.
"""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from metaxy_dagster import constants as c
from metaxy_dagster.errors import FrameError
from metaxy_dagster.features import FeaturePlan
from metaxy_dagster.features.class_columns import ClassColumns
from metaxy_dagster.features.columns import fold
from metaxy_dagster.stores.duckdb.file.connection import DuckDBFile
from metaxy_dagster.stores.duckdb.resolve.asked import Asked, check_increment
from metaxy_dagster.stores.duckdb.sql.identifiers import columns, literal
from metaxy_dagster.stores.duckdb.sql.registering import register
from metaxy_dagster.stores.duckdb.write.arrived import NOTHING, arrived_types
from metaxy_dagster.stores.duckdb.write.staged import COL_CONTENT, Staged
from metaxy_dagster.stores.frames.checks import (
    SHOWN,
    SeenIds,
    SeenProvenance,
    check_columns,
    check_id_values,
    is_struct_of_text,
    not_unique,
)
from metaxy_dagster.stores.frames.encoding import HASH_LENGTH
from metaxy_dagster.stores.frames.given import own_versions
from metaxy_dagster.stores.frames.logical import Logical
from metaxy_dagster.stores.frames.noting import KIND, logicals_of
from metaxy_dagster.stores.frames.root_samples import with_content_versions
from metaxy_dagster.stores.frames.rows import check_ids, to_rows
from metaxy_dagster.stores.frames.spool import Spool
from metaxy_dagster.stores.increment import Increment

__all__ = ["prepare"]

_IDS = "metaxy_ids"


def prepare(
    plan: FeaturePlan,
    feature_version: str,
    frame: Any,
    *,
    increment: Increment | None,
    declared: ClassColumns,
    file: DuckDBFile,
) -> Staged:
    """Check a frame against its feature and find out where its provenance comes from.

    Args:
        plan: the feature.
        feature_version: its current version.
        frame: anything narwhals accepts.
        increment: the increment that the frame was computed from, if there is one.
        declared: the columns of the feature's class.
        file: beside it there is room for what does not fit into memory; it is not opened.

    Raises:
        FrameError: wrong type, columns or ids, or no way to know the provenance.
    """
    asked = None
    if increment is not None:
        asked = check_increment(increment, plan, feature_version)
        # Rows are of the code that they were computed by, also if it changed meanwhile.
        feature_version = asked.feature_version
    rows = to_rows(frame, str(plan.key))
    if isinstance(rows, pa.Table) and increment is not None and not rows.num_rows:
        columns_of = increment.sample_columns
        return Staged(plan, feature_version, rows.select([]), {}, increment.delta, columns_of)
    empty = rows.schema.empty_table()
    has_rows = not isinstance(rows, pa.Table) or rows.num_rows > 0
    check_ids(empty, plan.spec, typed=has_rows)
    check_columns(empty, plan, declared)
    arrival = _Arrival(plan, feature_version, asked)
    table: pa.Table | Spool
    if isinstance(rows, pa.Table):
        check_id_values(rows, plan)
        arrival.check_known(empty)
        table = arrival.part(rows, whole=True) if rows.num_rows else _nothing_of(rows, plan)
    else:
        arrival.check_known(empty)
        table = _spooled(rows, arrival, file)
    arrival.check()
    user = [name for name in table.schema.names if not name.startswith(c.PREFIX)]
    types, notes = dict.fromkeys(user, NOTHING), {}
    if table.num_rows:
        columns_of = table.schema.empty_table().select(user)
        types, notes = arrived_types(columns_of, str(plan.key)), logicals_of(columns_of.schema)
        types |= _told_types(columns_of.schema, notes, plan)
    return Staged(
        plan,
        feature_version,
        table,
        types,
        None if asked is None else asked.listed,
        plan.spec.id_columns if increment is None else increment.sample_columns,
        hashed=arrival.hashed,
        as_stored=arrival.as_stored,
        by_content=arrival.by_content,
        logicals=notes,
    )


class _Arrival:
    """The rows of one frame, which bring their provenance or are given one, part by part.

    Attributes:
        plan: the feature.
        hashed: whether all provenance seen is of a hash's length.
        as_stored: whether the provenance struct is as it is stored.
        by_content: whether provenance is the content of the columns.
    """

    def __init__(self, plan: FeaturePlan, feature_version: str, asked: Asked | None) -> None:
        self.plan = plan
        self.hashed = self.as_stored = self.by_content = False
        self._known: tuple[bool, bool] | None = None
        self._asked = asked
        self._given: SeenProvenance | None = None
        self._version = feature_version

    def check_known(self, empty: pa.Table) -> None:
        """Refuse a frame whose columns tell nothing of its provenance.

        Raises:
            FrameError: the feature is derived, and there is neither provenance nor an increment.
        """
        if self._asked or c.COL_PROVENANCE_BY_FIELD in empty.column_names or self.plan.is_root:
            return
        raise FrameError(
            "the provenance of these rows is unknown, so later changes could not be detected",
            feature=str(self.plan.key),
            found=f"columns {empty.column_names}",
            allowed=f"a frame with {c.COL_PROVENANCE_BY_FIELD}, or the increment that it was "
            "computed from",
            remedy="compute from store.resolve_update(...) and keep its provenance columns, or "
            "write(..., increment=increment)",
        )

    def part(self, rows: pa.Table, *, whole: bool = False) -> pa.Table:
        """Some rows as they are staged; :meth:`check` is to follow the last.

        Args:
            rows: some of them.
            whole: whether they are all.

        Raises:
            FrameError: they have values that cannot be hashed, ids in another spelling, or data
                versions or provenance that are not of what they answer.
        """
        kept = {c.COL_PROVENANCE_BY_FIELD, c.COL_DATA_VERSION_BY_FIELD}
        rows = own_versions(rows, self.plan, {self._version}, keep=not whole)
        if self._asked is not None:
            rows = self._asked.fitted(rows)
            rows = self._asked.stamped(rows)
        elif c.COL_PROVENANCE_BY_FIELD in rows.column_names:
            self._given = self._given or SeenProvenance(self.plan, self._version)
            self._given.add(rows)
            rows = self._with_content(rows)
            kept.add(COL_CONTENT)
        else:
            rows, self.by_content = with_content_versions(rows, self.plan), True
        if self._asked is None and rows.num_rows:
            known = _known_hashes(rows, [str(field.key) for field in self.plan.fields])
            before = self._known or known
            self._known = (before[0] and known[0], before[1] and known[1])
        user = [name for name in rows.column_names if not name.startswith(c.PREFIX)]
        return rows.select(user + [name for name in rows.column_names if name in kept])

    def _with_content(self, rows: pa.Table) -> pa.Table:
        """Rows of a root that were read; if they were changed since, their provenance was not."""
        wanted = {name for field in self.plan.spec.fields for name in field.columns or ()}
        if (
            not self.plan.is_root
            or c.COL_UPDATED_AT not in rows.column_names
            or not wanted <= set(rows.column_names)
        ):
            return rows
        bare = rows.drop_columns([c.COL_PROVENANCE_BY_FIELD])
        content = with_content_versions(bare, self.plan).column(c.COL_PROVENANCE_BY_FIELD)
        return rows.append_column(COL_CONTENT, content)

    def check(self) -> None:
        """All was seen: refuse provenance of another feature, or of another version.

        Raises:
            FrameError: with what was found.
        """
        if self._given is not None:
            self._given.check()
        if self._known is not None:
            self.hashed, self.as_stored = self._known


def _told_types(
    schema: pa.Schema, notes: Mapping[str, Logical], plan: FeaturePlan
) -> dict[str, str]:
    """DuckDB types of which Arrow knows nothing: orders of text, and what came from DuckDB."""
    told = {field.name: (field.metadata or {}).get(KIND) for field in schema}
    found = {name: kind.decode() for name, kind in told.items() if kind}
    for name, note in notes.items():
        if note.order:
            found[name] = f"ENUM({', '.join(map(literal, note.order))})"
    # Ids of several features meet, so they keep to plain types.
    ids = {fold(name) for name in plan.spec.id_columns}
    return {name: kind for name, kind in found.items() if fold(name) not in ids}


def _nothing_of(rows: pa.Table, plan: FeaturePlan) -> pa.Table:
    """No rows, with provenance: the types of what holds nothing are not looked at."""
    entries = [pa.field(str(field.key), pa.string()) for field in plan.fields]
    user = [name for name in rows.column_names if not name.startswith(c.PREFIX)]
    provenance = pa.array([], pa.struct(entries))
    return pa.table({**dict.fromkeys(user, pa.nulls(0)), c.COL_PROVENANCE_BY_FIELD: provenance})


def _spooled(rows: pa.RecordBatchReader, arrival: _Arrival, file: DuckDBFile) -> Spool:
    """Collect a frame into a file, checked as one in memory would be.

    Raises:
        FrameError: as of :func:`prepare`.
    """
    with contextlib.suppress(OSError):
        # A store that is written for the first time; else, the system's directory is taken.
        file.path.parent.mkdir(parents=True, exist_ok=True)
    seen, spool = SeenIds(arrival.plan), Spool(pa.schema([]))
    for batch in rows:
        part = pa.Table.from_batches([batch])
        seen.add(part)
        part = arrival.part(part)
        if not spool.num_rows:
            spool = Spool(part.schema, file.path.parent)
        spool.append(part)
    seen.check_nulls()
    if not seen.ascend:
        _check_unique(spool, arrival.plan, file)
    return spool


def _check_unique(spool: Spool, plan: FeaturePlan, file: DuckDBFile) -> None:
    """As of :func:`check_id_values`, by an engine that does not need all ids in memory.

    Raises:
        FrameError: with some of the ids concerned.
    """
    names = list(plan.spec.id_columns)
    with file.engine() as connection:
        register(connection, _IDS, spool.reader(names))
        groups = f"SELECT {columns(names)}, count(*) AS metaxy_times FROM {_IDS} GROUP BY ALL"
        doubled = connection.sql(
            f"SELECT *, count(*) OVER () AS metaxy_total FROM ({groups} HAVING count(*) > 1)"
            f" LIMIT {SHOWN}"
        ).to_arrow_table()
    if doubled.num_rows:
        number = doubled.column("metaxy_total")[0].as_py()
        raise not_unique(
            plan, number, doubled.drop_columns(["metaxy_total"]).to_pylist(), "metaxy_times"
        )


def _known_hashes(table: pa.Table, names: list[str]) -> tuple[bool, bool]:
    """Whether all provenance is of a hash's length, and whether the struct is as it is stored.

    Then the lengths need not be found row by row, nor the struct be packed anew.
    """
    column = table.column(c.COL_PROVENANCE_BY_FIELD)
    if not is_struct_of_text(column.type):
        return False, False
    plain = all(pa.types.is_string(f.type) or pa.types.is_large_string(f.type) for f in column.type)
    if not plain:
        return False, False
    spans = [pc.min_max(pc.binary_length(entry)).as_py() for entry in column.flatten()]
    same = {"min": HASH_LENGTH, "max": HASH_LENGTH}
    return all(span == same for span in spans), [f.name for f in column.type] == names
