"""The quick start of the Metaxy documentation: as it is, and with the pass over it."""

from __future__ import annotations

import importlib.util
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType

import dagster as dg
import pytest
from patience import patient
from places import ROOT

import metaxy_dagster as mxd

QUICK_START = ROOT / "examples" / "quick_start"
PASSES: dict[str, Callable[[dg.Definitions], dg.Definitions]] = {
    "without the pass": lambda defs: defs,
    "with the pass": mxd.metaxify_definitions,
}


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The project's own folder, where it is run."""
    made = tmp_path / "quick_start"
    shutil.copytree(QUICK_START, made, ignore=shutil.ignore_patterns("__pycache__", "*.duckdb*"))
    monkeypatch.chdir(made)
    return made


@pytest.fixture
def module(folder: Path) -> Iterator[ModuleType]:
    """The project, with features of its own; runs take place in here as in a process of it."""
    spec = importlib.util.spec_from_file_location("quick_start_defs", folder / "defs.py")
    assert spec is not None
    assert spec.loader is not None
    made = importlib.util.module_from_spec(spec)
    with mxd.FeatureGraph().use():
        spec.loader.exec_module(made)
        yield made


@pytest.mark.parametrize("name", PASSES)
def test_the_quick_start_runs_twice(
    module: ModuleType, instance: dg.DagsterInstance, name: str
) -> None:
    defs = PASSES[name](module.definitions())
    job = defs.resolve_implicit_global_asset_job_def()
    for written in (3, 0):
        result = job.execute_in_process(instance=instance)
        assert result.output_for_node("cluster_report") == {"total_clusters": 2}
        events = [e.materialization for e in result.get_asset_materialization_events()]
        by_key = {event.asset_key.to_user_string(): event.metadata for event in events}
        for key in ("audio/embeddings", "audio/clusters"):
            assert by_key[key]["metaxy/written"].value == written
            assert by_key[key]["dagster/row_count"].value == 3
    store = module.store.get_store()
    assert set(store.schema("audio/embeddings")) == {"audio_id", "path", "mean", "std"}
    assert "cluster_id" in store.schema("audio/clusters")


@pytest.mark.parametrize("name", PASSES)
def test_lineage_of_the_quick_start(module: ModuleType, name: str) -> None:
    graph = PASSES[name](module.definitions()).resolve_asset_graph()
    clusters, report = dg.AssetKey(["audio", "clusters"]), dg.AssetKey("cluster_report")
    assert graph.get(clusters).parent_keys == {dg.AssetKey(["audio", "embeddings"])}
    assert graph.get(report).parent_keys == {clusters}
    columns = graph.get(clusters).metadata["dagster/column_schema"].columns
    assert [column.name for column in columns] == ["audio_id", "mean", "std"]


def test_dagster_runs_the_file(folder: Path, tmp_path: Path) -> None:
    home = tmp_path / "home"
    home.mkdir()
    (home / "dagster.yaml").touch()
    command = [sys.executable, "-m", "dagster", "asset", "materialize", "--select", "*"]
    done = subprocess.run(  # noqa: S603 (our own interpreter)
        [*command, "-f", "defs.py"],
        cwd=folder,
        env={**os.environ, "DAGSTER_HOME": str(home), "PYTHONPATH": str(QUICK_START.parents[1])},
        capture_output=True,
        text=True,
        timeout=patient(300),
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    store = mxd.load_config(folder / "metaxy.toml").get_store("dev")
    assert [str(key) for key in store.features()] == ["audio/clusters", "audio/embeddings"]
