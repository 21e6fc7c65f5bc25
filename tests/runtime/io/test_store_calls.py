"""Nothing is asked of the store twice in a step, and the file is opened as rarely as can be."""

from collections import Counter
from collections.abc import Callable
from typing import Any

import dagster as dg
import polars as pl
import pytest
from feature_runs import IO_MANAGER, feature, images

import metaxy_dagster as mxd
from metaxy_dagster.runtime.resource import bind_graph
from metaxy_dagster.stores.duckdb.file.connection import DuckDBFile

ASKED = (
    *("read", "read_table", "count", "schema", "data_version", "summary", "failures", "failed"),
    *("write", "resolve_update"),
)
IMAGE = dg.AssetSpec("image", metadata={"metaxy/feature": "image"}).with_io_manager_key(IO_MANAGER)


@pytest.fixture
def resources(store: mxd.DuckDBMetadataStore) -> dict[str, Any]:
    """A store resource: a bare store is opened once more, by Dagster 1.11 itself."""
    made = bind_graph(mxd.MetaxyStoreFromConfigResource(path=str(store.path)), store.graph)
    return {"store": made, IO_MANAGER: mxd.MetaxyIOManager(store=made)}


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> Counter[str]:
    """How often each question was put, and the file was opened."""
    counted: Counter[str] = Counter()

    def counting(owner: Any, name: str, label: str) -> None:
        original = getattr(owner, name)

        def wrapper(*args: Any, **options: Any) -> Any:
            counted[label] += 1
            return original(*args, **options)

        monkeypatch.setattr(owner, name, wrapper)

    for name in ASKED:
        counting(mxd.DuckDBMetadataStore, name, name)
    counting(DuckDBFile, "_attach", "opened")
    return counted


@pytest.mark.parametrize("mode", ["all", "increment"])
@pytest.mark.parametrize("changed", [True, False])
def test_what_a_derived_asset_asks(
    run: Callable[..., Any],
    store: mxd.DuckDBMetadataStore,
    calls: Counter[str],
    mode: str,
    changed: bool,
) -> None:
    @dg.asset(**feature("thumb", input=mode))
    def thumb(image: pl.DataFrame) -> pl.DataFrame:
        return image.select("id", thumb="pixels")

    store.write("image", images({1: ("a", "b"), 2: ("c", "d")}))
    run(IMAGE, thumb, only=[thumb])
    if changed:
        store.write("image", images({1: ("e", "b")}))
    calls.clear()
    run(IMAGE, thumb, only=[thumb])
    # Once to read, and once to write and to tell Dagster what is stored.
    assert calls == {"resolve_update": 1, "write": 1, "summary": 1, "opened": 2}


def test_what_a_root_asks(run: Callable[..., Any], calls: Counter[str]) -> None:
    @dg.asset(**feature("image"))
    def image():
        return images({1: ("a", "b")})

    run(image)
    calls.clear()
    run(image)
    assert calls == {"write": 1, "summary": 1, "opened": 1}
