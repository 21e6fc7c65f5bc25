"""The world outside of Dagster: what lies in the scanner, and the people at the typing desk."""

import csv
import os
from functools import cache
from pathlib import Path

import numpy as np
import polars as pl
from sklearn.datasets import load_digits

import metaxy_dagster as mxd

from .features import Typed

FIRST_DAY, DAYS = "2026-05-01", 30
PER_DAY = (61, 68, 44, 20, 86, 72, 65)  # by day of the week
OFFICES = ("Harbour", "Market", "Station", "Old Town")

FOLDER = Path(os.environ.get("MAILROOM_FOLDER", Path(__file__).parent.parent / "workspace"))
STORE, RESCANS = FOLDER / "mail.duckdb", FOLDER / "rescans.csv"


@cache
def digits() -> tuple[np.ndarray, np.ndarray]:
    """All images that will ever come, 64 intensities each, and what they really show."""
    return load_digits(return_X_y=True)


def scanned_on(number: int) -> range:
    """The numbers of a day's scans; days are counted from 0."""
    before = sum(PER_DAY[day % 7] for day in range(number))
    return range(before, before + PER_DAY[number % 7])


def rescans() -> dict[int, float]:
    """Scans that were too faint or too dark and were made again, with the contrast that was set."""
    if not RESCANS.exists():
        return {}
    with RESCANS.open(newline="") as rows:
        return {int(scan): float(contrast) for scan, contrast in csv.reader(rows)}


def scan_again(scans: list[int], contrast: float) -> None:
    """Put some scans through the scanner once more."""
    made = {**rescans(), **dict.fromkeys(scans, contrast)}
    RESCANS.parent.mkdir(parents=True, exist_ok=True)
    with RESCANS.open("w", newline="") as file:
        csv.writer(file).writerows(made.items())


def type_in(scans: list[int]) -> mxd.WriteResult:
    """What the typing desk does, without Dagster: it writes to the same store."""
    _, truth = digits()
    seen = {"scan": scans, "typed": [int(truth[scan]) for scan in scans]}
    return mxd.DuckDBMetadataStore(STORE).write(Typed, pl.DataFrame(seen))
