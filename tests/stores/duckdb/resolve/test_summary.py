"""What an event tells of a feature is what each question for itself would tell."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pytest
from worlds import IMAGES, small_graph, small_store

from metaxy_dagster.features import FeatureKey
from metaxy_dagster.stores import DuckDBMetadataStore
from metaxy_dagster.stores.failures import FailureResult

IMAGE = FeatureKey("image")
SCHEMA = {"id": "BIGINT", "path": "VARCHAR", "height": "BIGINT", "caption": "VARCHAR"}


@pytest.fixture(params=["its version is known", "its version is not known"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> DuckDBMetadataStore:
    """Three images; after one was erased, the version must be found out again."""
    store = small_store(tmp_path)
    if request.param == "its version is not known":
        extra = {"id": 0, "path": "0.png", "height": 1, "caption": "x"}
        store.write("image", pa.Table.from_pylist([extra]))
        store.delete("image", filters="id = 0", soft=False)
    return store


def image(number: int, path: str) -> pa.Table:
    return pa.table({"id": [number], "path": [path], "height": [1], "caption": [path]})


def test_of_a_feature_that_was_never_written(tmp_path: Path) -> None:
    store = DuckDBMetadataStore(tmp_path / "m.duckdb", graph=small_graph())
    found = store.summary("image")
    assert (found.schema, found.rows, found.chosen, found.preview) == ({}, 0, 0, None)
    assert found.data_version == store.data_version("image")
    assert found.failed == FailureResult(IMAGE, 0, 0)


def test_of_all_samples(store: DuckDBMetadataStore) -> None:
    found = store.summary("image")
    assert (dict(found.schema), found.rows, found.chosen) == (SCHEMA, 3, 3)
    assert found.data_version == store.data_version("image")
    assert found.failed == FailureResult(IMAGE, 0, 0)
    assert found.preview.to_pylist() == IMAGES


@pytest.mark.parametrize(
    ("filters", "chosen"), [("id < 3", 2), ("height > 720 AND path = 'b.png'", 1), ("id > 9", 0)]
)
def test_of_some_samples(filters: str, chosen: int, store: DuckDBMetadataStore) -> None:
    found = store.summary("image", filters=filters)
    assert (dict(found.schema), found.rows, found.chosen) == (SCHEMA, 3, chosen)
    assert found.data_version == store.data_version("image", filters=filters)
    assert found.data_version != store.data_version("image")
    assert found.preview.to_pylist() == IMAGES


def test_the_first_samples_are_those_of_the_smallest_ids(store: DuckDBMetadataStore) -> None:
    for number in (-1, 9):
        store.write("image", image(number, "x"))
    preview = store.summary("image", preview=3).preview
    assert preview.column_names == list(SCHEMA)
    assert preview.column("id").to_pylist() == [-1, 1, 2]


@pytest.mark.parametrize("filters", [None, "id < 3"])
def test_a_session_tells_of_its_moment(filters: str | None, store: DuckDBMetadataStore) -> None:
    before = store.data_version("image", filters=filters)
    other = DuckDBMetadataStore(store.path, graph=store.graph)
    with store:
        other.write("image", image(1, "moved"))
        other.write("image", image(0, "new"))
        found = store.summary("image", filters=filters)
        assert (found.rows, found.chosen) == (3, 2 if filters else 3)
        assert found.data_version == before
        assert found.preview.to_pylist() == IMAGES
    assert store.summary("image", filters=filters).data_version != before


def test_failures_are_counted(store: DuckDBMetadataStore) -> None:
    for number in (4, 5):
        store.write("image", image(number, "x"))
    for failing in ([4], [4, 5], [4]):
        increment = store.resolve_update("score")
        store.record_failures("score", [{"id": n} for n in failing], "x", increment=increment)
    assert store.summary("score").failed == FailureResult(FeatureKey("score"), 2, 1)
    assert store.summary("score").rows == 3
    assert store.summary("image").failed == FailureResult(IMAGE, 0, 0)
    store.record_failures("crop", [{"id": 1}], "x", increment=store.resolve_update("crop"))
    early = store.summary("crop")
    assert (early.rows, early.failed) == (0, FailureResult(FeatureKey("crop"), 1, 0))
