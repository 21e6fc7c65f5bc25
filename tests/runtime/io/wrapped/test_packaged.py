"""IO managers of Dagster's own packages, wrapped: Parquet, DuckDB, Delta Lake, S3."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import boto3
import dagster as dg
import pandas as pd
import polars as pl
import pytest
from dagster_aws.s3 import S3PickleIOManager, S3Resource
from dagster_deltalake import LocalConfig
from dagster_deltalake_polars import DeltaLakePolarsIOManager
from dagster_duckdb import DuckDBIOManager
from dagster_duckdb.io_manager import DuckDbClient
from dagster_duckdb_polars import DuckDBPolarsTypeHandler
from dagster_polars import PolarsParquetIOManager
from moto import mock_aws
from real_managers import check


class Parquet(PolarsParquetIOManager):
    """Without an argument that polars 2 does not take any more."""

    def scan_df_from_path(self, path: Any, context: Any, partition_key: Any = None) -> Any:
        return pl.scan_parquet(str(path))


class Handler(DuckDBPolarsTypeHandler):
    """Without a method that cursors of DuckDB 2 do not have any more."""

    def load_input(self, context: Any, table_slice: Any, connection: Any) -> pl.DataFrame:
        query = DuckDbClient.get_select_statement(table_slice=table_slice)
        return pl.DataFrame(pl.from_arrow(connection.sql(query).to_arrow_table()))


class PandasHandler(Handler):
    """The same for pandas; dagster-duckdb-pandas itself wants pandas 2."""

    def handle_output(self, context: Any, table_slice: Any, obj: Any, connection: Any) -> None:
        super().handle_output(context, table_slice, pl.from_pandas(obj), connection)

    def load_input(self, context: Any, table_slice: Any, connection: Any) -> Any:
        return super().load_input(context, table_slice, connection).to_pandas()

    @property
    def supported_types(self) -> Any:
        return [pd.DataFrame]


class Warehouse(DuckDBIOManager):
    @staticmethod
    def type_handlers() -> Any:
        return [Handler(), PandasHandler()]


@pytest.mark.parametrize("kind", [pl.DataFrame, pl.LazyFrame])
def test_parquet(kind: type, tmp_path: Path, instance: dg.DagsterInstance) -> None:
    make = lambda place: Parquet(base_dir=str(place / "files"))  # noqa: E731
    check(make, kind, kind, tmp_path, instance)


def test_parquet_in_partitions(tmp_path: Path, instance: dg.DagsterInstance) -> None:
    make = lambda place: Parquet(base_dir=str(place / "files"))  # noqa: E731
    check(make, pl.DataFrame, pl.DataFrame, tmp_path, instance, partitioned=True)


@pytest.mark.parametrize("kind", [pd.DataFrame, pl.DataFrame])
@pytest.mark.parametrize("partitioned", [False, True])
def test_duckdb(
    kind: type, partitioned: bool, tmp_path: Path, instance: dg.DagsterInstance
) -> None:
    make = lambda place: Warehouse(database=str(place / "w.duckdb"), schema="s")  # noqa: E731
    check(make, kind, kind, tmp_path, instance, partitioned=partitioned)


# Both are of the package itself.
@pytest.mark.filterwarnings("ignore:The .warn. method is deprecated")
@pytest.mark.filterwarnings("ignore:The `dict` method is deprecated")
@pytest.mark.parametrize("partitioned", [False, True])
def test_delta_lake(partitioned: bool, tmp_path: Path, instance: dg.DagsterInstance) -> None:
    def make(place: Path) -> Any:
        root = str(place / "lake")
        return DeltaLakePolarsIOManager(root_uri=root, storage_options=LocalConfig())

    check(make, pl.DataFrame, pl.DataFrame, tmp_path, instance, partitioned=partitioned)


@pytest.fixture
def bucket(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "none")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    with mock_aws():
        boto3.client("s3").create_bucket(Bucket="orders")
        yield "orders"


def test_s3(bucket: str, tmp_path: Path, instance: dg.DagsterInstance) -> None:
    def make(place: Path) -> Any:
        return S3PickleIOManager(s3_resource=S3Resource(), s3_bucket=bucket, s3_prefix=place.name)

    check(make, pd.DataFrame, pd.DataFrame, tmp_path, instance)
