"""A derived feature whose function sees no upstream is refused, where no run can succeed."""

from __future__ import annotations

import dagster as dg
import polars as pl
import pytest
from refused_assets import (
    ROWS,
    alone,
    is_fine,
    keys,
    made,
    of_plain,
    raw,
)

import metaxy_dagster as mxd

pytestmark = pytest.mark.filterwarnings("ignore::dagster.BetaWarning")


def nothing():
    ROWS.head()


def with_store(store: dg.ResourceParam[mxd.MetadataStore]) -> pl.DataFrame:
    return ROWS


def with_warehouse(warehouse: dg.ResourceParam[str]) -> pl.DataFrame:
    return ROWS


def asks_by_itself() -> pl.DataFrame:
    return mxd.DuckDBMetadataStore("x").resolve_update("x").new


@dg.op
def some_rows() -> pl.DataFrame:
    return ROWS


def stored_rows() -> pl.DataFrame:
    return ROWS


@dg.op
def the_same(rows: pl.DataFrame) -> pl.DataFrame:
    return rows


@dg.graph_asset(name="x", metadata=keys(metaxy__deps=["raw"]))
def several_ops():
    return the_same(some_rows())


def test_what_no_run_could_do_is_one_fault():
    stored = dg.op(out=dg.Out(io_manager_key="metaxy_io_manager"))(stored_rows)
    made = dg.AssetsDefinition.from_op(
        stored,
        keys_by_output_name={"result": dg.AssetKey("x")},
        metadata_by_output_name={"result": keys(metaxy__deps=["raw"])},
    )

    @dg.job(resource_defs={"metaxy_io_manager": dg.mem_io_manager})
    def other():
        stored()

    defs = dg.Definitions(assets=[raw, made], jobs=[other])
    (error,) = mxd.plan_definitions(defs, features=[]).errors
    parts = ("provenance", "no argument", '"store"', '"metaxy/deps": []')
    assert all(part in str(error) for part in parts), error


#: Assets that a run may well do, and what is said of some of them.
FINE = {
    "takes its upstream": (lambda: made(metadata=keys()), None),
    "returns nothing": (lambda: made(nothing, deps=[raw], metadata=keys()), None),
    "takes the store": (lambda: made(with_store, deps=[raw], metadata=keys()), None),
    "asks a store": (lambda: made(asks_by_itself, deps=[raw], metadata=keys()), None),
    "takes another resource": (
        lambda: made(with_warehouse, deps=[raw], metadata=keys()),
        None,
    ),
    "deps only": (lambda: made(alone, deps=[raw], metadata=keys()), None),
    "deps only, and an argument of another": (
        lambda: made(of_plain, deps=[raw], metadata=keys()),
        None,
    ),
    "a graph of several ops": (
        lambda: several_ops,
        "none of its arguments is an upstream feature",
    ),
}


@pytest.mark.parametrize("kind", FINE)
def test_what_a_run_may_do_is_no_fault(kind):
    is_fine(*FINE[kind])
