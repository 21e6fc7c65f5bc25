"""What the file looks like inside, and how it grows.

* ``main.<feature>``: the current state, one row per sample. What a person who opens the file sees.
* ``history.<feature>``: every row that was superseded or deleted, with the commit that ended it;
  only where there are any.
* ``metaxy.commits``: one row per write; its number orders everything (a clock never does), and
  its token tells it from others of that number, in files that were put back to a backup.
* ``metaxy.features``: what is known of each feature as a whole, see :mod:`.entries`.
* ``pending.<feature>``: samples that an earlier resolve found out about and nobody answered.
* ``empty.<feature>``: samples that were computed and yielded nothing; only where there are any.
* ``metaxy.format``: the version of this layout.

Data versions are NULL where they are the provenance, which is nearly everywhere.

A row is valid from ``metaxy_commit`` up to, not including, ``metaxy_ended``: the state of a
feature at any commit can be read back, so a lazy frame is a snapshot and holds no file open.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property

import duckdb

from metaxy_dagster import constants as c
from metaxy_dagster.errors import StoreError
from metaxy_dagster.features import FeatureKey
from metaxy_dagster.features.columns import fold
from metaxy_dagster.stores.duckdb.file.bulk import column_clauses
from metaxy_dagster.stores.duckdb.file.commits import Commit
from metaxy_dagster.stores.duckdb.file.entries import (
    Commits,
    Entry,
    State,
    history_of,
    read_entries,
)
from metaxy_dagster.stores.duckdb.file.migration import migrate
from metaxy_dagster.stores.duckdb.file.reshape import Change, add_entries, reshape
from metaxy_dagster.stores.duckdb.sql.identifiers import (
    CATALOG,
    empty_table,
    history_table,
    quote,
    table_of,
)
from metaxy_dagster.stores.frames.logical import Logical, of_text

__all__ = [
    "COL_COMMIT",
    "COL_ENDED",
    "FORMAT_VERSION",
    "KIND_EMPTY",
    "Table",
    "count",
    "create",
    "describe",
    "describe_marks",
    "ensure_format",
    "ensure_table",
    "make_history",
    "number",
    "read_state",
]

# docs/store-format.md lists what changed between formats, migration.py how files follow.
FORMAT_VERSION = 4
COL_COMMIT = c.COL_COMMIT
COL_ENDED = c.COL_ENDED
# Commits of this kind found samples empty, whatever else they did.
KIND_EMPTY = "empty"

_TIMESTAMP = "TIMESTAMP WITH TIME ZONE"
# Stored in both tables, in this order, behind the user's columns.
STORED_COLUMNS: Mapping[str, str] = {
    c.COL_PROVENANCE: "VARCHAR",
    c.COL_DATA_VERSION: "VARCHAR",
    c.COL_FEATURE_VERSION: "VARCHAR",
    c.COL_CREATED_AT: _TIMESTAMP,
    c.COL_UPDATED_AT: _TIMESTAMP,
    c.COL_MATERIALIZATION_ID: "VARCHAR",
    COL_COMMIT: "BIGINT",
}
STRUCT_COLUMNS = (c.COL_PROVENANCE_BY_FIELD, c.COL_DATA_VERSION_BY_FIELD)

_CREATE = f"""
CREATE SCHEMA IF NOT EXISTS {CATALOG}.metaxy;
CREATE SCHEMA IF NOT EXISTS {CATALOG}.history;
CREATE SCHEMA IF NOT EXISTS {CATALOG}.pending;
CREATE TABLE IF NOT EXISTS {CATALOG}.metaxy.format (version INTEGER NOT NULL);
CREATE TABLE IF NOT EXISTS {CATALOG}.metaxy.commits (
    commit BIGINT NOT NULL, feature VARCHAR NOT NULL, kind VARCHAR NOT NULL,
    "new" BIGINT, updated BIGINT, deleted BIGINT, feature_version VARCHAR,
    materialization_id VARCHAR, committed_at TIMESTAMP WITH TIME ZONE, token BIGINT);
CREATE TABLE IF NOT EXISTS {CATALOG}.metaxy.features (
    feature VARCHAR NOT NULL, table_name VARCHAR NOT NULL, feature_version VARCHAR, spec VARCHAR,
    stored BOOLEAN NOT NULL, failed BOOLEAN NOT NULL,
    newest BIGINT NOT NULL, ended BIGINT NOT NULL, erased BIGINT NOT NULL,
    emptied BIGINT NOT NULL, archived BIGINT NOT NULL, token BIGINT,
    fingerprint VARCHAR, upstream_commit BIGINT, own_commit BIGINT, pending BIGINT,
    content_rows BIGINT, content_low HUGEINT, content_high HUGEINT,
    types VARCHAR, had VARCHAR);
"""


@dataclass(frozen=True)
class Table:
    """What the file holds of one feature.

    Attributes:
        types: the user's columns and their DuckDB types, in stored order.
        fields: the entries of each STRUCT column, by column.
        entry: what is known of it as a whole.
    """

    key: FeatureKey
    types: Mapping[str, str]
    fields: Mapping[str, tuple[str, ...]]
    entry: Entry

    @property
    def commits(self) -> Commits:
        """Its newest commits."""
        return self.entry.commits

    @property
    def logical(self) -> Mapping[str, Logical]:
        """What its columns were before they were stored, where their types do not tell it."""
        return of_text(self.entry.types) if self.entry.types else {}

    @property
    def had(self) -> Mapping[str, list[str]]:
        """The types that columns had before they widened, oldest first."""
        return dict(json.loads(self.entry.had)) if self.entry.had else {}

    @property
    def history(self) -> tuple[str, ...]:
        """The quoted name of its history table, if it has one."""
        return history_of(self.key, self.commits)

    @property
    def tables(self) -> tuple[str, ...]:
        """The quoted names of all tables that its rows are in."""
        return (table_of(self.key), *self.history)

    @property
    def columns(self) -> tuple[str, ...]:
        """The user's columns."""
        return tuple(self.types)

    @property
    def kinds(self) -> Mapping[str, list[str]]:
        """All types that each column has had, oldest first; the last is that of now."""
        had = self.had
        return {name: [*had.get(name, ()), kind] for name, kind in self.types.items()}

    def told(self, names: Mapping[str, str]) -> tuple[Mapping[str, Logical], Mapping[str, str]]:
        """What is known of some columns: what they were, and their types.

        Args:
            names: what they are called, and their names here.
        """
        logical = self.logical
        return (
            {name: logical[there] for name, there in names.items() if there in logical},
            {name: self.types[there] for name, there in names.items() if there in self.types},
        )

    def column_named(self, name: str) -> str | None:
        """The stored column that DuckDB would take for ``name`` (it folds case)."""
        return self._folded.get(fold(name))

    @cached_property
    def _folded(self) -> Mapping[str, str]:
        return {fold(column): column for column in self.types}


def ensure_format(connection: duckdb.DuckDBPyConnection) -> State:
    """Make the layout of an empty file, and refuse one that this release cannot know.

    Called outside a transaction: looking for a table that is not there would abort it.

    Returns:
        The newest commit.
    """
    state = read_state(connection)
    if state is None:
        create(connection)
    return state or State(Commit(0), {})


def create(connection: duckdb.DuckDBPyConnection) -> None:
    """Make the layout of a file without one."""
    connection.execute(_CREATE)
    connection.execute(f"INSERT INTO {CATALOG}.metaxy.format VALUES (?)", [FORMAT_VERSION])


def read_state(
    connection: duckdb.DuckDBPyConnection, keys: Iterable[FeatureKey] = ()
) -> State | None:
    """What is known of some features, in one question; ``None`` for a file without a layout.

    A file of an older release is brought up to date first, if it is open for writing.

    Raises:
        StoreError: the file was written by a newer release of this library; or by an older one,
            and is open for reading alone.
    """
    wanted = list(keys)
    try:
        found, state = read_entries(connection, wanted)
    except (duckdb.CatalogException, duckdb.BinderException):
        # Of another format, or of none.
        if _read_format(connection) is None:
            return None
        return read_entries(connection, wanted)[1]
    if found != FORMAT_VERSION and _read_format(connection) is None:
        return None
    return state


def _read_format(connection: duckdb.DuckDBPyConnection) -> int | None:
    """The layout version of a file, brought up to date if need be."""
    try:
        rows = connection.execute(f"SELECT max(version) FROM {CATALOG}.metaxy.format").fetchall()
    except (duckdb.CatalogException, duckdb.BinderException):
        # No such table, or (in the words of DuckDB 1.5) nothing attached under that name.
        return None
    (found,) = rows[0]
    if found is not None and found > FORMAT_VERSION:
        raise StoreError(
            "the metadata store was written by a newer release of metaxy-dagster",
            found=f"store format {found}",
            allowed=f"store format {FORMAT_VERSION} or older",
            remedy="upgrade metaxy-dagster in this environment",
        )
    if found is not None and found < FORMAT_VERSION:
        migrate(connection, found, FORMAT_VERSION)
        return FORMAT_VERSION
    return None if found is None else int(found)


def count(connection: duckdb.DuckDBPyConnection, rows: str) -> int:
    """How many rows a table, or ``table WHERE condition``, has."""
    return number(connection, f"SELECT count(*) FROM {rows}")


def number(
    connection: duckdb.DuckDBPyConnection, sql: str, values: Mapping[str, object] | None = None
) -> int:
    """Run a statement that gives one number: a count, or how many rows it put in."""
    rows = connection.execute(sql, dict(values) if values else None).fetchall()
    return int(rows[0][0])


def describe(connection: duckdb.DuckDBPyConnection, key: FeatureKey, entry: Entry) -> Table:
    """The table of a feature that is stored."""
    relation = connection.sql(f"SELECT * FROM {table_of(key)} LIMIT 0")
    types: dict[str, str] = {}
    fields: dict[str, tuple[str, ...]] = {}
    for name, kind in zip(relation.columns, relation.types, strict=True):
        if name in STRUCT_COLUMNS:
            fields[name] = tuple(child for child, _ in kind.children)
        elif name not in STORED_COLUMNS:
            types[name] = str(kind)
    return Table(key, types, fields, entry)


def describe_marks(connection: duckdb.DuckDBPyConnection, key: FeatureKey) -> dict[str, str]:
    """The sample columns of a feature's empty samples, and their DuckDB types."""
    relation = connection.sql(f"SELECT * FROM {empty_table(key)} LIMIT 0")
    return {
        name: str(kind)
        for name, kind in zip(relation.columns, relation.types, strict=True)
        if not name.startswith(c.PREFIX)
    }


def ensure_table(
    connection: duckdb.DuckDBPyConnection,
    key: FeatureKey,
    *,
    found: Table | None,
    types: Mapping[str, str],
    fields: Mapping[str, Iterable[str]],
    clauses: Mapping[str, str] | None = None,
) -> None:
    """Make a feature's table, or add the columns and STRUCT entries that its tables lack.

    Args:
        connection: an open transaction.
        key: the feature.
        found: what the file holds of it.
        types: the user's columns and their DuckDB types.
        fields: the entries that each STRUCT column must have.
        clauses: what a new table says of its columns, behind their types.
    """
    if found is None:
        structs = {name: struct_type(fields[name]) for name in STRUCT_COLUMNS}
        body = ", ".join(
            f"{quote(name)} {kind} {(clauses or {}).get(name, '')}"
            for name, kind in {**types, **structs, **STORED_COLUMNS}.items()
        )
        connection.execute(f"CREATE TABLE {table_of(key)} ({body})")
        return
    added = {name: kind for name, kind in types.items() if found.column_named(name) is None}
    lacking = {}
    for name in STRUCT_COLUMNS:
        present = {fold(entry) for entry in found.fields[name]}
        lacking[name] = [entry for entry in fields[name] if fold(entry) not in present]
    for table in found.tables:
        reshape(connection, table, Change(added))
        for name, entries in lacking.items():
            add_entries(connection, table, name, entries)


def make_history(connection: duckdb.DuckDBPyConnection, key: FeatureKey) -> None:
    """Make the table of a feature's rows that ended, with the columns that it has now."""
    relation = connection.sql(f"SELECT * FROM {table_of(key)} LIMIT 0")
    types = dict(zip(relation.columns, map(str, relation.types), strict=True))
    types |= {COL_ENDED: "BIGINT", c.COL_DELETED_AT: _TIMESTAMP}
    clauses = column_clauses(connection)
    body = ", ".join(f"{quote(n)} {kind} {clauses.get(n, '')}" for n, kind in types.items())
    connection.execute(f"CREATE TABLE {history_table(key)} ({body})")


def struct_type(entries: Iterable[str]) -> str:
    """The type of a STRUCT column with these entries."""
    return "STRUCT(" + ", ".join(f"{quote(name)} VARCHAR" for name in entries) + ")"
