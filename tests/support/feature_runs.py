"""Words for tests that run feature assets: tie them, feed them, look at what came of it."""

from collections.abc import Callable, Mapping
from typing import Any

import dagster as dg
import polars as pl
import pyarrow as pa

import metaxy_dagster as mxd

IO_MANAGER = "metaxy_io_manager"


def feature(key: str, **metadata: Any) -> dict[str, Any]:
    """The arguments of ``@dg.asset`` that tie it to a feature."""
    named = {"input": "metaxy/input", "write": "metaxy/write", "partition": "metaxy/partition"}
    renamed = {named.get(name, name): value for name, value in metadata.items()}
    return {"io_manager_key": IO_MANAGER, "metadata": {"metaxy/feature": key, **renamed}}


def images(rows: Mapping[int, tuple[str, str]]) -> pa.Table:
    """``{id: (pixels, label)}`` as a frame."""
    return pa.table(
        {
            "id": pa.array(list(rows), pa.int64()),
            "pixels": pa.array([pixels for pixels, _ in rows.values()], pa.string()),
            "label": pa.array([label for _, label in rows.values()], pa.string()),
        }
    )


def stored(store: mxd.DuckDBMetadataStore, key: str) -> dict[Any, tuple[Any, ...]]:
    """The user's columns of a feature, by id."""
    ids = store.graph[key].id_columns
    names = [*ids, *(name for name in store.schema(key) if name not in ids)]
    rows = store.read(key, columns=names).collect(backend="pyarrow").to_native().to_pylist()
    return {row[ids[0]]: tuple(row[name] for name in names[1:]) for row in rows}


def event(result: dg.ExecuteInProcessResult, key: str) -> Mapping[str, Any]:
    """The metadata of an asset's materialization in a run, unwrapped."""
    (found,) = result.asset_materializations_for_node(key.replace("/", "__"))
    return {name: value.value for name, value in found.metadata.items()}


def data_version(instance: dg.DagsterInstance, key: str) -> str:
    record = instance.get_latest_materialization_event(dg.AssetKey.from_user_string(key))
    assert record is not None
    materialization = record.asset_materialization
    assert materialization is not None
    return (materialization.tags or {})["dagster/data_version"]


class Repository:
    """image -> thumb and name -> pair, as plain functions; remembers what they were given."""

    def __init__(self, rows: dict[int, tuple[str, str]]) -> None:
        self.rows = dict(rows)
        self.given: dict[str, list[list[int]]] = {}
        self.leave_out: set[int] = set()
        # With "empty", some pixels, labels and pairs yield nothing.
        self.unreturned = "pending"
        self.fails: str | None = None
        self.meanwhile: Callable[[], None] = lambda: None

    def note(self, name: str, *frames: pl.DataFrame) -> None:
        self.given[name] = [sorted(frame["id"].to_list()) for frame in frames]
        if self.fails == name:
            raise RuntimeError(name)

    def assets(self, mode: str = "increment") -> list[dg.AssetsDefinition]:
        more = {"input": mode, "metaxy/unreturned": self.unreturned}
        empty = self.unreturned == "empty"

        @dg.asset(**feature("image"))
        def image():
            return images(self.rows)

        @dg.asset(**feature("thumb", **more))
        def thumb(image: pl.DataFrame) -> pl.DataFrame:
            self.note("thumb", image)
            self.meanwhile()
            left = pl.col("id").is_in(self.leave_out)
            if empty and len(image.filter(left)):
                mxd.report_failures(image.filter(left), "left out")
            kept = image.filter(~left, (pl.col("pixels") != "r") | (not empty))
            return kept.select("id", thumb=pl.col("pixels").str.to_uppercase())

        @dg.asset(**feature("name", **more))
        def name(image: pl.DataFrame) -> pl.DataFrame:
            self.note("name", image)
            kept = image.filter((pl.col("label") != "m") | (not empty))
            return kept.select("id", name=pl.col("label").str.to_uppercase())

        @dg.asset(**feature("pair", **more))
        def pair(thumb: pl.DataFrame, name: pl.DataFrame) -> pl.DataFrame:
            self.note("pair", thumb, name)
            joined = thumb.join(name, on="id")
            made = joined.select("id", pair=pl.col("thumb") + pl.col("name"))
            return made.filter((pl.col("pair") != "QL") | (not empty))

        return [image, thumb, name, pair]

    def expected(self) -> dict[str, dict[int, tuple[str, ...]]]:
        upper = {i: (p.upper(), n.upper()) for i, (p, n) in self.rows.items()}
        nothing = {"R", "M", "QL"} if self.unreturned == "empty" else set()
        thumbs = {i: p for i, (p, _) in upper.items() if p not in nothing}
        names = {i: n for i, (_, n) in upper.items() if n not in nothing}
        pairs = {i: thumbs[i] + names[i] for i in thumbs.keys() & names.keys()}
        return {
            "thumb": {i: (p,) for i, p in thumbs.items()},
            "name": {i: (n,) for i, n in names.items()},
            "pair": {i: (one,) for i, one in pairs.items() if one not in nothing},
        }
