"""The first run of an asset since the pass tells what the pass changed of it."""

from __future__ import annotations

import dagster as dg
import polars as pl
import pytest

import metaxy_dagster as mxd

ROWS = pl.DataFrame({"id": [1, 2]})


def keys(feature, **more):
    return {"metaxy/feature": feature, "metaxy/id_columns": ["id"], **more}


@dg.asset(metadata=keys("raw"))
def raw():
    return ROWS


@dg.asset(metadata=keys("made", **{"metaxy/input": "increment", "metaxy/unknown": 1}))
def made(raw: pl.DataFrame) -> pl.DataFrame:
    return raw


@pytest.fixture
def runs(instance, tmp_path):
    """``runs()``: a run in a fresh process, as it were; what each event tells, and the log."""

    def run(*, passed=True):
        defs = dg.Definitions([raw, made])
        if passed:
            defs = mxd.metaxify_definitions(defs, features=[], store=tmp_path / "m.duckdb")
        else:
            files = dg.FilesystemIOManager(base_dir=str(tmp_path))
            defs = dg.Definitions([raw, made], resources={"io_manager": files})
        job = defs.resolve_implicit_global_asset_job_def()
        result = job.execute_in_process(instance=instance)
        events = {
            each.asset_key.to_user_string(): each.step_materialization_data.materialization
            for each in result.get_asset_materialization_events()
        }
        records = instance.all_logs(result.run_id)
        logged = [r.user_message for r in records if "since it was changed" in r.user_message]
        told = {name: each.metadata.get("metaxy/changes") for name, each in events.items()}
        return {name: value and value.value for name, value in told.items()}, logged

    return run


@pytest.mark.parametrize("ran_before", [False, True])
def test_the_first_run_tells_it_and_no_other(runs, ran_before):
    if ran_before:
        assert runs(passed=False) == ({"raw": None, "made": None}, [])
    told, logged = runs()
    assert told["raw"] == "- io_manager_key: metaxy_io_manager (a feature's rows are stored)"
    lines = told["made"].splitlines()
    assert lines[1] == "- body: left out while nothing is pending (metaxy/input is increment)"
    assert "metaxy/unknown" in lines[2]
    assert len(logged) == 1 + len(lines) == 4
    assert runs() == ({"raw": None, "made": None}, [])
