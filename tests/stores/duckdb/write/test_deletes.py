"""Deletes that find nothing, and what a delete keeps by default."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pytest
from worlds import rows, small_graph, small_store, statuses

from metaxy_dagster.features import FeatureKey
from metaxy_dagster.stores import DuckDBMetadataStore, WriteResult


@pytest.fixture
def store(tmp_path: Path) -> DuckDBMetadataStore:
    return small_store(tmp_path)


@pytest.mark.parametrize("filters", [None, "id > 1", "no_such_column = 1"])
def test_of_a_feature_that_was_never_written(
    filters: str | None, store: DuckDBMetadataStore
) -> None:
    result = store.delete("plain", filters=filters)
    assert result == WriteResult(FeatureKey("plain"), 0, 0, 0, 0, 0)
    assert store.write("plain", pa.table({"id": ["a"]})).commit == 3


def test_of_no_sample(store: DuckDBMetadataStore) -> None:
    result = store.delete("image", filters="id > 9")
    assert (result.feature, result.deleted, result.commit) == (FeatureKey("image"), 0, 0)
    assert store.count("image") == 3


@pytest.mark.parametrize("options", [{}, {"soft": True}, {"soft": False}])
def test_the_past_is_kept_unless_it_is_erased(
    options: dict[str, bool], store: DuckDBMetadataStore
) -> None:
    assert store.delete("image", filters="id = 1", **options).deleted == 1
    past = [row["id"] for row in rows(store, "image", history=True)]
    assert past == ([1, 2, 3] if options.get("soft", True) else [2, 3])
    assert statuses(store.resolve_update("score")) == {"orphaned": [1]}


@pytest.mark.parametrize("column", ["metaxy_materialization_id", "metaxy_feature_version"])
def test_by_what_the_store_keeps_beside(column: str, tmp_path: Path) -> None:
    store = DuckDBMetadataStore(tmp_path / "m.duckdb", graph=small_graph())
    for run in "ab":
        store.write("plain", pa.table({"id": [run]}), materialization_id=run)
    version = store.graph.feature_version("plain")
    value = "a" if column == "metaxy_materialization_id" else version
    assert store.delete("plain", filters=f"{column} = '{value}'").deleted == (
        1 if value == "a" else 2
    )


def test_orphaned_samples_stay_by_default(store: DuckDBMetadataStore) -> None:
    store.delete("image", filters="id = 3")
    for delete, left in ((None, 3), (False, 3), (True, 2)):
        options = {} if delete is None else {"delete_orphaned": delete}
        frame = pa.table({"id": pa.array([], pa.int64()), "score": pa.array([], pa.float64())})
        store.write("score", frame, increment=store.resolve_update("score"), **options)
        assert store.count("score") == left


def test_a_dropped_feature_begins_anew(store: DuckDBMetadataStore) -> None:
    store.drop("plain")
    store.drop("image")
    assert store.features() == [FeatureKey("score")]
    nobody = DuckDBMetadataStore(store.path.with_name("other.duckdb"), graph=store.graph)
    nobody.drop("image")
    assert not nobody.path.exists()
