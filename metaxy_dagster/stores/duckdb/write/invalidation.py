"""Stored samples that count as computed from nothing that is known, until they are written again.

Such a row keeps the user's columns. It has no feature version, and a provenance that nothing else
has: a hash of the commit's own token. Whatever its upstreams come to, it differs.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable, Mapping, Sequence
from typing import Final

import duckdb
import pyarrow as pa

from metaxy_dagster import constants as c
from metaxy_dagster.stores.duckdb.file.commits import Commit
from metaxy_dagster.stores.duckdb.file.layout import COL_COMMIT, Table, number
from metaxy_dagster.stores.duckdb.resolve.empties import Marks
from metaxy_dagster.stores.duckdb.sql.identifiers import columns, quote, table_of
from metaxy_dagster.stores.duckdb.sql.provenance import struct_of
from metaxy_dagster.stores.duckdb.sql.registering import register
from metaxy_dagster.stores.duckdb.write.removal import Removal
from metaxy_dagster.stores.frames.encoding import hash_parts

__all__ = ["end_marks", "invalidate", "name_samples"]

# The rows as they are stored, and their numbers.
_INVALID: Final = "metaxy_invalid"
_SAMPLES: Final = "metaxy_invalid_samples"


def name_samples(connection: duckdb.DuckDBPyConnection, samples: pa.Table) -> None:
    """Let the statements below know the samples."""
    register(connection, _SAMPLES, samples)


def invalidate(
    connection: duckdb.DuckDBPyConnection,
    stored: Table | None,
    names: Sequence[str],
    commit: Commit,
    now: dt.datetime,
) -> int:
    """Store the rows of the samples without what they were computed from.

    Args:
        connection: an open transaction.
        stored: the feature; ``None`` if no row was ever written.
        names: its sample columns.
        commit: that does it.
        now: when that is.

    Returns:
        The number of rows; those that are invalid already stay as they are.
    """
    if stored is None:
        return 0
    wanted = _typed({name: stored.types[name] for name in names})
    found = number(
        connection,
        f"CREATE OR REPLACE TEMP TABLE {_INVALID} AS SELECT r.*, r.rowid AS rid"
        f" FROM {table_of(stored.key)} r SEMI JOIN ({wanted}) USING ({columns(names)})"
        f" WHERE r.{quote(c.COL_FEATURE_VERSION)} IS NOT NULL",
    )
    if found:
        removal = Removal(connection, stored.key, stored.commits, f"SELECT rid FROM {_INVALID}")
        removal.end(commit, now)
        _insert(connection, stored, commit)
    return found


def _insert(connection: duckdb.DuckDBPyConnection, stored: Table, commit: Commit) -> None:
    nothing = {name: f"$by_{i}" for i, name in enumerate(stored.fields[c.COL_PROVENANCE_BY_FIELD])}
    values = {
        bound[1:]: hash_parts(["invalid", str(commit.token), str(commit), name])
        for name, bound in nothing.items()
    }
    values["whole"] = hash_parts(["invalid", str(commit.token), str(commit)])
    replaced = {
        c.COL_PROVENANCE_BY_FIELD: struct_of(nothing),
        c.COL_PROVENANCE: "$whole::VARCHAR",
        c.COL_DATA_VERSION_BY_FIELD: "NULL",
        c.COL_DATA_VERSION: "NULL",
        c.COL_FEATURE_VERSION: "NULL",
        COL_COMMIT: "$commit::BIGINT",
    }
    changed = ", ".join(f"{sql} AS {quote(name)}" for name, sql in replaced.items())
    connection.execute(
        f"INSERT INTO {table_of(stored.key)} BY NAME"
        f" SELECT * EXCLUDE (rid) REPLACE ({changed}) FROM {_INVALID}",
        {**values, "commit": int(commit)},
    )


def end_marks(connection: duckdb.DuckDBPyConnection, marks: Marks, commit: Commit) -> int:
    """End the marks of samples that yielded nothing; how many."""
    keys = columns(tuple(marks.types))
    named = f"({keys}) IN (SELECT ({keys}) FROM ({_typed(marks.types)}))"
    return marks.end_where(connection, commit, named, {}, keep=True)


def _typed(types: Mapping[str, str]) -> str:
    """The samples in the types of a table; what is not of these types is none of its samples."""
    return f"SELECT DISTINCT {', '.join(_casts(types.items()))} FROM {_SAMPLES}"


def _casts(types: Iterable[tuple[str, str]]) -> Iterable[str]:
    return (f"TRY_CAST({quote(name)} AS {kind}) AS {quote(name)}" for name, kind in types)
