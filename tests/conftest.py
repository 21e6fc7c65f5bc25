"""What holds for every test: its own feature graph, no Dagster home, no telemetry, no clock."""

from __future__ import annotations

import os
from collections.abc import Iterator

import dagster as dg
import pytest
from hypothesis import settings

from metaxy_dagster.features import FeatureGraph

# A shared machine is slow at times: a property is true or false, not early or late.
settings.register_profile("default", deadline=None)
# On CI the same examples every time: a failure there is the change's own.
settings.register_profile("ci", deadline=None, derandomize=True)
settings.load_profile("ci" if os.environ.get("CI") else "default")

os.environ["DAGSTER_DISABLE_TELEMETRY"] = "yes"


@pytest.fixture(autouse=True)
def isolated_graph() -> Iterator[FeatureGraph]:
    """The current feature graph: a copy, so that what a test declares ends with the test."""
    copy = FeatureGraph.current().copy()
    with copy.use():
        yield copy


@pytest.fixture(autouse=True)
def no_dagster_home(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is read from, or written to, a Dagster instance of the person who runs the tests."""
    monkeypatch.delenv("DAGSTER_HOME", raising=False)


@pytest.fixture
def instance() -> Iterator[dg.DagsterInstance]:
    """A Dagster instance in memory."""
    with dg.DagsterInstance.ephemeral() as ephemeral:
        yield ephemeral
