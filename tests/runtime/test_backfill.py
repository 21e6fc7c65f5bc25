"""A backfill of thirty days, killed and resumed, ends as one that nothing interrupted.

``METAXY_TEST_BACKFILL_KILLS`` sets how often each backfill is killed at a random moment, besides
the places that are always tried (20 for the full figure).
"""

from __future__ import annotations

import os
import random
import shutil
import signal
import subprocess
import sys
import time
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import backfills
import dagster as dg
import pytest
from backfills import DAYS, KillAt, definitions, run_days
from patience import patient, program
from workers import wait_for

import metaxy_dagster as mxd

KILLS = int(os.environ.get("METAXY_TEST_BACKFILL_KILLS", "1"))
SECONDS = patient(120)
# Each in a run that resumes the one before: in a body, and between the store and Dagster.
PLACES: dict[int, list[KillAt]] = {
    1: [("written", "reading", DAYS[2]), ("body", "level", DAYS[4]), ("written", "daily", DAYS[5])],
    6: [("body", "daily", DAYS[7]), ("written", "level", DAYS[14])],
}
COMPARED = (
    "metaxy_provenance_by_field",
    "metaxy_provenance",
    "metaxy_data_version_by_field",
    "metaxy_data_version",
)


@pytest.fixture(scope="module")
def before(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Half of the days were computed once, from other readings."""
    store = tmp_path_factory.mktemp("before") / "m.duckdb"
    with dg.DagsterInstance.ephemeral() as instance:
        run_days(definitions(store, 0), instance, DAYS[:15])
    return store


@pytest.fixture(scope="module")
def uninterrupted(before: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    folder = tmp_path_factory.mktemp("uninterrupted")
    store = shutil.copy(before, folder / "m.duckdb")
    backfills.backfill(folder / "home", store, folder / "log", 6, None)
    return tables(store)


def tables(path: Path) -> dict[str, list[dict[str, Any]]]:
    """Ids, user columns, provenance and data versions of every feature, and its data version."""
    graph = mxd.plan_definitions(definitions(path, 1)).graph
    store = mxd.DuckDBMetadataStore(path, graph=graph)
    found: dict[str, Any] = {}
    for feature in backfills.ASSETS:
        rows = store.read(feature, columns=[*store.schema(feature), *COMPARED])
        listed = rows.collect(backend="pyarrow").to_native().to_pylist()
        (id_column,) = store.graph[feature].id_columns
        found[feature] = sorted(listed, key=lambda row: row[id_column])
        found[f"{feature} data version"] = store.data_version(feature)
        if feature != "reading":
            found[f"{feature} pending"] = store.resolve_update(feature).counts.pending
    return found


class Backfill:
    """One backfill in a folder, started as often as it takes."""

    def __init__(self, folder: Path, before: Path, per_run: int) -> None:
        self.home, self.log, self.per_run = folder / "home", folder / "log", per_run
        self.store = Path(shutil.copy(before, folder / "m.duckdb"))

    def started(self, *kill_at: str) -> AbstractContextManager[subprocess.Popen[bytes]]:
        self.log.unlink(missing_ok=True)
        arguments = [self.home, self.store, self.log, self.per_run, *kill_at]
        return program(sys.executable, backfills.__file__, *map(str, arguments))

    def killed_at_a_place(self, kill_at: KillAt) -> None:
        with self.started(*kill_at) as process:
            assert process.wait(SECONDS) == -signal.SIGKILL, kill_at

    def killed_after(self, seconds: float) -> bool:
        """Killed so long after it began, wherever it is by then; false if it had ended."""
        with self.started() as process:
            wait_for(self.log, 120)
            time.sleep(seconds)
        return process.returncode != 0

    def missing(self) -> list[str]:
        with backfills.opened(self.home) as instance:
            return backfills.missing(instance, DAYS)

    def resumed(self) -> None:
        with self.started() as process:
            assert process.wait(SECONDS) == 0


@pytest.mark.parametrize("per_run", [1, 6], ids=["a run a day", "a run for six days"])
def test_a_backfill_killed_and_resumed_ends_like_an_uninterrupted_one(
    per_run: int, before: Path, uninterrupted: dict[str, Any], tmp_path: Path
) -> None:
    chance = random.Random(per_run)  # noqa: S311 - where to kill need not be secret
    one = Backfill(tmp_path, before, per_run)
    for place in PLACES[per_run]:
        one.killed_at_a_place(place)
    assert one.missing()
    assert tables(one.store) != uninterrupted
    killed = 0
    while killed < KILLS and one.killed_after(chance.uniform(0, 2)):
        killed += 1
    one.resumed()
    assert one.missing() == []
    assert tables(one.store) == uninterrupted


def test_the_days_of_the_backfill_differ_from_before(
    before: Path, uninterrupted: dict[str, Any]
) -> None:
    """The comparison above would also hold if a backfill did nothing."""
    earlier = tables(before)
    assert len({row["day"] for row in earlier["level"]}) == 15
    assert len({row["day"] for row in uninterrupted["level"]}) == 30
    assert uninterrupted["level pending"] == uninterrupted["daily pending"] == 0
    stale = {row["reading"]: row["level"] for row in uninterrupted["level"]}
    shared = [row for row in earlier["level"] if row["reading"] in stale]
    assert {stale[row["reading"]] != row["level"] for row in shared} == {True, False}
    assert len(shared) < len(earlier["level"])
