"""One bad sample does not stop the rest: ``"metaxy/on_error": "quarantine"``."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import dagster as dg
import polars as pl
import pytest
from failing_samples import FORMS, IDS, TornError, World

import metaxy_dagster as mxd

QUARANTINE = {"metaxy/on_error": "quarantine"}
BAD = {3, 8}


def failure(done: dg.ExecuteInProcessResult) -> Any:
    """The error of the step that failed."""
    (event,) = [e for e in done.all_events if e.event_type_value == "STEP_FAILURE"]
    error = event.step_failure_data.error
    return error.cause or error


@pytest.mark.parametrize(
    ("form", "size"),
    [*((form, None) for form in FORMS), ("plain", 1), ("waiting", 5), ("group", 2), ("lazy", 5)],
)
def test_the_rest_is_written_and_what_fails_is_set_aside(
    tmp_path: Path, instance: dg.DagsterInstance, form: str, size: int | None
) -> None:
    """In every form of a function; a group and a parent are taken as a whole."""
    world = World(tmp_path, instance, form)
    world.bad = BAD
    keys = QUARANTINE if size is None else {**QUARANTINE, "metaxy/batch_size": size}
    world.run(keys)
    units = {i: i // 3 if form == "group" else i for i in IDS}
    bad = {units[i] for i in BAD}
    assert world.stored() == sorted(set(units.values()) - bad)
    assert world.failures() == {units[i]: (f"torn {i}", 1) for i in BAD}
    (line,) = world.said("failed and")
    name = "album" if form == "group" else "id"
    for i in BAD:
        assert f"{name}={units[i]}: TornError: torn {i}" in line
    # Only these are tried again, until they have failed too often.
    for times in (2, 3):
        world.run(keys)
        assert {i for call in world.calls for i in call} <= {i for i in IDS if units[i] in bad}
        assert {n for _, n in world.failures().values()} == {times}
    world.run(keys)
    assert world.calls == []
    assert world.store.resolve_update(world.key).counts.quarantined == len(bad)
    world.bad = set()
    world.store.retry(world.key)
    world.run(keys)
    assert world.stored() == sorted(set(units.values()))
    assert world.failures() == {}


def test_a_function_that_does_not_fail_is_called_once(
    tmp_path: Path, instance: dg.DagsterInstance
) -> None:
    world = World(tmp_path, instance)
    done = world.run(QUARANTINE)
    assert world.calls == [IDS]
    (event,) = done.asset_materializations_for_node("made")
    assert event.metadata["metaxy/new"].value == len(IDS)
    assert not world.said("failed and")


def test_large_parts_come_first(tmp_path: Path, instance: dg.DagsterInstance) -> None:
    world = World(tmp_path, instance)
    world.bad = {1}
    world.run(QUARANTINE)
    halves = [
        [1, 2, 3, 4, 5, 6],
        [7, 8, 9, 10, 11, 12],
        [1, 2, 3],
        [4, 5, 6],
        [1, 2],
        [3],
        [1],
        [2],
    ]
    assert world.calls == [IDS, *halves]


def test_the_step_may_fail_when_the_others_are_written(
    tmp_path: Path, instance: dg.DagsterInstance
) -> None:
    world = World(tmp_path, instance)
    world.bad = BAD
    done = world.run({"metaxy/on_error": "quarantine_then_raise"}, fails=True)
    found = failure(done)
    assert "RunError" in str(found.cls_name)
    assert "id=3: TornError: torn 3; id=8: TornError: torn 8" in found.message
    assert world.stored() == sorted({*IDS} - BAD)
    assert {n for _, n in world.failures().values()} == {1}


#: Which samples fail, keys, and why nothing is set aside.
AT_FAULT: dict[str, tuple[set[int], dict[str, Any], str]] = {
    "all of them": (set(IDS), {}, "every sample fails alike"),
    "all of them, one by one": (set(IDS), {"metaxy/batch_size": 1}, "every sample fails alike"),
    "more than may": (BAD, {"metaxy/max_failed_samples": 1}, "more than 1 samples fail"),
    "more than may, in batches": (
        {1, 5, 9},
        {"metaxy/max_failed_samples": 2, "metaxy/batch_size": 4},
        "more than 2 samples fail",
    ),
}


@pytest.mark.parametrize("case", AT_FAULT)
def test_what_is_the_codes_fault_fails_as_ever(
    tmp_path: Path, instance: dg.DagsterInstance, case: str
) -> None:
    bad, more, why = AT_FAULT[case]
    world = World(tmp_path, instance)
    world.bad = bad
    done = world.run({**QUARANTINE, **more}, fails=True)
    assert failure(done).cls_name == "TornError"
    assert f"torn {min(bad)}" in failure(done).message, "the first error, as it would have been"
    assert world.failures() == {}
    assert world.said(why)
    assert not {*world.stored()} & bad


def test_the_search_ends_when_all_fail(tmp_path: Path, instance: dg.DagsterInstance) -> None:
    """Each part that fails has one sample at fault: that there are too many is soon known."""
    world = World(tmp_path, instance)
    world.ids = list(range(1, 1001))
    world.bad = {*world.ids}
    world.run(QUARANTINE, fails=True)
    assert len(world.calls) < 60
    assert world.stored() == []


def test_the_setting_says_how_many(tmp_path: Path, instance: dg.DagsterInstance) -> None:
    world = World(tmp_path, instance)
    defs = world.definitions(QUARANTINE)
    settings = mxd.MetaxifySettings(max_failed_samples=7)
    plan = mxd.plan_definitions(defs, features=world.store.graph, settings=settings)
    assert "7 samples at most may be set aside" in plan.render("text")


def test_a_sample_that_comes_alone_and_fails_is_set_aside(
    tmp_path: Path, instance: dg.DagsterInstance
) -> None:
    world = World(tmp_path, instance)
    world.run(QUARANTINE)
    world.ids.append(99)
    world.bad = {99}
    world.run(QUARANTINE)
    assert world.failures() == {99: ("torn 99", 1)}


#: What says nothing of samples.
NOT_OF_SAMPLES: dict[str, BaseException] = {
    "the step's own failure": dg.Failure("by hand"),
    "memory": MemoryError("no room"),
    "a fault of the library": mxd.ConfigError("torn config"),
    "a fault of Dagster": dg.DagsterInvariantViolationError("no"),
    "an interrupt": KeyboardInterrupt("stop"),
}


@pytest.mark.parametrize("case", NOT_OF_SAMPLES)
def test_what_is_no_fault_of_samples_is_not_searched(
    tmp_path: Path, instance: dg.DagsterInstance, case: str
) -> None:
    world = World(tmp_path, instance)
    world.bad, world.error = BAD, lambda _: NOT_OF_SAMPLES[case]
    try:
        world.run(QUARANTINE, fails=True)
    except (KeyboardInterrupt, dg.DagsterError):
        assert case == "an interrupt"
    assert world.calls == [IDS]
    assert world.failures() == {}


def test_what_cannot_be_stored_is_no_fault_of_samples(
    tmp_path: Path, instance: dg.DagsterInstance, monkeypatch: pytest.MonkeyPatch
) -> None:
    world = World(tmp_path, instance)

    def full(*_: Any, **__: Any) -> Any:
        raise OSError("no space")

    monkeypatch.setattr("metaxy_dagster.runtime.io.batching.write_output", full)
    done = world.run(QUARANTINE, fails=True)
    assert "no space" in failure(done).message
    assert world.calls == [IDS]


def test_what_was_found_stays_when_the_run_is_stopped_by_something_else(
    tmp_path: Path, instance: dg.DagsterInstance
) -> None:
    world = World(tmp_path, instance)
    world.bad = {2, 9}
    world.error = lambda ids: TornError("torn") if 2 in ids else dg.Failure("by hand")
    world.run({**QUARANTINE, "metaxy/batch_size": 4}, fails=True)
    assert world.failures() == {2: ("torn", 1)}
    assert world.stored() == [1, 3, 4, 5, 6, 7, 8]


def test_an_attempt_counts_once_a_run(tmp_path: Path, instance: dg.DagsterInstance) -> None:
    """Also where the step is tried again, or the function reports what it cannot read itself."""
    world = World(tmp_path, instance)
    world.bad = BAD
    keys = {"metaxy/on_error": "quarantine_then_raise"}
    world.run(keys, fails=True, retry_policy=dg.RetryPolicy(max_retries=2))
    assert {n for _, n in world.failures().values()} == {1}

    def report(frame: pl.DataFrame) -> None:
        torn = frame.filter(pl.col("id") == 5)
        if len(torn):
            mxd.report_failures(torn, ["unreadable"])

    world.before, world.left_out = report, {5}
    world.store.delete("thumb")
    world.run(QUARANTINE)
    assert world.failures() == {3: ("torn 3", 2), 8: ("torn 8", 2), 5: ("unreadable", 1)}


def test_what_fails_only_as_a_whole_is_computed_in_parts(
    tmp_path: Path, instance: dg.DagsterInstance
) -> None:
    world = World(tmp_path, instance)

    def crowded(frame: pl.DataFrame) -> None:
        if len(frame) > 6:
            raise TornError(f"{len(frame)} are too many")

    world.before = crowded
    world.run(QUARANTINE)
    assert world.stored() == IDS
    assert world.failures() == {}
    assert world.said("computed in parts, after TornError: 12 are too many")


def test_what_is_not_returned_is_empty_and_what_failed_is_not(
    tmp_path: Path, instance: dg.DagsterInstance
) -> None:
    world = World(tmp_path, instance)
    world.bad, world.left_out = BAD, {4, 11}
    world.run({**QUARANTINE, "metaxy/unreturned": "empty"})
    assert world.stored() == sorted({*IDS} - BAD - {4, 11})
    counts = world.store.resolve_update("thumb").counts
    assert counts == mxd.Counts(len(BAD), 0, 0)


def test_rows_from_before_go_if_they_shall(tmp_path: Path, instance: dg.DagsterInstance) -> None:
    world = World(tmp_path, instance)
    keys = {**QUARANTINE, "metaxy/failed_rows": "delete"}
    world.run(keys)
    world.store.invalidate("thumb", [{"id": i} for i in IDS])
    world.bad = BAD
    world.run(keys)
    assert world.stored() == sorted({*IDS} - BAD)
