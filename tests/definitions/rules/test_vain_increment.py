"""Increments that nothing could give or take are refused."""

from __future__ import annotations

import dagster as dg
import pytest
from refused_assets import (
    INCREMENT,
    ON_RAW,
    alone,
    is_fine,
    is_one_fault,
    keys,
    made,
    of_apart,
    of_plain,
)

pytestmark = pytest.mark.filterwarnings("ignore::dagster.BetaWarning")


#: The asset, and parts of its fault.
FAULTS = {
    "increment of a root": (
        lambda: made(alone, metadata=keys(**INCREMENT)),
        ("does nothing", "no upstream feature", '"metaxy/feature"', 'remove "metaxy/input"'),
    ),
    "increment over no feature": (
        lambda: made(of_plain, metadata=keys(**INCREMENT)),
        ("does nothing", "no upstream feature", '"metaxy/deps"'),
    ),
    "increment over deps only": (
        lambda: made(alone, metadata=keys(**INCREMENT, **ON_RAW)),
        ("does nothing", "no argument", "an asset of raw"),
    ),
    "increment past the IO manager": (
        lambda: made(metadata=keys(**INCREMENT), io_manager_key="mine"),
        ("bypasses", "'mine'", "drop the asset's own IO manager"),
    ),
    "increment past the IO manager by a resource": (
        lambda: made(metadata=keys(**INCREMENT), resource_defs={"io_manager": dg.mem_io_manager}),
        ("bypasses", "'io_manager'", "io_routing"),
    ),
    "increment over what another IO manager loads": (
        lambda: made(of_apart, metadata=keys(**INCREMENT)),
        ("does nothing", "loaded by another IO manager", "an asset of apart"),
    ),
    "increment through an input manager": (
        lambda: made(metadata=keys(**INCREMENT), ins={"raw": dg.AssetIn(input_manager_key="mine")}),
        ("does nothing", "loaded by another IO manager"),
    ),
}


@pytest.mark.parametrize("kind", FAULTS)
def test_what_no_run_could_do_is_one_fault(kind):
    is_one_fault(*FAULTS[kind])


#: Assets that a run may well do, and what is said of some of them.
FINE = {
    "takes its pending samples": (lambda: made(metadata=keys(**INCREMENT)), None),
    "only a spec, with an increment": (
        lambda: dg.AssetSpec("x", metadata=keys(**INCREMENT, **ON_RAW)),
        "no function of this repository",
    ),
}


@pytest.mark.parametrize("kind", FINE)
def test_what_a_run_may_do_is_no_fault(kind):
    is_fine(*FINE[kind])
