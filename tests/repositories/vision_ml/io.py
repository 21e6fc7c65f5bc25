"""Where arrays and models go: one pickle an asset and partition."""

import pickle
from pathlib import Path

import dagster as dg
import pandas as pd


class PickleIOManager(dg.ConfigurableIOManager):
    """Pickles under a folder, by asset and partition."""

    folder: str

    def _path(self, context: dg.InputContext | dg.OutputContext) -> Path:
        if context.has_asset_key:
            parts = [*context.asset_key.path]
            if context.has_asset_partitions:
                parts.append(context.asset_partition_key)
        else:
            parts = ["steps", *context.get_identifier()]
        path = Path(self.folder, *parts)
        path.parent.mkdir(parents=True, exist_ok=True)
        return path.with_suffix(".pkl")

    def handle_output(self, context: dg.OutputContext, obj: object) -> None:
        """Write one pickle."""
        self._path(context).write_bytes(pickle.dumps(obj))

    def load_input(self, context: dg.InputContext) -> object:
        """Read one pickle; of an upstream with many partitions, the rows of those that exist."""
        if context.has_asset_key and context.has_asset_partitions:
            keys = context.asset_partition_keys
            if len(keys) != 1:
                paths = [Path(self.folder, *context.asset_key.path, f"{key}.pkl") for key in keys]
                found = [pickle.loads(p.read_bytes()) for p in paths if p.exists()]  # noqa: S301
                return pd.concat(found, ignore_index=True)
        upstream = context.upstream_output
        path = self._path(context if context.has_asset_key or upstream is None else upstream)
        return pickle.loads(path.read_bytes())  # noqa: S301
