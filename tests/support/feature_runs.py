"""Words for tests that run feature assets: tie them, feed them, look at what came of it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import dagster as dg
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
