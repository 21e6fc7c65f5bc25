"""Which rows of a frame differ from what is stored."""

from __future__ import annotations

import duckdb

from metaxy_dagster import constants as c
from metaxy_dagster.features.columns import fold
from metaxy_dagster.stores.duckdb import layout
from metaxy_dagster.stores.duckdb.identifiers import quote, table_of
from metaxy_dagster.stores.duckdb.passes import passes
from metaxy_dagster.stores.duckdb.provenance import Literals, sample_provenance, struct_of
from metaxy_dagster.stores.duckdb.staging import STAGE, Staged

__all__ = ["CHANGED", "mark_changed"]

CHANGED = "metaxy_changed"


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
    kept = _kept_content(staged, stored, dropped) if by_content else ""
    table, number, into = table_of(staged.plan.key), 0, f"CREATE OR REPLACE TEMP TABLE {CHANGED} AS"
    for part, values in passes(connection, staged.table.num_rows, names, stored.types):
        number += layout.number(
            connection,
            f"{into} SELECT s.* {kept}, r.rowid AS metaxy_rid,"
            f" r.{quote(c.COL_CREATED_AT)} AS {quote(c.COL_CREATED_AT)}"
            f" FROM (SELECT * FROM {STAGE} WHERE {part}) s"
            f" LEFT JOIN (SELECT *, rowid FROM {table} WHERE {part}) r ON {ids}"
            f" WHERE r.rowid IS NULL OR NOT ({terms})",
            values,
        )
        into = f"INSERT INTO {CHANGED}"
    return number


def _same(name: str) -> str:
    return f"s.{quote(name)} IS NOT DISTINCT FROM r.{quote(name)}"


def _kept_content(staged: Staged, stored: layout.Table, dropped: list[str]) -> str:
    """The provenance of fields of which nothing changed stays, whatever its hash would be now."""
    known = {fold(name) for name in stored.fields[c.COL_PROVENANCE_BY_FIELD]}
    ids = {fold(name) for name in staged.plan.spec.id_columns}
    everything = [name for name in staged.user_columns if fold(name) not in ids]
    struct = quote(c.COL_PROVENANCE_BY_FIELD)
    fields = {}
    for field in staged.plan.spec.fields:
        names = everything if field.columns is None else list(field.columns)
        entry = quote(str(field.key))
        fields[field.key] = now = f"s.{struct}.{entry}"
        if fold(str(field.key)) in known and all(map(stored.column_named, names)):
            terms = [*map(_same, names), *(dropped if field.columns is None else ())]
            same = " AND ".join(["r.rowid IS NOT NULL", *terms])
            fields[field.key] = f"coalesce(CASE WHEN {same} THEN r.{struct}.{entry} END, {now})"
    entries = struct_of({str(key): sql for key, sql in fields.items()})
    whole = sample_provenance(fields, Literals(), hashed=True)
    return f"REPLACE ({entries} AS {struct}, {whole} AS {quote(c.COL_PROVENANCE)})"
