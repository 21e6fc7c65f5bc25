"""Partition mappings that give one sample to several partitions are found before anything runs."""

from typing import Any

import dagster as dg
import polars as pl
import pytest

import metaxy_dagster as mxd

DAY = dg.DailyPartitionsDefinition("2024-02-01", end_date="2024-02-05")
MONTH = dg.MonthlyPartitionsDefinition("2024-01-01", end_date="2024-04-01")
AB = dg.StaticPartitionsDefinition(["a", "b"])
BOTH = dg.MultiPartitionsDefinition({"day": DAY, "place": AB})
DYNAMIC = dg.DynamicPartitionsDefinition(name="any")


def window(start: int, end: int) -> dg.TimeWindowPartitionMapping:
    return dg.TimeWindowPartitionMapping(start_offset=start, end_offset=end)


def errors(
    upstream: Any,
    downstream: Any,
    mapping: Any,
    *,
    mode: str = "increment",
    upstream_by: Any = "part",
    second: bool = False,
) -> list[mxd.MetaxyError]:
    ids = {"metaxy/id_columns": ["id"]}

    def feature(name: str, definition: Any, by: Any) -> dg.AssetsDefinition:
        metadata = {"metaxy/feature": name, "partition_by": by, **ids}

        @dg.asset(name=name, partitions_def=definition, metadata=metadata)
        def produce() -> pl.DataFrame:
            return pl.DataFrame()

        return produce

    deps = {"up": dg.AssetIn(partition_mapping=mapping)}
    if second:
        deps["other"] = dg.AssetIn()
    metadata = {"metaxy/feature": "down", "partition_by": "part", "metaxy/input": mode, **ids}

    @dg.asset(partitions_def=downstream, ins=deps, metadata=metadata)
    def down(**frames: pl.DataFrame) -> pl.DataFrame:
        return frames["up"]

    assets = [feature("up", upstream, upstream_by), down]
    if second:
        assets.append(feature("other", downstream, "part"))
    return list(mxd.plan_definitions(dg.Definitions(assets=assets)).errors)


FAULTS = {
    "yesterday and today": (DAY, DAY, window(-1, 0)),
    "today and tomorrow": (DAY, DAY, window(0, 1)),
    "the last two days": (DAY, DAY, window(-2, -1)),
    "all": (DAY, DAY, dg.AllPartitionMapping()),
    "all of static ones": (AB, AB, dg.AllPartitionMapping()),
    "the last": (AB, AB, dg.LastPartitionMapping()),
    "some": (AB, AB, dg.SpecificPartitionsPartitionMapping(["a"])),
    "a static one to two": (AB, AB, dg.StaticPartitionMapping({"a": ["a", "b"], "b": ["b"]})),
    "all of other keys": (AB, DAY, dg.AllPartitionMapping()),
}


@pytest.mark.parametrize("case", FAULTS)
def test_each_is_an_error_that_says_all(case: str) -> None:
    (error,) = errors(*FAULTS[case])
    assert isinstance(error, mxd.DefinitionsError)
    assert (error.asset, error.feature) == ("down", "down")
    assert "'up'" in str(error.found)
    assert "'part'" in str(error.found)
    assert "metaxy/input" in str(error.remedy)


FINE = {
    "inferred": (DAY, DAY, None),
    "yesterday": (DAY, DAY, window(-1, -1)),
    "days of a month": (DAY, MONTH, window(0, 0)),
    "a month under days": (MONTH, DAY, window(0, 0)),
    "static, one to one": (AB, AB, dg.StaticPartitionMapping({"a": "b", "b": "a"})),
    "static, two to one": (AB, AB, dg.StaticPartitionMapping({"a": "a", "b": "a"})),
    "dynamic": (DYNAMIC, DYNAMIC, dg.IdentityPartitionMapping()),
    "all, unpartitioned": (AB, None, dg.AllPartitionMapping()),
}


@pytest.mark.parametrize("case", FINE)
def test_what_gives_each_sample_one_partition_is_no_fault(case: str) -> None:
    found = errors(*FINE[case])
    assert not [error for error in found if "partition mapping" in error.problem]


#: What may be right all the same: by another column, with all rows read, by another upstream.
MAYBE: dict[str, tuple[Any, dict[str, Any]]] = {
    "another column": ((DAY, DAY, window(-1, 0)), {"upstream_by": "day"}),
    "yesterday and today are read": ((DAY, DAY, window(-1, 0)), {"mode": "all"}),
    "all are read": ((DAY, DAY, dg.AllPartitionMapping()), {"mode": "all"}),
    "another upstream tells": ((DAY, DAY, dg.AllPartitionMapping()), {"second": True}),
}


@pytest.mark.parametrize("case", MAYBE)
def test_what_may_be_told_apart_is_no_fault(case: str) -> None:
    given, more = MAYBE[case]
    assert errors(*given, **more) == []


def test_the_last_two_days_cannot_be_told_apart_even_if_all_rows_are_read() -> None:
    assert len(errors(DAY, DAY, window(-2, -1), mode="all")) == 1
