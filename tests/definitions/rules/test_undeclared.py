"""Features that nothing declares, or that do not fit, are refused with a remedy in keys."""

from __future__ import annotations

import pytest
from refused_assets import (
    is_one_fault,
    keys,
    made,
    of_plain,
)

pytestmark = pytest.mark.filterwarnings("ignore::dagster.BetaWarning")


#: The asset, and parts of its fault.
FAULTS = {
    "no declaration": (
        lambda: made(metadata={"metaxy/feature": "x"}),
        ("nothing declares the feature", '"metaxy/id_columns": ["<column>"]', "'raw'"),
    ),
    "a misspelt feature": (
        lambda: made(metadata={"metaxy/feature": "rwa"}),
        ("did you mean 'raw'?",),
    ),
    "an upstream that is no feature": (
        lambda: made(of_plain, metadata=keys(metaxy__deps=["plain"])),
        ('set metadata "metaxy/feature": "plain"', "on the asset 'plain'"),
    ),
    "lineage in keys": (
        lambda: made(metadata=keys() | {"metaxy/id_columns": ["other"]}),
        ('"lineage": {"type": "aggregation", "on": [...]}',),
    ),
}


@pytest.mark.parametrize("kind", FAULTS)
def test_what_no_run_could_do_is_one_fault(kind):
    is_one_fault(*FAULTS[kind])
