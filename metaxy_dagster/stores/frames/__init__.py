"""Frames of whatever kind in, Arrow out, and back; imported when the first frame is touched."""

from __future__ import annotations

from typing import TYPE_CHECKING

from metaxy_dagster.late import late_names

_HOMES = {
    "metaxy_dagster.stores.frames.checks": ("column_warnings",),
    "metaxy_dagster.stores.frames.kept": ("kept_rows",),
    "metaxy_dagster.stores.frames.loading": ("length", "to_pandas", "to_polars", "union"),
    "metaxy_dagster.stores.frames.samples": ("named_samples",),
    "metaxy_dagster.stores.frames.rows": ("Rows", "column_names", "no_rows", "to_rows"),
}

if TYPE_CHECKING:
    from metaxy_dagster.stores.frames.checks import column_warnings
    from metaxy_dagster.stores.frames.kept import kept_rows
    from metaxy_dagster.stores.frames.loading import length, to_pandas, to_polars, union
    from metaxy_dagster.stores.frames.rows import Rows, column_names, no_rows, to_rows
    from metaxy_dagster.stores.frames.samples import named_samples

__all__ = [
    "Rows",
    "column_names",
    "column_warnings",
    "kept_rows",
    "length",
    "named_samples",
    "no_rows",
    "to_pandas",
    "to_polars",
    "to_rows",
    "union",
]

__getattr__, __dir__ = late_names(__name__, _HOMES, __all__)
