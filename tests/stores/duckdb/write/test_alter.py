"""The type of a column is changed on purpose, and its history stays."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from videos import T, store_of
from worlds import rows

from metaxy_dagster.errors import FrameError, StoreError
from metaxy_dagster.features import FeatureSpec
from metaxy_dagster.stores import DuckDBMetadataStore


@pytest.fixture
def store(tmp_path: Path) -> DuckDBMetadataStore:
    clip = FeatureSpec("clip", id_columns=["id"])
    score = FeatureSpec("score", id_columns=["id"], deps=["clip"])
    store = store_of(tmp_path / "m.duckdb", clip, score)
    store.write("clip", T({"id": ["1", "2"], "x": ["5", "6"]}))
    store.write("clip", T({"id": ["2"], "x": ["007"]}))
    store.write("score", store.resolve_update("score").pending)
    return store


def values(store: DuckDBMetadataStore) -> list[Any]:
    return sorted((row["id"], row["x"]) for row in rows(store, "clip"))


def test_a_dry_run_tells_what_would_change_and_changes_nothing(store: DuckDBMetadataStore) -> None:
    before = values(store), store.schema("clip")
    result = store.alter("clip", columns={"X": "bigint"}, dry_run=True)
    assert (result.columns, result.changed) == ({"x": ("VARCHAR", "BIGINT")}, {"x": 1})
    assert result.dry_run
    assert (values(store), store.schema("clip")) == before


@pytest.mark.parametrize("kind", ["BIGINT", pa.int64()])
def test_values_history_and_provenance_stay(store: DuckDBMetadataStore, kind: Any) -> None:
    frame = store.read("clip", columns=["id", "x"])
    with pytest.raises(FrameError, match="alter") as caught:
        store.write("clip", T({"id": ["3"], "x": [8]}))
    assert "store.alter('clip', columns={'x'" in str(caught.value)
    with store.open("w"):
        assert not store.alter("clip", columns={"x": kind}).dry_run
        assert store.schema("clip") == {"id": "VARCHAR", "x": "BIGINT"}
        assert store.write("clip", T({"id": ["1", "2"], "x": [5, 7]})).unchanged == 2
    assert values(store) == [("1", 5), ("2", 7)]
    past = store.read("clip", columns=["x"], history=True).collect()["x"].to_list()
    assert sorted(past) == [5, 6, 7]
    assert store.resolve_update("score").counts.pending == 0
    assert store.write("clip", T({"id": ["3"], "x": [8]})).new == 1
    # A frame that was opened before shows its rows in the types that it told.
    assert sorted(frame.collect()["x"].to_list()) == ["5", "7"]


def test_ids_may_change_their_type_but_not_their_values(store: DuckDBMetadataStore) -> None:
    before = store.data_version("clip")
    store.alter("clip", columns={"id": "INTEGER"})
    assert store.data_version("clip") == before
    assert store.write("clip", T({"id": [1, 2], "x": ["5", "007"]})).unchanged == 2
    store.write("clip", T({"id": [300], "x": ["1"]}))
    with pytest.raises(StoreError, match="ids must stay") as caught:
        store.alter("clip", columns={"id": "TINYINT"})
    assert "300" in str(caught.value.found)


@pytest.mark.parametrize(
    ("columns", "problem"),
    [
        ({"y": "BIGINT"}, "does not have"),
        ({"metaxy_provenance": "BIGINT"}, "does not have"),
        ({"x": "NUMBER OF"}, "cannot get this type"),
        ({"x": 'BIGINT); DROP TABLE "main"."clip"; --'}, "cannot get this type"),
        ({"x": 7}, "cannot get this type"),
        ({"x": "DATE"}, "cannot hold"),
        ({"id": "INTEGER", "x": "INTERVAL[]"}, "cannot hold|no way"),
    ],
)
def test_what_cannot_be_is_refused_and_nothing_changes(
    store: DuckDBMetadataStore, columns: dict[str, Any], problem: str
) -> None:
    before = values(store), store.schema("clip")
    for dry_run in (True, False):
        with pytest.raises(StoreError, match=problem):
            store.alter("clip", columns=columns, dry_run=dry_run)
    assert (values(store), store.schema("clip")) == before
    store.drop("score")
    with pytest.raises(StoreError, match="not stored"):
        store.alter("score", columns={"x": "DATE"})
