"""The rival: Metaxy's own store on DuckDB, used as its documentation shows.

It hashes with md5 and runs offline: the extension that its default hash needs is left out.
"""

from __future__ import annotations

import types
import warnings
from contextlib import AbstractContextManager
from pathlib import Path

import duckdb
import metaxy as mx
import narwhals as nw
import pyarrow as pa
from metaxy.ext.metadata_stores.duckdb import DuckDBMetadataStore
from metaxy.versioning.types import HashAlgorithm
from shapes import Dep, Feature, Shape

__all__ = ["Engine"]

_PROVENANCE = ("metaxy_provenance_by_field", "metaxy_provenance")
warnings.filterwarnings("ignore")


class Engine:
    """One store for one shape."""

    def __init__(self, shape: Shape, path: Path, threads: int, memory: str | None) -> None:
        self._graph = mx.FeatureGraph()
        with self._graph.use():
            for feature in shape.features:
                _declare(feature)
        limits = {"memory_limit": memory} if memory else {}
        self._store = DuckDBMetadataStore(
            path,
            config={"threads": str(threads), **limits},
            hash_algorithm=HashAlgorithm.MD5,
            auto_create_tables=True,
        )
        self._store.extensions = []

    def using(self) -> AbstractContextManager[object]:
        """The graph is the current one inside this block."""
        return self._graph.use()

    def write(self, feature: Feature, table: pa.Table) -> None:
        """Write given rows."""
        with self._store.open("w"):
            self._store.write(feature.key, table)

    def resolve(self, feature: Feature) -> dict[str, pa.Table]:
        """The frames of an increment, by status."""
        with self._store:
            found = self._store.resolve_update(feature.key)
        frames = {"new": found.new, "stale": found.stale, "orphaned": found.orphaned}
        return {status: frame.to_arrow() for status, frame in frames.items()}

    def answer(self, feature: Feature) -> None:
        """Resolve, and write what is pending."""
        found = self.resolve(feature)
        pending = pa.concat_tables([found["new"], found["stale"]], promote_options="default")
        if pending.num_rows:
            self.write(feature, _computed(feature, pending))

    def read(self, feature: Feature) -> pa.Table:
        """All rows of a feature."""
        with self._store:
            return self._store.read(feature.key).collect().to_arrow()


def _declare(feature: Feature) -> None:
    deps = [mx.FeatureDep(feature=dep.feature, lineage=_lineage(dep)) for dep in feature.deps]
    spec = mx.FeatureSpec(
        key=feature.key,
        id_columns=list(feature.ids),
        fields=[mx.FieldSpec(key=name, code_version="1") for name in feature.fields],
        **({"deps": deps} if deps else {}),
    )
    types.new_class(
        feature.key.title().replace("_", ""),
        (mx.BaseFeature,),
        {"spec": spec},
        lambda body: body.update(__module__=__name__),
    )


def _lineage(dep: Dep) -> mx.LineageRelationship:
    if dep.lineage == "identity":
        return mx.LineageRelationship.identity()
    return getattr(mx.LineageRelationship, dep.lineage)(on=list(dep.on))


def _computed(feature: Feature, pending: pa.Table) -> nw.DataFrame[pa.Table]:
    """What a function would return for the pending samples: ids, a value, the provenance."""
    samples = ", ".join(feature.samples)
    kept = ", ".join(f"first({name}) AS {name}" for name in _PROVENANCE)
    source = pending.select([*feature.samples, *_PROVENANCE])
    sql = f"SELECT {samples}, {', '.join(_PROVENANCE)} FROM source"  # noqa: S608
    if feature.deps[0].lineage == "aggregation":
        # The rival lists every member of a group.
        sql = f"SELECT {samples}, {kept} FROM source GROUP BY {samples}"  # noqa: S608
    if feature.samples != feature.ids:
        sql = f"SELECT *, clip FROM ({sql}), range(10) clips(clip)"  # noqa: S608
    with duckdb.connect() as connection:
        connection.register("source", source)
        rows = connection.sql(f"SELECT *, 'value-' || {feature.ids[0]} AS value FROM ({sql})")  # noqa: S608
        return nw.from_native(rows.to_arrow_table(), eager_only=True)
