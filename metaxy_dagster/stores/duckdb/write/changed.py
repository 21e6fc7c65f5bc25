"""Which rows of a frame differ from what is stored."""

from __future__ import annotations

from collections.abc import Sequence

import duckdb

from metaxy_dagster import constants as c
from metaxy_dagster.features import FieldKey
from metaxy_dagster.features.columns import fold
from metaxy_dagster.stores.duckdb.file import layout
from metaxy_dagster.stores.duckdb.sql.identifiers import quote, table_of
from metaxy_dagster.stores.duckdb.sql.provenance import Literals, sample_provenance, struct_of
from metaxy_dagster.stores.duckdb.write.passes import passes
from metaxy_dagster.stores.duckdb.write.staged import STAGE, Staged

__all__ = ["CHANGED", "mark_changed"]

CHANGED = "metaxy_changed"
# A stored row, and none that was invalidated: that has no feature version.
_VALID = f"r.{quote(c.COL_FEATURE_VERSION)} IS NOT NULL"


def mark_changed(
    connection: duckdb.DuckDBPyConnection, staged: Staged, stored: layout.Table, *, same_spec: bool
) -> int:
    """Collect rows of the stage that are new, or differ from what is stored in what matters.

    Args:
        connection: on which the frame was staged.
        staged: the frame.
        stored: the feature's table before this write.
        same_spec: whether the rows were stored under the same spec.

    Returns:
        Their number.
    """
    # Content is compared as what it is: of types that widened, or structs that grew, the hash may
    # be another one than before, which says nothing.
    by_content = staged.by_content and same_spec
    compared = [*staged.user_columns, c.COL_DATA_VERSION, c.COL_FEATURE_VERSION]
    compared += [] if by_content else [c.COL_PROVENANCE]
    present = {fold(name) for name in staged.user_columns}
    # A column that the frame dropped is emptied in every row that is written.
    dropped = [f"r.{quote(n)} IS NULL" for n in stored.columns if fold(n) not in present]
    terms = " AND ".join([*map(_same, compared), *dropped])
    names = staged.plan.spec.id_columns
    ids = " AND ".join(f"s.{quote(n)} = r.{quote(n)}" for n in names)
    same, kept = _kept_content(staged, stored, dropped) if by_content else ("", "")
    table, number, into = table_of(staged.plan.key), 0, f"CREATE OR REPLACE TEMP TABLE {CHANGED} AS"
    for part, values in passes(connection, staged.table.num_rows, names, stored.types):
        number += layout.number(
            connection,
            f"{into} SELECT * {kept} FROM (SELECT s.*, r.rowid AS metaxy_rid,"
            f" r.{quote(c.COL_CREATED_AT)} AS {quote(c.COL_CREATED_AT)}{same}"
            f" FROM (SELECT * FROM {STAGE} WHERE {part}) s"
            f" LEFT JOIN (SELECT *, rowid FROM {table} WHERE {part}) r ON {ids}"
            f" WHERE r.rowid IS NULL OR NOT ({terms}))",
            values,
        )
        into = f"INSERT INTO {CHANGED}"
    return number


def _same(name: str) -> str:
    return f"s.{quote(name)} IS NOT DISTINCT FROM r.{quote(name)}"


def _kept_content(staged: Staged, stored: layout.Table, dropped: Sequence[str]) -> tuple[str, str]:
    """The provenance of fields of which nothing changed stays, whatever its hash would be now.

    Returns:
        What is to be selected beside each row: its stored provenance, and whether the columns of
        fields are as they were, once for fields of the same columns; and what that is used for.
    """
    known = {fold(name) for name in stored.fields[c.COL_PROVENANCE_BY_FIELD]}
    ids = {fold(name) for name in staged.plan.spec.id_columns}
    everything = tuple(name for name in staged.user_columns if fold(name) not in ids)
    struct = quote(c.COL_PROVENANCE_BY_FIELD)
    fields: dict[FieldKey, str] = {}
    tests: dict[tuple[str, ...], str] = {}
    for field in staged.plan.spec.fields:
        names = everything if field.columns is None else tuple(field.columns)
        entry = quote(str(field.key))
        fields[field.key] = now = f"{struct}.{entry}"
        if fold(str(field.key)) in known and all(map(stored.column_named, names)):
            terms = (*map(_same, names), *(dropped if field.columns is None else ()))
            same = tests.setdefault(terms, f"metaxy_same_{len(tests)}")
            fields[field.key] = f"coalesce(CASE WHEN {same} THEN metaxy_was.{entry} END, {now})"
    beside = [f"r.{struct} AS metaxy_was"]
    beside += [f"{' AND '.join([_VALID, *terms])} AS {name}" for terms, name in tests.items()]
    entries = struct_of({str(key): sql for key, sql in fields.items()})
    whole = sample_provenance(fields, Literals(), hashed=True)
    left_out = ", ".join(["metaxy_was", *tests.values()])
    replaced = f"{entries} AS {struct}, {whole} AS {quote(c.COL_PROVENANCE)}"
    return f", {', '.join(beside)}", f"EXCLUDE ({left_out}) REPLACE ({replaced})"
