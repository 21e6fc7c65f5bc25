"""From a user's frame to a staged table: checks first, then the provenance of every row.

Nothing is written to the feature here; whatever is refused is refused before the store changes.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import duckdb
import pyarrow as pa

from metaxy_dagster import constants as c
from metaxy_dagster.errors import FrameError
from metaxy_dagster.features import FeaturePlan, FieldKey
from metaxy_dagster.features.columns import fold
from metaxy_dagster.stores.checks import (
    check_columns,
    check_id_values,
    check_provenance,
    is_struct_of_text,
)
from metaxy_dagster.stores.counts import ORPHANED, STATUS
from metaxy_dagster.stores.duckdb.bulk import even_batches
from metaxy_dagster.stores.duckdb.identifiers import columns, quote
from metaxy_dagster.stores.duckdb.layout import struct_type
from metaxy_dagster.stores.duckdb.provenance import Literals, Values, sample_provenance, struct_of
from metaxy_dagster.stores.duckdb.scratch import scratch
from metaxy_dagster.stores.duckdb.views import sample_columns
from metaxy_dagster.stores.encoding import HASH_LENGTH
from metaxy_dagster.stores.frames import check_ids, to_arrow
from metaxy_dagster.stores.increment import Increment

__all__ = [
    "STAGE",
    "Staged",
    "check_asked_for",
    "check_increment",
    "prepare",
    "prepare_samples",
    "stage",
]

STAGE = "metaxy_stage"
_INPUT = "metaxy_input"
_DELTA = "metaxy_written_delta"
_LISTED = f"SELECT * FROM {_DELTA} WHERE {quote(STATUS)} <> {ORPHANED}"
_SHOWN = 5


@dataclass(frozen=True)
class Staged:
    """A checked frame, ready for a transaction.

    Attributes:
        plan: the feature.
        table: its user columns, and ``metaxy_provenance_by_field`` unless ``delta`` brings it.
        types: the user's columns and the DuckDB types in which they arrive.
        delta: provenance by sample, from an increment.
        sample_columns: the columns on which ``delta`` is joined.
    """

    plan: FeaturePlan
    feature_version: str
    table: pa.Table
    types: Mapping[str, str]
    delta: pa.Table | None
    sample_columns: tuple[str, ...]

    @property
    def is_nothing(self) -> bool:
        """Whether an increment was answered by no rows, of whatever columns."""
        return self.delta is not None and not self.table.num_rows

    @property
    def user_columns(self) -> tuple[str, ...]:
        """The columns that belong to the user."""
        return tuple(self.types)

    @property
    def parent_columns(self) -> tuple[str, ...]:
        """In an expansion, the columns that name the parent of a row; else none."""
        if all(dep.lineage_type != "expansion" for dep in self.plan.deps):
            return ()
        return sample_columns(self.plan)


def prepare(
    plan: FeaturePlan,
    feature_version: str,
    frame: Any,
    *,
    increment: Increment | None,
    declared: Mapping[str, bool] | None,
) -> Staged:
    """Check a frame against its feature and find out where its provenance comes from.

    Args:
        plan: the feature.
        feature_version: its current version.
        frame: anything narwhals accepts.
        increment: the increment that the frame was computed from, if there is one.
        declared: the columns of the feature's class, and whether each is required.

    Raises:
        FrameError: wrong type, columns or ids, or no way to know the provenance.
    """
    if increment is not None:
        check_increment(increment, plan)
    table = to_arrow(frame, str(plan.key))
    if increment is not None and not table.num_rows:
        columns_of = increment.sample_columns
        return Staged(plan, feature_version, table.select([]), {}, increment.delta, columns_of)
    check_ids(table, plan.spec)
    check_columns(table, plan, declared)
    check_id_values(table, plan)
    delta = None
    if increment is not None:
        delta = increment.delta
        table = _without(table, c.COL_PROVENANCE_BY_FIELD)
    elif c.COL_PROVENANCE_BY_FIELD in table.column_names:
        check_provenance(table, plan, feature_version)
    elif plan.is_root:
        table = _with_content_versions(table, plan)
    else:
        raise FrameError(
            "the provenance of these rows is unknown, so later changes could not be detected",
            feature=str(plan.key),
            found=f"columns {table.column_names}",
            allowed=f"a frame with {c.COL_PROVENANCE_BY_FIELD}, or the increment that it was "
            "computed from",
            remedy="compute from store.resolve_update(...) and keep its provenance columns, or "
            "write(..., increment=increment)",
        )
    keep = {c.COL_PROVENANCE_BY_FIELD, c.COL_DATA_VERSION_BY_FIELD}
    user = [name for name in table.column_names if not name.startswith(c.PREFIX)]
    table = table.select(user + [name for name in table.column_names if name in keep])
    sample = increment.sample_columns if increment is not None else plan.spec.id_columns
    return Staged(
        plan, feature_version, table, _arrived_types(table, user, str(plan.key)), delta, sample
    )


def check_increment(increment: object, plan: FeaturePlan) -> None:
    """Refuse what is no increment of this feature.

    Raises:
        FrameError: with what it is.
    """
    if isinstance(increment, Increment) and increment.feature == plan.key:
        return
    raise FrameError(
        "what was passed as the increment is not one of this feature",
        feature=str(plan.key),
        found=f"an increment of {str(increment.feature)!r}"
        if isinstance(increment, Increment)
        else type(increment).__qualname__,
        allowed=f"what store.resolve_update({str(plan.key)!r}) gave",
        remedy="pass the increment that the frame was computed from",
    )


def prepare_samples(plan: FeaturePlan, feature_version: str, samples: Any) -> pa.Table | None:
    """The samples that a root should have, with their provenance.

    Raises:
        FrameError: a root without samples, samples for a derived feature, or a bad frame.
    """
    if plan.is_root is (samples is not None):
        if samples is None:
            return None
        return _with_provenance(samples, plan, feature_version)
    if plan.is_root:
        problem, remedy = (
            "a feature without upstreams cannot tell by itself what has changed",
            "pass samples=, a frame with the samples that there should be",
        )
    else:
        problem, remedy = (
            "the samples of a derived feature follow from its upstreams",
            "leave samples= out, or narrow the increment by filters=",
        )
    raise FrameError(problem, feature=str(plan.key), remedy=remedy)


def _with_provenance(samples: Any, plan: FeaturePlan, feature_version: str) -> pa.Table:
    table = to_arrow(samples, str(plan.key))
    check_ids(table, plan.spec)
    check_id_values(table, plan)
    if c.COL_PROVENANCE_BY_FIELD in table.column_names:
        check_provenance(table, plan, feature_version)
        return table
    return _with_content_versions(table, plan)


def _without(table: pa.Table, name: str) -> pa.Table:
    return table.drop_columns([name]) if name in table.column_names else table


def _arrived_types(table: pa.Table, names: list[str], feature: str) -> dict[str, str]:
    # The rows tell nothing of their types.
    empty = table.select(names).slice(0, 0)
    if not names:
        return {}
    with scratch() as connection:
        try:
            kinds = connection.from_arrow(empty).types
        except duckdb.Error:
            kinds = [_arrived_type(connection, empty, name, feature) for name in names]
    # DuckDB 1.5 takes a column of nothing but nulls for integers.
    return {
        name: "NULL" if pa.types.is_null(table.schema.field(name).type) else str(kind)
        for name, kind in zip(names, kinds, strict=True)
    }


def _arrived_type(
    connection: duckdb.DuckDBPyConnection, table: pa.Table, name: str, feature: str
) -> Any:
    try:
        (kind,) = connection.from_arrow(table.select([name])).types
    except duckdb.Error as error:
        raise FrameError(
            f"column {name!r} has a type that cannot be stored",
            feature=feature,
            found=f"{table.schema.field(name).type} ({error})",
            remedy=f"cast {name!r} to a plain type before it is written",
        ) from error
    return kind


def _with_content_versions(table: pa.Table, plan: FeaturePlan) -> pa.Table:
    """A root's provenance: the content of each field's columns, hashed row by row."""
    ids = {fold(name) for name in plan.spec.id_columns}
    everything = [
        name
        for name in table.column_names
        if fold(name) not in ids and not name.startswith(c.PREFIX)
    ]
    from metaxy_dagster.stores.content import content_versions  # noqa: PLC0415 - slow to import

    arrays, names = [], []
    for field in plan.spec.fields:
        wanted = everything if field.columns is None else list(field.columns)
        missing = [name for name in wanted if name not in table.column_names]
        if missing:
            raise FrameError(
                f"field {str(field.key)!r} is made of columns that the frame lacks",
                feature=str(plan.key),
                found=f"missing {missing}; the frame has {table.column_names}",
                remedy="return these columns, or correct the columns of the field",
            )
        try:
            arrays.append(content_versions(table, wanted))
        except FrameError as error:
            raise error.located(feature=str(plan.key)) from error
        names.append(str(field.key))
    struct = pa.StructArray.from_arrays(arrays, names=names)
    return table.append_column(c.COL_PROVENANCE_BY_FIELD, struct)


def stage(
    connection: duckdb.DuckDBPyConnection,
    staged: Staged,
    types: Mapping[str, str],
    *,
    once: bool = False,
) -> None:
    """Make the temporary table of rows to write, in the stored types.

    Args:
        connection: an open transaction.
        staged: the checked frame.
        types: the DuckDB type that each user column is stored in.
        once: the rows will be read once, so that there is no need to keep them; whether the
            increment asked for them must then be checked once they were read.

    Raises:
        FrameError: rows that the increment did not ask for.
    """
    connection.register(_INPUT, even_batches(staged.table))
    user = ", ".join(f"i.{quote(n)}::{types[n]} AS {quote(n)}" for n in staged.user_columns)
    source = f"{_INPUT} i"
    given = f"i.{quote(c.COL_PROVENANCE_BY_FIELD)}"
    if staged.delta is not None:
        given = f"d.{quote(c.COL_PROVENANCE_BY_FIELD)}"
        connection.register(_DELTA, staged.delta)
        source += f" JOIN ({_LISTED}) d USING ({columns(staged.sample_columns)})"
    values = Literals() if once else Values()
    fields = {field.key: f"{given}.{quote(str(field.key))}" for field in staged.plan.fields}
    provenance = struct_of({str(key): sql for key, sql in fields.items()})
    hashed = False
    if staged.delta is None:
        hashed, as_stored = _known_hashes(staged.table, [str(key) for key in fields])
        provenance = given if as_stored else provenance
    whole = quote(c.COL_PROVENANCE)
    if staged.delta is None:
        whole = f"{sample_provenance(fields, values, hashed=hashed)} AS {whole}"
    # Without versions of the user's own, the data is known by what it was computed from.
    version, own = f"NULL::{struct_type(map(str, fields))}", "NULL::VARCHAR"
    if c.COL_DATA_VERSION_BY_FIELD in staged.table.column_names:
        given_versions = _data_versions(staged, fields)
        version = struct_of({str(key): sql for key, sql in given_versions.items()})
        own = sample_provenance(given_versions, values)
    found = connection.execute(
        f"CREATE OR REPLACE TEMP {'VIEW' if once else 'TABLE'} {STAGE} AS SELECT {user},"
        f" {provenance} AS {quote(c.COL_PROVENANCE_BY_FIELD)},"
        f" {version} AS {quote(c.COL_DATA_VERSION_BY_FIELD)},"
        f" {whole}, {own} AS {quote(c.COL_DATA_VERSION)},"
        f" {values.bind(staged.feature_version)}::VARCHAR AS {quote(c.COL_FEATURE_VERSION)}"
        f" FROM {source}",
        values,
    ).fetchall()
    if not once:
        check_asked_for(connection, staged, int(found[0][0]))


def _known_hashes(table: pa.Table, names: list[str]) -> tuple[bool, bool]:
    """Whether all provenance is of a hash's length, and whether the struct is as it is stored.

    Then the lengths need not be found row by row, nor the struct be packed anew.
    """
    import pyarrow.compute as pc  # noqa: PLC0415 - slow to import, only needed here

    column = table.column(c.COL_PROVENANCE_BY_FIELD)
    plain = all(pa.types.is_string(f.type) or pa.types.is_large_string(f.type) for f in column.type)
    if not plain or not table.num_rows:
        return False, False
    spans = [pc.min_max(pc.binary_length(entry)).as_py() for entry in column.flatten()]
    same = {"min": HASH_LENGTH, "max": HASH_LENGTH}
    return all(span == same for span in spans), [f.name for f in column.type] == names


def _data_versions(staged: Staged, provenance: Mapping[FieldKey, str]) -> dict[FieldKey, str]:
    """The user's data versions; a field without one follows its provenance."""
    kind = staged.table.schema.field(c.COL_DATA_VERSION_BY_FIELD).type
    given = {field.name for field in kind} if is_struct_of_text(kind) else set()
    known = {str(field.key) for field in staged.plan.fields}
    if not given or given - known:
        raise FrameError(
            f"{c.COL_DATA_VERSION_BY_FIELD} must be a struct of texts, one per field",
            feature=str(staged.plan.key),
            found=sorted(given) or str(kind),
            allowed=sorted(known),
            remedy="name only fields of this feature",
        )
    column = f"i.{quote(c.COL_DATA_VERSION_BY_FIELD)}"
    return {
        key: f"coalesce({column}.{quote(str(key))}::VARCHAR, {sql})" if str(key) in given else sql
        for key, sql in provenance.items()
    }


def check_asked_for(connection: duckdb.DuckDBPyConnection, staged: Staged, rows: int) -> None:
    """Refuse samples that the increment did not ask for.

    Args:
        connection: on which the frame was staged.
        staged: the frame.
        rows: of it that the increment knows.

    Raises:
        FrameError: with some of the samples concerned.
    """
    if staged.delta is None:
        return
    # Samples are listed once each: if all were found, none is a stranger.
    if rows == staged.table.num_rows:
        return
    names = columns(staged.sample_columns)
    strangers = connection.execute(
        f"SELECT {columns(staged.sample_columns, 'i')} FROM {_INPUT} i ANTI JOIN"
        f" ({_LISTED}) d USING ({names})"
    ).fetchall()
    if strangers:
        raise FrameError(
            "the frame has samples that the increment did not ask for",
            feature=str(staged.plan.key),
            found=f"{len(strangers)} samples, for example {strangers[:_SHOWN]}",
            allowed=f"{staged.delta.num_rows} listed samples",
            remedy="return only ids that came in through the increment's frames",
        )
