"""What people said that the images show."""

import dagster as dg
import polars as pl


@dg.asset(
    group_name="labels",
    kinds={"polars"},
    description="The label of each image as ten columns of zeros and a one.",
)
def label_onehot(digits: pl.DataFrame) -> pl.DataFrame:
    return digits.select(
        "sample_id",
        *((pl.col("label") == digit).cast(pl.Int8).alias(f"is_{digit}") for digit in range(10)),
    )


@dg.asset(
    group_name="labels",
    kinds={"polars"},
    description="The mean image of each label.",
)
def prototypes(digits: pl.DataFrame) -> pl.DataFrame:
    pixels = (pl.col("pixels").list.get(i, null_on_oob=True).mean() for i in range(64))
    return (
        digits.group_by("label")
        .agg(pl.len().alias("images"), pl.concat_list(*pixels).alias("prototype"))
        .sort("label")
    )
