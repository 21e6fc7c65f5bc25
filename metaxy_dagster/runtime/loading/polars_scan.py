"""Polars' lazy frames over a store: read when they are collected, with what is needed then."""

from __future__ import annotations

from collections.abc import Iterator

import polars as pl
import pyarrow as pa
from polars.io.plugins import register_io_source

from metaxy_dagster.stores.frames.loading import to_polars
from metaxy_dagster.stores.scan import Scan

__all__ = ["scanned"]


def scanned(scan: Scan) -> pl.LazyFrame:
    """A lazy frame that reads the columns it needs, whenever it is collected.

    Rows that a filter leaves out are read, and dropped batch by batch.

    Args:
        scan: N rows.
    """

    def frame(rows: pa.Table) -> pl.DataFrame:
        return pl.DataFrame(to_polars(rows))

    def read(
        columns: list[str] | None,
        predicate: pl.Expr | None,
        limit: int | None,
        _batch_size: int | None,
    ) -> Iterator[pl.DataFrame]:
        # Polars may ask for no column where it only counts.
        names = list(scan.schema.names) if columns is None else columns or scan.schema.names[:1]
        yield frame(scan.schema.empty_table().select(names))
        for batch in scan.batches(names, limit):
            part = frame(pa.Table.from_batches([batch]))
            yield part if predicate is None else part.filter(predicate)

    return register_io_source(read, schema=frame(scan.schema.empty_table()).schema)
