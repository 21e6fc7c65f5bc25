"""Random histories of upstream changes and partition runs end where a recompute would."""

# Annotations are not postponed here: Dagster reads that of the context when an op is made.

import datetime as dt
import random
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import dagster as dg
import polars as pl
import pytest
from feature_runs import IO_MANAGER, feature

import metaxy_dagster as mxd

DAY = dg.DailyPartitionsDefinition("2024-01-30", end_date="2024-02-03")
LONG = dg.DailyPartitionsDefinition("2024-01-01", end_date="2024-03-01")
MONTH = dg.MonthlyPartitionsDefinition("2024-01-01", end_date="2024-03-01")
WHOLE = dg.DailyPartitionsDefinition("2024-01-28", end_date="2024-02-11")
WEEK = dg.WeeklyPartitionsDefinition("2024-01-28", end_date="2024-02-11")
DAYS = list(DAY.get_partition_keys())
ABC = dg.StaticPartitionsDefinition(["a", "b", "c"])
SHIFT = dg.TimeWindowPartitionMapping(start_offset=-1, end_offset=-1)
STATIC = dg.StaticPartitionMapping({"a": "x", "b": "y", "c": "x"})


@dataclass(frozen=True)
class Case:
    """Two definitions, and the downstream partition of an upstream one."""

    upstream: Any
    downstream: Any
    mapping: Any
    target: Callable[[str], str | None]
    value: Callable[[str, int], Any] = lambda key, _: key
    kind: Any = pl.String


def next_day(day: str) -> str | None:
    index = DAYS.index(day) + 1
    return DAYS[index] if index < len(DAYS) else None


def written(day: str, value: int) -> str:
    """The same day in several ways."""
    return [day, f"{day}T23:59:59Z", f"{day} 00:30:00.5", f"{day}T03:00+02:00"][value % 4]


def moment(day: str, value: int) -> dt.datetime:
    """A time of the day, its first one and its last one among them."""
    first = dt.datetime.fromisoformat(day)
    return (
        first
        + [dt.timedelta(), dt.timedelta(hours=12), dt.timedelta(days=1, microseconds=-1)][value % 3]
    )


def week(day: str) -> str:
    """The key of its week, which begins on Sunday."""
    date = dt.date.fromisoformat(day)
    return str(date - dt.timedelta(days=date.isoweekday() % 7))


CASES = {
    "identity": Case(DAY, DAY, None, lambda day: day, written),
    "shifted": Case(DAY, DAY, SHIFT, next_day, written),
    "months": Case(LONG, MONTH, None, lambda day: f"{day[:7]}-01", written),
    "times": Case(DAY, DAY, SHIFT, next_day, moment, pl.Datetime("us")),
    "moments": Case(DAY, DAY, None, lambda day: day, moment, pl.Datetime("us", "UTC")),
    "dates": Case(
        LONG,
        MONTH,
        None,
        lambda day: f"{day[:7]}-01",
        lambda day, _: dt.date.fromisoformat(day),
        pl.Date,
    ),
    "weeks of times": Case(WHOLE, WEEK, None, week, moment, pl.Datetime("us")),
    "static": Case(
        ABC,
        dg.StaticPartitionsDefinition(["x", "y"]),
        STATIC,
        lambda key: {"a": "x", "b": "y", "c": "x"}[key],
    ),
}


class History:
    """The upstream's rows as a dictionary, and a store that follows them."""

    def __init__(self, case: Case, path: Path, instance: dg.DagsterInstance, seed: int) -> None:
        graph = mxd.FeatureGraph()
        graph.add(mxd.FeatureSpec("up", id_columns=["id"]))
        graph.add(mxd.FeatureSpec("down", id_columns=["id"], deps=["up"]))
        self.case, self.instance = case, instance
        self.store = mxd.DuckDBMetadataStore(path / "m.duckdb", graph=graph)
        self.pick = random.Random(seed)  # noqa: S311 - a seed that repeats
        self.rows: dict[int, tuple[str, int]] = {}
        self.keys = DAYS if case.upstream is not ABC else list(ABC.get_partition_keys())
        self.targets = sorted({t for key in self.keys if (t := case.target(key)) is not None})

    def change(self) -> None:
        """Samples come, go, change and move to other partitions."""
        for _ in range(self.pick.randrange(1, 6)):
            number = self.pick.randrange(12)
            if number in self.rows and self.pick.random() < 0.3:
                del self.rows[number]
            else:
                self.rows[number] = (self.pick.choice(self.keys), self.pick.randrange(40))
        frame = pl.DataFrame(
            [(i, self.case.value(key, n), n) for i, (key, n) in self.rows.items()],
            schema={"id": pl.Int64, "up_part": self.case.kind, "n": pl.Int64},
            orient="row",
        )
        self.store.write("up", frame, mode="replace")

    def run(self, key: str) -> None:
        metadata = feature("up", partition_by="up_part")["metadata"]
        up = dg.AssetSpec("up", partitions_def=self.case.upstream, metadata=metadata)

        @dg.asset(
            partitions_def=self.case.downstream,
            ins={"up": dg.AssetIn(partition_mapping=self.case.mapping)},
            **feature("down", partition_by="part", input="increment"),
        )
        def down(context: dg.AssetExecutionContext, up: pl.DataFrame) -> pl.DataFrame:
            return up.select("id", double=pl.col("n") * 2, part=pl.lit(context.partition_key))

        dg.materialize(
            [up.with_io_manager_key(IO_MANAGER), down],
            instance=self.instance,
            resources={"store": self.store, IO_MANAGER: mxd.MetaxyIOManager(store=self.store)},
            partition_key=key,
            selection=["down"],
        )

    def stored(self) -> dict[int, tuple[int, str]]:
        table = self.store.read_table("down", columns=["id", "double", "part"]).to_pylist()
        return {row["id"]: (row["double"], row["part"]) for row in table}

    def expected(self) -> dict[int, tuple[int, str]]:
        found = {i: (2 * n, self.case.target(key)) for i, (key, n) in self.rows.items()}
        return {i: (n, part) for i, (n, part) in found.items() if part is not None}


@pytest.mark.parametrize("seed", range(2))
@pytest.mark.parametrize("name", CASES)
def test_all_partitions_together_are_a_recompute(
    name: str, seed: int, tmp_path: Path, instance: dg.DagsterInstance
) -> None:
    history = History(CASES[name], tmp_path, instance, seed)
    for _ in range(3):
        history.change()
        history.run(history.pick.choice(history.targets))
    history.change()
    for key in history.pick.sample(history.targets, len(history.targets)):
        history.run(key)
        of_key = {i: one for i, one in history.expected().items() if one[1] == key}
        assert {i: one for i, one in history.stored().items() if one[1] == key} == of_key
    assert history.stored() == history.expected()
