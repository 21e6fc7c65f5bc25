"""Frames of whatever kind in, Arrow out, and back; imported when the first frame is touched."""

from __future__ import annotations

from typing import TYPE_CHECKING

from metaxy_dagster.late import late_names

_HOMES = {
    "metaxy_dagster.stores.frames.checks": ("column_warnings",),
    "metaxy_dagster.stores.frames.ids": (
        "distinct",
        "ids_of",
        "index_levels",
        "is_among",
        "places",
        "within",
        "without",
    ),
    "metaxy_dagster.stores.frames.kept": ("kept_rows",),
    "metaxy_dagster.stores.frames.merging": (
        "as_one_frame",
        "eager_type",
        "merged",
        "merged_order",
        "read_once",
    ),
    "metaxy_dagster.stores.frames.narrowing": ("Narrowed", "filtered", "is_frame", "narrowed"),
    "metaxy_dagster.stores.frames.loading": ("length", "to_pandas", "to_polars", "union"),
    "metaxy_dagster.stores.frames.samples": ("named_samples", "typed_as"),
    "metaxy_dagster.stores.frames.rows": ("Rows", "column_names", "no_rows", "to_rows"),
}

if TYPE_CHECKING:
    from metaxy_dagster.stores.frames.checks import column_warnings
    from metaxy_dagster.stores.frames.ids import (
        distinct,
        ids_of,
        index_levels,
        is_among,
        places,
        within,
        without,
    )
    from metaxy_dagster.stores.frames.kept import kept_rows
    from metaxy_dagster.stores.frames.loading import length, to_pandas, to_polars, union
    from metaxy_dagster.stores.frames.merging import (
        as_one_frame,
        eager_type,
        merged,
        merged_order,
        read_once,
    )
    from metaxy_dagster.stores.frames.narrowing import Narrowed, filtered, is_frame, narrowed
    from metaxy_dagster.stores.frames.rows import Rows, column_names, no_rows, to_rows
    from metaxy_dagster.stores.frames.samples import named_samples, typed_as

__all__ = [
    "Narrowed",
    "Rows",
    "as_one_frame",
    "column_names",
    "column_warnings",
    "distinct",
    "eager_type",
    "filtered",
    "ids_of",
    "index_levels",
    "is_among",
    "is_frame",
    "kept_rows",
    "length",
    "merged",
    "merged_order",
    "named_samples",
    "narrowed",
    "no_rows",
    "places",
    "read_once",
    "to_pandas",
    "to_polars",
    "to_rows",
    "typed_as",
    "union",
    "within",
    "without",
]

__getattr__, __dir__ = late_names(__name__, _HOMES, __all__)
