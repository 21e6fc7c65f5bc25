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


#: The asset, and parts of its fault.
FAULTS = {
    "deps of the multi-asset itself": (
        lambda: both("increment"),
        ("the same multi-asset", "one op makes a and x"),
    ),
    "deps of the multi-asset itself, of all samples": (lambda: both("all"), ("same multi-asset",)),
}


@pytest.mark.parametrize("kind", FAULTS)
def test_what_no_run_could_do_is_one_fault(kind):
    is_one_fault(*FAULTS[kind])


#: Assets that a run may well do, and what is said of some of them.
FINE = {
    "can be split": (lambda: both("all", can_subset=True), "run them one after the other"),
    "two of one op": (lambda: both("all", deps=()), None),
}


@pytest.mark.parametrize("kind", FINE)
def test_what_a_run_may_do_is_no_fault(kind):
    is_fine(*FINE[kind])
