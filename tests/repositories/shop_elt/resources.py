"""The API and the warehouse, as small as they can be."""

import pickle
from pathlib import Path

import dagster as dg
import pandas as pd


class Api(dg.ConfigurableResource):
    """The shop's API."""

    token: str

    def orders(self) -> list[dict[str, object]]:
        """All orders, always from the start."""
        statuses = ("open", "paid", "sent")
        return [
            {"order_id": i, "customer_id": i % 2, "amount": 10 * i, "status": statuses[i % 3]}
            for i in range(6)
        ]

    def customers(self) -> list[dict[str, object]]:
        """All customers."""
        return [{"customer_id": i, "country": "NL"} for i in range(2)]

    def refunds(self) -> list[dict[str, object]]:
        """All refunds."""
        return [{"refund_id": 1, "order_id": 3, "amount": 30}]


class Warehouse(dg.ConfigurableResource):
    """A folder of pickled tables."""

    folder: str

    def write(self, table: str, frame: pd.DataFrame) -> None:
        """Replace a table."""
        path = Path(self.folder)
        path.mkdir(parents=True, exist_ok=True)
        (path / f"{table}.pkl").write_bytes(pickle.dumps(frame))

    def read(self, table: str) -> pd.DataFrame:
        """A whole table."""
        frame = pickle.loads((Path(self.folder) / f"{table}.pkl").read_bytes())  # noqa: S301
        assert isinstance(frame, pd.DataFrame)
        return frame


class WarehouseIOManager(dg.ConfigurableIOManager):
    """One table an asset."""

    warehouse: dg.ResourceDependency[Warehouse]

    def handle_output(self, context: dg.OutputContext, obj: object) -> None:
        """Write the table."""
        if obj is not None:
            self.warehouse.write("__".join(context.asset_key.path), obj)  # type: ignore[arg-type]

    def load_input(self, context: dg.InputContext) -> object:
        """Read the table."""
        return self.warehouse.read("__".join(context.asset_key.path))
