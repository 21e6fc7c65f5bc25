"""Old repositories with storage of their own: as they were, and with the pass over them.

All of them have orders, of which ``taxed`` is computed row by row, and a report that depends on
``taxed`` and reads its file by itself.
"""

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import dagster as dg
import pandas as pd
import polars as pl

import metaxy_dagster as mxd

#: What the shop has on each of four days: nothing changes on the second; on the third one order
#: changes, one is new and one is gone; on the fourth the change is taken back.
DAYS = (
    {0: 10, 1: 11, 2: 12, 3: 13, 4: 14},
    {0: 10, 1: 11, 2: 12, 3: 13, 4: 14},
    {1: 11, 2: 99, 3: 13, 4: 14, 5: 15},
    {1: 11, 2: 12, 3: 13, 4: 14, 5: 15},
)
#: How many orders are taxed on each of them, where only those are that need it.
NEEDED = (5, 0, 2, 1)


def keys(feature: str, **more: object) -> dict[str, object]:
    named = {name.replace("__", "/"): value for name, value in more.items()}
    return {"metaxy/feature": feature, "metaxy/id_columns": ["id"], **named}


INCREMENT = keys("taxed", metaxy__input="increment")


class Shop:
    """What is sold, and where the repository has its data."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def open(self, day: int) -> None:
        self.folder.mkdir(exist_ok=True)
        (self.folder / "today.json").write_text(json.dumps(list(DAYS[day].items())))

    @property
    def orders(self) -> list[tuple[int, int]]:
        found: list[tuple[int, int]] = json.loads((self.folder / "today.json").read_text())
        return found

    def note(self, rows: int) -> None:
        with (self.folder / "taxed.log").open("a") as file:
            file.write(f"{rows}\n")

    @property
    def taxed(self) -> list[int]:
        """How many rows were taxed, call by call."""
        log = self.folder / "taxed.log"
        return [int(line) for line in log.read_text().split()] if log.exists() else []


class CsvIOManager(dg.IOManager):
    """One file per asset and partition."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def path(self, context: Any) -> Path:
        parts = context.asset_partition_keys if context.has_asset_partitions else []
        return self.folder / ("-".join([*context.asset_key.path, *parts]) + ".csv")

    def handle_output(self, context: dg.OutputContext, obj: Any) -> None:
        pd.DataFrame(obj).to_csv(self.path(context), index=False)

    def load_input(self, context: dg.InputContext) -> Any:
        return pd.read_csv(self.path(context))


class ParquetIOManager(dg.ConfigurableIOManager):
    """Likewise, for polars."""

    base: str

    def handle_output(self, context: dg.OutputContext, obj: pl.DataFrame) -> None:
        obj.write_parquet(f"{self.base}/{context.asset_key.path[-1]}.parquet")

    def load_input(self, context: dg.InputContext) -> pl.DataFrame:
        return pl.read_parquet(f"{self.base}/{context.asset_key.path[-1]}.parquet")


def read(shop: Shop, name: str) -> list[dict[str, Any]]:
    """What an asset's file holds, whoever wrote it."""
    (path,) = [each for each in shop.folder.glob(f"{name}*") if each.suffix != ".log"]
    if path.suffix == ".csv":
        return pd.read_csv(path).to_dict("records")
    if path.suffix == ".parquet":
        return pl.read_parquet(path).to_dicts()
    frame = pd.read_pickle(path)  # noqa: S301 (written by the test)
    assert list(frame.index) == list(range(len(frame)))
    return frame.to_dict("records")


def assets(shop: Shop, **options: Any) -> list[Any]:
    """In pandas and without annotations; options are those of both features' assets."""

    @dg.asset(metadata=keys("orders"), **options)
    def orders():
        return pd.DataFrame(shop.orders, columns=["id", "price"])

    @dg.asset(metadata=INCREMENT, **options)
    def taxed(orders):
        assert isinstance(orders, pd.DataFrame)
        shop.note(len(orders))
        return orders.assign(price=orders["price"] * 1.25)

    return [orders, taxed, report(shop)]


def report(shop: Shop) -> dg.AssetsDefinition:
    @dg.asset(name="report", deps=["taxed"])
    def reported() -> None:
        (shop.folder / "report.json").write_text(json.dumps(read(shop, "taxed")))

    return reported


def as_resource(shop: Shop) -> dg.Definitions:
    return dg.Definitions(assets(shop), resources={"io_manager": CsvIOManager(shop.folder)})


def pickled(shop: Shop) -> dg.Definitions:
    files = dg.FilesystemIOManager(base_dir=str(shop.folder))
    return dg.Definitions(assets(shop), resources={"io_manager": files})


def by_function(shop: Shop) -> dg.Definitions:
    @dg.io_manager(config_schema={"folder": dg.Field(str, default_value=str(shop.folder))})
    def files(context: dg.InitResourceContext) -> CsvIOManager:
        return CsvIOManager(Path(context.resource_config["folder"]))

    return dg.Definitions(assets(shop), resources={"io_manager": files})


def by_key(shop: Shop) -> dg.Definitions:
    @dg.asset(metadata=keys("orders"), io_manager_key="lake")
    def orders() -> pl.DataFrame:
        return pl.DataFrame(shop.orders, schema=["id", "price"], orient="row")

    @dg.asset(metadata=INCREMENT, io_manager_key="lake")
    def taxed(orders: pl.DataFrame) -> pl.DataFrame:
        shop.note(len(orders))
        return orders.with_columns(price=pl.col("price") * 1.25)

    resources = {"lake": ParquetIOManager(base=str(shop.folder))}
    return dg.Definitions([orders, taxed, report(shop)], resources=resources)


def by_definition(shop: Shop) -> dg.Definitions:
    return dg.Definitions(assets(shop, io_manager_def=CsvIOManager(shop.folder)))


def with_resources(shop: Shop) -> dg.Definitions:
    resources = {"io_manager": CsvIOManager(shop.folder)}
    return dg.Definitions(dg.with_resources(assets(shop), resources))


def as_outputs(shop: Shop) -> dg.Definitions:
    """Two features of one function."""

    @dg.multi_asset(
        outs={
            "taxed": dg.AssetOut(metadata=INCREMENT),
            "sizes": dg.AssetOut(metadata=keys("sizes", metaxy__input="increment")),
        }
    )
    def several(orders):
        shop.note(len(orders))
        taxed = orders.assign(price=orders["price"] * 1.25)
        return taxed, orders.assign(price=orders["price"] * 2)

    first, _, last = assets(shop)
    resources = {"io_manager": CsvIOManager(shop.folder)}
    return dg.Definitions([first, several, last], resources=resources)


def as_graph(shop: Shop) -> dg.Definitions:
    @dg.op
    def priced(orders):
        shop.note(len(orders))
        return orders.assign(price=orders["price"] * 1.25)

    @dg.graph_asset(metadata=INCREMENT)
    def taxed(orders):
        return priced(orders)

    first, _, last = assets(shop)
    resources = {"io_manager": CsvIOManager(shop.folder)}
    return dg.Definitions([first, taxed, last], resources=resources)


def by_input_manager(shop: Shop) -> dg.Definitions:
    """The orders are loaded by another IO manager, which looks at the same files."""

    @dg.asset(metadata=INCREMENT, ins={"orders": dg.AssetIn(input_manager_key="reader")})
    def taxed(orders):
        shop.note(len(orders))
        return orders.assign(price=orders["price"] * 1.25)

    first, _, last = assets(shop)
    files = CsvIOManager(shop.folder)
    resources = {"io_manager": files, "reader": CsvIOManager(shop.folder)}
    return dg.Definitions([first, taxed, last], resources=resources)


SITES = ("n", "s")


def by_site(shop: Shop) -> dg.Definitions:
    """One file per site, without a report."""
    options: dict[str, Any] = {"partitions_def": dg.StaticPartitionsDefinition(SITES)}

    @dg.asset(metadata=keys("orders", partition_by="site"), **options)
    def orders(context: dg.AssetExecutionContext):
        rows = [
            (i, p, SITES[i % 2]) for i, p in shop.orders if SITES[i % 2] == context.partition_key
        ]
        return pd.DataFrame(rows, columns=["id", "price", "site"])

    @dg.asset(metadata={**INCREMENT, "partition_by": "site"}, **options)
    def taxed(orders):
        shop.note(len(orders))
        return orders.assign(price=orders["price"] * 1.25)

    return dg.Definitions([orders, taxed], resources={"io_manager": CsvIOManager(shop.folder)})


KINDS: Mapping[str, Callable[[Shop], dg.Definitions]] = {
    each.__name__: each
    for each in (
        *(as_resource, pickled, by_function, by_key, by_definition, with_resources),
        *(as_outputs, as_graph, by_input_manager),
    )
}


def repository(kind: str, shop: Shop, *, passed: bool) -> dg.Definitions:
    """One of the repositories, as it was or with the pass over it."""
    defs = by_site(shop) if kind == "by_site" else KINDS[kind](shop)
    if not passed:
        return defs
    store = shop.folder.parent / "metaxy.duckdb"
    keep = mxd.MetaxifySettings(io_routing="keep")
    return mxd.metaxify_definitions(defs, features=[], store=store, settings=keep)
