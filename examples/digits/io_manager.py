"""Every asset is one file: Parquet for tables, JSON for the rest."""

import json
from pathlib import Path
from typing import Any

import dagster as dg
import polars as pl


class FilesIOManager(dg.ConfigurableIOManager):
    """Writes what an asset returns below ``folder`` and reads it back."""

    folder: str

    def _path(self, key: dg.AssetKey, suffix: str) -> Path:
        return Path(self.folder).joinpath(*key.path).with_suffix(suffix)

    def handle_output(self, context: dg.OutputContext, obj: Any) -> None:
        table = isinstance(obj, pl.DataFrame)
        path = self._path(context.asset_key, ".parquet" if table else ".json")
        path.parent.mkdir(parents=True, exist_ok=True)
        if isinstance(obj, pl.DataFrame):
            obj.write_parquet(path)
            context.add_output_metadata({"dagster/row_count": obj.height})
        else:
            path.write_text(json.dumps(obj, indent=2))
        context.add_output_metadata({"path": dg.MetadataValue.path(path)})

    def load_input(self, context: dg.InputContext) -> Any:
        table = self._path(context.asset_key, ".parquet")
        if table.exists():
            return pl.read_parquet(table)
        return json.loads(self._path(context.asset_key, ".json").read_text())
