"""Columns of text, dates and times under partitions that are windows of time.

A store decides in SQL and a frame in narwhals; both are held to a plain model that looks at one
value and all partitions, slowly.
"""

from __future__ import annotations

import datetime as dt
import random
from pathlib import Path
from zoneinfo import ZoneInfo

import dagster as dg
import narwhals as nw
import polars as pl
import pytest

import metaxy_dagster as mxd
from metaxy_dagster.features import IsNull, Not, Or
from metaxy_dagster.features.spans import Within
from metaxy_dagster.features.text_ranges import text_ranges
from metaxy_dagster.runtime.partitions.partition_choices import partition_choices
from metaxy_dagster.runtime.partitions.scope import Scope

GRAPH = mxd.FeatureGraph()
GRAPH.add(mxd.FeatureSpec("event", id_columns=["id"]))

ZONES = ("UTC", "Europe/Brussels", "America/New_York", "Australia/Lord_Howe")
#: Around changes of the clock, the ends of years, and leap days.
DAYS = ("2024-03-31", "2024-10-27", "2024-03-10", "2024-11-03", "2024-04-07", "2024-10-06")
DAYS += ("2023-12-31", "2024-02-29", "2024-06-15")
OF_HOURS = ("%Y-%m-%d-%H:%M", "%d-%m-%Y %H:%M", "%Y%m%d%H%M", "%Y-%m-%dT%H:%M%z")
OF_DAYS = ("%Y-%m-%d", "%d-%m-%Y", "%Y%m%d", "%m/%d/%y", "%b %d %Y")
SCHEDULES = {
    **dict.fromkeys(("0 * * * *", "*/30 * * * *", "15 * * * *", "0 */6 * * *"), OF_HOURS),
    **dict.fromkeys(("0 0 * * *", "0 6 * * *", "0 2 * * *", "0 0 * * 1", "0 0 1 * *"), OF_DAYS),
    "0 0 5 * *": (*OF_DAYS, "%Y-%m"),
}
ODD = ("n/a", "", "2024", "2024-02-30", "0001-01-01", "9999-12-31T23:59:59-05:00", "2024-1-2")
ODD += (" 2024-02-01", "2024-02-01 24:00", "２０２４-02-01", "12.5", "2024-02-01T13")  # noqa: RUF001


def definition(pick: random.Random) -> dg.TimeWindowPartitionsDefinition:
    cron, zone = pick.choice(list(SCHEDULES)), pick.choice(ZONES)
    if zone == "Australia/Lord_Howe" and cron in ("0 * * * *", "15 * * * *"):
        # Where clocks move by half an hour, Dagster's full hours depend on the first of them.
        cron = "*/30 * * * *"
    start = dt.datetime.fromisoformat(pick.choice(DAYS)) - dt.timedelta(days=pick.choice([0, 1, 3]))
    if cron.endswith((" 1 * *", " 5 * *")):
        start = start.replace(day=1)
    return dg.TimeWindowPartitionsDefinition(
        start=start,
        end=start + dt.timedelta(days=90),
        cron_schedule=cron,
        fmt=pick.choice(SCHEDULES[cron]),
        timezone=zone,
    )


def text(pick: random.Random, of: dg.TimeWindowPartitionsDefinition, keys: list[str]) -> str:
    """Near an end of one of the partitions, in one of many ways to write it."""
    window = of.time_window_for_partition_key(pick.choice(keys))
    moment = pick.choice([window.start, window.end]).astimezone(dt.UTC)
    moment += dt.timedelta(minutes=pick.choice([0, 0, -1, 1, 30, -30, 60, -60, 90, 1440, -1440]))
    moment += dt.timedelta(microseconds=pick.choice([0, 0, 1, -1]))
    local = moment.astimezone(ZoneInfo(of.timezone))
    separator = pick.choice("T ")
    bare = of.fmt.removesuffix("%z")
    return pick.choice(
        [
            pick.choice(keys),
            local.strftime(of.fmt),
            local.strftime(bare + "%z"),
            local.strftime(pick.choice(OF_HOURS + OF_DAYS)),
            local.date().isoformat(),
            local.replace(tzinfo=None).isoformat(sep=separator),
            local.isoformat(sep=separator),
            moment.strftime("%Y-%m-%dT%H:%M:%SZ"),
            local.strftime(f"%Y-%m-%d{separator}%H:%M")
            + pick.choice(["", " +02:00", "+0200", "Z"]),
            local.strftime("%Y-%m-%dT%H:%M:%S.%f") + pick.choice(["7", "Z", "999+01:00"]),
            pick.choice(ODD),
        ]
    )


def far(of: dg.TimeWindowPartitionsDefinition, keys: list[str]) -> list[str]:
    """The first and last moments of partitions, as clocks show them far away."""
    windows = [of.time_window_for_partition_key(key) for key in keys]
    moments = [m for w in windows for m in (w.start, w.end - dt.timedelta(minutes=1))]
    zones = [dt.timezone(dt.timedelta(hours=hours)) for hours in (-23, 23)]
    return [moment.astimezone(zone).isoformat() for moment in moments for zone in zones]


class Model:
    """One value at a time, against all partitions."""

    def __init__(self, of: dg.TimeWindowPartitionsDefinition, keys: list[str]) -> None:
        self.fmt, self.zone = of.fmt, ZoneInfo(of.timezone)
        self.windows = [
            (w.start.astimezone(dt.UTC), w.end.astimezone(dt.UTC), key in keys)
            for key in self._every(of)
            for w in [of.time_window_for_partition_key(key)]
        ]

    @staticmethod
    def _every(of: dg.TimeWindowPartitionsDefinition) -> list[str]:
        before = of.start - dt.timedelta(days=40)
        longer = dg.TimeWindowPartitionsDefinition(
            start=before.replace(tzinfo=None),
            end=(of.end or before).replace(tzinfo=None) + dt.timedelta(days=70),
            cron_schedule=of.cron_schedule,
            fmt=of.fmt,
            timezone=of.timezone,
        )
        return list(longer.get_partition_keys())

    def moment(self, moment: dt.datetime) -> bool:
        return any(inside and start <= moment < end for start, end, inside in self.windows)

    def readings(self, clock: dt.datetime) -> list[dt.datetime]:
        return [clock.replace(tzinfo=self.zone, fold=f).astimezone(dt.UTC) for f in (0, 1)]

    def clock(self, clock: dt.datetime, *, first: bool = False) -> bool | None:
        one, other = self.readings(clock)
        found = {self.moment(one), self.moment(other)}
        if first and one < other:
            return self.moment(one)
        return found.pop() if len(found) == 1 else None

    def date(self, day: dt.date) -> bool | None:
        if not any(precise in self.fmt for precise in ("%H", "%M")):
            return self.label(dt.datetime.combine(day, dt.time()), "%Y-%m-%d")
        spans = [
            inside
            for start, end, inside in self.windows
            if start.astimezone(self.zone).date() <= day
            and (end - dt.timedelta(microseconds=1)).astimezone(self.zone).date() >= day
        ]
        return None if len(set(spans)) == 2 else bool(spans and spans[0])

    def label(self, said: dt.datetime, fmt: str) -> bool | None:
        """By the names of the partitions, as precise as these are."""
        named = [(self.said(start, fmt), inside) for start, _, inside in self.windows]
        if any(
            self.said(s, fmt) != s.astimezone(self.zone).replace(tzinfo=None)
            for s, _, _ in self.windows
        ):
            return next((inside for name, inside in reversed(named) if name <= said), False)
        return self.clock(said, first=True)

    def said(self, moment: dt.datetime, fmt: str) -> dt.datetime:
        local = moment.astimezone(self.zone)
        return dt.datetime.strptime(local.strftime(fmt), fmt)  # noqa: DTZ007 - a clock

    def decide(self, value: str) -> bool | None:
        bare = self.fmt.removesuffix("%z")
        if bare == self.fmt and (read := parsed(value, bare)) is not None:
            return self.label(read, bare)
        if (read := parsed(value, bare + "%z")) is not None:
            return self.moment(read)
        read = iso(value)
        if read is None:
            return None
        if read.tzinfo is not None:
            return self.moment(read)
        return self.date(read.date()) if len(value) == 10 else self.clock(read)


def iso(value: str) -> dt.datetime | None:
    if not value.isascii() or value[4:5] + value[7:8] != "--" or value[10:11] not in ("", "T", " "):
        return None
    if len(value) > 10 and ":" not in value:
        return None
    try:
        read = dt.datetime.fromisoformat(value.replace(" Z", "Z").replace(" +", "+"))
    except ValueError:
        return None
    return read if 1000 <= read.year < 9999 else None


def parsed(value: str, fmt: str) -> dt.datetime | None:
    try:
        read = dt.datetime.strptime(value, fmt)  # noqa: DTZ007 - a clock, or not
    except ValueError:
        return None
    return read if read.strftime(fmt) == value else None


def by_store(
    store: mxd.DuckDBMetadataStore, scope: Scope, frame: pl.DataFrame
) -> list[bool | None]:
    store.write("event", frame.with_row_index("id"), mode="replace")
    kinds = store.schema("event")
    found: list[bool | None] = [False] * len(frame)
    (_, unsure) = scope.undecided(kinds).get("at", (None, None))
    for filters, value in ((scope.filters(kinds), True), ([unsure] if unsure else None, None)):
        if filters is not None:
            read = store.read("event", columns=["id"], filters=filters).collect("polars")
            for i in read.to_native()["id"]:
                found[i] = value
    return found


def by_frame(scope: Scope, frame: pl.DataFrame) -> list[bool | None]:
    return [one(scope, frame[i : i + 1]) for i in range(len(frame))]


def one(scope: Scope, frame: pl.DataFrame) -> bool | None:
    try:
        return bool(len(scope.restrict(nw.from_native(frame.lazy())).collect()))
    except mxd.RunError as error:
        return None if "'at' holds values that cannot be told" in str(error) else False


@pytest.mark.parametrize("seed", range(16))
def test_a_store_a_frame_and_a_model_agree_on_text(tmp_path: Path, seed: int) -> None:
    pick = random.Random(seed)  # noqa: S311 - a seed that repeats
    store = mxd.DuckDBMetadataStore(tmp_path / "m.duckdb", graph=GRAPH)
    for _ in range(4):
        of = definition(pick)
        known = list(of.get_partition_keys())
        begin = pick.randrange(min(len(known), 60))
        keys = known[begin : begin + pick.choice([1, 1, 2, 5])][:: pick.choice([1, 1, 2])]
        scope, model = partition_choices(keys, of, {"": "at"}), Model(of, keys)
        values = [*keys, *(text(pick, of, keys) for _ in range(40))]
        frame = pl.DataFrame({"at": values}, schema={"at": pl.String})
        expected = [model.decide(value) for value in values]
        assert all(expected[: len(keys)])
        said = list(zip(values, expected, strict=True)), of, keys
        assert by_store(store, scope, frame) == expected, said
        assert by_frame(scope, frame) == expected, said


@pytest.mark.parametrize("seed", range(16))
def test_text_that_is_within_lies_between_the_ends_of_its_ranges(seed: int) -> None:
    pick = random.Random(200 + seed)  # noqa: S311 - as above
    for _ in range(40):
        of = definition(pick)
        known = list(of.get_partition_keys())
        keys = pick.sample(known, min(len(known), pick.choice([1, 1, 2, 5])))
        (condition,) = partition_choices(keys, of, {"": "at"}).filters({"at": "VARCHAR"})
        assert isinstance(condition, Within)
        ranges = text_ranges(condition)
        assert (ranges is None) == (of.fmt[:2] != "%Y")
        for value in (*keys, *far(of, keys), *(text(pick, of, keys) for _ in range(40))):
            if ranges is not None and condition.decide(value):
                assert any(start <= value < end for start, end in ranges), (value, of, keys)


@pytest.mark.parametrize("negated", [False, True])
@pytest.mark.parametrize("fmt", ["%Y-%m-%d", "%d-%m-%Y"])
def test_what_cannot_be_read_is_neither_within_nor_outside(
    tmp_path: Path, fmt: str, negated: bool
) -> None:
    store = mxd.DuckDBMetadataStore(tmp_path / "m.duckdb", graph=GRAPH)
    days = [f"{dt.date(2024, 2, day):{fmt}}" for day in range(1, 5)]
    texts = [*days, "soon", "2024-02-30", None]
    store.write("event", pl.DataFrame({"id": range(70), "at": texts * 10}))
    of = dg.DailyPartitionsDefinition(start_date=days[0], fmt=fmt)
    (condition,) = partition_choices([days[1]], of, {"": "at"}).filters({"at": "VARCHAR"})
    either = Or((condition, IsNull("at")))
    chosen = {days[1], None}
    if negated:
        either, chosen = Not(either), {*days} - chosen
    found = store.read("event", filters=either).collect("polars").to_native()
    assert set(found["at"]) == chosen
    assert store.summary("event", filters=either).chosen == 10 * len(chosen)


@pytest.mark.parametrize("seed", range(8))
def test_they_agree_on_dates_and_times(tmp_path: Path, seed: int) -> None:
    pick = random.Random(100 + seed)  # noqa: S311 - as above
    store = mxd.DuckDBMetadataStore(tmp_path / "m.duckdb", graph=GRAPH)
    of = definition(pick)
    known = list(of.get_partition_keys())
    keys = known[:: pick.choice([1, 2])][: pick.choice([1, 3])]
    scope, model = partition_choices(keys, of, {"": "at"}), Model(of, keys)
    moments = [
        getattr(of.time_window_for_partition_key(key), side).astimezone(dt.UTC)
        + dt.timedelta(minutes=minutes)
        for key in keys
        for side in ("start", "end")
        for minutes in (-1440, -60, -30, -1, 0, 1, 30, 60, 1440)
    ]
    clocks = [moment.astimezone(model.zone).replace(tzinfo=None) for moment in moments]
    columns = {
        "zoned": (pl.Series(moments, dtype=pl.Datetime("us", "UTC")), map(model.moment, moments)),
        "naive": (pl.Series(clocks, dtype=pl.Datetime("us")), map(model.clock, clocks)),
        "dates": (pl.Series([c.date() for c in clocks]), (model.date(c.date()) for c in clocks)),
    }
    for kind, (series, decided) in columns.items():
        frame, expected = pl.DataFrame({"at": series}), list(decided)
        store.drop("event")
        assert by_store(store, scope, frame) == expected, (kind, of, keys)
        assert by_frame(scope, frame) == expected, (kind, of, keys)
