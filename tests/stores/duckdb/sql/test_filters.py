"""Filters, wherever they are given: what they may name, and what they may compare it with."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pytest
from worlds import catch_up, statuses

from metaxy_dagster.errors import StoreError
from metaxy_dagster.features import FeatureDep, FeatureGraph, FeatureSpec
from metaxy_dagster.stores import DuckDBMetadataStore


def graph(filters: str | None = None) -> FeatureGraph:
    made = FeatureGraph()
    made.add(FeatureSpec("clip", id_columns=["id"]))
    dep = FeatureDep("clip", rename={"light": "lux"}, filters=filters)
    made.add(FeatureSpec("crop", id_columns=["id"], deps=[dep]))
    return made


@pytest.fixture(params=["small columns", "large columns"])
def store(tmp_path: Path, request: pytest.FixtureRequest) -> DuckDBMetadataStore:
    """Large columns are not carried along while samples are compared."""
    made = DuckDBMetadataStore(tmp_path / "m.duckdb", graph=graph())
    clips = {"id": [1, 2, 3], "light": [10, 20, 30], "kind": ["a", "b", "b"]}
    if request.param == "large columns":
        clips["pixels"] = [[0], [1], [2]]
    made.write("clip", pa.table(clips))
    return made


Give = Callable[[DuckDBMetadataStore, str], object]


def of_a_dependency(store: DuckDBMetadataStore, text: str) -> object:
    return DuckDBMetadataStore(store.path, graph=graph(text)).resolve_update("crop").counts


def of_a_replace(store: DuckDBMetadataStore, text: str) -> object:
    frame = store.read("clip").collect("pyarrow").to_native()
    return store.write("clip", frame, mode="replace", max_deleted_share=1.0, scope=text)


# Where a filter is given: what it is called in an error, and how light is called there.
PLACES: dict[str, tuple[Give, str, str]] = {
    "read": (lambda s, text: s.read("clip", filters=text).collect(), "clip", "light"),
    "delete": (lambda s, text: s.delete("clip", filters=text), "clip", "light"),
    "replace": (of_a_replace, "clip", "light"),
    "dependency": (of_a_dependency, "clip", "lux"),
    "increment": (lambda s, text: s.resolve_update("crop", filters=text).counts, "crop", "lux"),
    "frames": (
        lambda s, text: s.resolve_update("crop", filters=text).new.collect(),
        "crop",
        "lux",
    ),
    "summary": (lambda s, text: s.summary("clip", filters=text), "clip", "light"),
}
OTHER_KINDS = ["{light} > 'much'", "kind > 5", "kind = true", "id IN ('one')", "{light} LIKE 'a%'"]


@pytest.mark.parametrize("text", OTHER_KINDS)
@pytest.mark.parametrize("place", PLACES)
def test_a_literal_of_another_kind_is_refused(
    place: str, text: str, store: DuckDBMetadataStore
) -> None:
    give, feature, light = PLACES[place]
    found = "compares '(light|lux|kind|id)' with a value of another kind"
    with pytest.raises(StoreError, match=f"{feature}'.*{found}"):
        give(store, text.format(light=light))


@pytest.mark.parametrize("place", PLACES)
def test_a_column_that_is_not_there_is_refused_with_those_that_are(
    place: str, store: DuckDBMetadataStore
) -> None:
    give, feature, light = PLACES[place]
    with pytest.raises(StoreError, match=f"{feature}' does not have") as caught:
        give(store, "lumen > 5")
    assert caught.value.found == "lumen"
    assert {"id", light, "kind"} <= set(caught.value.allowed)


def test_stored_samples_are_filtered_by_their_own_columns(store: DuckDBMetadataStore) -> None:
    catch_up(store, "crop", lux=1)
    for text, word in (("lux > 'much'", "another kind"), ("lumen > 5", "does not have")):
        with pytest.raises(StoreError, match=f"feature 'crop'.*{word}"):
            _ = store.resolve_update("crop", stale_when=text).counts
    assert statuses(store.resolve_update("crop", stale_when="lux = 1 AND id > 1")) == {
        "stale": [2, 3]
    }


@pytest.mark.parametrize("text", ["lux > 15", "LUX > 15", "kind = 'b'", "id >= 2"])
def test_an_increment_is_filtered_by_what_its_upstreams_bring(
    text: str, store: DuckDBMetadataStore
) -> None:
    assert store.resolve_update("crop", filters=text).counts.new == 2
    assert statuses(store.resolve_update("crop", filters=text)) == {"new": [2, 3]}
    batches = store.resolve_update("crop", filters=text).batches(1)
    assert [batch.pending.collect()["id"].to_list() for batch in batches] == [[2], [3]]


def test_expected_samples_of_a_root_are_filtered_by_the_columns_they_bring(
    store: DuckDBMetadataStore,
) -> None:
    samples = pa.table({"id": [3, 4, 5], "light": [30, 40, 50], "kind": ["b"] * 3})
    found = store.resolve_update("clip", samples=samples, filters="light > 35")
    assert statuses(found) == {"new": [4, 5]}
