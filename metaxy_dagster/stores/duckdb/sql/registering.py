"""Arrow rows that a connection is told of, so that queries can name them."""

from __future__ import annotations

import functools
from typing import Any

import duckdb
import pyarrow as pa

__all__ = ["register"]


def register(connection: duckdb.DuckDBPyConnection, name: str, rows: Any) -> None:
    """Let queries name Arrow rows.

    Args:
        connection: the one that will ask.
        name: what the rows are called.
        rows: a table, or anything else that DuckDB scans as Arrow.

    Example:
        >>> connection = duckdb.connect()
        >>> register(connection, "ids", pa.table({"id": [1, 2]}))
        >>> connection.sql("SELECT count(*) FROM ids").fetchall()
        [(2,)]
    """
    schema = getattr(rows, "schema", None)
    if _is_narrow() and isinstance(schema, pa.Schema) and pa.uint64() in schema.types:
        # A join tells the scan which keys it looks for; those beyond 63 bits end in an error.
        connection.execute("SET dynamic_or_filter_threshold = 0")
    connection.register(name, rows)


@functools.cache
def _is_narrow() -> bool:
    """Whether DuckDB hands lists of keys to Arrow as signed numbers, as 1.5 does."""
    return duckdb.__version__.startswith("1.")
