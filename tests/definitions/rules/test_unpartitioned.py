"""A column of partitions on an asset that has none."""

from __future__ import annotations

import dagster as dg
import pytest
from refused_assets import (
    alone,
    is_fine,
    is_one_fault,
    keys,
    made,
)

pytestmark = pytest.mark.filterwarnings("ignore::dagster.BetaWarning")


#: The asset, and parts of its fault.
FAULTS = {
    "partition_by without partitions": (
        lambda: made(metadata=keys(partition_by="day")),
        ("for assets with partitions", "'day'", "partitions_def"),
    ),
}


@pytest.mark.parametrize("kind", FAULTS)
def test_what_no_run_could_do_is_one_fault(kind):
    is_one_fault(*FAULTS[kind])


#: Assets that a run may well do, and what is said of some of them.
FINE = {
    "only a spec, with partition_by": (
        lambda: dg.AssetSpec("x", metadata=keys(partition_by="day")),
        "the asset has no partitions",
    ),
    "another IO manager's partition_by": (
        lambda: made(alone, io_manager_key="mine", metadata=keys(partition_by="day")),
        None,
    ),
}


@pytest.mark.parametrize("kind", FINE)
def test_what_a_run_may_do_is_no_fault(kind):
    is_fine(*FINE[kind])
