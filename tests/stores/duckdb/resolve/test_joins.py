"""How several upstreams decide which samples there are, and what a sample is computed from."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from worlds import catch_up, statuses

from metaxy_dagster.errors import FeatureError
from metaxy_dagster.features import FeatureDep, FeatureGraph, FeatureSpec
from metaxy_dagster.stores import DuckDBMetadataStore


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "m.duckdb"


def store_of(path: Path, *deps: FeatureDep, share: float = 0.3) -> DuckDBMetadataStore:
    """A pair has two ids; a left has the first of these, a right the second."""
    graph = FeatureGraph()
    for name, ids in {
        "pair": ["a", "b"],
        "more": ["a", "b"],
        "left": ["a"],
        "right": ["b"],
    }.items():
        graph.add(FeatureSpec(name, id_columns=ids))
    graph.add(FeatureSpec("out", id_columns=["a", "b"], deps=deps))
    return DuckDBMetadataStore(path, graph=graph, max_incremental_share=share)


def write(store: DuckDBMetadataStore, feature: str, *ids: Any, value: int = 0) -> None:
    names = store.graph[feature].id_columns
    listed = [one if isinstance(one, tuple) else (one,) for one in ids]
    columns = {name: [one[place] for one in listed] for place, name in enumerate(names)}
    store.write(feature, pa.table(columns | {feature: [value] * len(ids)}))


@pytest.mark.parametrize("optional", ["more", "left", "right"])
def test_an_optional_upstream_brings_no_samples(path: Path, optional: str) -> None:
    store = store_of(path, FeatureDep("pair"), FeatureDep(optional, optional=True))
    write(store, "pair", (1, 1), (1, 2))
    write(store, optional, *([(1, 1), (9, 9)] if optional == "more" else [1, 9]))
    assert statuses(store.resolve_update("out")) == {"new": [(1, 1), (1, 2)]}


@pytest.mark.parametrize("share", [0, 100])
@pytest.mark.parametrize(
    "order", [("pair", "left", "right"), ("left", "pair", "right"), ("left", "right", "pair")]
)
def test_samples_need_all_of_three_upstreams_of_different_grain(
    path: Path, order: tuple[str, ...], share: float
) -> None:
    store = store_of(path, *map(FeatureDep, order), share=share)
    write(store, "pair", (1, 1), (1, 2), (2, 1), (2, 2))
    write(store, "left", 1, 2)
    write(store, "right", 1)
    assert statuses(store.resolve_update("out")) == {"new": [(1, 1), (2, 1)]}
    catch_up(store, "out")
    write(store, "left", 2, value=1)
    assert statuses(store.resolve_update("out")) == {"stale": [(2, 1)]}
    catch_up(store, "out")
    write(store, "pair", (1, 1), value=1)
    assert statuses(store.resolve_update("out")) == {"stale": [(1, 1)]}
    catch_up(store, "out")
    store.delete("right", filters="b = 1")
    write(store, "right", 2)
    assert statuses(store.resolve_update("out")) == {
        "new": [(1, 2), (2, 2)],
        "orphaned": [(1, 1), (2, 1)],
    }


def test_a_select_names_columns_that_are_there(path: Path) -> None:
    store = store_of(path, FeatureDep("pair", select=["pair", "mood"]))
    assert store.resolve_update("out").counts.pending == 0
    assert store.resolve_update("out").new.collect().columns[:2] == ["a", "b"]
    write(store, "pair", (1, 1))
    with pytest.raises(FeatureError, match="'out': select names columns") as caught:
        store.resolve_update("out").new.collect()
    assert caught.value.found == ["mood"]
    assert caught.value.allowed == ["a", "b", "pair"]
