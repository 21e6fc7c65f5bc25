"""The mail room: what its ten days of history are meant to show is what they show."""

from __future__ import annotations

import importlib
import random
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from types import ModuleType

import dagster as dg
import pytest
from patience import patient
from places import ROOT

import metaxy_dagster as mxd

SCRIPT = ROOT / "docs" / "make_screenshots.py"
TOUR = (ROOT / "docs" / "tour.md").read_text(encoding="utf-8")
# Nothing can be pending of a feature that is computed from no other.
ROOTS = ("scans", "typed")
FEATURES = ("scans", "profiles", "readings", "typed", "verdicts", "days")


@pytest.fixture(scope="module")
def mailroom(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, ModuleType]]:
    """The example's modules, with features and a folder of their own."""
    with pytest.MonkeyPatch.context() as patch, mxd.FeatureGraph().use():
        patch.setenv("MAILROOM_FOLDER", str(tmp_path_factory.mktemp("room")))
        names = ("features", "room", "assets", "definitions", "history")
        yield {name: importlib.import_module(f"mailroom.{name}") for name in names}
    for name in [name for name in sys.modules if name.split(".")[0] == "mailroom"]:
        del sys.modules[name]


@pytest.fixture(scope="module")
def played(mailroom: dict[str, ModuleType]) -> Iterator[dg.DagsterInstance]:
    """Three days."""
    with dg.DagsterInstance.ephemeral() as instance:
        mailroom["history"].play(instance, rounds=3)
        yield instance


def counts(instance: dg.DagsterInstance, asset: str, name: str) -> list[object]:
    """A number of each materialization, oldest first."""
    found = instance.fetch_materializations(dg.AssetKey(asset), limit=100).records
    events = [record.asset_materialization for record in reversed(found)]
    return [event.metadata[f"metaxy/{name}"].value for event in events if event]


def test_each_round_reads_what_is_new_and_what_was_scanned_again(
    mailroom: dict[str, ModuleType], played: dg.DagsterInstance
) -> None:
    chance = random.Random(5)  # noqa: S311 - the history's own
    again = []
    for today in range(1, 3):
        chosen = chance.sample(list(mailroom["room"].scanned_on(today - 1)), chance.randint(2, 15))
        again.append(len(chosen))
    sizes = list(mailroom["room"].PER_DAY[:3])
    assert counts(played, "readings", "new") == sizes
    assert counts(played, "readings", "stale") == [0, *again]
    assert counts(played, "verdicts", "new") == [12, sizes[0] - 12, sizes[1]]


def test_every_day_is_a_partition(
    mailroom: dict[str, ModuleType], played: dg.DagsterInstance
) -> None:
    days = mailroom["assets"].DAILY.get_partition_keys()
    for asset in ("scans", "profiles"):
        assert played.get_materialized_partitions(dg.AssetKey(asset)) == set(days[:3])
    # All of the days' scans together are fewer than there are images.
    assert mailroom["room"].scanned_on(len(days) - 1).stop <= len(mailroom["room"].digits()[0])


def test_one_check_says_what_is_pending(
    mailroom: dict[str, ModuleType], played: dg.DagsterInstance
) -> None:
    keys = [
        dg.AssetCheckKey(dg.AssetKey(asset), name)
        for asset in FEATURES
        for name in ("pending", "orphaned", "failed", "schema", "unique_ids")
        if asset not in ROOTS or name in {"failed", "schema", "unique_ids"}
    ]
    storage = played.event_log_storage
    latest = storage.get_latest_asset_check_execution_by_key(keys)
    failed = {
        (key.asset_key.to_user_string(), key.name)
        for key, record in latest.items()
        if not record.event.dagster_event.asset_check_evaluation_data.passed
    }
    assert set(latest) == set(keys)
    assert failed == {("verdicts", "pending")}


def test_the_desk_is_observed(played: dg.DagsterInstance) -> None:
    records = played.fetch_observations(dg.AssetKey("typed"), limit=10).records
    assert len(records) == 4
    metadata = records[0].asset_observation.metadata
    assert metadata["dagster/row_count"].value == metadata_rows(played)
    assert metadata["digits"].value == 10


def metadata_rows(instance: dg.DagsterInstance) -> int:
    """Scans with a verdict, and those that the desk has typed in since."""
    event = instance.get_latest_materialization_event(dg.AssetKey("verdicts"))
    assert event is not None
    assert event.asset_materialization is not None
    return int(str(event.asset_materialization.metadata["dagster/row_count"].value)) + 31


# ----------------------------------------------------------------------------------- pictures
def test_the_tour_shows_every_picture_that_the_script_takes() -> None:
    taken = set(re.findall(r"^def (\w+)\(page: Page\) -> dict", SCRIPT.read_text(), re.MULTILINE))
    shown = set(re.findall(r"\(images/(\w+)\.png\)", TOUR))
    assert taken == shown
    stored = {path.stem: path for path in (ROOT / "docs" / "images").glob("*.png")}
    assert set(stored) == shown
    for path in stored.values():
        assert path.read_bytes().startswith(b"\x89PNG")
        assert path.stat().st_size < 300_000


def test_the_tour_links_to_files_that_exist() -> None:
    links = re.findall(r"\]\(([^)#:]+)\)", TOUR)
    assert links
    assert [link for link in links if not (ROOT / "docs" / link).exists()] == []


@pytest.mark.parametrize(
    ("arguments", "environment", "message"),
    [
        ([], {"CHROMIUM": "no-such-browser"}, "no Chromium: no-such-browser was not found"),
        (["moon"], {}, "no picture is named moon"),
    ],
)
def test_the_script_says_what_is_missing(
    arguments: list[str], environment: dict[str, str], message: str
) -> None:
    assert shutil.which("no-such-browser") is None
    done = subprocess.run(  # noqa: S603 (our own script)
        [sys.executable, str(SCRIPT), *arguments],
        env=environment,
        capture_output=True,
        text=True,
        timeout=patient(60),
        check=False,
    )
    assert done.returncode == 1
    assert message in done.stderr
