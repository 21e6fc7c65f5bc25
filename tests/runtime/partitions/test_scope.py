"""Partitions become conditions that fit the type of the column."""

import dagster as dg
import narwhals as nw
import polars as pl
import pytest

import metaxy_dagster as mxd
from metaxy_dagster.runtime.partitions.partition_choices import partition_choices
from metaxy_dagster.runtime.partitions.scope import Choice, Scope

BERLIN = dg.HourlyPartitionsDefinition("2024-06-01-00:00", timezone="Europe/Berlin")
DAILY = dg.DailyPartitionsDefinition("2024-06-01")


@pytest.mark.parametrize(
    ("definition", "keys", "kind", "text"),
    [
        (DAILY, ["2024-06-02"], "VARCHAR", "at within 2024-06-02 00:00:00 to 2024-06-03 00:00:00"),
        (DAILY, ["2024-06-02"], "DATE", "at >= '2024-06-02' AND at < '2024-06-03'"),
        (DAILY, ["2024-06-02"], "TIMESTAMP", "at >= '2024-06-02' AND at < '2024-06-03'"),
        (
            DAILY,
            ["2024-06-02"],
            "TIMESTAMP WITH TIME ZONE",
            "at >= '2024-06-02T00:00:00+00:00' AND at < '2024-06-03T00:00:00+00:00'",
        ),
        (
            DAILY,
            ["2024-06-03", "2024-06-02", "2024-06-07"],
            "DATE",
            "at >= '2024-06-02' AND at < '2024-06-04' OR at >= '2024-06-07' AND at < '2024-06-08'",
        ),
        (
            BERLIN,
            ["2024-06-01-11:00"],
            "TIMESTAMP",
            "at >= '2024-06-01 11:00:00' AND at < '2024-06-01 12:00:00'",
        ),
        (
            BERLIN,
            ["2024-06-01-11:00"],
            "TIMESTAMP WITH TIME ZONE",
            "at >= '2024-06-01T11:00:00+02:00' AND at < '2024-06-01T12:00:00+02:00'",
        ),
    ],
)
def test_time_partitions_by_the_type_of_the_column(
    definition: dg.PartitionsDefinition, keys: list[str], kind: str, text: str
) -> None:
    scope = partition_choices(keys, definition, {"": "at"})
    assert [str(one) for one in scope.filters({"at": kind})] == [text]


MULTI = dg.MultiPartitionsDefinition(
    {
        "color": dg.StaticPartitionsDefinition(["red", "blue"]),
        "size": dg.StaticPartitionsDefinition(["s", "m"]),
    }
)


def keys_of(*pairs: tuple[str, str]) -> list[str]:
    return [dg.MultiPartitionKey({"color": color, "size": size}) for color, size in pairs]


@pytest.mark.parametrize(
    ("pairs", "columns", "texts"),
    [
        ([("red", "s")], {"color": "c", "size": "z"}, ["c IN ('red')", "z IN ('s')"]),
        (
            [("red", "s"), ("red", "m")],
            {"color": "c", "size": "z"},
            ["c IN ('red')", "z IN ('m', 's')"],
        ),
        ([("red", "s"), ("blue", "s")], {"color": "c"}, ["c IN ('blue', 'red')"]),
        (
            [("red", "s"), ("blue", "m")],
            {"color": "c", "size": "z"},
            ["c IN ('blue') AND z IN ('m') OR c IN ('red') AND z IN ('s')"],
        ),
    ],
)
def test_dimensions_stay_a_product_where_they_are_one(
    pairs: list[tuple[str, str]], columns: dict[str, str], texts: list[str]
) -> None:
    scope = partition_choices(keys_of(*pairs), MULTI, columns)
    assert [str(one) for one in scope.filters({})] == texts


ROWS = pl.DataFrame(
    {
        "id": range(8),
        "day": ["2024-06-01", "2024-06-02", "2024-06-03", None] * 2,
        "n": [1, 1, 1, 1, 2, 2, 2, None],
    }
)


BY_TEXT = [
    Scope(),
    Scope.of_values({"n": (1,)}),
    Scope.of_values({"n": (2, 1), "day": ("2024-06-03",)}),
    Scope(((Choice("n", (1,)), Choice("day", ("2024-06-01",))), (Choice("n", (2,)),))),
]
BY_TIME = [
    partition_choices(["2024-06-01", "2024-06-02"], DAILY, {"": "day"}),
    partition_choices(["2024-06-02"], DAILY, {"": "DAY"}) & Scope.of_values({"n": (2,)}),
]
KINDS = ("text", "date", "naive", "zoned")
CASES = [
    *((scope, "text") for scope in BY_TEXT),
    *((scope, kind) for scope in BY_TIME for kind in KINDS),
]


@pytest.mark.parametrize(("scope", "kind"), CASES)
def test_a_store_and_a_frame_agree_on_what_belongs(
    store: mxd.DuckDBMetadataStore, scope: Scope, kind: str
) -> None:
    day = pl.col("day")
    casts = {
        "text": day,
        "date": day.str.to_date(),
        "naive": day.str.to_datetime("%Y-%m-%d"),
        "zoned": day.str.to_datetime("%Y-%m-%d").dt.replace_time_zone("UTC"),
    }
    frame = ROWS.with_columns(casts[kind], pixels=pl.lit("p"), label=pl.lit("l"))
    store.write("image", frame)
    found = store.read("image", filters=scope.filters(store.schema("image")), columns=["id"])
    rows = sorted(found.collect("pyarrow").to_native()["id"].to_pylist())
    if any(column != column.lower() for column in scope.columns):
        frame = frame.rename({"day": "DAY"})
    restricted = scope.restrict(nw.from_native(frame.lazy())).collect().to_native()
    assert sorted(restricted["id"]) == rows
    assert rows or not scope
