"""From cameras to labelled crops, a day and a site at a time."""

from collections.abc import Iterator

import dagster as dg
import pandas as pd

days = dg.DailyPartitionsDefinition(start_date="2024-05-01", end_date="2024-05-04")
sites = dg.StaticPartitionsDefinition(["harbour", "airport"])
one_day_a_run = dg.BackfillPolicy.multi_run(max_partitions_per_run=1)
labellers = dg.DynamicPartitionsDefinition(name="labellers")

bucket = dg.AssetSpec(["bucket", "frames"], partitions_def=days, group_name="sources", kinds={"s3"})


# What another team writes to the same store.
tags = dg.AssetSpec(
    ["moderation", "tags"],
    group_name="sources",
    metadata={"metaxy/feature": "other/tags", "metaxy/id_columns": ["frame_id"]},
)


@dg.asset(
    partitions_def=days,
    deps=[bucket],
    group_name="intake",
    backfill_policy=one_day_a_run,
    retry_policy=dg.RetryPolicy(max_retries=3, delay=0, backoff=dg.Backoff.EXPONENTIAL),
    op_tags={"size": "large"},
    # The retrofit: the column with the day says which rows a partition is.
    metadata={
        "metaxy/feature": "vision/frames",
        "metaxy/id_columns": ["frame_id"],
        "partition_by": "day",
    },
)
def frames(context: dg.AssetExecutionContext) -> pd.DataFrame:
    day = context.partition_key
    ids = [f"{day}-{i}" for i in range(3)]
    return pd.DataFrame({"frame_id": ids, "day": day, "path": [f"s3://b/{i}.png" for i in ids]})


@dg.asset(
    partitions_def=days,
    backfill_policy=one_day_a_run,
    group_name="intake",
    metadata={
        "metaxy/feature": "vision/quality",
        "metaxy/id_columns": ["frame_id"],
        "metaxy/input": "increment",
        "partition_by": "day",
    },
)
def quality(frames: pd.DataFrame) -> pd.DataFrame:
    return frames[["frame_id", "day"]].assign(sharp=frames["path"].str.len())


class CropConfig(dg.Config):
    """How frames are cut."""

    size: int = 32


@dg.multi_asset(
    outs={
        "crops": dg.AssetOut(io_manager_key="pickles", group_name="intake"),
        "rejects": dg.AssetOut(io_manager_key="pickles", group_name="intake"),
    },
    partitions_def=days,
    backfill_policy=one_day_a_run,
)
def cut(config: CropConfig, frames: pd.DataFrame, quality: pd.DataFrame):
    """Not to be taken apart: both come of one pass over the images."""
    good = quality[quality["sharp"] > 0]["frame_id"]
    yield dg.Output(list(good) * (config.size // 32), output_name="crops")
    yield dg.Output([], output_name="rejects", metadata={"count": 0})


@dg.asset(partitions_def=sites, group_name="sites", io_manager_key="pickles")
def cameras(context: dg.AssetExecutionContext) -> list[str]:
    return [f"{context.partition_key}-{i}" for i in range(2)]


@dg.asset(partitions_def=labellers, group_name="labels", io_manager_key="label_files")
def labels(context: dg.AssetExecutionContext) -> dict[str, str]:
    return {context.partition_key: "cat"}


@dg.asset(
    partitions_def=days,
    group_name="intake",
    io_manager_key="pickles",
    ins={
        "yesterday": dg.AssetIn(
            key="running_total",
            partition_mapping=dg.TimeWindowPartitionMapping(start_offset=-1, end_offset=-1),
        )
    },
)
def running_total(context: dg.AssetExecutionContext, yesterday: object) -> int:
    """Depends on itself, a day earlier."""
    del yesterday
    return int(context.partition_key.rsplit("-", 1)[-1])


def checks() -> Iterator[dg.AssetChecksDefinition]:
    """The same check on two assets."""
    for asset in (frames, quality):

        @dg.asset_check(asset=asset, name="has_rows", blocking=asset is frames)
        def has_rows() -> dg.AssetCheckResult:
            return dg.AssetCheckResult(passed=True, severity=dg.AssetCheckSeverity.WARN)

        yield has_rows


ALL = [bucket, tags, frames, quality, cut, cameras, running_total]
