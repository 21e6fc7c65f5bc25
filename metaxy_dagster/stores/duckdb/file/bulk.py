"""Loads of many rows at once: how they are cut, and how their texts are compressed.

Most of what a load costs is DuckDB's search for repetition in hashes, which have none. While many
rows go in, texts are compressed by ZSTD, which takes half the time for files of about the same
size. Columns that hold one value, or none, keep the method that DuckDB would choose.
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterator, Mapping

import duckdb
import pyarrow as pa

from metaxy_dagster import constants as c
from metaxy_dagster.stores.duckdb.file.aftermath import once_stored
from metaxy_dagster.stores.duckdb.sql.identifiers import CATALOG
from metaxy_dagster.stores.frames.spool import Spool

__all__ = ["ROW_GROUP", "column_clauses", "compressed", "even_batches"]

# Rows that DuckDB compresses together.
ROW_GROUP = 122_880
# Fewer do not fill the log, and are compressed later, when it is written back.
_MANY = 20_000
_FORCED = "force_compression"
# Of our own columns: one value for all rows of a write, or none.
_UNIFORM = (c.COL_DATA_VERSION, c.COL_FEATURE_VERSION, c.COL_MATERIALIZATION_ID)
_SAMPLE = 2_000
# Files of DuckDB 1.5 and before are kept in a format that knows neither method.
_SINCE = (2,)


def even_batches(table: pa.Table) -> pa.Table:
    """The same rows in batches of at most a row group, all of a chunk of nearly one size.

    DuckDB writes each batch for itself: one that is a little longer than a row group leaves a
    remainder, which doubles what is written.

    Example:
        >>> table = pa.table({"id": range(200_000)})
        >>> [batch.num_rows for batch in even_batches(table).to_batches()]
        [100000, 100000]
    """
    if table.num_rows <= ROW_GROUP:
        return table
    pieces = []
    for batch in table.to_batches():
        number = -(-batch.num_rows // ROW_GROUP) or 1
        size = -(-batch.num_rows // number) or 1
        pieces += [batch.slice(start, size) for start in range(0, batch.num_rows, size)]
    return pa.Table.from_batches(pieces, table.schema)


@contextlib.contextmanager
def compressed(
    connection: duckdb.DuckDBPyConnection, table: pa.Table | Spool, hashes: int
) -> Iterator[None]:
    """Write texts with ZSTD inside this block, if that pays.

    Args:
        connection: to the attached file.
        table: the rows to be written.
        hashes: how many columns of hashes the store adds or keeps for each row.
    """
    if not _pays(table, hashes):
        yield
        return
    # A connection of its own: this one may be inside a transaction that failed.
    with connection.cursor() as settings:
        if not _knows_zstd(settings) or _is_forced(settings):
            yield
            return
        settings.execute(f"SET GLOBAL {_FORCED} = 'zstd'")
        try:
            yield
        finally:
            with once_stored("the store", "DuckDB goes on to compress as this write did"):
                settings.execute(f"RESET GLOBAL {_FORCED}")


def column_clauses(connection: duckdb.DuckDBPyConnection) -> Mapping[str, str]:
    """What a new table says of its columns, behind their types: name -> clause."""
    if not _knows_zstd(connection):
        return {}
    return dict.fromkeys(_UNIFORM, "USING COMPRESSION dict_fsst")


def _pays(table: pa.Table | Spool, hashes: int) -> bool:
    """Whether there are more hashes than columns that DuckDB's own choice makes very small."""
    if table.num_rows < _MANY:
        return False
    sample = table.slice(0, _SAMPLE)
    return hashes >= sum(_repeats(column) for column in sample.columns)


def _repeats(column: pa.ChunkedArray) -> bool:
    types = pa.types
    text = (types.is_string, types.is_large_string, types.is_string_view)
    binary = (types.is_binary, types.is_large_binary, types.is_null)
    if not any(is_(column.type) for is_ in (*text, *binary)):
        return False
    return len(column.unique()) <= len(column) // 2


def _knows_zstd(connection: duckdb.DuckDBPyConnection) -> bool:
    rows = connection.execute(
        "SELECT tags['storage_version'] FROM duckdb_databases() WHERE database_name = ?", [CATALOG]
    ).fetchall()
    found = re.match(r"v(\d+)", str(rows[0][0]))
    return found is not None and (int(found[1]),) >= _SINCE


def _is_forced(connection: duckdb.DuckDBPyConnection) -> bool:
    (row,) = connection.execute("SELECT lower(current_setting(?))", [_FORCED]).fetchall()
    return bool(row[0] != "auto")
