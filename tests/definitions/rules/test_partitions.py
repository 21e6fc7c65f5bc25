"""Partitions and columns that do not fit are found before anything runs."""

from __future__ import annotations

import datetime as dt

import dagster as dg
import polars as pl
import pytest
from pydantic import ConfigDict

import metaxy_dagster as mxd

DAILY = dg.DailyPartitionsDefinition("2024-01-01")
BOTH = dg.MultiPartitionsDefinition(
    {"when": DAILY, "where": dg.StaticPartitionsDefinition(["de", "fr"])}
)


@pytest.fixture
def features():
    graph = mxd.FeatureGraph()
    graph.add(mxd.FeatureSpec("bare", id_columns=["id"]))
    with graph.use():

        class Event(mxd.BaseFeature, spec=mxd.FeatureSpec("event", id_columns=["id"])):
            model_config = ConfigDict(extra="forbid")

            id: int
            day: dt.date | None
            country: str
            tags: list[str]

    return graph


def asset(name="x", feature="event", partitions_def=None, **metadata):
    given = {key.replace("__", "/"): value for key, value in metadata.items()}

    @dg.asset(
        name=name,
        partitions_def=partitions_def,
        metadata={"metaxy/feature": feature, **given},
    )
    def body() -> pl.DataFrame:
        return pl.DataFrame()

    return body


#: Metadata and partitions, and parts of what is found, allowed and to be done.
FAULTS = {
    "no column": ({"partitions_def": DAILY}, ("no", "one column", '"partition_by": "<column>"')),
    "no column of a contributor": (
        {"partitions_def": DAILY, "metaxy__partition": {"country": "de"}},
        ("no", "one column", "partition_by"),
    ),
    "one column for two dimensions": (
        {"partitions_def": BOTH, "partition_by": "day"},
        ("day", "when", '"where": "<column>"'),
    ),
    "an unknown dimension": (
        {"partitions_def": BOTH, "partition_by": {"when": "day", "were": "country"}},
        ("were", "where", "partition_by"),
    ),
    "an unknown column": (
        {"partitions_def": DAILY, "partition_by": "dya"},
        ("dya", "country, day, id, tags", "'day'"),
    ),
    "an unknown column of a contributor": (
        {"metaxy__partition": {"kountry": "de"}},
        ("kountry", "country", "'country'"),
    ),
    "a list": ({"partitions_def": DAILY, "partition_by": "tags"}, ("list[str]", "text", "another")),
    "a value of another type": (
        {"metaxy__partition": {"id": [1, "two"]}},
        ("'two'", "int", "as the column holds"),
    ),
    "nothing at all": ({"metaxy__partition": {"country": []}}, ("[]", "a list of values", "write")),
    "an empty column": ({"partition_by": ""}, ("''", "a column", "name the column")),
}


@pytest.mark.parametrize("case", FAULTS)
def test_each_is_one_error_that_says_all(features, case):
    metadata, parts = FAULTS[case]
    plan = mxd.plan_definitions(dg.Definitions(assets=[asset(**metadata)]), features=features)
    (error,) = plan.errors
    assert isinstance(error, mxd.DefinitionsError)
    assert (error.asset, error.feature) == ("x", "event")
    for part, said in zip(parts, (error.found, error.allowed, error.remedy), strict=True):
        assert part in str(said)


FINE = {
    "a column": {"partitions_def": DAILY, "partition_by": "day"},
    "in any case": {"partitions_def": DAILY, "partition_by": "Day"},
    "two columns": {"partitions_def": BOTH, "partition_by": {"when": "day", "where": "country"}},
    "one of two": {"partitions_def": BOTH, "partition_by": {"when": "day"}},
    "values": {"metaxy__partition": {"country": ["de", "fr"], "id": 3}},
    "no declared columns": {"feature": "bare", "partitions_def": DAILY, "partition_by": "any"},
}


@pytest.mark.parametrize("case", FINE)
def test_what_fits_is_no_fault(features, case):
    plan = mxd.plan_definitions(dg.Definitions(assets=[asset(**FINE[case])]), features=features)
    assert plan.errors == ()
    assert not [notice for notice in plan.notices if notice.kind == "partitions"]


def test_each_asset_is_told(features):
    several = [asset("x", partitions_def=DAILY), asset("y", partitions_def=DAILY)]
    plan = mxd.plan_definitions(dg.Definitions(assets=several), features=features)
    assert [error.asset for error in plan.errors] == ["x", "y"]


def test_where_only_some_uses_would_fail_it_is_a_warning(features):
    """A spec that somebody else writes, an asset that stores by itself or elsewhere."""
    metadata = {"metaxy/feature": "event"}

    @dg.asset(partitions_def=DAILY, metadata=metadata)
    def by_itself() -> None: ...

    @dg.asset(partitions_def=DAILY, metadata=metadata, io_manager_key="mine")
    def elsewhere(): ...

    spec = dg.AssetSpec("spec", partitions_def=DAILY, metadata=metadata)
    defs = dg.Definitions(
        assets=[by_itself, elsewhere, spec], resources={"mine": dg.mem_io_manager}
    )
    routed = mxd.MetaxifySettings(io_routing="route")
    plan = mxd.plan_definitions(defs, features=features, settings=routed)
    assert plan.errors == ()
    warned = [notice for notice in plan.notices if notice.kind == "partitions"]
    assert [notice.asset for notice in warned] == ["by_itself", "elsewhere", "spec"]
    assert all("partition_by" in notice.message for notice in warned)


def test_another_io_manager_under_the_same_name_has_its_own_rules(features):
    defs = dg.Definitions(
        assets=[asset(partitions_def=DAILY)],
        resources={"store": object(), "metaxy_io_manager": dg.mem_io_manager},
    )
    plan = mxd.plan_definitions(defs, features=features)
    assert plan.errors == ()
