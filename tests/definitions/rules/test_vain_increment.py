"""Increments that nothing could give or take are refused."""

from __future__ import annotations

import dagster as dg
import polars as pl
import pytest
from refused_assets import (
    INCREMENT,
    KEPT,
    ON_RAW,
    ROUTED,
    ROWS,
    alone,
    is_fine,
    is_one_fault,
    keys,
    made,
    of_apart,
    of_plain,
    plan_of,
)

pytestmark = pytest.mark.filterwarnings("ignore::dagster.BetaWarning")


class Uploads(dg.IOManager):
    """Sends what it is given away."""

    def handle_output(self, context, obj): ...

    def load_input(self, context):
        raise NotImplementedError


def several_ops():
    @dg.op
    def some_rows() -> pl.DataFrame:
        return ROWS

    @dg.op
    def the_same(rows: pl.DataFrame) -> pl.DataFrame:
        return rows

    @dg.graph_asset(name="x", metadata=keys(**INCREMENT, **ON_RAW))
    def graph():
        return the_same(some_rows())

    return graph


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
    "increment over deps only, in a graph of several ops": (
        several_ops,
        ("does nothing", "no argument", "an asset of raw"),
    ),
    "increment into what no run holds": (
        lambda: made(metadata=keys(**INCREMENT), io_manager_key="mine"),
        ("cannot be merged", "'mine' (mem_io_manager)", "nothing beyond the run"),
    ),
    "increment into what is never loaded": (
        lambda: made(metadata=keys(**INCREMENT), io_manager_def=Uploads()),
        ("cannot be merged", "Uploads", "cannot load what it wrote"),
    ),
}

#: Likewise, where what has an IO manager of its own goes past the library's.
ROUTED_FAULTS = {
    "increment past the IO manager": (
        lambda: made(metadata=keys(**INCREMENT), io_manager_key="mine"),
        ("bypasses", "'mine'", 'io_routing="keep"'),
    ),
    "increment past the IO manager by a resource": (
        lambda: made(metadata=keys(**INCREMENT), resource_defs={"io_manager": dg.mem_io_manager}),
        ("bypasses", "'io_manager'", "io_routing"),
    ),
}

#: Functions that load all of it by themselves, as far as the library knows.
LOADING = {
    "over deps only": lambda: made(alone, metadata=keys(**INCREMENT, **ON_RAW)),
    "over what another IO manager loads": lambda: made(of_apart, metadata=keys(**INCREMENT)),
    "through an input manager": lambda: made(
        metadata=keys(**INCREMENT), ins={"raw": dg.AssetIn(input_manager_key="mine")}
    ),
}


@pytest.mark.parametrize("kind", FAULTS)
def test_what_no_run_could_do_is_one_fault(kind):
    is_one_fault(*FAULTS[kind], **KEPT)


@pytest.mark.parametrize("kind", ROUTED_FAULTS)
def test_increments_past_the_io_manager_are_one_fault(kind):
    is_one_fault(*ROUTED_FAULTS[kind], **ROUTED)


@pytest.mark.parametrize("how", [KEPT, ROUTED])
@pytest.mark.parametrize("kind", LOADING)
def test_what_loads_by_itself_takes_increments(kind, how):
    plan = plan_of(LOADING[kind](), **how)
    assert plan.errors == ()
    changed = [change.value for a in plan.assets if a.key.path == ["x"] for change in a.changes]
    assert "left out while nothing is pending" in changed


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
