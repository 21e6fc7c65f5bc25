"""`make demo`: four runs through Dagster, each touching exactly the rows that it must."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import polars as pl
import pytest
from patience import patient

import demo

DEMO = Path(demo.__file__)


def right_rows(number: int) -> dict[str, demo.Rows]:
    """Rows of a run that did what it had to."""
    return {
        asset: demo.Rows(
            new=new,
            stale=stale,
            orphaned=0,
            written=new + stale,
            unchanged=0,
            total=demo.LABELS if asset == "prototypes" else demo.IMAGES,
        )
        for asset, (new, stale) in demo.EXPECTED[number].items()
    }


def test_the_demo_shows_what_it_promises(tmp_path: Path) -> None:
    done = subprocess.run(  # noqa: S603 (our own script)
        [sys.executable, str(DEMO)],
        cwd=tmp_path,
        env={**os.environ, "TMPDIR": str(tmp_path)},
        capture_output=True,
        text=True,
        timeout=patient(240),
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.count("Run ") == 4
    assert '"code_version": "2"' in done.stdout
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("number", sorted(demo.EXPECTED))
def test_right_rows_have_no_faults(number: int) -> None:
    assert demo.faults(number, right_rows(number)) == []


@pytest.mark.parametrize(
    ("asset", "change"),
    [
        ("digits", {"new": 10}),
        ("image_features", {"stale": 11}),
        ("embeddings", {"stale": 1_797}),
        ("label_onehot", {"stale": 10}),
        ("label_onehot", {"written": 1_797}),
        ("prototypes", {"orphaned": 1}),
        ("strokes", {"total": 10}),
        ("strokes", {"new": None}),
    ],
)
def test_a_wrong_number_is_found(asset: str, change: dict[str, int | None]) -> None:
    rows = right_rows(3)
    rows[asset] = replace(rows[asset], **change)
    assert any(asset in fault for fault in demo.faults(3, rows))


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (lambda root: None, False),
        (lambda root: (root / "assets" / "x.parquet").unlink(), True),
        (lambda root: (root / "more.md").write_text("more"), True),
        (lambda root: (root / "report.md").write_text("other"), True),
        (lambda root: pl.DataFrame({"a": [1.0]}).write_parquet(root / "assets/x.parquet"), True),
        (lambda root: pl.DataFrame({"a": [2, 1]}).write_parquet(root / "assets/x.parquet"), True),
    ],
)
def test_a_file_that_is_not_whole_is_found(tmp_path: Path, change, told: bool) -> None:
    roots = [tmp_path / name for name in ("workspace", "legacy")]
    for root in roots:
        (root / "assets").mkdir(parents=True)
        (root / "report.md").write_text("as it was")
        pl.DataFrame({"a": [1, 2]}).write_parquet(root / "assets" / "x.parquet")
    change(roots[0])
    assert bool(demo.file_faults(1, *roots)) is told
