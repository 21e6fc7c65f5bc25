# ruff: noqa: S608 - this module's SQL holds no input but the names of the shapes
"""Hand-written SQL on this library's own tables, for a leaf of which nothing is stored.

The floor of a first run: read the upstreams' current state, hash, and hand out the rows with the
columns that this library hands out.
"""

from __future__ import annotations

import contextlib
from contextlib import AbstractContextManager
from pathlib import Path

import duckdb
import pyarrow as pa
from shapes import Feature, Shape

__all__ = ["Engine"]


class Engine:
    """One file of this library, read without it."""

    def __init__(self, shape: Shape, path: Path, threads: int, memory: str | None) -> None:
        self._shape = shape
        self._path = path
        self._config = {"threads": threads, **({"memory_limit": memory} if memory else {})}

    def using(self) -> AbstractContextManager[object]:
        """Nothing to set up."""
        return contextlib.nullcontext()

    def resolve(self, feature: Feature) -> dict[str, pa.Table]:
        """All samples, as new ones."""
        with duckdb.connect(self._path, read_only=True, config=self._config) as connection:
            rows = connection.sql(self._sql(feature)).to_arrow_table()
        return {"new": rows, "stale": rows.slice(0, 0), "orphaned": rows.slice(0, 0)}

    def _sql(self, feature: Feature) -> str:
        views, terms, paths = [], [], []
        for dep in feature.deps:
            upstream = self._shape.feature(dep.feature)
            on = ", ".join(dep.on)
            names = {name: f"{upstream.key}_{name}" for name in upstream.fields}
            if dep.lineage == "aggregation":
                member = next(name for name in upstream.ids if name not in dep.on)
                part = f"strlen({member}::VARCHAR) || ':' || {member}"
                columns = ", ".join(
                    f"md5(string_agg({part} || '32:' || {_version(name)}, ''"
                    f" ORDER BY {part})) AS {alias}"
                    for name, alias in names.items()
                )
                views.append(f"(SELECT {on}, {columns} FROM main.{upstream.key} GROUP BY {on})")
            else:
                columns = ", ".join(f"{_version(name)} AS {alias}" for name, alias in names.items())
                if not upstream.deps:
                    columns += f", {upstream.path}"
                    paths.append(upstream.path)
                views.append(f"(SELECT {on}, {columns} FROM main.{upstream.key})")
            terms += [f"'{upstream.key}:{name}32:' || {alias}" for name, alias in names.items()]
        joined = views[0] + "".join(
            f" JOIN {view} USING ({', '.join(feature.deps[0].on)})" for view in views[1:]
        )
        inputs = " || ".join(terms)
        hashes = ", ".join(
            f"md5('{feature.key}/{name}1:1' || {inputs}) AS p_{name}" for name in feature.fields
        )
        kept = ", ".join([*feature.samples, *paths])
        struct = ", ".join(f"{name} := p_{name}" for name in feature.fields)
        one = " || ".join(f"'{name}32:' || p_{name}" for name in feature.fields)
        return (
            f"SELECT {kept}, struct_pack({struct}) AS metaxy_provenance_by_field,"
            f" md5({one}) AS metaxy_provenance, '{'0' * 32}' AS metaxy_feature_version"
            f" FROM (SELECT {kept}, {hashes} FROM {joined})"
        )


def _version(name: str) -> str:
    """A field's data version: NULL is stored where it is the provenance."""
    return f"coalesce(metaxy_data_version_by_field.{name}, metaxy_provenance_by_field.{name})"
