from __future__ import annotations

import json
from pathlib import Path

import pyarrow as pa
import pytest

import metaxy_dagster as mxd

CODE = """
shot = dg.AssetSpec("shots", metadata={{"metaxy/feature": "shot", "metaxy/id_columns": {ids}}})
defs = mxd.metaxify_definitions(dg.Definitions([shot]), features=[], store={store!r})
"""


@pytest.fixture
def store(tmp_path: Path) -> mxd.DuckDBMetadataStore:
    graph = mxd.FeatureGraph()
    graph.add(mxd.FeatureSpec("shot", id_columns=["id", "camera"]))
    store = mxd.DuckDBMetadataStore(tmp_path / "m.duckdb", graph=graph)
    store.write("shot", pa.table({"id": [1, 1, 2], "camera": [0, 1, 0]}))
    return store


def where(store: mxd.DuckDBMetadataStore, repo, *ids: str) -> list[object]:
    return ["-f", repo(CODE.format(ids=list(ids), store=str(store.path)))]


def test_a_dry_run_tells_and_changes_nothing(store, repo, run) -> None:
    named = where(store, repo, "id")
    done = run("migrate-ids", "shot", *named, "--dry-run")
    assert done.code == 1
    assert "samples: 3, would be kept 1" in done.out
    assert "2 share their new ids with another one" in done.out
    done = run("migrate-ids", "shot", *named, "--dry-run", "--keep", "newest", "--format", "json")
    told = json.loads(done.out)
    assert (done.code, told["rows"], told["kept"], told["commit"]) == (0, 3, 2, 0)
    assert store.count("shot") == 3


def test_what_cannot_be_decided_is_refused(store, repo, run) -> None:
    done = run("migrate-ids", "shot", *where(store, repo, "id"))
    assert done.code == 1
    assert "new ids of its own" in done.err
    assert store.count("shot") == 3


@pytest.mark.parametrize(
    "case",
    [
        (["id"], ["--keep", "newest", "--drop", "camera"], 2),
        (["id", "camera", "lens"], ["--fill", "lens=7"], 3),
        (["key", "camera"], ["--rename", "id=key", "--type", "key=VARCHAR"], 3),
    ],
)
def test_ids_are_migrated(case, store, repo, run) -> None:
    ids, options, kept = case
    named = where(store, repo, *ids)
    assert run("migrate-ids", "shot", *named, *options).code == 0
    assert store.count("shot") == kept
    again = run("migrate-ids", "shot", *named, "--dry-run")
    assert (again.code, again.out.splitlines()[-1]) == (0, "nothing to do")


@pytest.mark.parametrize("option", ["--rename", "--fill", "--type"])
def test_an_option_that_names_no_column_is_refused(option, store, repo, run) -> None:
    done = run("migrate-ids", "shot", *where(store, repo, "id"), option, "camera")
    assert done.code == 2
    assert f"{option} does not name a column" in done.err


def test_status_names_the_command(store, repo, run) -> None:
    done = run("status", *where(store, repo, "id"))
    assert done.code == 1
    assert "metaxy-dagster migrate-ids shot --dry-run" in done.err
