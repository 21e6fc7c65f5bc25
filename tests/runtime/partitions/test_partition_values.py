"""What a partition column holds is decided, or refused with a word on what and where."""

# Annotations are not postponed here: Dagster reads that of the context when an op is made.

import datetime as dt
from collections.abc import Callable
from pathlib import Path
from typing import Any

import dagster as dg
import polars as pl
import pytest
from feature_runs import IO_MANAGER, feature

import metaxy_dagster as mxd

DAY = dg.DailyPartitionsDefinition("2024-02-01", end_date="2024-03-01")
HOUR = dg.HourlyPartitionsDefinition(
    "2024-10-27-00:00", end_date="2024-10-27-06:00", timezone="Europe/Brussels"
)
YEAR = dg.TimeWindowPartitionsDefinition(start="2023", fmt="%Y", cron_schedule="0 0 1 1 *")
WEEK = dg.WeeklyPartitionsDefinition("2024-01-07")


@pytest.fixture
def graph() -> mxd.FeatureGraph:
    made = mxd.FeatureGraph()
    made.add(mxd.FeatureSpec("event", id_columns=["id"]))
    made.add(mxd.FeatureSpec("clean", id_columns=["id"], deps=["event"]))
    return made


def assets(definition: Any, given: list[list[int]], mode: str) -> list[Any]:
    metadata = feature("event", partition_by="at")["metadata"]
    event = dg.AssetSpec("event", partitions_def=definition, metadata=metadata)

    @dg.asset(partitions_def=definition, **feature("clean", partition_by="at", input=mode))
    def clean(event: pl.DataFrame) -> pl.DataFrame:
        given.append(sorted(event["id"]))
        return event

    return [event.with_io_manager_key(IO_MANAGER), clean]


def column(*values: Any) -> pl.DataFrame:
    return pl.DataFrame({"id": range(len(values)), "at": pl.Series(values)})


CLOCK = dt.datetime.fromisoformat("2024-10-27T02:30:00")
MONTHS = dg.StaticPartitionsDefinition(["01", "02", "12"])
NAMES = dg.StaticPartitionsDefinition(["2024-02-01", "true", "x"])
MOMENT = dt.datetime(2024, 10, 27, 0, 30, tzinfo=dt.UTC)
#: Partitions, a run's key, what the column holds, the rows that are given.
DECIDED = {
    "text of all kinds": (
        DAY,
        "2024-02-02",
        column(
            "2024-02-02",
            "2024-02-02T23:59:59.9999999Z",
            "2024-02-02 12:00",
            "2024-02-03T00:30+01:00",
            "2024-02-03",
            "2024-02-02T23:30:00-01:00",
            None,
        ),
        [0, 1, 2, 3],
    ),
    "dates in a week": (WEEK, "2024-01-07", column("2024-01-06", "2024-01-09", "2024-01-14"), [1]),
    "numbers that are keys": (YEAR, "2023", column(2023, 2024, None), [0]),
    "an hour that is shown twice, first": (
        HOUR,
        "2024-10-27-02:00",
        column("2024-10-27-02:00", "2024-10-27-02:00+0100", "2024-10-27T02:30+02:00"),
        [0, 2],
    ),
    "an hour that is shown twice, then": (
        HOUR,
        "2024-10-27-02:00+0100",
        column("2024-10-27-02:00", "2024-10-27-02:00+0100", "2024-10-27T01:30Z"),
        [1, 2],
    ),
    "numbers and padded keys": (MONTHS, "02", column(1, 2, 12, None), [1]),
    "numbers and other keys": (NAMES, "x", column(1, 2), []),
    "dates that are keys": (
        NAMES,
        "2024-02-01",
        column(dt.date(2024, 2, 1), dt.date(2024, 2, 2), None),
        [0],
    ),
    "what is true or not": (NAMES, "true", column(True, False, None), [0]),
    "moments": (HOUR, "2024-10-27-02:00", column(MOMENT, MOMENT + dt.timedelta(hours=1)), [0]),
    "clocks elsewhere": (
        HOUR,
        "2024-10-27-01:00",
        column(CLOCK - dt.timedelta(hours=1), CLOCK),
        [0],
    ),
}


@pytest.mark.parametrize("mode", ["all", "increment"])
@pytest.mark.parametrize("case", DECIDED)
def test_what_can_be_decided_is(
    run: Callable[..., Any], store: mxd.DuckDBMetadataStore, case: str, mode: str
) -> None:
    definition, key, frame, expected = DECIDED[case]
    store.write("event", frame)
    given: list[list[int]] = []
    run(*assets(definition, given, mode), partition_key=key)
    assert given == [expected]
    assert sorted(store.read_table("clean", columns=["id"])["id"].to_pylist()) == expected
    assert store.resolve_update("clean").counts.orphaned == 0


#: Partitions, a run's key, what the column holds, what the error shows.
UNDECIDED = {
    "a word": (DAY, "2024-02-02", column("2024-02-02", "soon"), "'soon'"),
    "another spelling": (DAY, "2024-02-02", column("2/2/2024"), "'2/2/2024'"),
    "no such day": (DAY, "2024-02-02", column("2024-02-30"), "'2024-02-30'"),
    "days as numbers": (DAY, "2024-02-02", column(20240202), "20240202"),
    "a date under hours": (HOUR, "2024-10-27-01:00", column("2024-10-27"), "'2024-10-27'"),
    "a real date under hours": (
        HOUR,
        "2024-10-27-01:00",
        column(dt.date(2024, 10, 27)),
        "datetime.date(2024, 10, 27)",
    ),
    "times under names": (NAMES, "2024-02-01", column(CLOCK), repr(CLOCK)),
    "a clock that shows it twice": (HOUR, "2024-10-27-02:00", column(CLOCK), repr(CLOCK)),
    "text of such a clock": (
        HOUR,
        "2024-10-27-02:00+0100",
        column("2024-10-27T02:30"),
        "'2024-10-27T02:30'",
    ),
}


@pytest.mark.parametrize("mode", ["all", "increment"])
@pytest.mark.parametrize("case", UNDECIDED)
def test_what_cannot_be_decided_is_an_error(
    run: Callable[..., Any], store: mxd.DuckDBMetadataStore, case: str, mode: str
) -> None:
    definition, key, frame, shown = UNDECIDED[case]
    store.write("event", frame)
    given: list[list[int]] = []
    with pytest.raises(mxd.RunError, match="cannot be told to be of a partition") as caught:
        run(*assets(definition, given, mode), partition_key=key)
    error = caught.value
    assert "'at'" in error.problem
    assert (error.asset, error.feature) == ("event", "event")
    assert f"{shown} in 1 sample, for the partitions {key}" in str(error.found)
    assert getattr(definition, "timezone", "like the keys") in str(error.allowed)
    assert "partition_by" in str(error.remedy)
    assert given == []


def test_what_an_asset_returns_is_held_to_the_same(
    run: Callable[..., Any], store: mxd.DuckDBMetadataStore
) -> None:
    @dg.asset(partitions_def=DAY, **feature("event", partition_by="at"))
    def event(context: dg.AssetExecutionContext) -> pl.DataFrame:
        return column("2024-02-02T10:00Z", *(["soon"] if context.partition_key[-1] == "3" else []))

    run(event, partition_key="2024-02-02")
    assert store.count("event") == 1
    with pytest.raises(mxd.RunError, match="'soon'"):
        run(event, partition_key="2024-02-03")
    with pytest.raises(mxd.FrameError, match="other partitions"):
        run(event, partition_key="2024-02-04")
    assert store.count("event") == 1


def test_samples_without_a_value_are_of_no_partition_and_counted(
    run: Callable[..., Any], store: mxd.DuckDBMetadataStore, caplog: pytest.LogCaptureFixture
) -> None:
    store.write("event", column("2024-02-02", None, None))
    run(*assets(DAY, [], "increment"), partition_key="2024-02-02")
    (said,) = [r.getMessage() for r in caplog.records if "no value in" in r.getMessage()]
    assert "feature event: 2 samples have no value in 'at'" in said


def test_a_format_of_weeks_is_matched_by_whole_keys(
    run: Callable[..., Any], store: mxd.DuckDBMetadataStore, tmp_path: Path
) -> None:
    store.write("event", column("Mon 05.02.2024", "Mon 12.02.2024"))
    definition = dg.TimeWindowPartitionsDefinition(
        start="Mon 05.02.2024", fmt="%a %d.%m.%Y", cron_schedule="0 0 * * 1"
    )
    given: list[list[int]] = []
    run(*assets(definition, given, "increment"), partition_key="Mon 12.02.2024")
    assert given == [[1]]
