"""What is known of the columns of an increment's frames beside their Arrow types."""

from __future__ import annotations

from collections.abc import Sequence

import pyarrow as pa

from metaxy_dagster.stores.duckdb.file.layout import Table
from metaxy_dagster.stores.duckdb.resolve.views import UpstreamView
from metaxy_dagster.stores.frames.logical import Logical
from metaxy_dagster.stores.frames.noting import logicals_of

__all__ = ["told_of"]


def told_of(
    views: Sequence[UpstreamView],
    samples: pa.Table | None,
    own: Table | None,
    keys: Sequence[str],
) -> tuple[dict[str, Logical], dict[str, str]]:
    """What columns were before they were stored, and their DuckDB types.

    Args:
        views: of the upstreams; the first counts where several have a column.
        samples: those that a root should have.
        own: the feature's table, if there is one.
        keys: the columns that name its samples.
    """
    logical: dict[str, Logical] = {}
    kinds: dict[str, str] = {}
    for view in reversed(views):
        if view.table is not None:
            noted, types = view.table.told({**view.dep.source_columns, **view.user_columns()})
            logical |= noted
            kinds |= types
    if samples is not None:
        logical |= logicals_of(samples.schema)
    if own is not None:
        noted, types = own.told({name: name for name in keys})
        logical |= noted
        kinds |= types
    return logical, kinds
