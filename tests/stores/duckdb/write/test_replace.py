"""A replace: the frame is the whole state, or that of a scope."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from worlds import catch_up, rows, statuses

from metaxy_dagster.errors import FrameError
from metaxy_dagster.features import FeatureDep, FeatureGraph, FeatureSpec, LineageRelationship
from metaxy_dagster.stores import DuckDBMetadataStore


def graph() -> FeatureGraph:
    made = FeatureGraph()
    made.add(FeatureSpec("video", id_columns=["id"]))
    made.add(FeatureSpec("crop", id_columns=["id"], deps=["video"]))
    parent = FeatureDep("video", lineage=LineageRelationship.expansion())
    made.add(FeatureSpec("child", id_columns=["id", "n"], deps=[parent]))
    return made


@pytest.fixture(params=[100, 0], ids=["narrow", "full"])
def store(tmp_path: Path, request: pytest.FixtureRequest) -> DuckDBMetadataStore:
    """Three videos with crops and children; narrow resolves look at what changed alone."""
    share = request.param
    made = DuckDBMetadataStore(tmp_path / "m.duckdb", graph=graph(), max_incremental_share=share)
    made.write("video", pa.table({"id": [1, 2, 3], "x": [0] * 3}))
    catch_up(made, "crop", size=0)
    catch_up(made, "child", n=0)
    return made


def frame(feature: str, *ids: int) -> pa.Table:
    more = {"n": [0] * len(ids)} if feature == "child" else {"size": [1] * len(ids)}
    return pa.table({"id": pa.array(ids, pa.int64()), **more})


@pytest.mark.parametrize("keep_unchanged", [True, False])
@pytest.mark.parametrize("feature", ["crop", "child"])
@pytest.mark.parametrize("left", [(1,), ()], ids=["some rows", "no rows"])
def test_what_it_deletes_though_upstreams_call_for_it_is_pending_again(
    store: DuckDBMetadataStore, left: tuple[int, ...], feature: str, keep_unchanged: bool
) -> None:
    store.write("video", pa.table({"id": [1], "x": [1]}))
    increment = store.resolve_update(feature, keep_unchanged=keep_unchanged)
    result = store.write(feature, frame(feature, *left), increment=increment, mode="replace")
    assert result.deleted == 3 - len(left)
    assert [row["id"] for row in rows(store, feature)] == list(left)
    gone = [one for one in (1, 2, 3) if one not in left]
    assert statuses(store.resolve_update(feature)) == {"new": gone}
    catch_up(store, feature, **({"n": 0} if feature == "child" else {"size": 0}))
    assert statuses(store.resolve_update(feature)) == {}


def test_orphaned_and_empty_samples_go_with_it(store: DuckDBMetadataStore) -> None:
    store.delete("video", filters="id = 3")
    store.write("video", pa.table({"id": [1, 2], "x": [1, 1]}))
    increment = store.resolve_update("crop")
    result = store.write(
        "crop", frame("crop", 1), increment=increment, mode="replace", empty=[{"id": 2}]
    )
    assert (result.deleted, result.empty) == (2, 1)
    assert statuses(store.resolve_update("crop")) == {}


def test_no_rows_leave_what_is_outside_of_the_scope(store: DuckDBMetadataStore) -> None:
    increment = store.resolve_update("crop", keep_unchanged=True)
    options: dict[str, Any] = {"increment": increment, "mode": "replace"}
    assert store.write("crop", frame("crop"), scope="id < 3", **options).deleted == 2
    assert statuses(store.resolve_update("crop")) == {"new": [1, 2]}


@pytest.mark.parametrize("left", [(1,), ()], ids=["some rows", "no rows"])
def test_no_more_than_a_share_goes_at_once(
    store: DuckDBMetadataStore, left: tuple[int, ...]
) -> None:
    increment = store.resolve_update("crop", keep_unchanged=True)
    with pytest.raises(FrameError, match="more samples than is allowed"):
        store.write(
            "crop",
            frame("crop", *left),
            increment=increment,
            mode="replace",
            max_deleted_share=0.5,
        )
    assert len(rows(store, "crop")) == 3
    assert statuses(store.resolve_update("crop")) == {}
