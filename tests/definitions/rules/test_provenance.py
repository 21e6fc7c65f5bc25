"""A derived feature whose function sees no upstream is refused, where no run can succeed."""

from __future__ import annotations

import dagster as dg
import polars as pl
import pytest
from refused_assets import (
    ROWS,
    alone,
    is_fine,
    is_one_fault,
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


#: The asset, and parts of its fault.
FAULTS = {
    "deps only": (
        lambda: made(alone, deps=[raw], metadata=keys()),
        ("provenance", "no argument", '"store"', '"metaxy/deps": []'),
    ),
    "deps only, and an argument of another": (
        lambda: made(of_plain, deps=[raw], metadata=keys()),
        ("provenance", "plain (loaded by another IO manager, or no feature)"),
    ),
}


@pytest.mark.parametrize("kind", FAULTS)
def test_what_no_run_could_do_is_one_fault(kind):
    is_one_fault(*FAULTS[kind])


#: Assets that a run may well do, and what is said of some of them.
FINE = {
    "takes its upstream": (lambda: made(metadata=keys()), None),
    "returns nothing": (lambda: made(nothing, deps=[raw], metadata=keys()), None),
    "takes the store": (lambda: made(with_store, deps=[raw], metadata=keys()), None),
    "asks a store": (lambda: made(asks_by_itself, deps=[raw], metadata=keys()), None),
    "takes another resource": (
        lambda: made(with_warehouse, deps=[raw], metadata=keys()),
        "none of its arguments is an upstream feature",
    ),
}


@pytest.mark.parametrize("kind", FINE)
def test_what_a_run_may_do_is_no_fault(kind):
    is_fine(*FINE[kind])
