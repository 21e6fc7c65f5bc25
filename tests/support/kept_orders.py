"""A shop whose tables an IO manager of its own stores: orders, taxed orders, days."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import dagster as dg
import pandas as pd

import metaxy_dagster as mxd
from metaxy_dagster.runtime.io.wrapped import wrapped

__all__ = ["DiedError", "Shelf", "Shop", "features", "keys"]

Orders = Mapping[int, tuple[str, int]]


def keys(feature: str, **more: object) -> dict[str, object]:
    return {"metaxy/feature": feature, "metaxy/input": "increment", **more}


def features() -> mxd.FeatureGraph:
    """orders -> taxed -> days, which are groups of taxed orders."""
    graph = mxd.FeatureGraph()
    graph.add(mxd.FeatureSpec("orders", id_columns=["id"]))
    graph.add(mxd.FeatureSpec("taxed", id_columns=["id"], deps=["orders"]))
    by_day = mxd.LineageRelationship.aggregation(on=["day"])
    dep = mxd.FeatureDep("taxed", lineage=by_day)
    graph.add(mxd.FeatureSpec("days", id_columns=["day"], deps=[dep]))
    return graph


class DiedError(Exception):
    """The process that was storing something is gone."""


class Shelf(dg.IOManager):
    """Pickles in a folder; dies on demand before or after it has stored an asset."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.dies, self.stored = folder, "", list[str]()
        folder.mkdir(exist_ok=True)

    def path(self, name: str) -> Path:
        return self.folder / f"{name}.pickle"

    def handle_output(self, context: dg.OutputContext, obj: Any) -> None:
        name = context.asset_key.path[-1]
        if self.dies == f"{name} before":
            raise DiedError
        obj.to_pickle(self.path(name))
        self.stored.append(name)
        if self.dies == f"{name} after":
            raise DiedError

    def load_input(self, context: dg.InputContext) -> pd.DataFrame:
        return pd.read_pickle(self.path(context.asset_key.path[-1]))  # noqa: S301 - our own

    def tables(self) -> dict[str, pd.DataFrame]:
        """What is there, in the order of ids."""
        found = {path.stem: pd.read_pickle(path) for path in sorted(self.folder.iterdir())}  # noqa: S301
        return {
            name: frame.sort_values(list(frame.columns[:1])).reset_index(drop=True)
            for name, frame in found.items()
        }


class Shop:
    """The repository, with the IO manager alone or wrapped."""

    def __init__(self, folder: Path, instance: dg.DagsterInstance, *, alone: bool = False) -> None:
        self.orders: Orders = {}
        self.computed: dict[str, list[Any]] = {"taxed": [], "days": []}
        self.shelf = Shelf(folder / ("alone" if alone else "kept"))
        self.store = mxd.DuckDBMetadataStore(folder / "m.duckdb", graph=features())
        self._instance = instance
        ours = {"metaxy_io_manager": mxd.MetaxyIOManager(store=self.store, max_deleted_share=1)}
        manager = self.shelf if alone else wrapped(self.shelf)
        self.resources: dict[str, Any] = {"io_manager": manager, **({} if alone else ours)}
        self.assets = list(self._assets())

    def _assets(self) -> Iterator[dg.AssetsDefinition]:
        @dg.asset(metadata={"metaxy/feature": "orders"})
        def orders() -> pd.DataFrame:
            rows = [(id_, day, price) for id_, (day, price) in self.orders.items()]
            return pd.DataFrame(rows, columns=["id", "day", "price"])

        @dg.asset(metadata=keys("taxed"))
        def taxed(orders: pd.DataFrame) -> pd.DataFrame:
            self.computed["taxed"] += list(orders["id"])
            return orders.assign(price=orders["price"] * 2)

        @dg.asset(metadata=keys("days", **{"metaxy/unreturned": "empty"}))
        def days(taxed: pd.DataFrame) -> pd.DataFrame:
            self.computed["days"] += sorted(set(taxed["day"]))
            sums = taxed.groupby("day", as_index=False)["price"].sum()
            return sums[sums["price"] > 0]

        yield from (orders, taxed, days)

    def run(self, orders: Orders | None = None, *, only: list[str] | None = None) -> None:
        """Materialize; what is computed is noted anew."""
        if orders is not None:
            self.orders = orders
        for names in self.computed.values():
            names.clear()
        result = dg.materialize(
            self.assets,
            instance=self._instance,
            resources=self.resources,
            selection=only,
        )
        assert result.success

    @contextmanager
    def dying(self, where: str, monkeypatch: Any) -> Iterator[None]:
        """Inside, a process dies at some point: ``taxed before``, ``taxed after``, a call."""
        asset, point = where.split(" ", 1)
        store = type(self.store)
        with monkeypatch.context() as patch:
            if point in {"before", "after"}:
                patch.setattr(self.shelf, "dies", where)
            else:
                name, _, number = point.partition(" ")
                patch.setattr(store, name, _dying(getattr(store, name), asset, int(number or 0)))
            yield


def _dying(method: Callable[..., Any], feature: str, number: int) -> Callable[..., Any]:
    """A method of a store that dies at its n-th call for a feature, before it does anything."""
    calls = 0

    def dies(self: Any, key: Any, *args: Any, **options: Any) -> Any:
        nonlocal calls
        if str(mxd.FeatureKey(key)) == feature:
            calls += 1
            if calls > number:
                raise DiedError
        return method(self, key, *args, **options)

    return dies
