"""A repository whose IO manager is any that there is: run with it alone, and with it wrapped."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import dagster as dg
import narwhals as nw

import metaxy_dagster as mxd
from metaxy_dagster.runtime.io.wrapped import wrapped

__all__ = ["check"]

DAYS = dg.StaticPartitionsDefinition(["mo", "tu"])
STATES = [
    {1: ("mo", 10), 2: ("mo", 20), 3: ("tu", 5)},
    {1: ("mo", 10), 2: ("mo", 21), 4: ("mo", 7), 3: ("tu", 5)},
    {1: ("mo", 10), 2: ("mo", 21), 4: ("mo", 7), 3: ("tu", 5)},
    {2: ("mo", 21), 3: ("tu", 6), 5: ("tu", 1)},
]
COMPUTED = [[1, 2, 3], [2, 4], [], [3, 5]]


def check(
    make: Callable[[Path], Any],
    frame: Callable[[Mapping[str, Any]], Any],
    kind: type,
    folder: Path,
    instance: dg.DagsterInstance,
    *,
    partitioned: bool = False,
    config: Mapping[str, Any] | None = None,
    resources: Callable[[Path], Mapping[str, Any]] = lambda _: {},
) -> None:
    """After each run the storage holds what it holds without us, and less was computed.

    Args:
        make: the IO manager that stores in a folder.
        frame: makes what functions return.
        kind: its type.
        folder: where both repositories store.
        instance: of Dagster.
        partitioned: whether the assets have partitions.
        config: of the run.
        resources: others that the IO manager needs.
    """
    found = {}
    for name in ("alone", "kept"):
        place = folder / name
        place.mkdir()
        found[name] = _runs(
            manager=make(place),
            frame=frame,
            kind=kind,
            place=place,
            instance=instance,
            partitioned=partitioned,
            config=config or {},
            more=resources(place),
        )
    assert found["kept"][0] == found["alone"][0]
    assert found["kept"][1] == (COMPUTED if not partitioned else found["kept"][1])
    assert sum(map(len, found["kept"][1])) < sum(map(len, found["alone"][1]))


def _runs(*, manager, frame, kind, place, instance, partitioned, config, more):
    """Run all states; what a consumer saw after each, and what was computed."""
    name = place.name
    orders_now, computed, seen = {}, [], []
    graph = mxd.FeatureGraph()
    graph.add(mxd.FeatureSpec("orders", id_columns=["id"]))
    graph.add(mxd.FeatureSpec("taxed", id_columns=["id"], deps=["orders"]))
    store = mxd.DuckDBMetadataStore(place / "m.duckdb", graph=graph)
    options = {"partitions_def": DAYS} if partitioned else {}
    tie = {"partition_by": "day", "partition_expr": "day"} if partitioned else {}

    @dg.asset(
        metadata={"metaxy/feature": "orders", **tie}, key_prefix=[name], name="orders", **options
    )
    def orders(context) -> kind:
        day = context.partition_key if partitioned else None
        rows = [(i, d, p) for i, (d, p) in orders_now.items() if day in (None, d)]
        ids, days, prices = zip(*rows, strict=True) if rows else ((), (), ())
        return frame({"id": list(ids), "day": list(days), "price": list(prices)})

    @dg.asset(
        metadata={"metaxy/feature": "taxed", "metaxy/input": "increment", **tie},
        ins={"orders": dg.AssetIn(orders.key)},
        key_prefix=[name],
        **options,
    )
    def taxed(orders: kind) -> kind:
        table = nw.from_native(orders)
        rows = table.collect() if isinstance(table, nw.LazyFrame) else table
        computed.append(sorted(rows["id"].to_list()))
        return table.with_columns(nw.col("price") * 2).to_native()

    @dg.asset(ins={"taxed": dg.AssetIn(taxed.key)}, key_prefix=[name])
    def report(taxed: kind) -> None:
        table = nw.from_native(taxed)
        rows = table.collect() if isinstance(table, nw.LazyFrame) else table
        columns = {each: rows[each].to_list() for each in ("id", "day", "price")}
        seen.append(sorted(zip(*columns.values(), strict=True)))

    assets = [orders, taxed, report]
    ours = {} if name == "alone" else {"metaxy_io_manager": mxd.MetaxyIOManager(store=store)}
    resources = {**more, **ours, "io_manager": manager if name == "alone" else wrapped(manager)}
    for state in STATES:
        orders_now.clear()
        orders_now.update(state)
        common = {"instance": instance, "resources": resources, "run_config": config}
        if partitioned:
            for day in DAYS.get_partition_keys():
                both = [orders.key, taxed.key]
                dg.materialize(assets, selection=both, partition_key=day, **common)
        if not partitioned:
            dg.materialize(assets, **common)
    return seen, computed
