"""What a wrapped IO manager costs beside the one that it wraps, over a Parquet file of many rows.

Run ``python benchmarks/kept.py [--rows 1000000] [--repeats 3]``; it prints a Markdown table.

A root with four columns and one asset that is derived from it, both stored as Parquet files by a
plain IO manager. With that alone, the derived asset is computed whole in each run. Wrapped, it gets
its pending samples and what it returns is merged into the file. The function itself does next to
nothing, so that what is measured is reading, writing and keeping record; times are of the step of
the derived asset alone, in this process, and the table has the fastest of the repeats of each.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from pathlib import Path

import dagster as dg
import numpy as np
import polars as pl

import metaxy_dagster as mxd
from metaxy_dagster.runtime import skipping_op
from metaxy_dagster.runtime.io.wrapped import wrapped

# Seconds by the clock, and of processors; the second hardly knows what else the machine does.
Taken = tuple[float, float]


class Parquet(dg.IOManager):
    """A file for each asset."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        folder.mkdir()

    def _path(self, key: dg.AssetKey) -> Path:
        return self._folder / f"{key.path[-1]}.parquet"

    def handle_output(self, context: dg.OutputContext, obj: pl.DataFrame) -> None:
        """Write the file anew."""
        obj.write_parquet(self._path(context.asset_key))

    def load_input(self, context: dg.InputContext) -> pl.DataFrame:
        """Read the whole file."""
        return pl.read_parquet(self._path(context.asset_key))


class Repository:
    """The assets, with the IO manager alone or wrapped."""

    def __init__(self, folder: Path, rows: int, *, alone: bool) -> None:
        folder.mkdir()
        self._rows, self._changes = rows, 0
        self._rng = np.random.default_rng(7)
        self._frame = pl.DataFrame(
            {
                "id": np.arange(rows),
                "path": [f"s3://bucket/{i:09d}.png" for i in range(rows)],
                "width": self._rng.integers(0, 5000, rows),
                "score": self._rng.random(rows),
            }
        )
        graph = mxd.FeatureGraph()
        graph.add(mxd.FeatureSpec("image", id_columns=["id"]))
        graph.add(mxd.FeatureSpec("thumb", id_columns=["id"], deps=["image"]))
        store = mxd.DuckDBMetadataStore(folder / "m.duckdb", graph=graph)
        manager = Parquet(folder / "files")
        ours = {} if alone else {"metaxy_io_manager": mxd.MetaxyIOManager(store=store)}
        defs = dg.Definitions(
            assets=self._assets(),
            resources={"io_manager": manager if alone else wrapped(manager), **ours},
            executor=dg.in_process_executor,
        )
        self._job = defs.resolve_implicit_global_asset_job_def()
        self._instance = dg.DagsterInstance.ephemeral()

    def _assets(self) -> list[dg.AssetsDefinition]:
        @dg.asset(metadata={"metaxy/feature": "image"})
        def image() -> pl.DataFrame:
            return self._frame

        def compute(image: pl.DataFrame) -> pl.DataFrame:
            return image.with_columns(pl.col("width") // 2)

        tie = {"metaxy/feature": "thumb", "metaxy/input": "increment"}
        thumb = dg.asset(name="thumb", metadata=tie)(compute)
        op = skipping_op(thumb.op)
        made = dg.AssetsDefinition.from_op(
            op,
            keys_by_input_name={"image": dg.AssetKey("image")},
            metadata_by_output_name={"result": tie},
        )
        return [image, made]

    def run(self, *, change: float = 0.0) -> Taken:
        """Change a share of the rows, store the root, and measure the step of the other asset."""
        number = int(self._rows * change)
        if number:
            rows = pl.Series(self._rng.choice(self._rows, number, replace=False))
            changed = pl.int_range(pl.len()).is_in(rows.implode())
            width = pl.when(changed).then(pl.col("width") + 1).otherwise(pl.col("width"))
            self._frame = self._frame.with_columns(width.alias("width"))
        keys = [dg.AssetKey("image")]
        self._job.execute_in_process(instance=self._instance, asset_selection=keys)
        began, used = time.perf_counter(), time.process_time()
        keys = [dg.AssetKey("thumb")]
        self._job.execute_in_process(instance=self._instance, asset_selection=keys)
        return time.perf_counter() - began, time.process_time() - used


def measured(rows: int, repeats: int) -> dict[str, dict[str, Taken]]:
    """The fastest run of each kind, taking turns."""
    found: dict[str, dict[str, Taken]] = {}
    with tempfile.TemporaryDirectory() as folder:
        both = {
            name: Repository(Path(folder, name), rows, alone=name == "alone")
            for name in ("alone", "wrapped")
        }
        for what, change, times in (
            ("first run", 0.0, 1),
            ("nothing changed", 0.0, repeats),
            ("0.1 % changed", 0.001, repeats),
            ("10 % changed", 0.1, repeats),
        ):
            taken: dict[str, list[Taken]] = {name: [] for name in both}
            for _ in range(times):
                for name, one in both.items():
                    taken[name].append(one.run(change=change))
            found[what] = {
                name: (min(t[0] for t in each), min(t[1] for t in each))
                for name, each in taken.items()
            }
    return found


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--repeats", type=int, default=3)
    given = parser.parse_args()
    print("| run | alone: s | CPU s | wrapped: s | CPU s | ratio | CPU ratio |")
    print("|---|---|---|---|---|---|---|")
    for what, by_name in measured(given.rows, given.repeats).items():
        (clock, used), (our_clock, our_used) = by_name["alone"], by_name["wrapped"]
        print(
            f"| {what} | {clock:.2f} | {used:.2f} | {our_clock:.2f} | {our_used:.2f} "
            f"| {our_clock / clock:.2f} | {our_used / used:.2f} |"
        )


if __name__ == "__main__":
    main()
