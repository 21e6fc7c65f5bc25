"""Changes to the columns of a stored table: many at once cost what one does.

DuckDB copies the description of a whole table for each ``ALTER``, so that adding a thousand columns
one by one costs a thousand times a thousand. A small table is rather made anew.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import duckdb

from metaxy_dagster.stores.duckdb.file.bulk import column_clauses
from metaxy_dagster.stores.duckdb.sql.identifiers import literal, quote

__all__ = ["Change", "add_entries", "reshape"]

# Measured: this many ALTERs cost as much as making an empty table anew, and one more for each so
# many of its rows.
_MANY = 100
_ROWS_EACH = 10
# No feature has a table of this name.
_OLD = '"~old"'


@dataclass(frozen=True)
class Change:
    """What is to change of a table's columns.

    Attributes:
        added: new columns and their DuckDB types.
        retyped: columns, their new types, and the SQL that gives their values.
    """

    added: Mapping[str, str] = field(default_factory=dict)
    retyped: Mapping[str, tuple[str, str]] = field(default_factory=dict)

    @property
    def number(self) -> int:
        """How many columns are concerned."""
        return len(self.added) + len(self.retyped)


def reshape(connection: duckdb.DuckDBPyConnection, table: str, change: Change) -> None:
    """Change the columns of a table, each for itself or all at once, whichever costs less.

    Args:
        connection: an open transaction.
        table: its quoted, qualified name.
        change: what is to change.
    """
    if change.number > _MANY:
        ((rows,),) = connection.execute(f"SELECT count(*) FROM {table}").fetchall()
        if change.number > _MANY + rows // _ROWS_EACH:
            _make_anew(connection, table, change)
            return
    for name, kind in change.added.items():
        connection.execute(f"ALTER TABLE {table} ADD COLUMN {quote(name)} {kind}")
    for name, (kind, value) in change.retyped.items():
        connection.execute(
            f"ALTER TABLE {table} ALTER {quote(name)} TYPE {kind} USING {value}::{kind}"
        )


def _make_anew(connection: duckdb.DuckDBPyConnection, table: str, change: Change) -> None:
    relation = connection.sql(f"SELECT * FROM {table} LIMIT 0")
    types = dict(zip(relation.columns, map(str, relation.types), strict=True))
    values = {name: quote(name) for name in types}
    for name, (kind, value) in change.retyped.items():
        types[name], values[name] = kind, f"{value}::{kind}"
    types |= change.added
    clauses = column_clauses(connection)
    body = ", ".join(f"{quote(n)} {kind} {clauses.get(n, '')}" for n, kind in types.items())
    old = ".".join((*table.split(".", 2)[:2], _OLD))
    connection.execute(f"ALTER TABLE {table} RENAME TO {_OLD}")
    connection.execute(f"CREATE TABLE {table} ({body})")
    named = ", ".join(f"{sql} AS {quote(name)}" for name, sql in values.items())
    connection.execute(f"INSERT INTO {table} BY NAME SELECT {named} FROM {old}")
    connection.execute(f"DROP TABLE {old}")


def add_entries(
    connection: duckdb.DuckDBPyConnection, table: str, column: str, entries: Sequence[str]
) -> None:
    """Add text entries to a STRUCT column.

    Args:
        connection: an open transaction.
        table: its quoted, qualified name.
        column: the STRUCT column.
        entries: those that it lacks.
    """
    if len(entries) == 1:
        connection.execute(
            f"ALTER TABLE {table} ADD COLUMN {quote(column)}.{quote(entries[0])} VARCHAR"
        )
    if len(entries) <= 1:
        return
    (kind,) = connection.sql(f"SELECT {quote(column)} FROM {table} LIMIT 0").types
    present = [name for name, _ in kind.children]
    body = ", ".join(
        [
            # Not by a dot: DuckDB 1.5 takes that here for a column of a table.
            *(f"{quote(n)} := struct_extract({quote(column)}, {literal(n)})" for n in present),
            *(f"{quote(name)} := NULL::VARCHAR" for name in entries),
        ]
    )
    types = ", ".join(f"{quote(name)} VARCHAR" for name in (*present, *entries))
    connection.execute(
        f"ALTER TABLE {table} ALTER {quote(column)} TYPE STRUCT({types}) USING"
        f" CASE WHEN {quote(column)} IS NOT NULL THEN struct_pack({body}) END"
    )
