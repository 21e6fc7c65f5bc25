"""A run of a partition computes what Dagster maps to it, by the upstream's own partition column."""

# Annotations are not postponed here: Dagster reads that of the context when an op is made.

import warnings
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import dagster as dg
import polars as pl
import pytest
from feature_runs import IO_MANAGER, feature

import metaxy_dagster as mxd

DAY = dg.DailyPartitionsDefinition("2024-02-01", end_date="2024-02-05")
HOUR = dg.HourlyPartitionsDefinition("2024-02-01-00:00", end_date="2024-02-03-00:00")
MONTH = dg.MonthlyPartitionsDefinition("2024-01-01", end_date="2024-04-01")
LONG = dg.DailyPartitionsDefinition("2024-01-01", end_date="2024-04-01")
EUROPEAN = dg.TimeWindowPartitionsDefinition(
    start="01-01-2024", end="01-04-2024", fmt="%d-%m-%Y", cron_schedule="0 0 * * *"
)
WORKDAYS = dg.TimeWindowPartitionsDefinition(
    start="2024-02-01",
    end="2024-02-09",
    fmt="%Y-%m-%d",
    cron_schedule="0 0 * * *",
    exclusions=["0 0 * * 0,6"],
)
ABC = dg.StaticPartitionsDefinition(["a", "b", "c"])
XY = dg.StaticPartitionsDefinition(["x", "y"])
ODD_KEYS = dg.StaticPartitionsDefinition(["it's", 'a "b", c'])
DYNAMIC = dg.DynamicPartitionsDefinition(name="clients")
PLACES = dg.StaticPartitionsDefinition(["de", "fr"])
BOTH = dg.MultiPartitionsDefinition({"day": DAY, "place": PLACES})
BY_BOTH = {"day": "up_day", "place": "up_place"}
with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # Dagster may still change these
    YESTERDAY = dg.TimeWindowPartitionMapping(
        start_offset=-1, end_offset=-1, allow_nonexistent_upstream_partitions=True
    )
    SWAPPED = dg.StaticPartitionMapping({"de": "fr", "fr": "de"})
    SHIFTED = dg.MultiPartitionMapping(
        {
            "day": dg.DimensionPartitionMapping("day", YESTERDAY),
            "place": dg.DimensionPartitionMapping("place", SWAPPED),
        }
    )


def both(day: int, place: str) -> dg.MultiPartitionKey:
    return dg.MultiPartitionKey({"day": f"2024-02-0{day}", "place": place})


@dataclass
class Case:
    """An upstream and a downstream, and what each run of the latter is to be given.

    The upstream's rows are named by what its partition column holds.
    """

    upstream: Any
    rows: Any
    downstream: Any
    given: Mapping[Any, list[str]]
    mapping: Any = None
    upstream_by: Any = "up_part"
    downstream_by: Any = "part"
    rename: dict[str, str] = field(default_factory=dict)


def days(*numbers: int) -> list[str]:
    return [f"2024-02-0{number}" for number in numbers]


CASES = {
    "the same days": Case(DAY, days(1, 2, 9), DAY, {"2024-02-01": days(1), "2024-02-03": []}),
    "the same name": Case(DAY, days(1, 2), DAY, {"2024-02-02": days(2)}, None, "part", "part"),
    "renamed by the dependency": Case(
        DAY,
        days(1, 2),
        DAY,
        {"2024-02-02": days(2)},
        None,
        "up_part",
        "part",
        {"up_part": "part"},
    ),
    "in other letters": Case(
        DAY, days(1, 2), DAY, {"2024-02-02": days(2)}, None, "UP_Part", "PART"
    ),
    "the day before": Case(
        DAY, days(1, 2), DAY, {"2024-02-02": days(1), "2024-02-01": []}, YESTERDAY
    ),
    "the day before, under one name": Case(
        DAY, days(1, 2), DAY, {"2024-02-02": days(1)}, YESTERDAY, "part", "part"
    ),
    "days of a month": Case(LONG, days(1, 4), MONTH, {"2024-02-01": days(1, 4), "2024-01-01": []}),
    "days of a month, in European": Case(
        EUROPEAN,
        ["01-02-2024", "04-02-2024", "03-01-2024"],
        MONTH,
        {"2024-02-01": ["01-02-2024", "04-02-2024"]},
    ),
    "hours of a day": Case(
        HOUR,
        ["2024-02-01-00:00", "2024-02-01T23:30:00Z", "2024-02-02-00:00"],
        DAY,
        {"2024-02-01": ["2024-02-01-00:00", "2024-02-01T23:30:00Z"]},
    ),
    "a month of which a day is a part, under one name": Case(
        MONTH, days(1, 2), DAY, {"2024-02-01": days(1)}, None, "part", "part"
    ),
    "static": Case(
        ABC,
        ["a", "b", "c"],
        XY,
        {"x": ["a", "b"], "y": ["c"]},
        dg.StaticPartitionMapping({"a": "x", "b": "x", "c": "y"}),
    ),
    "static, of keys that both have": Case(
        ABC,
        ["a", "b", "c"],
        dg.StaticPartitionsDefinition(["a", "c"]),
        {"a": ["a", "b"], "c": ["c"]},
        dg.StaticPartitionMapping({"a": "a", "b": "a", "c": "c"}),
        "part",
        "part",
    ),
    "odd keys": Case(ODD_KEYS, ["it's", 'a "b", c'], ODD_KEYS, {'a "b", c': ['a "b", c']}),
    "dynamic": Case(DYNAMIC, ["a|b", "c,d"], DYNAMIC, {"a|b": ["a|b"], "c,d": ["c,d"]}),
    "one dimension of two": Case(
        BOTH,
        [("2024-02-01", "de"), ("2024-02-01", "fr"), ("2024-02-02", "de")],
        DAY,
        {"2024-02-01": ["2024-02-01/de", "2024-02-01/fr"]},
        None,
        BY_BOTH,
    ),
    "two dimensions, mapped each": Case(
        BOTH,
        [("2024-02-01", "de"), ("2024-02-01", "fr"), ("2024-02-02", "de")],
        BOTH,
        {both(2, "fr"): ["2024-02-01/de"], both(1, "de"): []},
        SHIFTED,
        BY_BOTH,
        {"day": "day", "place": "place"},
    ),
    "the last, of all": Case(ABC, ["a", "b", "c"], None, {None: ["c"]}, dg.LastPartitionMapping()),
    "some, of all": Case(
        ABC,
        ["a", "b", "c"],
        None,
        {None: ["a", "c"]},
        dg.SpecificPartitionsPartitionMapping(["a", "c"]),
    ),
    "all": Case(ABC, ["a", "b", "z"], None, {None: ["a", "b", "z"]}),
    "workdays": Case(
        WORKDAYS, days(2, 3, 5), WORKDAYS, {"2024-02-02": days(2), "2024-02-05": days(5)}
    ),
}


class World:
    """The two assets of a case over a store."""

    def __init__(self, case: Case, path: Path, mode: str = "increment") -> None:
        graph = mxd.FeatureGraph()
        graph.add(mxd.FeatureSpec("up", id_columns=["id"]))
        dep = mxd.FeatureDep("up", rename=case.rename)
        graph.add(mxd.FeatureSpec("down", id_columns=["id"], deps=[dep]))
        self.case, self.given = case, list[list[str]]()
        self.store = mxd.DuckDBMetadataStore(path / "m.duckdb", graph=graph)
        self.store.write("up", self.frame())
        self.mode = mode

    def frame(self) -> pl.DataFrame:
        case = self.case
        if isinstance(case.upstream_by, dict):
            day, place = case.upstream_by.values()
            return pl.DataFrame(
                [{"id": "/".join(row), day: row[0], place: row[1]} for row in case.rows]
            )
        return pl.DataFrame([{"id": row, case.upstream_by: row} for row in case.rows])

    def assets(self) -> list[Any]:
        case = self.case
        metadata = {**feature("up", partition_by=case.upstream_by)["metadata"]}
        up = dg.AssetSpec("up", partitions_def=case.upstream, metadata=metadata)
        by = {} if case.downstream is None else {"partition_by": case.downstream_by}

        @dg.asset(
            partitions_def=case.downstream,
            ins={"up": dg.AssetIn(partition_mapping=case.mapping)},
            **feature("down", input=self.mode, **by),
        )
        def down(context: dg.AssetExecutionContext, up: pl.DataFrame) -> pl.DataFrame:
            self.given.append(sorted(up["id"]))
            return up.select("id", **self.own(context))

        return [up.with_io_manager_key(IO_MANAGER), down]

    def own(self, context: dg.AssetExecutionContext) -> dict[str, pl.Expr]:
        if self.case.downstream is None:
            return {}
        key = context.partition_key
        if isinstance(self.case.downstream_by, dict):
            named = key.keys_by_dimension
            return {column: pl.lit(named[n]) for n, column in self.case.downstream_by.items()}
        return {self.case.downstream_by: pl.lit(key)}

    def run(self, instance: dg.DagsterInstance, key: Any) -> list[str]:
        resources = {"store": self.store, IO_MANAGER: mxd.MetaxyIOManager(store=self.store)}
        dg.materialize(
            self.assets(),
            instance=instance,
            resources=resources,
            partition_key=key,
            selection=["down"],
        )
        return self.given[-1]

    def stored(self) -> list[str]:
        frame = self.store.read("down", columns=["id"]).collect("polars").to_native()
        return sorted(frame["id"]) if frame.height else []


@pytest.fixture(autouse=True)
def clients(instance: dg.DagsterInstance) -> None:
    instance.add_dynamic_partitions("clients", ["a|b", "c,d"])


@pytest.mark.parametrize("name", CASES)
def test_a_run_is_given_what_its_partition_is_mapped_to(
    name: str, tmp_path: Path, instance: dg.DagsterInstance
) -> None:
    world = World(CASES[name], tmp_path)
    for key, expected in world.case.given.items():
        assert world.run(instance, key) == sorted(expected)
    everything = sorted(row for rows in world.case.given.values() for row in rows)
    assert world.stored() == everything
    # Nothing is left, and what is gone upstream goes, in its own partition alone.
    key, expected = next(iter(world.case.given.items()))
    assert world.run(instance, key) == []
    assert world.stored() == everything
    gone = world.frame().filter(~pl.col("id").is_in(expected[:1]))
    world.store.write("up", gone, mode="replace")
    world.run(instance, key)
    assert world.stored() == sorted(set(everything) - set(expected[:1]))
