"""A repository that worker processes rebuild, whose function makes files and may die halfway."""

# Annotations are not postponed here: Dagster reads that of the context when an asset is made.

import os
from pathlib import Path

import dagster as dg
import polars as pl

import metaxy_dagster as mxd


def folder() -> Path:
    return Path(os.environ["METAXY_TEST_FOLDER"])


def keys(feature: str, **more: str) -> dict[str, object]:
    given = {f"metaxy/{name}": value for name, value in more.items()}
    return {"metaxy/feature": feature, "metaxy/id_columns": ["id"], **given}


@dg.asset(metadata=keys("raw"))
def raw() -> pl.DataFrame:
    rows = sorted(folder().glob("*.raw"))
    return pl.DataFrame({"id": [r.stem for r in rows], "text": [r.read_text() for r in rows]})


@dg.asset(deps=[raw], metadata=keys("x", input="increment"))
def x(context: dg.AssetExecutionContext) -> None:
    for name in mxd.pending(context).pending.collect()["id"].to_list():
        (folder() / f"{name}.x").write_text((folder() / f"{name}.raw").read_text())
        with (folder() / "calls").open("a") as calls:
            calls.write(f"{name}\n")
        if (folder() / "die").exists():
            os._exit(1)


def definitions() -> dg.Definitions:
    return mxd.metaxify_definitions(
        dg.Definitions(
            assets=[raw, x],
            jobs=[dg.define_asset_job("job", executor_def=dg.multiprocess_executor)],
        ),
        store=str(folder() / "m.duckdb"),
    )


def job() -> dg.JobDefinition:
    return definitions().resolve_job_def("job")
