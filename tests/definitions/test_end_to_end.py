"""The pass with the real store and IO manager: plain functions over frames become features."""

from __future__ import annotations

import dagster as dg
import pyarrow as pa

from metaxy_dagster.definitions import metaxify_definitions
from metaxy_dagster.stores import DuckDBMetadataStore


def table(ids):
    return pa.table({"id": ids, "size": [each * 10 for each in ids]})


def test_a_retrofitted_repository_runs_on_the_store(tmp_path, instance):
    seen = []
    ids = [1, 2, 3]
    inline = {"metaxy/id_columns": ["id"]}

    @dg.asset(metadata={"metaxy/feature": "video/raw", **inline})
    def zz_videos() -> pa.Table:
        return table(ids)

    @dg.asset(
        ins={"videos": dg.AssetIn(key=["video", "raw"])},
        metadata={
            "metaxy/feature": "video/doubled",
            **inline,
            "metaxy/deps": ["video/raw"],
            "metaxy/input": "increment",
        },
    )
    def doubled(videos: pa.Table) -> pa.Table:
        seen.append(sorted(videos["id"].to_pylist()))
        return pa.table({"id": videos["id"], "twice": [2 * x for x in videos["size"].to_pylist()]})

    path = tmp_path / "m.duckdb"
    defs = metaxify_definitions(
        dg.Definitions(assets=[doubled, zz_videos]), features=[], store=path
    )
    dg.Definitions.validate_loadable(defs)
    job = defs.resolve_implicit_global_asset_job_def()
    assert job.execute_in_process(instance=instance).success
    ids.append(4)
    assert job.execute_in_process(instance=instance).success
    assert seen == [[1, 2, 3], [4]]
    store = DuckDBMetadataStore(path, graph=defs.resources["store"].graph)
    with store:
        rows = store.read("video/doubled").collect().to_dict(as_series=False)
    assert sorted(rows["twice"]) == [20, 40, 60, 80]
