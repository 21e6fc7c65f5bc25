"""Two names are one column where DuckDB says so: it ignores the case of A to Z, and of no other."""

from __future__ import annotations

from pathlib import Path

import dagster as dg
import polars as pl
import pytest
from feature_runs import IO_MANAGER

import metaxy_dagster as mxd

KEYS = dg.StaticPartitionsDefinition(["a", "b"])


@pytest.fixture
def store(tmp_path: Path) -> mxd.DuckDBMetadataStore:
    graph = mxd.FeatureGraph()
    graph.add(mxd.FeatureSpec("event", id_columns=["id"]))
    return mxd.DuckDBMetadataStore(tmp_path / "m.duckdb", graph=graph)


def run(store: mxd.DuckDBMetadataStore, frame: pl.DataFrame, named: str, key: str) -> None:
    """Materialize a partition of an asset that returns a frame; the column is said to be named."""

    @dg.asset(
        partitions_def=KEYS,
        io_manager_key=IO_MANAGER,
        metadata={"metaxy/feature": "event", "partition_by": named},
    )
    def event() -> pl.DataFrame:
        return frame

    with dg.DagsterInstance.ephemeral() as instance:
        dg.materialize(
            [event],
            instance=instance,
            partition_key=key,
            resources={IO_MANAGER: mxd.MetaxyIOManager(store=store)},
        )


def stored(store: mxd.DuckDBMetadataStore) -> list[dict[str, object]]:
    names = list(store.schema("event"))
    return store.read_table("event", columns=names).sort_by("id").to_pylist()


def test_a_partition_s_column_may_be_written_in_another_case(store) -> None:
    run(store, pl.DataFrame({"id": [1, 2], "GROUP": ["a", "a"]}), "Group", "a")
    run(store, pl.DataFrame({"id": [3], "group": ["b"]}), "gROUP", "b")
    assert stored(store) == [
        {"id": 1, "GROUP": "a"},
        {"id": 2, "GROUP": "a"},
        {"id": 3, "GROUP": "b"},
    ]
    # A partition that is written again touches its own samples alone.
    run(store, pl.DataFrame({"id": [2], "group": ["a"]}), "Group", "a")
    assert [row["id"] for row in stored(store)] == [2, 3]


def test_samples_of_other_partitions_are_named_as_the_frame_names_them(store) -> None:
    with pytest.raises(mxd.FrameError, match="other partitions") as caught:
        run(store, pl.DataFrame({"id": [1], "GROUP": ["b"]}), "Group", "a")
    assert "{'GROUP': 'b'}" in str(caught.value)


def test_case_beyond_a_to_z_makes_another_column(store) -> None:
    # É is not there, so it is filled in; and then it may not stand beside é.
    with pytest.raises(mxd.FrameError, match="differ by more than case"):
        run(store, pl.DataFrame({"id": [1], "é": ["a"]}), "É", "a")
    assert store.schema("event") == {}


def schema_check(
    store: mxd.DuckDBMetadataStore, graph: mxd.FeatureGraph
) -> dg.AssetCheckEvaluation:
    asset = dg.AssetSpec("event", metadata={"metaxy/feature": "event"})
    checks = mxd.build_feature_checks([asset], names=["schema"])
    resources = {"store": store.with_graph(graph)}
    job = dg.Definitions(asset_checks=checks, resources=resources)
    done = job.resolve_implicit_global_asset_job_def().execute_in_process()
    (found,) = done.get_asset_check_evaluations()
    return found


@pytest.mark.parametrize(
    ("written", "named", "missing"),
    [("TITLE", "title", []), ("é", "É", ["É"]), ("title", "label", ["label"])],
)
def test_the_schema_check_looks_for_the_columns_of_fields(store, written, named, missing) -> None:
    store.write("event", pl.DataFrame({"id": [1], written: ["x"]}))
    graph = mxd.FeatureGraph()
    fields = [mxd.FieldSpec("text", columns=[named])]
    graph.add(mxd.FeatureSpec("event", id_columns=["id"], fields=fields))
    found = schema_check(store, graph)
    assert (found.passed, found.metadata["missing"].value) == (not missing, missing)


def test_the_schema_check_looks_for_the_columns_of_a_class(store) -> None:
    store.write("event", pl.DataFrame({"id": [1], "TITLE": ["x"]}))
    with mxd.FeatureGraph().use() as graph:

        class Event(mxd.BaseFeature, spec=mxd.FeatureSpec("event", id_columns=["id"])):
            id: int
            title: str

    found = schema_check(store, graph)
    assert (found.passed, found.metadata["unknown"].value) == (True, [])


def test_a_renamed_column_is_known_by_its_old_name_in_any_case_of_a_to_z() -> None:
    dep = mxd.FeatureDep("up", rename={"é": "accent", "ID": "key"}, select=["É", "key"])
    assert dep.select == ("É", "key")
    with pytest.raises(mxd.FeatureError, match="before it was renamed"):
        mxd.FeatureDep("up", rename={"ID": "key"}, select=["id"])


def test_column_lineage_goes_to_the_column_of_the_same_name() -> None:
    with mxd.FeatureGraph().use():

        class Page(mxd.BaseFeature, spec=mxd.FeatureSpec("page", id_columns=["id"])):
            id: int
            Title: str
            é: str  # noqa: PLC2401

        class Copy(
            mxd.BaseFeature,
            spec=mxd.FeatureSpec("copy", id_columns=["id"], fields=["one", "two"], deps=[Page]),
        ):
            id: int
            title: str
            É: str  # noqa: PLC2401

        defs = mxd.metaxify_definitions(
            dg.Definitions(
                [
                    dg.AssetSpec("pages", metadata={"metaxy/feature": "page"}),
                    dg.AssetSpec("copies", metadata={"metaxy/feature": "copy"}),
                ]
            ),
            store="never-made.duckdb",
        )
    (copies,) = [
        spec for spec in defs.resolve_all_asset_specs() if spec.key == dg.AssetKey("copies")
    ]
    lineage = copies.metadata["dagster/column_lineage"].deps_by_column
    assert {name: [each.column_name for each in deps] for name, deps in lineage.items()} == {
        "id": ["id"],
        "title": ["Title"],
    }
