"""Random graphs and histories: the store must agree with the naive oracle after every step.

The machine is in ``tests/support``: what varies in ``random_graphs``, what is done and held in
``machine``, what comes between a question and its answer in ``meanwhile``, parts of features and
earlier states in ``chosen``.
"""

from __future__ import annotations

import multiprocessing
import os
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor

import pytest
from chosen import WithParts
from hypothesis import HealthCheck, settings
from machine import Elsewhere

EXAMPLES = int(os.environ.get("METAXY_ORACLE_EXAMPLES", "10"))
SETTINGS = settings(
    max_examples=EXAMPLES,
    stateful_step_count=15,
    deadline=None,
    suppress_health_check=list(HealthCheck),
)
TestOracle = WithParts.TestCase
TestOracle.settings = SETTINGS


class ProcessMachine(Elsewhere, WithParts):
    """Some of the writers are another process."""


@pytest.fixture(scope="module")
def process() -> Iterator[None]:
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(1, mp_context=context) as executor:
        ProcessMachine.process = executor
        yield


@pytest.mark.usefixtures("process")
class TestOracleWithProcesses(ProcessMachine.TestCase):
    settings = settings(SETTINGS, max_examples=max(2, EXAMPLES // 4))
