"""Feature assets in processes of their own write to one file at once.

``METAXY_TEST_ROUNDS`` sets how often (10 for the full figure).
"""

import os
from pathlib import Path

import dagster as dg
import pytest
from feature_runs import stored
from many_features import CHANGED, COUNT, FOLDER, ROWS, content, graph, make_job

import metaxy_dagster as mxd

ROUNDS = int(os.environ.get("METAXY_TEST_ROUNDS", "2"))
# Processes that begin as copies of one that has imported everything: a second instead of three.
CONFIG = {
    "max_concurrent": COUNT,
    "start_method": {"forkserver": {"preload_modules": ["many_features"]}},
}


def test_many_features_are_written_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(FOLDER, str(tmp_path))
    store = mxd.DuckDBMetadataStore(tmp_path / "m.duckdb", graph=graph())
    with dg.DagsterInstance.local_temp(str(tmp_path)) as instance:
        for number in range(ROUNDS):
            (tmp_path / "round").write_text(str(number))
            with dg.execute_job(
                dg.reconstructable(make_job),
                instance=instance,
                run_config={"execution": {"config": CONFIG}},
            ) as result:
                assert result.success, f"round {number}"
                assert not [event for event in result.all_events if event.is_step_up_for_retry]
            check_round(store, number)
            changed = CHANGED * (number + 1) if number else ROWS
            assert written(instance) == {f"f{i}": changed for i in range(COUNT)}


def check_round(store: mxd.DuckDBMetadataStore, number: int) -> None:
    """No row is lost, none is of an earlier round, nothing is left to do."""
    table = content(number)
    expected = {i: (x,) for i, x in zip(table["id"], table["x"], strict=True)}
    for i in range(COUNT):
        assert stored(store, f"f{i}") == expected, f"round {number}, f{i}"
        assert store.resolve_update(f"f{i}").counts == mxd.Counts(0, 0, 0)


def written(instance: dg.DagsterInstance) -> dict[str, object]:
    """The rows that the last run wrote to each feature."""
    found = {}
    for i in range(COUNT):
        event = instance.get_latest_materialization_event(dg.AssetKey(f"f{i}"))
        found[f"f{i}"] = event.asset_materialization.metadata["metaxy/written"].value
    return found
