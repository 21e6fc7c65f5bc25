"""A root of videos with two fields, and features derived from it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pyarrow as pa

from metaxy_dagster.features import FeatureGraph, FeatureSpec, FieldSpec
from metaxy_dagster.stores import DuckDBMetadataStore

T = pa.table


def store_of(path: Path, *specs: FeatureSpec) -> DuckDBMetadataStore:
    graph = FeatureGraph()
    for spec in specs:
        graph.add(spec)
    return DuckDBMetadataStore(path, graph=graph)


def video(*, audio: str = "1", frames: str = "1") -> FeatureSpec:
    """A root with two fields."""
    return FeatureSpec(
        "video",
        id_columns=["id"],
        fields=[
            FieldSpec("audio", code_version=audio, columns=["sound"]),
            FieldSpec("frames", code_version=frames, columns=["picture"]),
        ],
    )


def derived(key: str = "out", *deps: Any, ids: Any = ("id",), **more: Any) -> FeatureSpec:
    return FeatureSpec(key, id_columns=ids, deps=deps or ["video"], **more)


def clips(sound: dict[int, str], picture: str = "p") -> pa.Table:
    return T(
        {"id": list(sound), "sound": list(sound.values()), "picture": [picture] * len(sound)},
        schema=pa.schema({"id": pa.int64(), "sound": pa.string(), "picture": pa.string()}),
    )
