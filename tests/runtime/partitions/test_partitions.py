"""Partitioned assets read and write the samples of their partitions, and touch no others."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable
from pathlib import Path
from typing import Any

import dagster as dg
import polars as pl
import pytest
from feature_runs import IO_MANAGER, data_version, event, feature

import metaxy_dagster as mxd

DAYS = [f"2024-01-0{day}" for day in range(1, 6)]
DAILY = dg.DailyPartitionsDefinition("2024-01-01", end_date="2024-01-06")
STATIC = dg.StaticPartitionsDefinition(DAYS)
DYNAMIC = dg.DynamicPartitionsDefinition(name="days")


@pytest.fixture
def graph() -> mxd.FeatureGraph:
    made = mxd.FeatureGraph()
    made.add(mxd.FeatureSpec("event", id_columns=["id"]))
    made.add(mxd.FeatureSpec("clean", id_columns=["id"], deps=["event"]))
    made.add(
        mxd.FeatureSpec(
            "daily",
            id_columns=["day"],
            deps=[mxd.FeatureDep("event", lineage=mxd.LineageRelationship.aggregation(on=["day"]))],
        )
    )
    return made


def rows(*days: str, kind: str = "text", per_day: int = 2) -> pl.DataFrame:
    """``per_day`` events a day, ids from the day."""
    frame = pl.DataFrame(
        {
            "id": [f"{day}#{i}" for day in days for i in range(per_day)],
            "day": [day for day in days for _ in range(per_day)],
            "value": [len(day) + i for day in days for i in range(per_day)],
        },
        schema={"id": pl.String, "day": pl.String, "value": pl.Int64},
    )
    if kind == "text":
        return frame
    if kind == "date":
        return frame.with_columns(pl.col("day").str.to_date())
    stamps = pl.col("day").str.to_datetime("%Y-%m-%d") + pl.duration(hours=5)
    return frame.with_columns(stamps.dt.replace_time_zone("UTC") if kind == "zoned" else stamps)


class Source:
    """An event asset whose rows a test can change, and what was read downstream."""

    def __init__(self, kind: str = "text") -> None:
        self.kind = kind
        self.per_day = dict.fromkeys(DAYS, 2)
        self.given: list[list[str]] = []

    def frame(self, keys: list[str]) -> pl.DataFrame:
        return pl.concat([rows(key, kind=self.kind, per_day=self.per_day[key]) for key in keys])

    def event(self, definition: Any = DAILY, **metadata: Any) -> dg.AssetsDefinition:
        metadata = {"partition_by": "day", **metadata}

        @dg.asset(
            name="event",
            partitions_def=definition,
            **feature("event", **{k: v for k, v in metadata.items() if v is not None}),
        )
        def produce(context):
            return self.frame(list(context.partition_keys))

        return produce

    def clean(self, definition: Any = DAILY, **metadata: Any) -> dg.AssetsDefinition:
        @dg.asset(
            name="clean",
            partitions_def=definition,
            **feature("clean", **{"partition_by": "day", **metadata}),
        )
        def produce(event: pl.DataFrame) -> pl.DataFrame:
            self.given.append(sorted(event["id"]))
            return event.with_columns(value=pl.col("value") * 10)

        return produce


def days(store: mxd.DuckDBMetadataStore, key: str) -> dict[str, int]:
    frame = store.read(key, columns=["day"]).collect("polars").to_native()
    found = frame["day"].cast(pl.String).str.slice(0, 10).to_list()
    return {day: found.count(day) for day in sorted(set(found))}


@pytest.fixture(autouse=True)
def dynamic_days(instance: dg.DagsterInstance) -> None:
    instance.add_dynamic_partitions("days", DAYS)


DEFINITIONS = {"daily": DAILY, "static": STATIC, "dynamic": DYNAMIC}


@pytest.mark.parametrize(
    ("definition", "kind", "mode"),
    [
        ("daily", "text", "all"),
        ("daily", "date", "increment"),
        ("daily", "naive", "all"),
        ("daily", "zoned", "increment"),
        ("static", "text", "increment"),
        ("dynamic", "text", "all"),
        ("dynamic", "text", "increment"),
    ],
)
def test_a_run_reads_and_writes_its_partition_alone(
    run: Callable[..., Any],
    store: mxd.DuckDBMetadataStore,
    *,
    definition: str,
    kind: str,
    mode: str,
) -> None:
    source = Source(kind)
    assets = [
        source.event(DEFINITIONS[definition]),
        source.clean(DEFINITIONS[definition], input=mode),
    ]
    for day in DAYS[:2]:
        result = run(*assets, partition_key=day)
    assert source.given == [[f"{day}#0", f"{day}#1"] for day in DAYS[:2]]
    assert days(store, "clean") == {DAYS[0]: 2, DAYS[1]: 2}
    found = event(result, "clean")
    assert (found["dagster/row_count"], found["dagster/partition_row_count"]) == (4, 2)
    source.per_day[DAYS[0]] = 1
    run(*assets, partition_key=DAYS[0])
    assert days(store, "event") == days(store, "clean") == {DAYS[0]: 1, DAYS[1]: 2}
    assert source.given[-1] == ([] if mode == "increment" else [f"{DAYS[0]}#0"])


def test_a_range_in_one_run(
    run: Callable[..., Any], store: mxd.DuckDBMetadataStore, instance: dg.DagsterInstance
) -> None:
    source = Source("date")
    tags = {
        "dagster/asset_partition_range_start": DAYS[1],
        "dagster/asset_partition_range_end": DAYS[3],
    }
    run(source.event(), source.clean(input="increment"), tags=tags)
    assert list(days(store, "clean")) == DAYS[1:4]
    assert len(source.given[0]) == 6


def test_an_unpartitioned_asset_gets_every_partition(
    run: Callable[..., Any], store: mxd.DuckDBMetadataStore
) -> None:
    source = Source("text")
    everything: list[int] = []

    @dg.asset
    def report(event: pl.DataFrame) -> None:
        everything.append(event.height)

    assets = [source.event(), report]
    run(*assets, partition_key=DAYS[0], only=["event"])
    # A row whose day is none of the partitions: it would be lost if days were enumerated.
    store.write("event", rows("1999-12-31"))
    run(*assets, only=["report"])
    assert everything == [4]


def test_a_downstream_with_other_partitions_reads_what_it_is_mapped_to(
    run: Callable[..., Any],
) -> None:
    source = Source("date")
    read: list[list[str]] = []

    @dg.asset(
        partitions_def=DAILY,
        ins={
            "event": dg.AssetIn(
                partition_mapping=dg.TimeWindowPartitionMapping(start_offset=-1, end_offset=0)
            )
        },
    )
    def window(event: pl.DataFrame) -> None:
        read.append(sorted({str(day) for day in event["day"]}))

    assets = [source.event(), window]
    for day in DAYS[:3]:
        run(*assets, partition_key=day, only=["event"])
    run(*assets, partition_key=DAYS[2], only=["window"])
    assert read == [DAYS[1:3]]


def test_two_dimensions(run: Callable[..., Any], store: mxd.DuckDBMetadataStore) -> None:
    definition = dg.MultiPartitionsDefinition(
        {"when": DAILY, "where": dg.StaticPartitionsDefinition(["de", "fr"])}
    )
    metadata = feature("event", partition_by={"when": "day", "where": "country"})

    @dg.asset(partitions_def=definition, **metadata)
    def event(context):
        key = context.partition_key.keys_by_dimension
        return rows(key["when"], kind="date").with_columns(
            id=pl.col("id") + key["where"], country=pl.lit(key["where"])
        )

    read: list[list[str]] = []

    @dg.asset(partitions_def=definition)
    def look(event: pl.DataFrame) -> None:
        read.append(sorted(event["id"]))

    for when in DAYS[:2]:
        for where in ("de", "fr"):
            key = dg.MultiPartitionKey({"when": when, "where": where})
            run(event, look, partition_key=key)
            assert read[-1] == [f"{when}#0{where}", f"{when}#1{where}"]
    assert store.count("event") == 8


def test_an_aggregation_by_partition(
    run: Callable[..., Any], store: mxd.DuckDBMetadataStore
) -> None:
    source = Source("text")

    @dg.asset(partitions_def=DAILY, **feature("daily", input="increment", partition_by="day"))
    def daily(event: pl.DataFrame) -> pl.DataFrame:
        source.given.append(sorted(event["id"]))
        return event.group_by("day").agg(pl.col("value").sum())

    for day in [*DAYS[:2], DAYS[0]]:
        run(source.event(), daily, partition_key=day)
    assert source.given == [[f"{day}#0", f"{day}#1"] for day in DAYS[:2]] + [[]]
    assert store.resolve_update("daily").counts == mxd.Counts(0, 0, 0)


def test_a_partition_column_that_is_left_out_is_filled_in(
    run: Callable[..., Any], store: mxd.DuckDBMetadataStore
) -> None:
    @dg.asset(partitions_def=DAILY, **feature("event", partition_by="day"))
    def event(context):
        return pl.DataFrame({"id": [f"{context.partition_key}!"]})

    run(event, partition_key=DAYS[0])
    run(event, partition_key=DAYS[1])
    assert days(store, "event") == {DAYS[0]: 1, DAYS[1]: 1}


def test_samples_of_other_partitions_are_refused(
    run: Callable[..., Any], store: mxd.DuckDBMetadataStore
) -> None:
    @dg.asset(partitions_def=DAILY, **feature("event", partition_by="day"))
    def event():
        return rows(*DAYS[:2], kind="date")

    with pytest.raises(mxd.FrameError, match="other partitions") as caught:
        run(event, partition_key=DAYS[0])
    assert "asset 'event', feature 'event'" in str(caught.value)
    assert DAYS[0] in str(caught.value.allowed)
    assert store.features() == []


def test_a_partitioned_asset_must_name_its_column(run: Callable[..., Any]) -> None:
    with pytest.raises(mxd.RunError, match="which column holds the partition") as caught:
        run(Source().event(partition_by=None), partition_key=DAYS[0])
    assert "asset 'event', feature 'event'" in str(caught.value)
    assert "partition_by" in str(caught.value.remedy)


@pytest.mark.parametrize("mode", ["all", "increment"])
def test_an_upstream_that_was_never_written_is_an_empty_one(
    run: Callable[..., Any], store: mxd.DuckDBMetadataStore, mode: str
) -> None:
    @dg.asset(partitions_def=DAILY, **feature("clean", input=mode, partition_by="day"))
    def clean(event: pl.DataFrame) -> pl.DataFrame:
        assert event.height == 0
        return event

    event = dg.AssetSpec("event", partitions_def=DAILY, metadata=feature("event")["metadata"])
    event = event.merge_attributes(metadata={"partition_by": "day"})
    with dg.DagsterInstance.ephemeral() as nothing_known:
        assets = [event.with_io_manager_key(IO_MANAGER), clean]
        run(*assets, partition_key=DAYS[0], instance=nothing_known)
    assert store.count("clean") == 0


def test_the_data_version_is_the_partitions_own(
    run: Callable[..., Any], instance: dg.DagsterInstance
) -> None:
    source = Source()
    run(source.event(), partition_key=DAYS[0])
    first = data_version(instance, "event")
    run(source.event(), partition_key=DAYS[1])
    second = data_version(instance, "event")
    run(source.event(), partition_key=DAYS[0])
    assert data_version(instance, "event") == first != second


def test_several_assets_feed_one_feature(
    run: Callable[..., Any], store: mxd.DuckDBMetadataStore
) -> None:
    """Each writes, replaces and loads its own rows alone."""
    count = {"web": 2, "app": 3}
    read: dict[str, list[str]] = {}

    def contributor(name: str) -> dg.AssetsDefinition:
        @dg.asset(name=name, **feature("event", partition={"source": name}))
        def produce():
            return pl.DataFrame({"id": [f"{name}{i}" for i in range(count[name])], "day": "x"})

        return produce

    @dg.asset
    def look(web: pl.DataFrame, app: pl.DataFrame) -> None:
        read.update(web=sorted(web["id"]), app=sorted(app["id"]))

    @dg.asset(**feature("clean", input="increment"))
    def clean(web: pl.DataFrame, app: pl.DataFrame) -> pl.DataFrame:
        read["pending"] = [*sorted(web["id"]), "|", *sorted(app["id"])]
        return pl.concat([web, app]).select("id", "source")

    assets = [contributor("web"), contributor("app"), look, clean]
    run(*assets)
    assert read["web"] == ["web0", "web1"]
    assert read["app"] == ["app0", "app1", "app2"]
    assert read["pending"] == ["web0", "web1", "|", "app0", "app1", "app2"]
    count["app"] = 2
    run(*assets, only=["app", "clean"])
    assert store.count("event") == store.count("clean") == 4
    assert read["pending"] == ["|"]


def test_values_of_a_partition_load_outside_of_a_run(
    run: Callable[..., Any], resources: dict[str, Any], instance: dg.DagsterInstance
) -> None:
    source = Source("date")
    for day in DAYS[:2]:
        run(source.event(), partition_key=day)
    defs = dg.Definitions(assets=[source.event()], resources=resources)
    one = defs.load_asset_value(
        "event", python_type=pl.DataFrame, instance=instance, partition_key=DAYS[0]
    )
    everything = defs.load_asset_value("event", python_type=pl.DataFrame, instance=instance)
    assert (one.height, everything.height) == (2, 4)


def test_a_backfill_killed_midway_and_resumed_ends_like_an_uninterrupted_one(
    run: Callable[..., Any], store: mxd.DuckDBMetadataStore, tmp_path: Path
) -> None:
    source = Source("date")
    crash = {DAYS[1]}

    @dg.asset(partitions_def=DAILY, **feature("clean", input="increment", partition_by="day"))
    def clean(context, event: pl.DataFrame) -> pl.DataFrame:
        if context.partition_key in crash:
            raise RuntimeError(context.partition_key)
        return event.with_columns(value=pl.col("value") * 10)

    some = DAYS[:3]
    for day in some:
        run(source.event(), clean, partition_key=day, raise_on_error=False)
    assert list(days(store, "clean")) == [day for day in some if day not in crash]
    crash.clear()
    for day in some:
        run(source.event(), clean, partition_key=day)
    other = mxd.DuckDBMetadataStore(tmp_path / "other.duckdb", graph=store.graph)
    for day in some:
        manager = {"store": other, IO_MANAGER: mxd.MetaxyIOManager(store=other)}
        run(source.event(), clean, partition_key=day, resources=manager)
    assert store.data_version("clean") == other.data_version("clean")
    assert days(store, "clean") == dict.fromkeys(some, 2)


def test_hourly_windows_of_another_time_zone(
    run: Callable[..., Any], store: mxd.DuckDBMetadataStore
) -> None:
    """A zoned column holds moments; a naive one what the clock of the partitions shows."""
    berlin = dg.HourlyPartitionsDefinition("2024-06-01-00:00", timezone="Europe/Berlin")

    @dg.asset(partitions_def=berlin, **feature("event", partition_by="at"))
    def event(context):
        start = dt.datetime.fromisoformat("2024-06-01T09:30:00+00:00")
        return pl.DataFrame({"id": [context.partition_key], "at": [start]})

    run(event, partition_key="2024-06-01-11:00")
    assert store.count("event") == 1
    with pytest.raises(mxd.FrameError, match="other partitions"):
        run(event, partition_key="2024-06-01-09:00")
