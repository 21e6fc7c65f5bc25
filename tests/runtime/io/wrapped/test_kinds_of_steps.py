"""Steps of all kinds over a wrapped IO manager: lineages, batches, mixed storage, what is amiss."""

from pathlib import Path
from typing import Any

import dagster as dg
import pandas as pd
import pytest
from kept_orders import Shelf

import metaxy_dagster as mxd
from metaxy_dagster.errors import RunError
from metaxy_dagster.runtime import batching_op
from metaxy_dagster.runtime.io.wrapped import wrapped


class Place:
    """A shelf, a store, and a root whose rows a test sets."""

    def __init__(self, folder: Path, instance: dg.DagsterInstance) -> None:
        self.rows: dict[str, list[Any]] = {}
        self.calls: list[Any] = []
        graph = mxd.FeatureGraph()
        graph.add(mxd.FeatureSpec("order", id_columns=["id"]))
        graph.add(mxd.FeatureSpec("taxed", id_columns=["id"], deps=["order"]))
        parent = mxd.LineageRelationship.expansion(on=["id"])
        dep = mxd.FeatureDep("order", lineage=parent)
        graph.add(mxd.FeatureSpec("item", id_columns=["id", "n"], deps=[dep]))
        both = ["order", mxd.FeatureDep("taxed", optional=True)]
        graph.add(mxd.FeatureSpec("both", id_columns=["id"], deps=both))
        self.shelf = Shelf(folder / "shelf")
        self.store = mxd.DuckDBMetadataStore(folder / "m.duckdb", graph=graph)
        self._instance = instance

        @dg.asset(metadata={"metaxy/feature": "order"})
        def order() -> pd.DataFrame:
            return pd.DataFrame(self.rows)

        self.order = order

    def run(self, *assets: Any, **rows: list[Any]) -> dg.ExecuteInProcessResult:
        self.rows = rows or self.rows
        self.calls.clear()
        ours = mxd.MetaxyIOManager(store=self.store)
        return dg.materialize(
            [self.order, *assets],
            instance=self._instance,
            resources={"io_manager": wrapped(self.shelf), "metaxy_io_manager": ours},
        )

    def held(self, name: str) -> list[tuple[Any, ...]]:
        frame = pd.read_pickle(self.shelf.path(name))  # noqa: S301 - our own
        return list(frame.itertuples(index=False, name=None))


@pytest.fixture
def place(tmp_path: Path, instance: dg.DagsterInstance) -> Place:
    return Place(tmp_path, instance)


def derived(place: Place, name: str = "taxed", **options: Any) -> dg.AssetsDefinition:
    tie = {"metaxy/feature": name, "metaxy/input": "increment"}

    @dg.asset(name=name, metadata=tie, **options)
    def compute(order: pd.DataFrame) -> pd.DataFrame:
        place.calls.append(list(order["id"]))
        return order.assign(price=order["price"] * 2)

    return compute


def test_children_of_a_parent_that_has_fewer(place: Place) -> None:
    @dg.asset(metadata={"metaxy/feature": "item", "metaxy/input": "increment"})
    def item(order: pd.DataFrame) -> pd.DataFrame:
        place.calls.append(list(order["id"]))
        pairs = zip(order["id"], order["price"], strict=True)
        rows = [(i, n) for i, price in pairs for n in range(price)]
        return pd.DataFrame(rows, columns=["id", "n"])

    place.run(item, id=[1, 2], price=[3, 1])
    assert place.held("item") == [(1, 0), (1, 1), (1, 2), (2, 0)]
    place.run(item, id=[1, 2, 3], price=[1, 1, 1])
    assert (place.calls, place.held("item")) == ([[1, 3]], [(1, 0), (2, 0), (3, 0)])


def test_an_upstream_that_may_be_absent(place: Place) -> None:
    @dg.asset(metadata={"metaxy/feature": "both", "metaxy/input": "increment"})
    def both(order: pd.DataFrame, taxed: pd.DataFrame) -> pd.DataFrame:
        place.calls.append((list(order["id"]), list(taxed["id"])))
        return order.merge(taxed.rename(columns={"price": "tax"}), on="id", how="left")

    @dg.asset(metadata={"metaxy/feature": "taxed", "metaxy/input": "increment"})
    def taxed(order: pd.DataFrame) -> pd.DataFrame:
        return order[order["price"] > 1]

    place.run(taxed, both, id=[1, 2], price=[1, 2])
    assert place.calls == [([1, 2], [2])]
    place.run(taxed, both, id=[1, 2], price=[5, 2])
    assert (place.calls, place.held("both")) == ([([1], [1])], [(1, 5, 5.0), (2, 2, 2.0)])


def test_batches_are_merged(place: Place) -> None:
    asset = derived(place)
    op = batching_op(asset.op, 2)
    keys = {"order": dg.AssetKey("order")}
    tie = {"metaxy/feature": "taxed", "metaxy/input": "increment", "metaxy/batch_size": 2}
    made = dg.AssetsDefinition.from_op(
        op, keys_by_input_name=keys, metadata_by_output_name={"result": tie}
    )
    place.run(made, id=[1, 2, 3, 4, 5], price=[1, 2, 3, 4, 5])
    assert place.calls == [[1, 2], [3, 4], [5]]
    assert sorted(place.held("taxed")) == [(i, 2 * i) for i in range(1, 6)]
    place.run(made, id=[1, 2, 3, 5], price=[1, 2, 9, 5])
    assert place.calls == [[3]]
    assert sorted(place.held("taxed")) == [(1, 2), (2, 4), (3, 18), (5, 10)]
    assert place.store.resolve_update("taxed").counts.pending == 0


@pytest.mark.parametrize("routed", ["order", "taxed"])
def test_storage_of_both_kinds(routed: str, place: Place) -> None:
    ours = {"io_manager_key": "metaxy_io_manager"}
    taxed = derived(place, **(ours if routed == "taxed" else {}))
    if routed == "order":

        @dg.asset(metadata={"metaxy/feature": "order"}, **ours)
        def order() -> pd.DataFrame:
            return pd.DataFrame(place.rows)

        place.order = order
    place.run(taxed, id=[1, 2], price=[1, 2])
    place.run(taxed, id=[1, 2, 3], price=[1, 5, 3])
    assert place.calls == [[2, 3]]
    if routed == "order":
        assert place.held("taxed") == [(1, 2), (2, 10), (3, 6)]
    else:
        rows = place.store.read("taxed", columns=["id", "price"]).collect().rows()
        assert sorted(rows) == [(1, 2), (2, 10), (3, 6)]


def test_pending_samples_whose_row_is_missing_stay_pending(place: Place) -> None:
    taxed = derived(place)
    place.run(id=[1, 2, 3], price=[1, 2, 3])
    pd.DataFrame({"id": [1, 3], "price": [1, 3]}).to_pickle(place.shelf.path("order"))
    tie = {"metaxy/feature": "order"}
    outside = dg.AssetSpec("order", metadata=tie)
    place.order = outside
    place.run(taxed)
    assert (place.calls, place.held("taxed")) == ([[1, 3]], [(1, 2), (3, 6)])
    assert place.store.resolve_update("taxed").pending.collect()["id"].to_list() == [2]


def test_rows_that_are_missing_of_its_own_are_computed_again(place: Place) -> None:
    taxed = derived(place)
    place.run(taxed, id=[1, 2, 3], price=[1, 2, 3])
    pd.DataFrame({"id": [1], "price": [2]}).to_pickle(place.shelf.path("taxed"))
    place.run(taxed, id=[1, 2, 3, 4], price=[1, 2, 3, 4])
    assert place.calls == [[4]]
    place.run(taxed)
    assert (place.calls, sorted(place.held("taxed"))) == (
        [[2, 3]],
        [(1, 2), (2, 4), (3, 6), (4, 8)],
    )
    pd.DataFrame({"id": [8], "price": [2]}).to_pickle(place.shelf.path("taxed"))
    with pytest.raises(RunError, match="missing where the feature is stored"):
        place.run(taxed, id=[1, 2, 3, 4, 5], price=[1, 2, 3, 4, 5])
    assert place.held("taxed") == [(8, 2)]


def test_what_was_there_before_and_is_not_adopted(place: Place, instance: Any) -> None:
    place.rows = {"id": [1, 2], "price": [1, 2]}
    dg.materialize([place.order], instance=instance, resources={"io_manager": place.shelf})
    place.order = dg.AssetSpec("order", metadata={"metaxy/feature": "order"})
    place.run(derived(place))
    assert (place.calls, place.held("taxed")) == ([[1, 2]], [(1, 2), (2, 4)])
    assert place.store.features() == []


def test_what_is_no_frame(place: Place) -> None:
    @dg.asset(metadata={"metaxy/feature": "taxed"})
    def taxed(order: pd.DataFrame):
        return pd.Series(order["price"], name="model")

    @dg.asset(name="taxed", metadata={"metaxy/feature": "taxed", "metaxy/input": "increment"})
    def increment(order: pd.DataFrame):
        return pd.Series(order["price"], name="model")

    place.run(derived(place), id=[1, 2], price=[1, 2])
    place.run(taxed)
    assert isinstance(pd.read_pickle(place.shelf.path("taxed")), pd.Series)  # noqa: S301 - our own
    # What was recorded before is true no more.
    assert place.store.resolve_update("taxed").counts.pending == 2
    with pytest.raises(RunError, match="no frame"):
        place.run(increment)


def test_a_sample_that_lacks_one_of_its_rows_is_not_recorded(place: Place) -> None:
    @dg.asset(metadata={"metaxy/feature": "both", "metaxy/input": "increment"})
    def both(order: pd.DataFrame, taxed: pd.DataFrame) -> pd.DataFrame:
        place.calls.append((list(order["id"]), list(taxed["id"])))
        return order.merge(taxed.rename(columns={"price": "tax"}), on="id", how="left")

    taxed = derived(place)
    place.run(taxed, id=[1, 2], price=[1, 2])
    pd.DataFrame({"id": [1], "price": [2]}).to_pickle(place.shelf.path("taxed"))
    place.run(taxed, both)
    assert place.calls[-1] == ([1, 2], [1])
    assert [row[0] for row in place.held("both")] == [1, 2]
    assert place.store.resolve_update("both").pending.collect()["id"].to_list() == [2]
