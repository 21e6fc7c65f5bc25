"""Scans and profiles by day; readings, verdicts and days as they come in."""

import datetime as dt

import dagster as dg
import narwhals as nw
import numpy as np
import polars as pl

import metaxy_dagster as mxd

from . import room

DAILY = dg.DailyPartitionsDefinition(
    room.FIRST_DAY,
    end_date=str(dt.date.fromisoformat(room.FIRST_DAY) + dt.timedelta(days=room.DAYS)),
)


@dg.asset(
    group_name="scanner",
    kinds={"polars"},
    partitions_def=DAILY,
    metadata={"metaxy/feature": "mail/scans", "partition_by": "day"},
)
def scans(context: dg.AssetExecutionContext) -> pl.DataFrame:
    images, _ = room.digits()
    contrast = room.rescans()
    numbers = [
        (day, scan)
        for day in context.partition_keys
        for scan in room.scanned_on(DAILY.get_partition_keys().index(day))
    ]
    pixels = [(images[n] * contrast.get(n, 1.0)).clip(0, 16).tolist() for _, n in numbers]
    return pl.DataFrame(
        {
            "scan": [scan for _, scan in numbers],
            "day": [day for day, _ in numbers],
            "office": [room.OFFICES[scan * 7 % 11 % 4] for _, scan in numbers],
            "pixels": pixels,
        },
        schema_overrides={"scan": pl.Int64, "pixels": pl.List(pl.Float64)},
    )


def profile_of(pixels: np.ndarray) -> np.ndarray:
    """Shares of the ink in the rows, then in the columns, of images of 64 pixels."""
    images = pixels.reshape(-1, 8, 8)
    shares = np.hstack([images.sum(axis=2), images.sum(axis=1)])
    return shares / np.maximum(shares.sum(axis=1, keepdims=True) / 2, 1e-9)


@dg.asset(
    group_name="scanner",
    kinds={"numpy"},
    partitions_def=DAILY,
    metadata={
        "metaxy/feature": "mail/profiles",
        "metaxy/input": "increment",
        "partition_by": "day",
    },
)
def profiles(scans: pl.DataFrame) -> pl.DataFrame:
    pixels = np.array(scans["pixels"].to_list()).reshape(-1, 64)
    return scans.select("scan", "day").with_columns(
        ink=pl.Series(pixels.sum(axis=1)),
        profile=pl.Series(profile_of(pixels).tolist(), dtype=pl.List(pl.Float64)),
    )


@dg.asset(
    group_name="reader",
    kinds={"numpy"},
    metadata={"metaxy/feature": "mail/readings", "metaxy/input": "increment"},
)
def readings(profiles: pl.DataFrame) -> pl.DataFrame:
    images, truth = room.digits()
    alphabet = np.stack([profile_of(images[truth == n]).mean(axis=0) for n in range(10)])
    found = np.array(profiles["profile"].to_list()).reshape(-1, 1, 16)
    distance = np.linalg.norm(found - alphabet, axis=2)
    nearest = np.sort(distance, axis=1)
    return profiles.select("scan", "day").with_columns(
        digit=pl.Series(distance.argmin(axis=1)),
        margin=pl.Series(nearest[:, 1] - nearest[:, 0]),
    )


@mxd.observable_metaxy_asset(key="typed", feature="mail/typed", group_name="desk")
def typed(
    context: dg.AssetExecutionContext,
    store: mxd.MetadataStore,  # noqa: ARG001 (for what the samples do not tell)
    lazy_df: nw.LazyFrame,
) -> dict[str, object]:
    """What people typed in: written to the store by the typing desk, outside of Dagster."""
    seen = lazy_df.group_by("typed").agg(nw.len().alias("scans")).collect("polars").to_native()
    context.log.info("people have typed in %d scans", seen["scans"].sum())
    often = seen.sort("scans", "typed").row(-1, named=True)
    return {"digits": seen.height, "most often": f"{often['typed']}, {often['scans']} times"}


@dg.asset(
    group_name="reader",
    kinds={"polars"},
    metadata={"metaxy/feature": "mail/verdicts", "metaxy/input": "increment"},
)
def verdicts(readings: pl.DataFrame, typed: pl.DataFrame) -> pl.DataFrame:
    both = readings.join(typed, on="scan")
    return both.select("scan", "day", agreed=pl.col("digit") == pl.col("typed"))


@dg.asset(
    group_name="reader",
    kinds={"polars"},
    metadata={"metaxy/feature": "mail/days", "metaxy/input": "increment"},
)
def days(verdicts: pl.DataFrame) -> pl.DataFrame:
    return verdicts.group_by("day").agg(scans=pl.len().cast(pl.Int64), agreed=pl.mean("agreed"))


@dg.asset(group_name="reader", kinds={"markdown"})
def bulletin(days: pl.DataFrame) -> dg.MaterializeResult:
    """What hangs on the wall: how well the program reads."""
    lines = ["| day | scans | agreed |", "| --- | --- | --- |"]
    for day, scans, agreed in days.sort("day").select("day", "scans", "agreed").iter_rows():
        lines.append(f"| {day} | {scans} | {agreed:.0%} |")
    return dg.MaterializeResult(metadata={"table": dg.MetadataValue.md("\n".join(lines))})
