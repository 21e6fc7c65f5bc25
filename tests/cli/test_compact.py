from __future__ import annotations

import json
from pathlib import Path

import pyarrow as pa
import pytest

import metaxy_dagster as mxd
from metaxy_dagster.cli import main


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A store whose only sample was written three times."""
    graph = mxd.FeatureGraph()
    graph.add(mxd.FeatureSpec("root", id_columns=["id"]))
    store = mxd.DuckDBMetadataStore(tmp_path / "m.duckdb", graph=graph)
    for x in "abc":
        store.write("root", pa.table({"id": [1], "x": [x]}))
    return store.path


def test_only_what_is_old_goes(path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["compact", str(path)]) == 0
    assert "history: 0 rows removed, 2 kept" in capsys.readouterr().out
    assert main(["compact", str(path), "--older-than-days", "0", "--dry-run"]) == 0
    assert "root: 2 would be removed, 0 kept" in capsys.readouterr().out
    assert main(["compact", str(path), "--older-than-days", "0", "--keep-versions", "1"]) == 0
    assert "root: 1 removed, 1 kept" in capsys.readouterr().out


def test_as_json(path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    options = ["--older-than-days", "0", "--before", "2", "--no-rewrite", "--format", "json"]
    assert main(["compact", str(path), *options]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["features"] == [{"feature": "root", "removed": 1, "kept": 1}]
    assert (found["horizon"], found["dry_run"]) == (2, False)
    assert found["bytes_after"] == path.stat().st_size


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (["{folder}/none.duckdb"], 2, "no store to compact"),
        (["{path}", "--older-than-days", "1e99"], 2, "not a span of time"),
        (["{path}", "--older-than-days", "nan"], 2, "not a span of time"),
        (["{path}", "--older-than-days", "-1"], 1, "not a span of time"),
        (["{path}", "--keep-versions", "-1"], 1, "keep_versions is not a number"),
    ],
)
def test_what_is_refused(
    arguments: list[str],
    code: int,
    said: str,
    path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    given = [text.format(path=path, folder=path.parent) for text in arguments]
    before = path.read_bytes()
    assert main(["compact", *given]) == code
    assert said in capsys.readouterr().err
    assert path.read_bytes() == before
    assert not (path.parent / "none.duckdb").exists()
