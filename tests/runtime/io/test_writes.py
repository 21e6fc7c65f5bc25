"""What an asset returns becomes the state of its feature."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import dagster as dg
import pyarrow as pa
import pytest
from feature_runs import data_version, event, feature, images, stored

import metaxy_dagster as mxd


def root(rows: dict[int, tuple[str, str]], **metadata: Any) -> dg.AssetsDefinition:
    @dg.asset(**feature("image", **metadata))
    def image() -> pa.Table:
        return images(rows)

    return image


FOUR = {i: (f"p{i}", f"l{i}") for i in range(4)}


@pytest.mark.parametrize(
    ("metadata", "after"),
    [
        ({}, {0, 1, 2, 9}),
        ({"write": "replace"}, {0, 1, 2, 9}),
        ({"write": "upsert"}, {0, 1, 2, 3, 9}),
    ],
)
def test_a_roots_frame_is_its_whole_state_unless_it_upserts(
    run: Callable[..., Any],
    store: mxd.DuckDBMetadataStore,
    metadata: dict[str, Any],
    after: set[int],
) -> None:
    run(root(FOUR))
    changed = {**FOUR, 9: ("p9", "l9"), 2: ("other", "l2")}
    del changed[3]
    found = event(run(root(changed, **metadata)), "image")
    assert set(stored(store, "image")) == after
    assert stored(store, "image")[2] == ("other", "l2")
    assert (found["metaxy/new"], found["metaxy/stale"], found["metaxy/unchanged"]) == (1, 1, 2)
    assert found["metaxy/deleted"] == (0 if metadata.get("write") == "upsert" else 1)


def test_a_replace_that_would_delete_too_much_is_refused_and_changes_nothing(
    run: Callable[..., Any], resources: dict[str, Any], store: mxd.DuckDBMetadataStore
) -> None:
    run(root(FOUR))
    with pytest.raises(mxd.FrameError) as caught:
        run(root({0: FOUR[0]}))
    assert "asset 'image', feature 'image'" in str(caught.value)
    assert "3 of 4" in str(caught.value)
    assert len(stored(store, "image")) == 4
    generous = mxd.MetaxyIOManager(store=store, max_deleted_share=1.0)
    run(root({0: FOUR[0]}), resources={**resources, "metaxy_io_manager": generous})
    assert len(stored(store, "image")) == 1


def test_only_rows_whose_content_changed_move_downstream(
    run: Callable[..., Any], store: mxd.DuckDBMetadataStore
) -> None:
    run(root(FOUR))
    for key in ("thumb", "name"):
        increment = store.resolve_update(key)
        frame = pa.table({"id": [0, 1, 2, 3], key: ["a", "b", "c", "d"]})
        store.write(key, frame, increment=increment)
    run(root({**FOUR, 1: ("other", "l1"), 2: ("p2", "other")}))
    assert store.resolve_update("thumb").counts == mxd.Counts(new=0, stale=1, orphaned=0)
    assert store.resolve_update("name").counts == mxd.Counts(new=0, stale=1, orphaned=0)
    (stale,) = store.resolve_update("thumb").stale.collect().to_native()["id"].to_pylist()
    assert stale == 1


BAD = [
    (pa.table({"id": [1, 1], "pixels": ["a", "b"], "label": ["a", "b"]}), "unique"),
    (pa.table({"id": [1, None], "pixels": ["a", "b"], "label": ["a", "b"]}), "nulls"),
    (pa.table({"pixels": ["a"]}), "id columns are missing"),
    (pa.table({"id": [1], "metaxy_x": ["a"]}), "reserved"),
    (pa.table({"id": [1.5], "pixels": ["a"]}), "cannot name a sample"),
    ("text", "not a frame"),
    ({"id": [1]}, "not a frame"),
]


@pytest.mark.parametrize(("returned", "problem"), BAD, ids=[problem for _, problem in BAD])
def test_a_bad_frame_is_refused_by_name_and_changes_nothing(
    run: Callable[..., Any], store: mxd.DuckDBMetadataStore, returned: Any, problem: str
) -> None:
    @dg.asset(**feature("image"))
    def bad():
        return returned

    store.write("image", images(FOUR))
    with pytest.raises(mxd.FrameError, match=problem) as caught:
        run(bad)
    assert "asset 'bad', feature 'image'" in str(caught.value)
    assert caught.value.remedy
    assert stored(store, "image") == FOUR


@pytest.mark.parametrize(
    "metadata",
    [
        {"write": "append"},
        {"input": "new"},
        {"partition": ["a"]},
        {"partition": {"source": []}},
        {"partition_by": 3},
    ],
)
def test_a_metadata_value_that_is_not_allowed_is_refused_by_name(
    run: Callable[..., Any], metadata: dict[str, Any]
) -> None:
    with pytest.raises(mxd.RunError) as caught:
        run(root(FOUR, **metadata))
    assert "asset 'image'" in str(caught.value)
    assert caught.value.allowed


RESULTS: dict[str, Callable[[], Any]] = {
    "output": lambda: dg.Output(images(FOUR), metadata={"mine": 1}),
    "result": lambda: dg.MaterializeResult(value=images(FOUR), metadata={"mine": 1}),
}


@pytest.mark.parametrize("name", RESULTS)
def test_wrapped_results_are_written_and_keep_their_metadata(
    run: Callable[..., Any], store: mxd.DuckDBMetadataStore, name: str
) -> None:
    @dg.asset(**feature("image"))
    def image():
        return RESULTS[name]()

    found = event(run(image), "image")
    assert stored(store, "image") == FOUR
    assert (found["mine"], found["dagster/row_count"]) == (1, 4)


def test_a_generator_is_written(run: Callable[..., Any], store: mxd.DuckDBMetadataStore) -> None:
    @dg.asset(**feature("image"))
    def image():
        yield dg.Output(images(FOUR))

    run(image)
    assert stored(store, "image") == FOUR


def test_nothing_returned_writes_nothing_and_still_reports(
    run: Callable[..., Any], store: mxd.DuckDBMetadataStore
) -> None:
    """An unannotated function that writes by itself."""

    @dg.asset(**feature("image"))
    def image():
        store.write("image", images(FOUR))

    assert event(run(image), "image")["dagster/row_count"] == 4


def test_a_derived_frame_without_provenance_is_refused(
    run: Callable[..., Any], store: mxd.DuckDBMetadataStore
) -> None:
    """The asset read its upstream in its own way, so nobody knows what it computed from."""

    @dg.asset(**feature("thumb"))
    def thumb() -> pa.Table:
        return pa.table({"id": [1], "thumb": ["a"]})

    store.write("image", images(FOUR))
    with pytest.raises(mxd.FrameError, match="provenance of these rows is unknown") as caught:
        run(thumb)
    assert "asset 'thumb', feature 'thumb'" in str(caught.value)
    assert "as arguments" in str(caught.value)
    assert [str(key) for key in store.features()] == ["image"]


def test_a_derived_frame_with_the_increments_provenance_is_written(
    run: Callable[..., Any], store: mxd.DuckDBMetadataStore
) -> None:
    @dg.asset(**feature("thumb"))
    def thumb(store: dg.ResourceParam[mxd.MetadataStore]):
        pending = store.resolve_update("thumb").pending.collect("pyarrow").to_native()
        return pending.append_column("thumb", pending["pixels"]).drop_columns(["label"])

    store.write("image", images(FOUR))
    found = event(run(thumb), "thumb")
    assert found["metaxy/new"] == 4
    assert store.resolve_update("thumb").counts.pending == 0


def test_every_event_of_a_write(
    run: Callable[..., Any], store: mxd.DuckDBMetadataStore, instance: dg.DagsterInstance
) -> None:
    found = event(run(root(FOUR)), "image")
    assert found["dagster/row_count"] == 4
    assert found["dagster/table_name"] == store.table_name("image")
    assert found["dagster/uri"] == store.uri
    columns = [(column.name, column.type) for column in found["dagster/column_schema"].columns]
    assert columns == [("id", "BIGINT"), ("pixels", "VARCHAR"), ("label", "VARCHAR")]
    assert found["metaxy/store"] == store.display()
    info = found["metaxy/info"]
    assert info["feature"]["version"] == store.graph.feature_version("image")
    assert info["feature"]["code_version"] == store.graph.code_version("image")
    assert set(info["fields"]) == {"pixels", "label"}
    assert found["metaxy/preview"].records[0].data == {"id": 0, "pixels": "p0", "label": "l0"}
    numbers = {
        name: found[f"metaxy/{name}"]
        for name in ("new", "stale", "orphaned", "written", "unchanged", "deleted")
    }
    assert numbers == {
        "new": 4,
        "stale": 0,
        "orphaned": 0,
        "written": 4,
        "unchanged": 0,
        "deleted": 0,
    }
    assert found["metaxy/materialized_in_run"] == 4
    assert data_version(instance, "image") == store.data_version("image")


def test_a_preview_shows_any_type_briefly(
    run: Callable[..., Any], store: mxd.DuckDBMetadataStore
) -> None:
    @dg.asset(**feature("image"))
    def image() -> pa.Table:
        return pa.table(
            {
                "id": pa.array(range(9)),
                "pixels": pa.array([[0.5] * 100] * 9),
                "label": pa.array([None] * 9, pa.int64()),
                "flag": pa.array([True] * 9),
                "share": pa.array([0.5] * 9),
            }
        )

    preview = event(run(image), "image")["metaxy/preview"]
    kinds = {column.name: column.type for column in preview.schema.columns}
    assert kinds == {
        "id": "int",
        "pixels": "string",
        "label": "string",
        "flag": "bool",
        "share": "float",
    }
    assert len(preview.records) == 5
    assert len(preview.records[0].data["pixels"]) == 81


def test_the_data_version_moves_with_any_change_and_with_nothing_else(
    run: Callable[..., Any], instance: dg.DagsterInstance
) -> None:
    versions = []
    for rows in (
        FOUR,
        dict(reversed(FOUR.items())),
        {**FOUR, 4: ("p4", "l4")},
        FOUR,
        {**FOUR, 0: ("other", "l0")},
    ):
        run(root(rows))
        versions.append(data_version(instance, "image"))
    first, again, added, removed, changed = versions
    assert first == again == removed
    assert len({first, added, changed}) == 3
