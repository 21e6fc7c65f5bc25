"""What the tests of the runtime share: features, a store in a file, assets that run."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
from feature_runs import IO_MANAGER

import metaxy_dagster as mxd


@pytest.fixture(scope="module")
def instance() -> Iterator[dg.DagsterInstance]:
    """One Dagster instance in memory for a module; making one takes as long as a run."""
    with dg.DagsterInstance.ephemeral() as ephemeral:
        yield ephemeral


@pytest.fixture
def graph() -> mxd.FeatureGraph:
    """image -> thumb -> score; video groups images; both from fields of the image."""
    made = mxd.FeatureGraph()
    for spec in (
        mxd.FeatureSpec(
            "image",
            id_columns=["id"],
            fields=[
                mxd.FieldSpec("pixels", columns=["pixels"]),
                mxd.FieldSpec("label", columns=["label"]),
            ],
        ),
        mxd.FeatureSpec(
            "thumb",
            id_columns=["id"],
            fields=[mxd.FieldSpec("thumb", deps=[mxd.FieldDep("image", fields=["pixels"])])],
            deps=["image"],
        ),
        mxd.FeatureSpec(
            "name",
            id_columns=["id"],
            fields=[mxd.FieldSpec("name", deps=[mxd.FieldDep("image", fields=["label"])])],
            deps=["image"],
        ),
        mxd.FeatureSpec("pair", id_columns=["id"], deps=["thumb", "name"]),
    ):
        made.add(spec)
    return made


@pytest.fixture
def store(tmp_path: Path, graph: mxd.FeatureGraph) -> mxd.DuckDBMetadataStore:
    return mxd.DuckDBMetadataStore(tmp_path / "m.duckdb", graph=graph)


@pytest.fixture
def resources(store: mxd.DuckDBMetadataStore) -> dict[str, Any]:
    return {"store": store, IO_MANAGER: mxd.MetaxyIOManager(store=store)}


@pytest.fixture
def run(
    resources: dict[str, Any], instance: dg.DagsterInstance
) -> Callable[..., dg.ExecuteInProcessResult]:
    """``run(*assets, …)``: materialize some assets of a repository in this process."""

    def execute(*assets: Any, only: Any = None, **options: Any) -> dg.ExecuteInProcessResult:
        return dg.materialize(
            list(assets),
            instance=options.pop("instance", instance),
            resources={**resources, **options.pop("resources", {})},
            selection=only,
            **options,
        )

    return execute
