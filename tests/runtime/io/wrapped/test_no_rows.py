"""Kept tables of which no row is left, or to which none ever came, have their columns still."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import dagster as dg
import narwhals as nw
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest

import metaxy_dagster as mxd

KEEP = mxd.MetaxifySettings(io_routing="keep")
LIBRARIES = {"pandas": pd.DataFrame, "polars": pl.DataFrame, "pyarrow": pa.table}


class Pickles(dg.IOManager):
    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def handle_output(self, context: dg.OutputContext, obj: Any) -> None:
        (self.folder / context.asset_key.path[-1]).write_bytes(pickle.dumps(obj))

    def load_input(self, context: dg.InputContext) -> Any:
        return pickle.loads((self.folder / context.asset_key.path[-1]).read_bytes())  # noqa: S301 - its own

    def columns(self, name: str) -> tuple[list[str], int]:
        found = pickle.loads((self.folder / name).read_bytes())  # noqa: S301 - its own
        frame = nw.from_native(found, eager_only=True)
        return frame.columns, len(frame)


@pytest.mark.parametrize("library", LIBRARIES)
@pytest.mark.parametrize(
    "histories", [[[1, 2], [], [3]], [[], [], [1], []], [[1], [1], [], []]], ids=str
)
def test_columns_stay(tmp_path: Path, library: str, histories: list[list[int]]) -> None:
    made, now = LIBRARIES[library], [histories[0]]

    def keys(feature: str, *ids: str, **more: object) -> dict[str, object]:
        return {
            "metaxy/feature": feature,
            "metaxy/id_columns": list(ids),
            "metaxy/max_deleted_share": 1.0,
            **{f"metaxy/{name}": value for name, value in more.items()},
        }

    def frame(rows: list[dict[str, Any]], names: list[str]) -> Any:
        table = pa.table(
            {name: pa.array([row[name] for row in rows], pa.int64()) for name in names}
        )
        return made(table.to_pandas() if library == "pandas" else table)

    def rows(one: Any) -> list[dict[str, Any]]:
        return list(nw.from_native(one, eager_only=True).rows(named=True))

    @dg.asset(metadata=keys("page", "id"))
    def page():
        return frame([{"id": key, "book": key % 2} for key in now[0]], ["id", "book"])

    @dg.asset(metadata=keys("word", "id", input="increment"))
    def word(page):
        return frame([{**row, "v": 1} for row in rows(page)], ["id", "book", "v"])

    lineage = {"type": "aggregation", "on": ["book"]}
    deps = [{"feature": "word", "lineage": lineage}]

    @dg.asset(metadata=keys("book", "book", deps=deps, input="increment"))
    def book(word):
        books = sorted({row["book"] for row in rows(word)})
        return frame([{"book": one, "n": 1} for one in books], ["book", "n"])

    held = Pickles(tmp_path)
    defs = mxd.metaxify_definitions(
        dg.Definitions(assets=[page, word, book], resources={"io_manager": held}),
        features=[],
        settings=KEEP,
        store=str(tmp_path / "m.duckdb"),
    )
    job, instance = defs.resolve_implicit_global_asset_job_def(), dg.DagsterInstance.ephemeral()
    for now[0] in histories:
        assert job.execute_in_process(instance=instance).success
        assert held.columns("page") == (["id", "book"], len(now[0]))
        assert held.columns("word") == (["id", "book", "v"], len(now[0]))
        assert held.columns("book") == (["book", "n"], len({key % 2 for key in now[0]}))
