"""Functions that load or make their data themselves, with an IO manager of the repository's own."""

# Annotations are not postponed here: Dagster reads that of the context when an asset is made.

import pickle
from pathlib import Path
from typing import Any

import dagster as dg
import pandas as pd
import polars as pl
import pytest
from self_writers import Files, World, keys

import metaxy_dagster as mxd

pytestmark = pytest.mark.filterwarnings("ignore::dagster.BetaWarning")


KEPT = mxd.MetaxifySettings(io_routing="keep")


def nothing(files: Files) -> Any:
    def x():
        files.make()

    return x


def a_count(files: Files) -> Any:
    def x() -> int:
        files.make()
        return len(files.rows)

    return x


def a_frame(files: Files) -> Any:
    def x() -> pd.DataFrame:
        files.make()
        return pd.DataFrame({"id": list(files.rows), "twice": [2 * v for v in files.rows.values()]})

    return x


#: Functions, whether they are said to write themselves, and what lies in the old place.
BODIES = {
    "nothing": (nothing, {}, lambda rows: None),
    "a count": (a_count, {"output": "self"}, len),
    "a frame": (a_frame, {}, lambda rows: {k: 2 * v for k, v in rows.items()}),
}


def stored(folder: Path) -> Any:
    found = pickle.loads((folder / "files" / "x").read_bytes())  # noqa: S301 - its own
    return dict(zip(found["id"], found["twice"], strict=True)) if hasattr(found, "index") else found


@pytest.mark.parametrize("name", BODIES)
def test_what_lies_in_the_old_place_is_what_did(tmp_path: Path, name: str) -> None:
    make, said, expected = BODIES[name]
    files = Files()
    manager = dg.FilesystemIOManager(base_dir=str(tmp_path / "files"))
    x = dg.asset(
        name="x",
        deps=["raw"],
        metadata=keys("x", input="increment", **said),
        resource_defs={"io_manager": manager.get_resource_definition()},
    )(make(files))
    world = World(files, tmp_path, x, settings=KEPT)
    assert world.plan.errors == ()
    assert world.run() == [None]
    assert stored(tmp_path) == expected(files.rows)
    assert world.counts() == mxd.Counts(0, 0, 0)
    assert world.run() == ([None] if said else [])
    files.rows[2] = 21
    del files.rows[3]
    assert world.run() == [None]
    assert stored(tmp_path) == expected(files.rows)
    assert world.event()["metaxy/deleted"] == 1
    assert world.counts() == mxd.Counts(0, 0, 0)


def test_features_of_one_step_that_are_computed_from_each_other(tmp_path: Path) -> None:
    files = Files()
    manager = dg.FilesystemIOManager(base_dir=str(tmp_path / "files"))
    outs = {
        "y": dg.AssetOut(metadata=keys("y", input="increment", deps=["raw"])),
        "x": dg.AssetOut(metadata=keys("x", input="increment", deps=["y"])),
    }

    @dg.multi_asset(outs=outs, resource_defs={"io_manager": manager.get_resource_definition()})
    def both(raw: pl.DataFrame):
        files.calls.append(sorted(raw["id"]))
        twice = raw.select("id", twice=pl.col("size") * 2).to_pandas()
        return twice, twice

    world = World(files, tmp_path, both, settings=KEPT)
    assert world.plan.errors == ()
    assert world.run() == [[1, 2, 3]]
    files.rows |= {2: 21, 4: 40}
    assert world.run() == [[2, 4]]
    assert stored(tmp_path) == {1: 20, 2: 42, 3: 60, 4: 80}
    assert world.counts("x") == world.counts("y") == mxd.Counts(0, 0, 0)
