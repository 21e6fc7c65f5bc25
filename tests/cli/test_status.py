from __future__ import annotations

import json
from pathlib import Path

import pyarrow as pa
import pytest

import metaxy_dagster as mxd

ROOT = mxd.FeatureSpec("root", id_columns=["id"])
LEAF = mxd.FeatureSpec("leaf", id_columns=["id"], deps=["root"])
CODE = """
root = dg.AssetSpec("up", metadata={{"metaxy/feature": "root", "metaxy/id_columns": ["id"]}})
leaf = dg.AssetSpec("down", metadata={{
    "metaxy/feature": "leaf", "metaxy/id_columns": ["id"], "metaxy/deps": ["root"]}})
defs = mxd.metaxify_definitions(dg.Definitions([root, leaf]), features=[]{options})
"""


@pytest.fixture
def filled(tmp_path: Path) -> Path:
    """A store of four roots and three leaves: one new, one stale, one orphaned."""
    graph = mxd.FeatureGraph()
    for spec in (ROOT, LEAF):
        graph.add(spec)
    store = mxd.DuckDBMetadataStore(tmp_path / "m.duckdb", graph=graph)
    store_write(store, {"id": [1, 2, 3], "x": ["a", "b", "c"]})
    increment = store.resolve_update("leaf")
    with store.open("w"):
        store.write("leaf", pa.table({"id": [1, 2, 3]}), increment=increment)
    store_write(store, {"id": [1, 2, 4, 5], "x": ["a", "B", "d", "e"]}, mode="replace")
    return store.path


def store_write(store: mxd.DuckDBMetadataStore, rows: dict[str, list[object]], **how) -> None:
    with store.open("w"):
        store.write("root", pa.table(rows), **how)


EXPECTED = {
    "root": (["up"], 4, None, None, None),
    "leaf": (["down"], 3, 2, 1, 1),
}


def rows(out: str) -> dict[str, tuple[object, ...]]:
    return {
        each["feature"]: tuple(each[n] for n in ("assets", "rows", "new", "stale", "orphaned"))
        for each in json.loads(out)["features"]
    }


def test_the_repository_s_own_store(filled: Path, repo, run) -> None:
    path = repo(CODE.format(options=f", store={str(filled)!r}"))
    done = run("status", "-f", path, "--format", "json")
    assert done.code == 0
    assert rows(done.out) == EXPECTED


def test_a_store_named_on_the_command_line(filled: Path, repo, run) -> None:
    done = run("status", "-f", repo(CODE.format(options="")), "--store", filled)
    assert done.code == 0
    assert [line.split() for line in done.out.splitlines()[1:]] == [
        ["feature", "rows", "new", "stale", "orphaned", "assets"],
        ["root", "4", "-", "-", "-", "up"],
        ["leaf", "3", "2", "1", "1", "down"],
    ]


def test_quarantined_samples_are_shown_where_there_are_any(filled: Path, repo, run) -> None:
    graph = mxd.FeatureGraph()
    for spec in (ROOT, LEAF):
        graph.add(spec)
    store = mxd.DuckDBMetadataStore(filled, graph=graph)
    for _ in range(3):
        store.record_failures("leaf", [{"id": 4}], "torn", increment=store.resolve_update("leaf"))
    path = repo(CODE.format(options=""))
    done = run("status", "-f", path, "--store", filled)
    *lines, last = done.out.splitlines()
    assert [line.split() for line in lines[1:]] == [
        ["feature", "rows", "new", "stale", "orphaned", "failed", "quarantined", "assets"],
        ["root", "4", "-", "-", "-", "-", "-", "up"],
        ["leaf", "3", "1", "1", "1", "1", "1", "down"],
    ]
    assert last == (
        "warning: leaf: 1 failed, 1 of them no longer tried (quarantined); "
        "see metaxy-dagster failures, and retry"
    )
    done = run("status", "-f", path, "--store", filled, "--format", "json")
    root, leaf = json.loads(done.out)["features"]
    assert "quarantined" not in root
    assert (leaf["failed"], leaf["quarantined"]) == (1, 1)
    assert "outdated" not in leaf
    store.retry("leaf")
    done = run("status", "-f", path, "--store", filled)
    assert "quarantined" not in done.out.splitlines()[1]
    done = run("status", "-f", path, "--store", filled, "--format", "json")
    assert not any("quarantined" in each for each in json.loads(done.out)["features"])


def test_failed_samples_whose_old_rows_are_served_cannot_be_overlooked(
    filled: Path, repo, run
) -> None:
    graph = mxd.FeatureGraph()
    for spec in (ROOT, LEAF):
        graph.add(spec)
    store = mxd.DuckDBMetadataStore(filled, graph=graph)
    increment = store.resolve_update("leaf")
    store.record_failures("leaf", [{"id": 2}, {"id": 4}], "torn", increment=increment)
    done = run("status", "-f", repo(CODE.format(options="")), "--store", filled)
    *lines, last = done.out.splitlines()
    assert done.code == 0
    assert [line.split() for line in lines[1:]] == [
        ["feature", "rows", "new", "stale", "orphaned", "failed", "outdated", "assets"],
        ["root", "4", "-", "-", "-", "-", "-", "up"],
        ["leaf", "3", "2", "1", "1", "2", "1", "down"],
    ]
    assert "2 failed, 1 still with the row of an earlier computation" in last


def test_a_configured_store(filled: Path, repo, run, monkeypatch, tmp_path: Path) -> None:
    (tmp_path / "metaxy.toml").write_text(f'stores.dev.config.path = "{filled}"')
    monkeypatch.chdir(tmp_path)
    path = repo(CODE.format(options=""))
    for options in ((), ("--store", "dev")):
        assert rows(run("status", "-f", path, "--format", "json", *options).out) == EXPECTED


@pytest.mark.parametrize(
    "resource", ["mxd.DuckDBMetadataStore({!r})", "dg.ResourceDefinition(lambda _: made({!r}))"]
)
def test_a_store_resource_of_the_user_s_own(resource: str, filled: Path, repo, run) -> None:
    code = "made = mxd.DuckDBMetadataStore\n" + CODE.format(
        options=f", store={resource.format(str(filled))}"
    )
    done = run("status", "-f", repo(code), "--format", "json")
    assert rows(done.out) == EXPECTED


def test_a_resource_that_is_no_store(repo, run) -> None:
    code = CODE.format(options="").replace(
        "Definitions([root, leaf])", "Definitions([root, leaf], resources={'store': 1})"
    )
    done = run("status", "-f", repo(code))
    assert done.code == 2
    assert "is no metadata store" in done.err


def test_a_store_that_was_never_written(repo, run, tmp_path: Path) -> None:
    path = tmp_path / "absent" / "m.duckdb"
    done = run("status", "-f", repo(CODE.format(options="")), "--store", path, "--format", "json")
    assert rows(done.out)["leaf"] == (["down"], 0, 0, 0, 0)
    assert not path.parent.exists()


def test_the_default_store_needs_an_instance(repo, run) -> None:
    done = run("status", "-f", repo(CODE.format(options="")))
    assert done.code == 2
    assert "DAGSTER_HOME" in done.err


def test_nothing_to_show(repo, run, tmp_path: Path) -> None:
    done = run("status", "-f", repo("defs = dg.Definitions()"), "--store", tmp_path / "m.duckdb")
    assert done.code == 0
    assert "no asset carries a feature" in done.out


def test_faults_of_the_repository(repo, run, tmp_path: Path) -> None:
    code = CODE.format(options="").replace('"metaxy/deps": ["root"]', '"metaxy/deps": ["rot"]')
    done = run("status", "-f", repo(code), "--store", tmp_path / "m.duckdb")
    assert (done.code, done.out) == (1, "")
    assert "asset 'down'" in done.err


def test_a_file_that_is_no_store(repo, run, tmp_path: Path) -> None:
    path = tmp_path / "m.duckdb"
    path.write_text("not a database")
    done = run("status", "-f", repo(CODE.format(options="")), "--store", path)
    assert done.code == 1
    assert "cannot be read" in done.err
