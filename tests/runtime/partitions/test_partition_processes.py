"""Partition mappings are followed where each step runs in a process of its own."""

from __future__ import annotations

from pathlib import Path

import dagster as dg
import polars as pl
import pytest
from mapped_days import FOLDER, make_job, store

# Spawned: a fork server that an earlier test started would not know this one's environment.
CONFIG = {"max_concurrent": 1, "start_method": {"spawn": {}}}


def test_a_day_is_given_its_hours(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(FOLDER, str(tmp_path))
    hours = ["2024-02-01-00:00", "2024-02-01-23:00", "2024-02-02-00:00"]
    store().write("hourly", pl.DataFrame({"id": [1, 2, 3], "hour": hours}))
    with dg.DagsterInstance.local_temp(str(tmp_path)) as instance:
        for day in ("2024-02-02", "2024-02-01"):
            with dg.execute_job(
                dg.reconstructable(make_job),
                instance=instance,
                run_config={"execution": {"config": CONFIG}},
                tags={"dagster/partition": day},
            ) as result:
                assert result.success
    table = store().read_table("daily", columns=["id", "day"])
    found = dict(zip(table["id"].to_pylist(), table["day"].to_pylist(), strict=True))
    assert found == {1: "2024-02-01", 2: "2024-02-01", 3: "2024-02-02"}
