"""The images and what is seen in them pixel by pixel."""

import dagster as dg
import numpy as np
import polars as pl
from sklearn.datasets import load_digits

from .workspace import Workspace

SIDE = 8


def read_corrections(workspace: Workspace) -> pl.DataFrame:
    schema = {"sample_id": pl.Int64, "row": pl.Int64, "column": pl.Int64, "intensity": pl.Float64}
    if not workspace.corrections.exists():
        return pl.DataFrame(schema=schema)
    return pl.read_csv(workspace.corrections, schema=schema)


@dg.asset(
    group_name="images",
    kinds={"polars"},
    description="The scanned digits, 8 by 8 pixels of intensity 0 to 16, with corrections applied.",
    metadata={
        "metaxy/feature": "digits/scans",
        "metaxy/id_columns": ["sample_id"],
        "metaxy/fields": {"pixels": {"columns": ["pixels"]}, "label": {"columns": ["label"]}},
    },
)
def digits(workspace: Workspace) -> pl.DataFrame:
    bunch = load_digits()
    pixels = bunch.data.copy()
    for sample_id, row, column, intensity in read_corrections(workspace).iter_rows():
        pixels[sample_id, row * SIDE + column] = intensity
    return pl.DataFrame(
        {
            "sample_id": np.arange(len(pixels)),
            "pixels": pixels.tolist(),
            "label": bunch.target,
        },
        schema={"sample_id": pl.Int64, "pixels": pl.List(pl.Float64), "label": pl.Int64},
    )


def moments_of(image: np.ndarray) -> dict[str, float]:
    """Ink, centre and spread of one image, in pixels."""
    rows, columns = np.mgrid[0:SIDE, 0:SIDE]
    ink = float(image.sum())
    weights = image / ink if ink else np.full_like(image, 1 / image.size)
    row, column = float((weights * rows).sum()), float((weights * columns).sum())
    return {
        "ink": ink,
        "row": row,
        "column": column,
        "row_spread": float((weights * (rows - row) ** 2).sum()),
        "column_spread": float((weights * (columns - column) ** 2).sum()),
        "slant": float((weights * (rows - row) * (columns - column)).sum()),
    }


def gradients_of(image: np.ndarray, directions: int = 8) -> list[float]:
    """Strength of the edges in each of four quarters, by direction."""
    vertical, horizontal = np.gradient(image)
    strength = np.hypot(vertical, horizontal)
    turn = np.mod(np.arctan2(vertical, horizontal), 2 * np.pi) / (2 * np.pi)
    direction = np.floor(turn * directions).astype(int) % directions
    half = SIDE // 2
    histogram: list[float] = []
    for quarter_row in (slice(0, half), slice(half, SIDE)):
        for quarter_column in (slice(0, half), slice(half, SIDE)):
            quarter = (quarter_row, quarter_column)
            histogram += np.bincount(
                direction[quarter].ravel(), strength[quarter].ravel(), minlength=directions
            ).tolist()
    length = float(np.linalg.norm(histogram))
    return [value / length for value in histogram] if length else histogram


@dg.asset(
    group_name="images",
    kinds={"polars", "numpy"},
    description="What one image looks like: moments of its ink and a histogram of its edges.",
    metadata={
        "metaxy/feature": "digits/looks",
        "metaxy/id_columns": ["sample_id"],
        "metaxy/fields": {
            "moments": {
                "code_version": "1",
                "deps": [{"feature": "digits/scans", "fields": ["pixels"]}],
            },
            "gradients": {
                "code_version": "1",
                "deps": [{"feature": "digits/scans", "fields": ["pixels"]}],
            },
        },
        "metaxy/input": "increment",
    },
)
def image_features(context: dg.AssetExecutionContext, digits: pl.DataFrame) -> pl.DataFrame:
    context.log.info("computing features of %d images", digits.height)
    moments = pl.Struct(
        dict.fromkeys(["ink", "row", "column", "row_spread", "column_spread", "slant"], pl.Float64)
    )
    images = [np.reshape(pixels, (SIDE, SIDE)) for pixels in digits["pixels"].to_list()]
    return pl.DataFrame(
        {
            "sample_id": digits["sample_id"],
            "moments": pl.Series([moments_of(image) for image in images], dtype=moments),
            "gradients": pl.Series(
                [gradients_of(image) for image in images], dtype=pl.List(pl.Float64)
            ),
        }
    ).unnest("moments")


@dg.asset(
    group_name="images",
    kinds={"polars", "numpy"},
    description="The edges of one image as 48 numbers: random Fourier features of a fixed seed.",
    metadata={
        "metaxy/feature": "digits/embeddings",
        "metaxy/id_columns": ["sample_id"],
        "metaxy/fields": {
            "embedding": {"deps": [{"feature": "digits/looks", "fields": ["gradients"]}]},
        },
        "metaxy/input": "increment",
    },
)
def embeddings(image_features: pl.DataFrame) -> pl.DataFrame:
    random = np.random.default_rng(seed=7)
    basis, phase = random.normal(scale=2.0, size=(32, 48)), random.uniform(0, 2 * np.pi, size=48)
    gradients = np.array(image_features["gradients"].to_list()).reshape(-1, 32)
    return pl.DataFrame(
        {
            "sample_id": image_features["sample_id"],
            "embedding": pl.Series(
                np.cos(gradients @ basis + phase).tolist(), dtype=pl.List(pl.Float64)
            ),
        }
    )


@dg.asset(
    group_name="images",
    kinds={"polars"},
    description="How a digit is written: how slender it is, and which way it leans.",
    metadata={
        "metaxy/feature": "digits/strokes",
        "metaxy/id_columns": ["sample_id"],
        "metaxy/fields": {
            "stroke": {"deps": [{"feature": "digits/looks", "fields": ["moments"]}]},
        },
        "metaxy/input": "increment",
    },
)
def strokes(image_features: pl.DataFrame) -> pl.DataFrame:
    return image_features.select(
        "sample_id",
        slenderness=pl.col("row_spread") / (pl.col("column_spread") + 1e-9),
        leaning=pl.when(pl.col("slant").abs() < 0.25)
        .then(pl.lit("upright"))
        .when(pl.col("slant") > 0)
        .then(pl.lit("left"))
        .otherwise(pl.lit("right")),
    )
