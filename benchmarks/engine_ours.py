"""This library, through its public API."""

from __future__ import annotations

import contextlib
from contextlib import AbstractContextManager
from pathlib import Path

import duckdb
import pyarrow as pa
from shapes import Dep, Feature, Shape

import metaxy_dagster as mxd

__all__ = ["Engine"]


class Engine:
    """One store for one shape."""

    def __init__(self, shape: Shape, path: Path, threads: int, memory: str | None) -> None:
        graph = mxd.FeatureGraph()
        for feature in shape.features:
            graph.add(_spec(feature))
        limits = {"memory_limit": memory} if memory else {}
        self._store = mxd.DuckDBMetadataStore(
            path, graph=graph, settings={"threads": threads, **limits}
        )

    def using(self) -> AbstractContextManager[object]:
        """Nothing to set up: the store has its graph."""
        return contextlib.nullcontext()

    def write(self, feature: Feature, table: pa.Table) -> None:
        """Write given rows."""
        with self._store.open("w"):
            self._store.write(feature.key, table)

    def resolve(self, feature: Feature) -> dict[str, pa.Table]:
        """The frames of an increment, by status."""
        with self._store:
            found = self._store.resolve_update(feature.key)
            return {
                "new": found.new.collect().to_arrow(),
                "stale": found.stale.collect().to_arrow(),
                "orphaned": found.orphaned.collect().to_arrow(),
            }

    def answer(self, feature: Feature) -> None:
        """Resolve, and write what is pending."""
        with self._store.open("w"):
            increment = self._store.resolve_update(feature.key)
            pending = increment.pending.collect().to_arrow()
            if pending.num_rows:
                self._store.write(feature.key, _computed(feature, pending), increment=increment)

    def read(self, feature: Feature) -> pa.Table:
        """All rows of a feature."""
        with self._store:
            return self._store.read(feature.key).collect().to_arrow()

    def counts(self, feature: Feature) -> dict[str, int]:
        """How many samples of each status, without their frames."""
        with self._store:
            found = self._store.resolve_update(feature.key).counts
        return {"new": found.new, "stale": found.stale, "orphaned": found.orphaned}

    def batches(self, feature: Feature, size: int) -> dict[str, int]:
        """Go through the pending samples a batch at a time, keeping none."""
        rows = 0
        with self._store:
            for batch in self._store.resolve_update(feature.key).batches(size):
                rows += batch.pending.collect().to_arrow().num_rows
        return {"new": rows, "stale": 0, "orphaned": 0}


def _spec(feature: Feature) -> mxd.FeatureSpec:
    return mxd.FeatureSpec(
        feature.key,
        id_columns=list(feature.ids),
        fields=[mxd.FieldSpec(name, code_version="1") for name in feature.fields],
        deps=[mxd.FeatureDep(dep.feature, lineage=_lineage(dep)) for dep in feature.deps],
    )


def _lineage(dep: Dep) -> mxd.LineageRelationship:
    if dep.lineage == "identity":
        return mxd.LineageRelationship.identity()
    return getattr(mxd.LineageRelationship, dep.lineage)(on=list(dep.on))


def _computed(feature: Feature, pending: pa.Table) -> pa.Table:
    """What a function would return for the pending samples: ids and a value."""
    source = pending.select(list(feature.samples))
    sql = "SELECT * FROM source"
    if feature.samples != feature.ids:
        sql = "SELECT * FROM source, range(10) clips(clip)"
    with duckdb.connect() as connection:
        connection.register("source", source)
        rows = connection.sql(f"SELECT *, 'value-' || {feature.ids[0]} AS value FROM ({sql})")  # noqa: S608
        return rows.to_arrow_table()
