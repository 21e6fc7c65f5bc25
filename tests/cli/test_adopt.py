from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import metaxy_dagster as mxd

LEGACY = """
import pandas as pd

KEYS = {{"metaxy/id_columns": ["video_id"]}}

@dg.asset(metadata={{"metaxy/feature": "videos", **KEYS}})
def videos() -> pd.DataFrame:
    return pd.DataFrame({{"video_id": [1, 2, 3], "path": ["a", "b", "c"]}})

@dg.asset(metadata={{"metaxy/feature": "faces", "metaxy/input": "increment", **KEYS}})
def faces(videos: pd.DataFrame) -> pd.DataFrame:
    print("computed", len(videos))
    return pd.DataFrame({{"video_id": videos["video_id"], "faces": 1}}).head({rows})

@dg.asset(metadata={{"metaxy/feature": "report", **KEYS}})
def report(faces: pd.DataFrame) -> pd.DataFrame:
    return faces

legacy = dg.Definitions(assets=[videos, faces, report])
"""
PASSED = (
    LEGACY
    + """
defs = mxd.metaxify_definitions(legacy, features=[], store={store!r})
"""
)
RUN = """
import sys, dagster as dg
from {module} import {name}
job = {name}.resolve_implicit_global_asset_job_def()
assert job.execute_in_process(instance=dg.DagsterInstance.get()).success
"""


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    path = tmp_path / "home"
    path.mkdir()
    (path / "dagster.yaml").write_text("telemetry: {enabled: false}\n")
    monkeypatch.setenv("DAGSTER_HOME", str(path))
    return path


def ran(path: Path, name: str) -> str:
    """The output of a run in a process of its own, as Dagster's daemon starts one."""
    done = subprocess.run(  # noqa: S603 - a script of this test's own
        [sys.executable, "-c", RUN.format(module=path.stem, name=name)],
        cwd=path.parent,
        env=os.environ | {"PYTHONPATH": os.pathsep.join([str(path.parent), *sys.path])},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.parametrize("rows", [3, 2])
def test_the_first_run_after_a_retrofit_computes_what_was_missing(
    rows: int, home: Path, tmp_path: Path, repo, run
) -> None:
    path = str(tmp_path / "m.duckdb")
    file = repo(PASSED.format(rows=rows, store=path))
    assert "computed 3" in ran(file, "legacy")
    tried = run("adopt", "--all", "-f", file, "-a", "defs", "--dry-run")
    assert tried.code == 0
    assert "3 of 3 rows would be adopted" in tried.out
    assert "known once videos is adopted" in tried.out
    assert not Path(path).exists()
    done = run("adopt", "--all", "-f", file, "-a", "defs", "--format", "json")
    told = {each["feature"]: each for each in json.loads(done.out)["adopted"]}
    assert done.code == 0
    assert [told[name]["adopted"] for name in ("videos", "faces", "report")] == [3, rows, rows]
    assert told["faces"]["pending"] == 3 - rows
    again = run("adopt", "faces", "-f", file, "-a", "defs")
    assert "0 of " in again.out
    assert f"{rows} up to date already" in again.out
    assert ("computed" in ran(file, "defs")) is (rows < 3)


def test_a_file_is_adopted(tmp_path: Path, repo, run) -> None:
    path = str(tmp_path / "m.duckdb")
    file = repo(PASSED.format(rows=3, store=path))
    rows = tmp_path / "videos.parquet"
    pq.write_table(pa.table({"video_id": [1, 2, 2], "path": ["a", "b", "c"]}), rows)
    done = run("adopt", "videos", "-f", file, "-a", "defs", "--from", rows)
    assert done.code == 0
    assert "1 of 3 rows adopted" in done.out
    assert "2 left out: they share their ids" in done.out
    (tmp_path / "faces.csv").write_text("video_id,faces\n1,4\n9,1\n")
    done = run("adopt", "faces", "-f", file, "-a", "defs", "--from", tmp_path / "faces.csv")
    assert "1 left out: nothing upstream calls for them" in done.out
    assert mxd.DuckDBMetadataStore(path).features()


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ([], "required"),
        (["--all", "--from", "x.parquet"], "a file holds the rows of one feature"),
        (["videos", "--from", "x.parquet"], "does not exist"),
        (["vidoes"], "name 'videos'"),
        (["videos"], "Dagster knows no materialization of it"),
    ],
)
@pytest.mark.usefixtures("home")
def test_what_is_not_there_is_told(arguments, says, tmp_path, repo, run) -> None:
    file = repo(PASSED.format(rows=3, store=str(tmp_path / "m.duckdb")))
    done = run("adopt", *arguments, "-f", file, "-a", "defs")
    assert done.code == (1 if arguments == ["videos"] else 2)
    assert says in done.out + done.err
