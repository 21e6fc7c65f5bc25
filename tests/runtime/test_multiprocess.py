"""Feature assets in processes of their own share one file."""

from pathlib import Path

import dagster as dg
import pytest
from many_features import COUNT, PATH, graph, make_job

import metaxy_dagster as mxd


def test_many_features_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(PATH, str(tmp_path / "m.duckdb"))
    with dg.DagsterInstance.local_temp(str(tmp_path)) as instance:
        result = dg.execute_job(
            dg.reconstructable(make_job),
            instance=instance,
            run_config={"execution": {"config": {"max_concurrent": 3}}},
        )
        assert result.success
    store = mxd.DuckDBMetadataStore(tmp_path / "m.duckdb", graph=graph())
    for i in range(COUNT):
        assert store.count(f"f{i}") == 100
        assert store.resolve_update(f"f{i}").counts == mxd.Counts(0, 0, 0)
