"""A day on which there is nothing: its types must not fail the run, nor those of the next."""

# Without annotations of the future: Dagster looks at that of the context, in a local function.

from pathlib import Path
from typing import Any

import dagster as dg
import numpy as np
import pandas as pd
import polars as pl
import pytest

import metaxy_dagster as mxd


@pytest.mark.parametrize("mode", ["upsert", "replace"])
@pytest.mark.parametrize("annotation", [pd.DataFrame, pl.DataFrame])
def test_a_day_without_rows_passes_through_a_run(
    tmp_path: Path, mode: str, annotation: type
) -> None:
    days: dict[str, Any] = {"2026-01-01": [], "2026-01-02": ["a"], "2026-01-03": []}
    partitions = dg.DailyPartitionsDefinition("2026-01-01", end_date="2026-01-04")

    def orders(context: dg.AssetExecutionContext) -> annotation:
        names = days[context.partition_key]
        numbers = [np.nan if not names else 1.5 for _ in names]
        day = [context.partition_key for _ in names]
        return annotation({"id": names, "amount": numbers, "day": day})

    keys = {"metaxy/feature": "orders", "metaxy/id_columns": ["id"], "metaxy/write": mode}
    made = dg.asset(metadata={**keys, "partition_by": "day"}, partitions_def=partitions)(orders)
    store = mxd.MetaxyStoreFromConfigResource(path=str(tmp_path / "m.duckdb"))
    defs = mxd.metaxify_definitions(dg.Definitions(assets=[made]), store=store)
    job = defs.resolve_implicit_global_asset_job_def()
    with dg.DagsterInstance.ephemeral() as instance:
        for day in [*days, *days]:
            assert job.execute_in_process(instance=instance, partition_key=day).success
    graph = mxd.FeatureGraph()
    graph.add(mxd.FeatureSpec("orders", id_columns=["id"]))
    found = mxd.DuckDBMetadataStore(tmp_path / "m.duckdb", graph=graph)
    assert found.read_table("orders", columns=["id"]).to_pylist() == [{"id": "a"}]
    assert found.schema("orders") == {"id": "VARCHAR", "amount": "DOUBLE", "day": "VARCHAR"}
