from __future__ import annotations

import json
from pathlib import Path

import pyarrow as pa
import pytest

import metaxy_dagster as mxd
from metaxy_dagster.cli import main

CODE = """
root = dg.AssetSpec("up", metadata={{"metaxy/feature": "root", "metaxy/id_columns": ["id"]}})
leaf = dg.AssetSpec("down", metadata={{
    "metaxy/feature": "leaf", "metaxy/id_columns": ["id"], "metaxy/deps": ["root"]}})
defs = mxd.metaxify_definitions(dg.Definitions([root, leaf]), features=[]{options})
"""


@pytest.fixture
def store(tmp_path: Path) -> mxd.DuckDBMetadataStore:
    """A store in which sample 1 failed three times, and 2 and 3 once."""
    graph = mxd.FeatureGraph()
    graph.add(mxd.FeatureSpec("root", id_columns=["id"]))
    graph.add(mxd.FeatureSpec("leaf", id_columns=["id"], deps=["root"]))
    store = mxd.DuckDBMetadataStore(tmp_path / "m.duckdb", graph=graph)
    store.write("root", pa.table({"id": [1, 2, 3, 4], "x": ["a", "b", "c", "d"]}))
    for errors in (
        {1: ValueError("torn\n  in two")},
        {1: ValueError("torn\n  in two"), 2: TimeoutError("slow")},
        {1: ValueError("torn\n  in two"), 3: "odd"},
    ):
        samples = [{"id": sample} for sample in errors]
        increment = store.resolve_update("leaf")
        store.record_failures("leaf", samples, list(errors.values()), increment=increment)
    return store


@pytest.fixture
def where(store: mxd.DuckDBMetadataStore, repo) -> list[object]:
    """The options that name a repository whose own store that is."""
    return ["-f", repo(CODE.format(options=f", store={str(store.path)!r}"))]


def pending(store: mxd.DuckDBMetadataStore) -> tuple[int, int]:
    counts = store.resolve_update("leaf").counts
    return counts.pending, counts.quarantined


def test_failures_are_listed(where, run) -> None:
    done = run("failures", *where)
    assert done.code == 0
    first, *lines = done.out.splitlines()
    assert first.startswith("store: DuckDBMetadataStore(")
    assert lines[0] == "leaf: 3 failed, 1 quarantined"
    cells = [line.split() for line in lines[1:]]
    assert cells[0] == ["id", "attempts", "quarantined", "failed", "at", "error"]
    # The most recent first; what is said on several lines stands on one.
    assert [(row[0], row[1], row[2], row[5:]) for row in cells[1:]] == [
        ("1", "3", "yes", ["ValueError", "torn", "in", "two"]),
        ("3", "1", "no", ["odd"]),
        ("2", "1", "no", ["TimeoutError", "slow"]),
    ]


def test_failures_as_json(where, run) -> None:
    done = run("failures", "leaf", *where, "--filters", "id < 3", "--format", "json")
    (found,) = json.loads(done.out)["features"]
    assert (found["feature"], found["failed"], found["quarantined"]) == ("leaf", 2, 1)
    assert [(each["id"], each["metaxy_error"]) for each in found["samples"]] == [
        (1, "torn\n  in two"),
        (2, "slow"),
    ]


def test_a_long_list_is_cut_and_says_so(where, run) -> None:
    done = run("failures", *where, "--limit", 1)
    assert done.out.splitlines()[1] == "leaf: 3 failed, 1 quarantined"
    assert "… and 2 more; --limit 0 lists all" in done.out
    assert "slow" not in done.out
    assert "slow" in run("failures", *where, "--limit", 0).out


def test_a_store_without_failures(where, store, run) -> None:
    store.retry("leaf")
    assert "no sample failed" in run("failures", *where).out
    assert "leaf: 0 failed, 0 quarantined" in run("failures", "leaf", *where).out
    assert "leaf: 0 samples are pending again" in run("retry", "leaf", *where).out


def test_all_failed_samples_are_pending_again(where, store, run) -> None:
    assert pending(store) == (3, 1)
    done = run("retry", "leaf", *where)
    assert (done.code, done.out.splitlines()[1:]) == (0, ["leaf: 3 samples are pending again"])
    assert pending(store) == (4, 0)


def test_only_those_for_which_all_filters_hold(where, store, run) -> None:
    filters = ("--filters", "metaxy_attempts > 1", "--filters", "metaxy_error_type = 'ValueError'")
    done = run("retry", "leaf", *where, *filters, "--format", "json")
    assert json.loads(done.out) == {
        "store": store.display(),
        "dry_run": False,
        "features": [{"feature": "leaf", "retried": 1}],
    }
    assert pending(store) == (4, 0)
    assert store.failed("leaf").failed == 2


def test_a_dry_run_forgets_nothing(where, store, run) -> None:
    done = run("retry", "leaf", *where, "--dry-run", "--filters", "metaxy_error = 'slow'")
    _, said, _, listed = done.out.splitlines()
    assert said == "leaf: 1 sample would be pending again"
    assert listed.split()[0] == "2"
    done = run("retry", "leaf", *where, "--dry-run", "--format", "json")
    (found,) = json.loads(done.out)["features"]
    assert (found["retried"], [each["id"] for each in found["samples"]]) == (3, [1, 3, 2])
    assert store.failed("leaf").failed == 3


def test_a_store_named_on_the_command_line(store, repo, run) -> None:
    done = run("retry", "leaf", "-f", repo(CODE.format(options="")), "--store", store.path)
    assert (done.code, store.failed("leaf").failed) == (0, 0)


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["retry"], (2, "FEATURE")),
        (["retry", "laef"], (2, "name 'leaf'")),
        (["failures", "laef"], (2, "no such feature")),
        (["retry", "leaf", "--filters", "size > 3"], (1, "does not have")),
        (["retry", "leaf", "root", "--filters", "metaxy_error >"], (1, "filter")),
        (["retry", "leaf", "--limit", "-1"], (2, "0 or more")),
        (["failures", "--limit", "few"], (2, "few")),
    ],
)
def test_what_is_refused(arguments, expected, where, store, run) -> None:
    code, said = expected
    done = run(*arguments, *where)
    assert (done.code, done.out) == (code, "")
    assert said in done.err
    assert store.failed("leaf").failed == 3


def test_faults_of_the_repository(store, repo, run) -> None:
    code = CODE.format(options="").replace('"metaxy/deps": ["root"]', '"metaxy/deps": ["rot"]')
    for command in ("failures", "retry"):
        done = run(command, "leaf", "-f", repo(code), "--store", store.path)
        assert (done.code, done.out) == (1, "")
        assert "asset 'down'" in done.err
    assert store.failed("leaf").failed == 3


def test_what_writes_is_said(capsys) -> None:
    with pytest.raises(SystemExit):
        main(["--help"])
    assert (
        "Only `adopt`, `compact`, `migrate-ids`, `retrofit --write` and `retry` write."
        in " ".join(capsys.readouterr().out.split())
    )
