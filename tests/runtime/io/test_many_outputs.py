"""Several outputs of one step may share a feature, each with samples of its own."""

from collections.abc import Callable
from typing import Any

import dagster as dg
import polars as pl
import pytest
from feature_runs import IO_MANAGER, stored

import metaxy_dagster as mxd


@pytest.fixture
def graph() -> mxd.FeatureGraph:
    made = mxd.FeatureGraph()
    made.add(mxd.FeatureSpec("event", id_columns=["id"]))
    made.add(mxd.FeatureSpec("clean", id_columns=["id"], deps=["event"]))
    return made


def outs(feature: str, *sources: str, **metadata: Any) -> dict[str, dg.AssetOut]:
    return {
        f"{feature}_{source}": dg.AssetOut(
            io_manager_key=IO_MANAGER,
            metadata={
                "metaxy/feature": feature,
                "metaxy/partition": {"source": source},
                **metadata,
            },
        )
        for source in sources
    }


def test_outputs_that_share_a_feature(
    run: Callable[..., Any], store: mxd.DuckDBMetadataStore
) -> None:
    rows = {"web": ["w1", "w2"], "app": ["a1", "a2"]}
    given: list[list[str]] = []

    @dg.multi_asset(outs=outs("event", "web", "app"))
    def events():
        for source, ids in rows.items():
            yield dg.Output(pl.DataFrame({"id": ids}), f"event_{source}")

    @dg.multi_asset(outs=outs("clean", "web", "app", **{"metaxy/input": "increment"}))
    def cleaned(event_web: pl.DataFrame, event_app: pl.DataFrame):
        given.append(sorted([*event_web["id"], *event_app["id"]]))
        yield dg.Output(event_web.select("id"), "clean_web")
        yield dg.Output(event_app.select("id"), "clean_app")

    run(events, cleaned)
    assert stored(store, "event") == {
        "w1": ("web",),
        "w2": ("web",),
        "a1": ("app",),
        "a2": ("app",),
    }
    assert stored(store, "clean") == stored(store, "event")
    rows["web"] = ["w1"]
    rows["app"] = ["a1", "a2", "a3"]
    run(events, cleaned)
    assert given == [["a1", "a2", "w1", "w2"], ["a3"]]
    assert set(stored(store, "clean")) == {"w1", "a1", "a2", "a3"}


def test_samples_of_another_contributor_are_refused(
    run: Callable[..., Any], store: mxd.DuckDBMetadataStore
) -> None:
    @dg.multi_asset(outs=outs("event", "web"))
    def events():
        return pl.DataFrame({"id": ["a"], "source": ["app"]})

    with pytest.raises(mxd.FrameError, match="other partitions"):
        run(events)
    assert store.features() == []


def test_a_contributor_of_several_values_must_say_which(
    run: Callable[..., Any], store: mxd.DuckDBMetadataStore
) -> None:
    @dg.asset(
        io_manager_key=IO_MANAGER,
        metadata={"metaxy/feature": "event", "metaxy/partition": {"source": ["web", "app"]}},
    )
    def event():
        return pl.DataFrame({"id": ["a"]})

    with pytest.raises(mxd.FrameError, match="which partition a sample belongs to") as caught:
        run(event)
    assert "source" in str(caught.value)
    assert store.features() == []


def test_a_column_that_upstream_lacks_is_named(
    run: Callable[..., Any], store: mxd.DuckDBMetadataStore
) -> None:
    """The samples of a contributor can only be told by ids or by upstream columns."""

    @dg.multi_asset(outs=outs("clean", "web", **{"metaxy/input": "increment"}))
    def clean(event: pl.DataFrame):
        return event

    store.write("event", pl.DataFrame({"id": ["a"], "x": [1]}))
    event = dg.AssetSpec("event", metadata={"metaxy/feature": "event"})
    with pytest.raises(mxd.StoreError, match="filter names a column") as caught:
        run(event.with_io_manager_key(IO_MANAGER), clean)
    assert "source" in str(caught.value)
