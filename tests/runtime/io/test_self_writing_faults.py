"""What was made halfway is not recorded: failures, retries, and processes that die."""

# Annotations are not postponed here: Dagster reads that of the context when an asset is made.

from pathlib import Path
from typing import Any

import dagster as dg
import polars as pl
import pytest
from dagster._core.definitions.reconstruct import ReconstructableJob
from self_writers import Files, World, keys, pending_ids

import metaxy_dagster as mxd

pytestmark = pytest.mark.filterwarnings("ignore::dagster.BetaWarning")
NOTHING = mxd.Counts(0, 0, 0)


class TornError(RuntimeError):
    """What a body stops with."""


def broken(files: Files, **options: Any) -> dg.AssetsDefinition:
    """Makes the first pending sample, and stops while ``files.calls`` is shorter than told."""

    @dg.asset(deps=["raw"], metadata=keys("x", input="increment"), **options)
    def x(increment: mxd.Increment) -> None:
        ids = pending_ids(increment)
        files.make(ids[:1])
        if len(files.calls) <= files.made.get("broken", 0):
            raise TornError
        files.make(ids[1:])

    return x


def test_what_a_body_made_before_an_error_is_pending(tmp_path):
    files = Files()
    world = World(files, tmp_path, broken(files))
    files.made["broken"] = 1
    with pytest.raises(TornError):
        world.run()
    assert world.counts() == mxd.Counts(3, 0, 0)
    files.made["broken"] = 0
    assert world.run() == [[1], [2, 3]]
    assert world.counts() == NOTHING


def test_what_changed_and_changed_back_after_a_torn_body_is_pending(tmp_path):
    files = Files()
    world = World(files, tmp_path, broken(files))
    world.run()
    files.rows |= {1: 11, 2: 21}
    files.made["broken"] = 1
    with pytest.raises(TornError):
        world.run()
    assert files.made["x"] == {1: 11, 2: 20, 3: 30}
    files.rows |= {1: 10, 2: 20}
    files.made["broken"] = 0
    assert world.run() == [[1], [2]]
    assert files.made["x"] == files.rows
    assert world.run() == []


def test_what_went_and_came_back_after_a_torn_body_is_pending(tmp_path):
    files = Files()
    world = World(files, tmp_path, broken(files))
    world.run()
    gone = files.rows.pop(2)
    files.made["broken"] = 1
    with pytest.raises(TornError):
        world.run()
    files.rows[2] = gone
    files.made["broken"] = 0
    assert world.run() == [[2], []]
    assert world.run() == []


def test_a_step_that_is_tried_again_computes_what_is_pending_then(tmp_path):
    files = Files()
    world = World(files, tmp_path, broken(files, retry_policy=dg.RetryPolicy(max_retries=2)))
    files.made["broken"] = 2
    assert world.run() == [[1], [1], [1], [2, 3]]
    assert world.event()["metaxy/written"] == 3
    assert world.counts() == NOTHING


def test_a_worker_that_dies_in_the_body_leaves_its_samples_pending(tmp_path, monkeypatch):
    monkeypatch.setenv("METAXY_TEST_FOLDER", str(tmp_path))
    module = Path(__file__).parents[2] / "definitions" / "self_writers_for_workers.py"
    job = ReconstructableJob.for_file(str(module), "job")

    def raw(**rows: str) -> None:
        for name, text in rows.items():
            (tmp_path / f"{name}.raw").write_text(text)

    def run() -> tuple[bool, list[str]]:
        (tmp_path / "calls").write_text("")
        with dg.execute_job(job, instance=instance) as result:
            return result.success, sorted((tmp_path / "calls").read_text().split())

    with dg.instance_for_test(temp_dir=str(tmp_path)) as instance:
        raw(a="1", b="1")
        assert run() == (True, ["a", "b"])
        assert run() == (True, [])
        raw(a="2")
        (tmp_path / "die").touch()
        assert run() == (False, ["a"])
        (tmp_path / "die").unlink()
        raw(a="1")
        assert run() == (True, ["a"])
        assert (tmp_path / "a.x").read_text() == "1"
        assert run() == (True, [])


def test_what_is_reported_as_failed_or_empty_is_not_recorded_as_done(tmp_path):
    files = Files()

    @dg.asset(metadata=keys("x", input="increment"))
    def x(raw: pl.DataFrame) -> None:
        files.make(raw["id"])
        mxd.report_failures(raw.filter(pl.col("size") < 0), "negative")
        mxd.report_empty(raw.filter(pl.col("size") == 0))

    world = World(files, tmp_path, x)
    files.rows |= {2: -1, 3: 0}
    assert world.run() == [[1, 2, 3]]
    assert world.store.read("x", columns=["id"]).collect()["id"].to_list() == [1]
    assert world.event()["metaxy/failed"] == 1
    assert world.counts() == mxd.Counts(1, 0, 0)
    assert world.run() == [[2]]
    files.rows |= {1: -1, 2: 20, 3: 30}
    assert world.run() == [[1, 2, 3]]
    assert world.counts() == mxd.Counts(0, 1, 0)
    assert world.store.failures("x").collect()["id"].to_list() == [1]


@pytest.mark.parametrize("said", [None, "self"])
def test_what_a_function_writes_to_the_store_itself_is_taken_as_it_is(tmp_path, said):
    files = Files()
    more = {} if said is None else {"output": said}

    @dg.asset(deps=["raw"], metadata=keys("x", input="increment", **more))
    def x(context: dg.AssetExecutionContext, store: dg.ResourceParam[mxd.MetadataStore]) -> None:
        increment = mxd.pending(context)
        rows = increment.pending.collect().to_native().select(["id", "size"]).slice(0, 2)
        files.make(rows["id"].to_pylist())
        store.write("x", rows, increment=increment)

    world = World(files, tmp_path, x)
    assert world.plan.errors == ()
    assert world.run() == [[1, 2]]
    assert set(world.store.schema("x")) == {"id", "size"}
    assert world.counts() == mxd.Counts(1, 0, 0)
    assert world.run() == [[3]]
    assert world.run() == []
    del files.rows[1]
    world.run()
    assert world.store.count("x") == (2 if said else 3)


def test_an_upstream_that_is_only_known_to_dagster_does_not_stop_what_loads_by_itself(tmp_path):
    files = Files()

    @dg.asset(deps=["raw"], metadata=keys("x", input="increment"))
    def x() -> None:
        files.make()

    @dg.asset(deps=["raw"], metadata=keys("y", input="increment"))
    def y(increment: mxd.Increment) -> None:
        files.make(pending_ids(increment), "y")

    world = World(files, tmp_path, x, y)
    world.instance.report_runless_asset_event(dg.AssetMaterialization("raw"))
    assert world.run("x") == [None], "it runs as it did"
    assert world.store.count("x") == 0
    with pytest.raises(mxd.RunError, match="never written to this store"):
        world.run("y")
    assert world.run() == [None, [1, 2, 3]]
    assert world.run() == []
