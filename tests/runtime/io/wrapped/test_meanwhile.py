"""What another run does while an input is loaded from where it is kept."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import dagster as dg
import pandas as pd
import pytest

import metaxy_dagster as mxd


class Files(dg.IOManager):
    """CSV files; something may happen before one is read, and after."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.before: Callable[[], None] = lambda: None
        self.after: Callable[[], None] = lambda: None

    def handle_output(self, context: dg.OutputContext, obj: pd.DataFrame) -> None:
        obj.to_csv(self.folder / context.asset_key.path[-1], index=False)

    def load_input(self, context: dg.InputContext) -> pd.DataFrame:
        self.before()
        found = pd.read_csv(self.folder / context.asset_key.path[-1])
        self.after()
        return found


FIRST = {1: 10, 2: 20}
# What another run makes of the upstream.
OTHER = [{1: 10, 2: 20, 3: 30}, {1: 11, 2: 20}, {1: 11, 2: 20, 3: 30}, {1: 10, 2: 20}, {2: 20}]


@pytest.mark.parametrize("back", [False, True], ids=["it stays so", "it changes back"])
@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize("rows", OTHER, ids=str)
def test_samples_that_an_upstream_changed_meanwhile_stay_pending(
    tmp_path: Path, rows: dict[int, int], when: str, *, back: bool
) -> None:
    now, seen, files = [FIRST], [], Files(tmp_path)
    keys = {"metaxy/id_columns": ["id"], "metaxy/max_deleted_share": 1.0}

    @dg.asset(metadata={"metaxy/feature": "page", **keys})
    def page():
        return pd.DataFrame({"id": [*now[0]], "v": [*now[0].values()]})

    @dg.asset(metadata={"metaxy/feature": "word", "metaxy/input": "increment", **keys})
    def word(page: pd.DataFrame) -> pd.DataFrame:
        seen.append(set(page["id"]))
        return page.assign(v=page["v"] * 2)

    path = tmp_path / "m.duckdb"
    defs = mxd.metaxify_definitions(
        dg.Definitions(assets=[page, word], resources={"io_manager": files}),
        features=[],
        store=str(path),
    )
    job, instance = defs.resolve_implicit_global_asset_job_def(), dg.DagsterInstance.ephemeral()

    def run(*names: str) -> None:
        keys = [dg.AssetKey(name) for name in names]
        assert job.execute_in_process(instance=instance, asset_selection=keys).success

    def another_run() -> None:
        setattr(files, when, lambda: None)
        now[0] = rows
        run("page")

    run("page")
    setattr(files, when, another_run)
    run("word")
    assert len(seen) == 1
    if back:
        now[0] = FIRST
        run("page")
    run("word")
    found = pd.read_csv(tmp_path / "word")
    wanted = {key: value * 2 for key, value in now[0].items()}
    assert dict(zip(found["id"], found["v"], strict=True)) == wanted
    # What nobody changed is computed once.
    assert len(seen) == 1 or 2 not in seen[1]
