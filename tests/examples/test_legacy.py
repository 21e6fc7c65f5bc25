"""The legacy example is an ordinary repository that works, on no rows as well."""

from __future__ import annotations

from pathlib import Path

import dagster as dg
import polars as pl
import pytest

from digits_legacy import images, labels, model
from digits_legacy.definitions import defs
from digits_legacy.io_manager import FilesIOManager
from digits_legacy.workspace import Workspace


@pytest.fixture(scope="module")
def outputs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, pl.DataFrame]:
    folder = tmp_path_factory.mktemp("legacy")

    result = dg.materialize(
        dg.load_assets_from_modules([images, labels, model]),
        resources={
            "workspace": Workspace(folder=str(folder)),
            "io_manager": FilesIOManager(folder=str(folder / "assets")),
        },
    )
    assert "% of those held back" in (folder / "report.md").read_text()
    return {path.stem: pl.read_parquet(path) for path in (folder / "assets").glob("*.parquet")} | {
        "model": result.output_for_node("model")
    }


def test_the_images_are_the_real_ones(outputs: dict[str, pl.DataFrame]) -> None:
    digits = outputs["digits"]
    assert digits.height == 1_797
    assert digits["label"].n_unique() == 10
    assert digits["pixels"].list.len().unique().to_list() == [64]


def test_the_model_recognises_digits(outputs: dict[str, pl.DataFrame]) -> None:
    assert outputs["model"]["accuracy"] > 0.9


def test_features_are_computed_row_by_row(outputs: dict[str, pl.DataFrame]) -> None:
    """A part of the rows gives the same as all of them: what makes a retrofit possible."""
    some = outputs["digits"].filter(pl.col("sample_id") % 300 == 7)
    looks = images.image_features(dg.build_asset_context(), some)
    assert looks.equals(outputs["image_features"].filter(pl.col("sample_id") % 300 == 7))
    embeddings = outputs["embeddings"].filter(pl.col("sample_id") % 300 == 7)
    difference = images.embeddings(looks)["embedding"].explode() - embeddings["embedding"].explode()
    assert difference.abs().max() < 1e-9


def test_no_rows_give_no_rows_of_the_same_columns(outputs: dict[str, pl.DataFrame]) -> None:
    digits = outputs["digits"].clear()
    looks = images.image_features(dg.build_asset_context(), digits)
    given = {
        "image_features": looks,
        "embeddings": images.embeddings(looks),
        "strokes": images.strokes(looks),
        "label_onehot": labels.label_onehot(digits),
        "prototypes": labels.prototypes(digits),
    }
    assert {name: frame.height for name, frame in given.items()} == dict.fromkeys(given, 0)
    assert {name: frame.schema for name, frame in given.items()} == {
        name: outputs[name].schema for name in given
    }


@pytest.mark.parametrize("present", [True, False])
def test_corrections_replace_pixels(tmp_path: Path, *, present: bool) -> None:
    if present:
        (tmp_path / "corrections.csv").write_text("sample_id,row,column,intensity\n2,1,3,7.5\n")
    digits = images.digits(Workspace(folder=str(tmp_path)))
    assert (digits["pixels"][2][11] == 7.5) is present


def test_the_repository_loads_with_job_and_schedule() -> None:
    dg.Definitions.validate_loadable(defs)
    assert defs.resolve_job_def("refresh").name == "refresh"
    assert defs.get_repository_def().has_schedule_def("nightly")
