"""Types through a run: an asset computes with what another one returned, whatever loads it."""

import datetime as dt
from pathlib import Path
from typing import Any

import dagster as dg
import duckdb
import narwhals as nw
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest

import metaxy_dagster as mxd

SPAN = dt.timedelta(minutes=7, seconds=30)
DAY = dt.date(2024, 5, 1)
SIZES = ["small", "large"]


def trips() -> pl.DataFrame:
    half_past_midnight = dt.datetime(2024, 5, 1, 0, 30)  # noqa: DTZ001 - it gets a zone below
    frame = {
        "trip": [1, 2],
        "start": [half_past_midnight] * 2,
        "length": [SPAN, SPAN],
        "size": pl.Series(["large", "small"], dtype=pl.Enum(SIZES)),
    }
    zoned = pl.col("start").dt.replace_time_zone("Europe/Brussels")
    return pl.DataFrame(frame).with_columns(zoned)


def of_polars(frame: Any) -> tuple[Any, ...]:
    rows = frame.lazy().collect().sort("size")
    return rows["start"].dt.date()[0], rows["length"][0], rows["size"].to_list()


def of_pandas(frame: pd.DataFrame) -> tuple[Any, ...]:
    rows = frame.sort_values("size")
    return rows["start"].dt.date.iloc[0], rows["length"].iloc[0], rows["size"].tolist()


def of_arrow(table: pa.Table) -> tuple[Any, ...]:
    return of_polars(pl.DataFrame(pl.from_arrow(table)))


def of_narwhals(frame: Any) -> tuple[Any, ...]:
    rows = frame.with_columns(day=nw.col("start").dt.date()).sort("size").collect()
    return rows["day"][0], rows["length"][0], rows["size"].to_list()


def of_relation(relation: Any) -> tuple[Any, ...]:
    rows = relation.project("start::DATE, length, size").order("size").fetchall()
    return rows[0][0], rows[0][1], [row[2] for row in rows]


@pytest.mark.parametrize("how", ["increment", "all"])
@pytest.mark.parametrize(
    ("annotation", "look"),
    [
        (pl.DataFrame, of_polars),
        (pl.LazyFrame, of_polars),
        (pd.DataFrame, of_pandas),
        (pa.Table, of_arrow),
        (nw.LazyFrame, of_narwhals),
        (duckdb.DuckDBPyRelation, of_relation),
    ],
)
def test_local_days_spans_and_orders(tmp_path: Path, how: str, annotation: Any, look: Any) -> None:
    got: list[Any] = []

    def days(trips: annotation) -> pl.DataFrame:
        got.append(look(trips))
        return pl.DataFrame({"trip": [1, 2]})

    keys = {"metaxy/id_columns": ["trip"], "metaxy/input": how}
    assets = [
        dg.asset(metadata={"metaxy/feature": "trips", "metaxy/id_columns": ["trip"]})(trips),
        dg.asset(metadata={"metaxy/feature": "days", **keys})(days),
    ]
    store = mxd.MetaxyStoreFromConfigResource(path=str(tmp_path / "m.duckdb"))
    defs = mxd.metaxify_definitions(dg.Definitions(assets=assets), store=store)
    job = defs.resolve_implicit_global_asset_job_def()
    with dg.DagsterInstance.ephemeral() as instance:
        assert job.execute_in_process(instance=instance).success
    assert got == [(DAY, SPAN, ["small", "large"])]
