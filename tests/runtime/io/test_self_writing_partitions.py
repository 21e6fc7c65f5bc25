"""Functions that make their data themselves, a partition at a time; and rows with more columns."""

# Annotations are not postponed here: Dagster reads that of the context when an asset is made.

import dagster as dg
import polars as pl
import pytest
from self_writers import Files, World, bodies, keys, pending_ids

import metaxy_dagster as mxd

pytestmark = pytest.mark.filterwarnings("ignore::dagster.BetaWarning")
DAYS = dg.StaticPartitionsDefinition(["mon", "tue", "wed"])


class Days(Files):
    """A root of days: the first digit of an id is its day."""

    def __init__(self) -> None:
        super().__init__()
        self.rows = {10: 1, 11: 1, 20: 1, 30: 1}

    def raw(self) -> dg.AssetsDefinition:
        @dg.asset(metadata=keys("raw"))
        def raw() -> pl.DataFrame:
            days = DAYS.get_partition_keys()
            ids = list(self.rows)
            return pl.DataFrame(
                {
                    "id": ids,
                    "size": list(self.rows.values()),
                    "day": [days[each // 10 - 1] for each in ids],
                }
            )

        return raw


def daily(files: Files, column: str, **options: object) -> dg.AssetsDefinition:
    metadata = keys("x", input="increment") | {"partition_by": column}

    @dg.asset(deps=["raw"], partitions_def=DAYS, metadata=metadata, **options)
    def x(context: dg.AssetExecutionContext) -> None:
        files.make(pending_ids(mxd.pending(context)))

    return x


@pytest.mark.parametrize("column", ["day", "weekday"])
def test_a_run_makes_what_is_pending_of_its_partition(tmp_path, column):
    """The upstream has the column, or it is filled in."""
    files = Days()
    world = World(files, tmp_path, daily(files, "day"))
    if column != "day":
        deps = [{"feature": "raw", "rename": {"day": column}}]
        asset = daily(files, column).map_asset_specs(
            lambda spec: spec.merge_attributes(metadata={"metaxy/deps": deps})
        )
        world = World(files, tmp_path, asset)
    assert world.plan.errors == ()
    world.run("raw")
    assert world.run("x", partition_key="mon") == [[10, 11]]
    assert world.run("x", partition_key="mon") == []
    assert world.run("x", partition_key="tue") == [[20]]
    assert world.event()["dagster/partition_row_count"] == 1
    assert world.counts() == mxd.Counts(1, 0, 0)
    files.rows |= {11: 2, 20: 2}
    world.run("raw")
    assert world.run("x", partition_key="mon") == [[11]]
    stored = world.store.read("x", columns=["id", column]).collect().to_native().to_pylist()
    assert sorted((each["id"], each[column]) for each in stored) == [
        (10, "mon"),
        (11, "mon"),
        (20, "tue"),
    ]


MON_TO_TUE = {
    "dagster/asset_partition_range_start": "mon",
    "dagster/asset_partition_range_end": "tue",
}
SINGLE = {"backfill_policy": dg.BackfillPolicy.single_run()}


def test_a_run_over_several_partitions(tmp_path):
    files = Days()
    world = World(files, tmp_path, daily(files, "day", **SINGLE))
    world.run("raw")
    assert world.run("x", tags=MON_TO_TUE) == [[10, 11, 20]]
    assert world.run("x", tags=MON_TO_TUE) == []
    assert world.run("x", partition_key="tue") == []
    assert world.counts() == mxd.Counts(1, 0, 0)


def test_partitions_that_cannot_be_recorded_are_refused_before_anything_is_made(tmp_path):
    class Partitioned(Days):
        def raw(self) -> dg.AssetsDefinition:
            @dg.asset(partitions_def=DAYS, metadata=keys("raw") | {"partition_by": "day"})
            def raw(context: dg.AssetExecutionContext) -> pl.DataFrame:
                at = DAYS.get_partition_keys().index(context.partition_key) + 1
                ids = [each for each in self.rows if each // 10 == at]
                return pl.DataFrame({"id": ids, "day": [context.partition_key for _ in ids]})

            return raw

    files = Partitioned()
    world = World(files, tmp_path, daily(files, "weekday", **SINGLE))
    for day in ("mon", "tue"):
        world.run("raw", partition_key=day)
    assert world.run("x", partition_key="mon") == [[10, 11]]
    with pytest.raises(mxd.RunError, match="nothing says which sample belongs to which"):
        world.run("x", tags=MON_TO_TUE)
    assert files.calls == []
    assert world.run("x", partition_key="tue") == [[20]]
    assert world.run("x", tags=MON_TO_TUE) == []


def test_rows_that_an_earlier_run_made_keep_their_columns(tmp_path):
    files = Files()
    world = World(files, tmp_path, bodies(files)["none"])
    world.run("raw")
    scores = pl.DataFrame({"id": [1, 2], "score": [[0.1], [0.2]]})
    world.store.adopt("x", scores)
    assert world.run("x") == [[3]]
    files.rows |= {1: 11}
    assert world.run() == [[1]]
    stored = world.store.read("x", columns=["id", "score"]).collect().to_native().to_pylist()
    assert {each["id"]: each["score"] for each in stored} == {1: [0.1], 2: [0.2], 3: None}
    assert world.run() == []


def test_what_is_downstream_finds_its_columns(tmp_path):
    files = Days()
    lineage = {"type": "aggregation", "on": ["day"]}
    by_day = keys("y", input="increment", deps=[{"feature": "x", "lineage": lineage}])

    @dg.asset(deps=["x"], metadata=by_day | {"metaxy/id_columns": ["day"]})
    def y(increment: mxd.Increment) -> None:
        files.calls.append(sorted(increment.pending.collect()["day"].to_list()))

    world = World(files, tmp_path, bodies(files)["none"], y)
    assert world.plan.errors == ()
    assert world.run() == [[10, 11, 20, 30], ["mon", "tue", "wed"]]
    assert set(world.store.schema("x")) == {"id", "day"}
    files.rows[20] = 2
    assert world.run() == [[20], ["tue"]]
    assert world.run() == []
