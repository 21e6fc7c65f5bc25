"""What ran before the pass runs after it, has the same files, and computes less."""

from __future__ import annotations

import json
from pathlib import Path

import dagster as dg
import pytest
from dagster._core.definitions.reconstruct import ReconstructableJob
from kept_repositories import DAYS, KINDS, NEEDED, SITES, Shop, read, repository

pytestmark = [
    pytest.mark.filterwarnings("ignore::dagster.BetaWarning"),
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
]


@pytest.fixture
def shops(tmp_path):
    """The shop as it was, and the one with the pass over it."""
    found = {passed: Shop(tmp_path / ("after" if passed else "before")) for passed in (False, True)}
    for shop in found.values():
        shop.open(0)
    return found


def files(shop):
    """What everybody finds in the folder."""
    names = {path.name for path in shop.folder.iterdir()} - {"taxed.log", "today.json", "storage"}
    tables = sorted({name.split(".")[0] for name in names} - {"report"})
    found = {name: read(shop, name) for name in tables}
    found["report"] = json.loads((shop.folder / "report.json").read_text())
    return names, found


def compare(shops, day):
    """Both shops have the same files, and one has taxed no more than it had to."""
    (names, before), (again, after) = files(shops[False]), files(shops[True])
    assert again == names
    for name, rows in before.items():
        assert sorted(map(repr, after[name])) == sorted(map(repr, rows)), (name, day)
    assert len(after["report"]) == len(DAYS[day])
    assert shops[False].taxed[day] == len(DAYS[day])
    assert sum(shops[True].taxed) == sum(NEEDED[: day + 1])


@pytest.mark.parametrize("kind", KINDS)
def test_every_run_leaves_the_files_that_it_left_before(kind, shops):
    with dg.DagsterInstance.ephemeral() as instance:
        for day in range(len(DAYS)):
            for passed, shop in shops.items():
                shop.open(day)
                job = repository(kind, shop, passed=passed).resolve_implicit_global_asset_job_def()
                assert job.execute_in_process(instance=instance).success
            compare(shops, day)


def test_every_partition_is_whole(shops, instance):
    for day in range(len(DAYS)):
        for passed, shop in shops.items():
            shop.open(day)
            job = repository("by_site", shop, passed=passed).resolve_implicit_global_asset_job_def()
            for site in SITES:
                assert job.execute_in_process(instance=instance, partition_key=site).success
        for name in [f"{asset}-{site}" for asset in ("orders", "taxed") for site in SITES]:
            before, after = (sorted(map(repr, read(shop, name))) for shop in shops.values())
            assert after == before
    assert sum(shops[True].taxed) == sum(NEEDED)
    assert sum(shops[False].taxed) == sum(map(len, DAYS))


def test_the_same_over_worker_processes(shops, tmp_path, monkeypatch):
    before, after = shops[False], shops[True]
    monkeypatch.setenv("METAXY_TEST_SHOP", str(after.folder))
    job = ReconstructableJob.for_file(str(Path(__file__).with_name("kept_for_workers.py")), "job")
    with dg.instance_for_test(temp_dir=str(tmp_path)) as instance:
        for day in (0, 2):
            for shop in shops.values():
                shop.open(day)
            with dg.execute_job(job, instance=instance, raise_on_error=True) as result:
                assert result.success
            legacy = repository("pickled", before, passed=False)
            assert legacy.resolve_implicit_global_asset_job_def().execute_in_process().success
            assert files(after) == files(before)
    assert (before.taxed, after.taxed) == ([5, 5], [5, 2])
