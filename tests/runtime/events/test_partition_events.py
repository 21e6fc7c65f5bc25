"""Where one run covers several partitions, the event of each tells its own numbers."""

from collections.abc import Callable, Mapping
from typing import Any

import dagster as dg
import polars as pl
import pytest
from feature_runs import feature

import metaxy_dagster as mxd

DAYS = [f"2024-01-0{day}" for day in range(1, 5)]
DAILY = dg.DailyPartitionsDefinition("2024-01-01", end_date="2024-01-05")
PER_DAY = dict(zip(DAYS, (1, 2, 3, 4), strict=True))
RANGE = {
    "dagster/asset_partition_range_start": DAYS[1],
    "dagster/asset_partition_range_end": DAYS[3],
}


@pytest.fixture
def graph() -> mxd.FeatureGraph:
    made = mxd.FeatureGraph()
    made.add(mxd.FeatureSpec("event", id_columns=["id"]))
    made.add(mxd.FeatureSpec("clean", id_columns=["id"], deps=["event"]))
    return made


def rows(days: list[str]) -> pl.DataFrame:
    named = [(f"{day}#{i}", day) for day in days for i in range(PER_DAY[day])]
    return pl.DataFrame(named, schema=["id", "day"], orient="row")


@dg.asset(partitions_def=DAILY, **feature("event", partition_by="day"))
def event(context: dg.AssetExecutionContext):
    return rows(list(context.partition_keys))


@dg.asset(partitions_def=DAILY, **feature("clean", partition_by="day", input="increment"))
def clean(event: pl.DataFrame) -> pl.DataFrame:
    return event.select("id", "day")


def by_partition(result: dg.ExecuteInProcessResult, asset: str) -> Mapping[str, Mapping[str, Any]]:
    found = result.asset_materializations_for_node(asset)
    return {str(e.partition): {k: v.value for k, v in e.metadata.items()} for e in found}


def test_each_partition_tells_its_own_numbers(run: Callable[..., Any]) -> None:
    run(event, clean, partition_key=DAYS[0])
    result = run(event, clean, tags=RANGE)
    for asset in ("event", "clean"):
        found = by_partition(result, asset)
        assert list(found) == DAYS[1:]
        for day, metadata in found.items():
            assert metadata["dagster/partition_row_count"] == PER_DAY[day]
            assert metadata["metaxy/written"] == PER_DAY[day]
            assert metadata["metaxy/materialized_in_run"] == PER_DAY[day]
            assert metadata["dagster/row_count"] == 10
            assert "metaxy/new" not in metadata
            assert metadata["metaxy/run_totals"] == {
                "partitions": 3,
                "new": 9,
                "stale": 0,
                "orphaned": 0,
                "written": 9,
                "unchanged": 0,
                "deleted": 0,
                "materialized_in_run": 9,
                "row_count": 9,
            }
    again = by_partition(run(event, clean, tags=RANGE), "clean")
    assert {metadata["metaxy/written"] for metadata in again.values()} == {0}


def test_a_run_of_one_partition_tells_them_as_numbers(run: Callable[..., Any]) -> None:
    (found,) = by_partition(run(event, clean, partition_key=DAYS[2]), "clean").values()
    assert (found["metaxy/new"], found["dagster/partition_row_count"]) == (3, 3)
    assert "metaxy/run_totals" not in found


def test_assets_that_write_for_themselves(
    run: Callable[..., Any], store: mxd.DuckDBMetadataStore
) -> None:
    @dg.asset(partitions_def=DAILY, metadata={"metaxy/feature": "event", "partition_by": "day"})
    def own(context: dg.AssetExecutionContext):
        written = rows(list(context.partition_keys))
        store.write("event", written, materialization_id=context.run.run_id)
        yield from mxd.generate_materialize_results(context, store)

    found = by_partition(run(own, tags=RANGE), "own")
    assert {day: one["dagster/partition_row_count"] for day, one in found.items()} == {
        day: PER_DAY[day] for day in DAYS[1:]
    }
    assert {one["metaxy/run_totals"]["row_count"] for one in found.values()} == {9}


def test_observations_of_several_partitions(
    instance: dg.DagsterInstance, store: mxd.DuckDBMetadataStore
) -> None:
    store.write("event", rows(DAYS))

    @mxd.observable_metaxy_asset(
        key="outside", feature="event", partitions_def=DAILY, metadata={"partition_by": "day"}
    )
    def outside(context, store, lazy_df):
        return {"mine": len(lazy_df.collect())}

    defs = dg.Definitions(assets=[outside], resources={"store": store})
    job = defs.resolve_implicit_global_asset_job_def()
    result = job.execute_in_process(instance=instance, tags=RANGE)
    found = {
        each.asset_observation_data.asset_observation.partition: each
        for each in result.all_events
        if each.is_asset_observation
    }
    counts = {
        day: each.asset_observation_data.asset_observation.metadata["dagster/partition_row_count"]
        for day, each in found.items()
    }
    assert {day: count.value for day, count in counts.items()} == {d: PER_DAY[d] for d in DAYS[1:]}


def own_specs(*names: str) -> list[dg.AssetSpec]:
    """As a user writes them: the partitions stand on the decorator."""
    metadata = {"metaxy/feature": "event", "partition_by": "day"}
    return [dg.AssetSpec(name, metadata=metadata) for name in names]


def test_specs_of_the_users_own_in_a_partitioned_multi_asset(
    run: Callable[..., Any], store: mxd.DuckDBMetadataStore, instance: dg.DagsterInstance
) -> None:
    specs = own_specs("mine", "too")

    @dg.multi_asset(specs=specs, partitions_def=DAILY)
    def several(context: dg.AssetExecutionContext):
        store.write("event", rows([context.partition_key]))
        yield from mxd.generate_materialize_results(context, store, specs)

    versions = []
    for day in (DAYS[0], DAYS[1], DAYS[0]):
        result = run(several, partition_key=day)
        for made in result.asset_materializations_for_node("several"):
            assert made.metadata["dagster/partition_row_count"].value == PER_DAY[day]
        versions.append(made.tags["dagster/data_version"])
    assert versions[0] == versions[2] != versions[1]
    assert made.metadata["dagster/row_count"].value == PER_DAY[DAYS[0]] + PER_DAY[DAYS[1]]


@pytest.mark.filterwarnings("ignore:Function `multi_observable_source_asset`")
@pytest.mark.parametrize("several", [False, True])
def test_specs_of_the_users_own_in_a_partitioned_observable(
    instance: dg.DagsterInstance, store: mxd.DuckDBMetadataStore, *, several: bool
) -> None:
    store.write("event", rows(DAYS))
    specs = own_specs("seen")

    @dg.multi_observable_source_asset(specs=specs, partitions_def=DAILY)
    def look(context: dg.AssetExecutionContext):
        yield from mxd.generate_observe_results(context, store, specs)

    job = dg.Definitions(assets=[look]).resolve_implicit_global_asset_job_def()
    which = {"tags": RANGE} if several else {"partition_key": DAYS[1]}
    result = job.execute_in_process(instance=instance, **which)
    seen = [
        e.asset_observation_data.asset_observation
        for e in result.all_events
        if e.is_asset_observation
    ]
    counts = {one.partition: one.metadata["dagster/partition_row_count"].value for one in seen}
    assert counts == {day: PER_DAY[day] for day in (DAYS[1:] if several else DAYS[1:2])}
    only = f"day IN ({', '.join(repr(day) for day in counts)})"
    assert {one.tags["dagster/data_version"] for one in seen} == {
        store.data_version("event", filters=only)
    }


def test_a_spec_without_the_column_is_told_of_it(
    run: Callable[..., Any], store: mxd.DuckDBMetadataStore
) -> None:
    specs = [dg.AssetSpec("mine", metadata={"metaxy/feature": "event"})]

    @dg.multi_asset(specs=specs, partitions_def=DAILY)
    def one(context: dg.AssetExecutionContext):
        store.write("event", rows([context.partition_key]))
        yield from mxd.generate_materialize_results(context, store, specs)

    with pytest.raises(mxd.RunError, match="which column holds the partition"):
        run(one, partition_key=DAYS[0])
