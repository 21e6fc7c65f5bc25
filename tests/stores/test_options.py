"""Options of a store: what they are by default, what is refused, and that they come along."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from worlds import small_graph, small_store, statuses

from metaxy_dagster.errors import ConfigError
from metaxy_dagster.features import FeatureGraph
from metaxy_dagster.stores import DuckDBMetadataStore


def test_a_sample_has_three_attempts_by_default(tmp_path: Path) -> None:
    store = small_store(tmp_path)
    image = {"id": [4], "path": ["x"], "height": [1], "caption": ["x"]}
    store.write("image", pa.table(image))
    for _ in range(3):
        increment = store.resolve_update("score")
        assert statuses(increment) == {"new": [4]}
        store.record_failures("score", [{"id": 4}], "broken", increment=increment)
    assert statuses(store.resolve_update("score")) == {}


@pytest.mark.parametrize("path", [None, 5, b"m.duckdb", ["m.duckdb"]])
def test_a_path_is_text_or_a_path(path: Any) -> None:
    with pytest.raises(ConfigError, match="must be text or a Path") as caught:
        DuckDBMetadataStore(path)
    found = str(caught.value.found)
    assert found == "None" if path is None else type(path).__qualname__ in found
    assert caught.value.remedy


def test_a_path_may_be_relative_or_begin_at_home(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    for given, path in {"m.duckdb": "m.duckdb", "~/m.duckdb": "home/m.duckdb"}.items():
        store = DuckDBMetadataStore(given, graph=small_graph())
        assert store.path == tmp_path / path
        assert repr(store) == store.display() == f"DuckDBMetadataStore({str(store.path)!r})"
        assert store.uri == f"file://{tmp_path / path}"


def test_directories_are_made_for_the_file(tmp_path: Path) -> None:
    store = DuckDBMetadataStore(tmp_path / "a" / "b" / "m.duckdb", graph=small_graph())
    assert store.write("plain", pa.table({"id": [1]})).new == 1
    assert store.count("plain") == 1


def test_no_waiting_is_a_time_to_wait(tmp_path: Path) -> None:
    store = DuckDBMetadataStore(tmp_path / "m.duckdb", graph=small_graph(), lock_timeout=0)
    assert store.write("plain", pa.table({"id": [1]})).new == 1


def test_the_current_graph_is_meant_by_default(tmp_path: Path) -> None:
    store = DuckDBMetadataStore(tmp_path / "m.duckdb")
    assert not store.has_graph
    with small_graph().use() as graph:
        assert store.graph is graph
        assert store.count("plain") == 0
    own = store.with_graph(small_graph())
    assert own.has_graph
    assert own.graph is not graph


class Special(DuckDBMetadataStore):
    """A store of somebody's own."""


@pytest.mark.parametrize(
    "copied",
    [
        lambda store: pickle.loads(pickle.dumps(store)),  # noqa: S301 - written here
        lambda store: store.with_graph(store.graph),
    ],
    ids=["pickled", "with another graph"],
)
def test_a_copy_has_the_same_options(copied: Any, tmp_path: Path) -> None:
    graph = FeatureGraph()
    options = {
        "lock_timeout": 7,
        "settings": {"threads": 1},
        "max_incremental_share": 0.5,
        "max_attempts": 0,
    }
    store = Special(tmp_path / "m.duckdb", graph=graph, **options)
    copy = copied(store)
    assert type(copy) is Special
    assert copy.path == store.path
    found = copy._options()
    assert {name: found[name] for name in options} == options
