"""Assets of one op that are computed from each other."""

from __future__ import annotations

import dagster as dg
import polars as pl
import pytest
from refused_assets import (
    is_fine,
    is_one_fault,
    keys,
)

pytestmark = pytest.mark.filterwarnings("ignore::dagster.BetaWarning")


def both(mode, deps=("a",), **options):
    outs = {
        "a": dg.AssetOut(metadata=keys("a", metaxy__deps=["raw"], metaxy__input=mode)),
        "x": dg.AssetOut(metadata=keys("x", metaxy__deps=["raw", *deps], metaxy__input=mode)),
    }

    @dg.multi_asset(outs=outs, **options)
    def pair(raw: pl.DataFrame):
        return raw, raw

    return pair


def turned_round():
    """The asset that is computed from the other one is returned first."""
    outs = {
        "x": dg.AssetOut(metadata=keys("x", metaxy__deps=["raw", "a"])),
        "a": dg.AssetOut(metadata=keys("a", metaxy__deps=["raw"])),
    }

    @dg.multi_asset(outs=outs)
    def pair(raw: pl.DataFrame):
        return raw, raw

    return pair


def test_an_order_that_dagster_refuses_is_one_fault():
    is_one_fault(turned_round, ("returns that later", "a before x", "name it first in outs"))


#: Assets that a run may well do.
FINE = {
    "increments": lambda: both("increment"),
    "all samples": lambda: both("all"),
    "can be split": lambda: both("all", can_subset=True),
    "two of one op": lambda: both("all", deps=()),
}


@pytest.mark.parametrize("kind", FINE)
def test_what_a_run_may_do_is_no_fault(kind):
    is_fine(FINE[kind], None)
