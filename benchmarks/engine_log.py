# ruff: noqa: S608 - this module's SQL holds no input but the names of the shapes
"""Hand-written SQL on the rival's table layout: append only, dedupe on read, hash all.

What a careful person would write instead of a library: one query, no generality, nothing that
the rival's tables do not allow. The tables have the rival's columns.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from contextlib import AbstractContextManager
from pathlib import Path

import duckdb
import pyarrow as pa
import pyarrow.compute as pc
from shapes import Feature, Shape

__all__ = ["Engine"]

_STATUS = ("new", "stale", "orphaned")
_LATEST = "coalesce(metaxy_deleted_at, metaxy_updated_at)"


class Engine:
    """One file for one shape."""

    def __init__(self, shape: Shape, path: Path, threads: int, memory: str | None) -> None:
        self._shape = shape
        self._path = path
        self._config = {"threads": threads, **({"memory_limit": memory} if memory else {})}

    def using(self) -> AbstractContextManager[object]:
        """Nothing to set up."""
        return contextlib.nullcontext()

    @contextlib.contextmanager
    def _open(self, *, read_only: bool) -> Iterator[duckdb.DuckDBPyConnection]:
        with duckdb.connect(self._path, read_only=read_only, config=self._config) as connection:
            yield connection

    def write(self, feature: Feature, table: pa.Table) -> None:
        """Append given rows."""
        with self._open(read_only=False) as connection:
            connection.register("given", table)
            one = _sample_hash(feature, "metaxy_provenance_by_field")
            _append(connection, feature, f"SELECT *, {one} AS metaxy_provenance FROM given")

    def resolve(self, feature: Feature) -> dict[str, pa.Table]:
        """The frames of an increment, by status."""
        with self._open(read_only=True) as connection:
            return self._resolve(connection, feature)

    def _resolve(
        self, connection: duckdb.DuckDBPyConnection, feature: Feature
    ) -> dict[str, pa.Table]:
        expected, paths = self._expected(feature)
        known = connection.execute("SELECT table_name FROM duckdb_tables()").fetchall()
        if (feature.key,) not in known:
            rows = connection.sql(f"SELECT * FROM ({expected})").to_arrow_table()
            return {"new": rows, "stale": rows.slice(0, 0), "orphaned": rows.slice(0, 0)}
        samples = ", ".join(feature.samples)
        own = f"SELECT {samples}, metaxy_provenance AS stored FROM ({_current(feature)})"
        if feature.samples != feature.ids:
            own = (
                f"SELECT {samples}, CASE WHEN min(metaxy_provenance) = max(metaxy_provenance)"
                f" THEN min(metaxy_provenance) END AS stored FROM ({_current(feature)})"
                f" GROUP BY {samples}"
            )
        rows = connection.sql(
            f"WITH expected AS ({expected}), own AS (SELECT *, TRUE AS present FROM ({own}))"
            f" SELECT {', '.join([samples, *paths])}, metaxy_provenance_by_field,"
            " metaxy_provenance, (CASE WHEN own.present IS NULL THEN 0"
            " WHEN metaxy_provenance IS NULL THEN 2 ELSE 1 END)::UTINYINT AS status"
            f" FROM expected FULL JOIN own USING ({samples})"
            " WHERE metaxy_provenance IS DISTINCT FROM stored"
        ).to_arrow_table()
        status = rows.column("status")
        return {
            name: rows.filter(pc.equal(status, pa.scalar(number, pa.uint8())))
            for number, name in enumerate(_STATUS)
        }

    def answer(self, feature: Feature) -> None:
        """Resolve, and append what is pending."""
        with self._open(read_only=False) as connection:
            found = self._resolve(connection, feature)
            for status in ("new", "stale"):
                if found[status].num_rows:
                    connection.register("given", found[status])
                    rows = (
                        f"SELECT {', '.join(feature.samples)}, metaxy_provenance_by_field,"
                        " metaxy_provenance FROM given"
                    )
                    if feature.samples != feature.ids:
                        rows = f"SELECT *, clip FROM ({rows}), range(10) clips(clip)"
                    rows = f"SELECT *, 'value-' || {feature.ids[0]} AS value FROM ({rows})"
                    _append(connection, feature, rows)

    def read(self, feature: Feature) -> pa.Table:
        """All rows of a feature."""
        with self._open(read_only=True) as connection:
            return connection.sql(_current(feature)).to_arrow_table()

    def _expected(self, feature: Feature) -> tuple[str, list[str]]:
        """One row per sample with its provenance, and the upstream columns it carries."""
        views, versions, paths = [], [], []
        for dep in feature.deps:
            upstream = self._shape.feature(dep.feature)
            on = ", ".join(dep.on)
            names = {name: f"{upstream.key}_{name}" for name in upstream.fields}
            if dep.lineage == "aggregation":
                member = next(name for name in upstream.ids if name not in dep.on)
                columns = ", ".join(
                    f"md5(string_agg({member} || ':' || metaxy_data_version_by_field.{name}, '|'"
                    f" ORDER BY {member})) AS {alias}"
                    for name, alias in names.items()
                )
                views.append(f"(SELECT {on}, {columns} FROM ({_current(upstream)}) GROUP BY {on})")
            else:
                columns = ", ".join(
                    f"metaxy_data_version_by_field.{name} AS {alias}"
                    for name, alias in names.items()
                )
                if not upstream.deps:
                    columns += f", {upstream.path}"
                    paths.append(upstream.path)
                views.append(f"(SELECT {on}, {columns} FROM ({_current(upstream)}))")
            versions += [(f"{upstream.key}/{name}", alias) for name, alias in names.items()]
        joined = views[0] + "".join(
            f" JOIN {view} USING ({', '.join(feature.deps[0].on)})" for view in views[1:]
        )
        inputs = " || ".join(f"'|{name}|' || {alias}" for name, alias in versions)
        hashes = ", ".join(
            f"{name} := md5('{feature.key}/{name}|1' || {inputs})" for name in feature.fields
        )
        kept = ", ".join([*feature.samples, *paths])
        one = _sample_hash(feature, "metaxy_provenance_by_field")
        return (
            f"SELECT *, {one} AS metaxy_provenance FROM (SELECT {kept},"
            f" struct_pack({hashes}) AS metaxy_provenance_by_field FROM {joined})"
        ), paths


def _sample_hash(feature: Feature, struct: str) -> str:
    parts = " || ".join(f"'|{name}|' || {struct}.{name}" for name in sorted(feature.fields))
    return f"md5({parts})"


def _current(feature: Feature) -> str:
    """The newest row of each sample, unless it was deleted."""
    ids = ", ".join(feature.ids)
    return (
        f"SELECT * FROM (SELECT * FROM {feature.key} QUALIFY row_number() OVER"
        f" (PARTITION BY {ids} ORDER BY {_LATEST} DESC) = 1) WHERE metaxy_deleted_at IS NULL"
    )


def _append(connection: duckdb.DuckDBPyConnection, feature: Feature, rows: str) -> None:
    rows = (
        "SELECT *, metaxy_provenance_by_field AS metaxy_data_version_by_field,"
        " metaxy_provenance AS metaxy_data_version, '1' AS metaxy_feature_version,"
        " '1' AS metaxy_project_version, now() AS metaxy_created_at, now() AS metaxy_updated_at,"
        " NULL::TIMESTAMPTZ AS metaxy_deleted_at, NULL::VARCHAR AS metaxy_materialization_id"
        f" FROM ({rows})"
    )
    known = connection.execute("SELECT table_name FROM duckdb_tables()").fetchall()
    if (feature.key,) in known:
        connection.execute(f"INSERT INTO {feature.key} BY NAME {rows}")
    else:
        connection.execute(f"CREATE TABLE {feature.key} AS {rows}")
