"""Dagster's own IO manager, which pickles into files, and one that writes CSV, wrapped."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import dagster as dg
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
from real_managers import check


class Csv(dg.ConfigurableIOManager):
    """A legacy IO manager with a table per asset, whatever the partition."""

    folder: str

    def _path(self, context: Any) -> Path:
        key = context.asset_partition_key if context.has_asset_partitions else "all"
        return Path(self.folder, f"{context.asset_key.path[-1]}-{key}.csv")

    def handle_output(self, context: dg.OutputContext, obj: pd.DataFrame) -> None:
        obj.to_csv(self._path(context), index=False)

    def load_input(self, context: dg.InputContext) -> pd.DataFrame:
        return pd.read_csv(self._path(context))


@dg.io_manager(config_schema={"folder": str})
def legacy(context: dg.InitResourceContext) -> Csv:
    return Csv(folder=context.resource_config["folder"])


FRAMES: dict[str, tuple[Callable[[Any], Any], type]] = {
    "pandas": (pd.DataFrame, pd.DataFrame),
    "polars": (pl.DataFrame, pl.DataFrame),
    "arrow": (pa.table, pa.Table),
}


@pytest.mark.parametrize("kind", FRAMES)
def test_pickles(kind: str, tmp_path: Path, instance: dg.DagsterInstance) -> None:
    frame, type_ = FRAMES[kind]
    make = lambda place: dg.FilesystemIOManager(base_dir=str(place / "files"))  # noqa: E731
    check(make, frame, type_, tmp_path, instance)


def test_pickled_partitions(tmp_path: Path, instance: dg.DagsterInstance) -> None:
    make = lambda place: dg.FilesystemIOManager(base_dir=str(place / "files"))  # noqa: E731
    check(make, pd.DataFrame, pd.DataFrame, tmp_path, instance, partitioned=True)


def test_tables_of_a_legacy_function(tmp_path: Path, instance: dg.DagsterInstance) -> None:
    make = lambda place: legacy.configured({"folder": str(place)})  # noqa: E731
    check(make, pd.DataFrame, pd.DataFrame, tmp_path, instance)


def test_tables_of_a_configurable_one(tmp_path: Path, instance: dg.DagsterInstance) -> None:
    make = lambda place: Csv(folder=str(place))  # noqa: E731
    check(make, pd.DataFrame, pd.DataFrame, tmp_path, instance, partitioned=True)
