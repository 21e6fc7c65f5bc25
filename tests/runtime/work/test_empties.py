"""Samples that a function does not return: pending by default, or computed with no result."""

from collections.abc import Callable
from typing import Any

import dagster as dg
import polars as pl
import pytest
from feature_runs import IO_MANAGER, event, feature, images, stored

import metaxy_dagster as mxd
from metaxy_dagster.runtime import batching_op

ROWS = {i: (f"p{i}", f"l{i}") for i in range(4)}
IMAGE = dg.AssetSpec("image", metadata={"metaxy/feature": "image"}).with_io_manager_key(IO_MANAGER)
NOTHING = mxd.Counts(0, 0, 0)


def tied(key: str = "thumb", unreturned: str = "empty", **more: Any) -> dict[str, Any]:
    return feature(key, input="increment", **{"metaxy/unreturned": unreturned}, **more)


def thumbs(kept: set[int], given: list[list[int]] | None = None, **more: Any) -> Any:
    """An asset that returns some samples and notes what it was given."""

    @dg.asset(**tied(**more))
    def thumb(image: pl.DataFrame) -> pl.DataFrame:
        if given is not None:
            given.append(sorted(image["id"]))
        return image.filter(pl.col("id").is_in(sorted(kept))).select("id", thumb="pixels")

    return thumb


def test_what_is_not_returned_is_not_asked_for_again(
    run: Callable[..., Any], store: mxd.DuckDBMetadataStore
) -> None:
    store.write("image", images(ROWS))
    kept, given = {1, 2}, list[list[int]]()
    thumb = thumbs(kept, given)
    found = event(run(IMAGE, thumb, only=[thumb]), "thumb")
    assert (found["metaxy/new"], found["metaxy/written"], found["metaxy/empty"]) == (4, 2, 2)
    found = event(run(IMAGE, thumb, only=[thumb]), "thumb")
    assert (found["metaxy/new"], "metaxy/empty" in found) == (0, False)
    store.write("image", images({0: ("moved", "l"), 1: ("moved", "l")}))
    kept.clear()
    found = event(run(IMAGE, thumb, only=[thumb]), "thumb")
    assert (found["metaxy/new"], found["metaxy/stale"], found["metaxy/empty"]) == (1, 1, 2)
    assert given == [[0, 1, 2, 3], [], [0, 1]]
    assert set(stored(store, "thumb")) == {2}
    assert store.resolve_update("thumb").counts == NOTHING


@pytest.mark.parametrize("unreturned", ["pending", None])
def test_by_default_it_stays_pending(
    run: Callable[..., Any], store: mxd.DuckDBMetadataStore, unreturned: Any
) -> None:
    store.write("image", images(ROWS))
    thumb = thumbs({1}, unreturned=unreturned)
    found = event(run(IMAGE, thumb, only=[thumb]), "thumb")
    assert "metaxy/empty" not in found
    assert store.resolve_update("thumb").counts == mxd.Counts(3, 0, 0)


def test_an_empty_frame_is_an_answer_and_none_is_not(
    run: Callable[..., Any], store: mxd.DuckDBMetadataStore
) -> None:
    store.write("image", images(ROWS))

    @dg.asset(**tied(), name="thumb")
    def silent(image: pl.DataFrame) -> Any:
        return None if len(image) else image

    run(IMAGE, silent, only=[silent])
    assert store.resolve_update("thumb").counts == mxd.Counts(4, 0, 0)
    thumb = thumbs(set())
    assert event(run(IMAGE, thumb, only=[thumb]), "thumb")["metaxy/empty"] == 4
    assert store.resolve_update("thumb").counts == NOTHING


def test_failed_samples_stay_pending(
    run: Callable[..., Any], store: mxd.DuckDBMetadataStore
) -> None:
    store.write("image", images(ROWS))
    broken = {1}

    @dg.asset(**tied())
    def thumb(image: pl.DataFrame) -> pl.DataFrame:
        bad = pl.col("id").is_in(sorted(broken))
        if len(image.filter(bad)):
            mxd.report_failures(image.filter(bad), "torn")
        return image.filter(pl.col("id") == 2).select("id", thumb="pixels")

    found = event(run(IMAGE, thumb, only=[thumb]), "thumb")
    assert (found["metaxy/failed"], found["metaxy/empty"]) == (1, 2)
    assert store.resolve_update("thumb").counts == mxd.Counts(1, 0, 0)
    broken.clear()
    found = event(run(IMAGE, thumb, only=[thumb]), "thumb")
    assert ("metaxy/failed" in found, found["metaxy/empty"]) == (False, 1)
    assert store.resolve_update("thumb").counts == NOTHING


def test_each_batch_answers_for_itself(
    run: Callable[..., Any], store: mxd.DuckDBMetadataStore
) -> None:
    """The last write, of no rows, says nothing of what the batches left open."""
    store.write("image", images(dict.fromkeys(range(6), ("p", "l"))))
    calls: list[list[int]] = []

    @dg.asset(**tied())
    def thumb(image: pl.DataFrame) -> Any:
        calls.append(sorted(image["id"]))
        if calls[-1] == [2, 3]:
            return None
        return image.filter(pl.col("id") % 2 == 0).select("id", thumb="pixels")

    batched = dg.AssetsDefinition.from_op(
        batching_op(thumb.op, 2),
        keys_by_input_name={"image": dg.AssetKey("image")},
        keys_by_output_name={"result": dg.AssetKey("thumb")},
        metadata_by_output_name={"result": tied()["metadata"]},
    )
    found = event(run(IMAGE, batched, only=[batched]), "thumb")
    assert calls == [[0, 1], [2, 3], [4, 5]]
    assert (found["metaxy/written"], found["metaxy/empty"]) == (2, 2)
    assert set(stored(store, "thumb")) == {0, 4}
    pending = store.resolve_update("thumb").pending.collect().to_native()
    assert sorted(pending.column("id").to_pylist()) == [2, 3]


def test_each_output_of_a_multi_asset_speaks_for_itself(
    run: Callable[..., Any], store: mxd.DuckDBMetadataStore
) -> None:
    store.write("image", images(ROWS))
    outs = {
        "thumb": dg.AssetOut(**tied("thumb")),
        "name": dg.AssetOut(**tied("name", "pending")),
    }

    @dg.multi_asset(outs=outs)
    def both(image: pl.DataFrame):
        mxd.report_empty([{"id": 3}], feature="name")
        yield dg.Output(image.head(1).select("id", thumb="pixels"), "thumb")
        yield dg.Output(image.head(1).select("id", name="label"), "name")

    result = run(IMAGE, both, only=[both])
    assert store.resolve_update("thumb").counts == NOTHING
    assert store.resolve_update("name").counts == mxd.Counts(2, 0, 0)
    said = {one.asset_key.to_user_string(): one.metadata for one in materializations(result)}
    assert said["thumb"]["metaxy/empty"].value == 3
    assert said["name"]["metaxy/empty"].value == 1
    assert said["name"]["metaxy/written"].value == 1


def materializations(result: dg.ExecuteInProcessResult) -> list[dg.AssetMaterialization]:
    return list(result.asset_materializations_for_node("both"))


def test_reported_samples_are_done(run: Callable[..., Any], store: mxd.DuckDBMetadataStore) -> None:
    """Also where nothing is said of what is not returned."""
    store.write("image", images(ROWS))

    @dg.asset(**feature("thumb", input="increment"))
    def thumb(image: pl.DataFrame) -> pl.DataFrame:
        if len(image) == 4:
            result = mxd.report_empty(image.filter(pl.col("id") < 2))
            assert (result.empty, result.written) == (2, 0)
        return image.filter(pl.col("id") == 2).select("id", thumb="pixels")

    found = event(run(IMAGE, thumb, only=[thumb]), "thumb")
    assert (found["metaxy/empty"], found["metaxy/written"]) == (2, 1)
    assert store.resolve_update("thumb").counts == mxd.Counts(1, 0, 0)


def test_where_there_is_nothing_to_report_for(
    run: Callable[..., Any], store: mxd.DuckDBMetadataStore
) -> None:
    store.write("image", images(ROWS))
    with pytest.raises(mxd.RunError, match=r"empty samples were reported.*\n.*\n.*empty=samples"):
        mxd.report_empty([{"id": 1}])
    said: list[str] = []

    @dg.asset(**feature("thumb", input="increment"))
    def thumb(image: pl.DataFrame) -> pl.DataFrame:
        with pytest.raises(mxd.RunError, match="does not compute this feature"):
            mxd.report_empty([{"id": 1}], feature="pair")
        with pytest.raises(mxd.FrameError, match="did not ask for") as caught:
            mxd.report_empty([{"id": 99}])
        said.append(str(caught.value))
        return image.select("id", thumb="pixels")

    run(IMAGE, thumb, only=[thumb])
    assert said
    assert store.resolve_update("thumb").counts == NOTHING


def test_partitions_are_left_alone(run: Callable[..., Any], store: mxd.DuckDBMetadataStore) -> None:
    """A run of one partition says nothing of the samples of others."""
    store.write("image", images({1: ("p", "a"), 2: ("p", "b"), 3: ("p", "a")}))

    @dg.asset(
        **tied(partition_by="label"),
        partitions_def=dg.StaticPartitionsDefinition(["a", "b"]),
        ins={"image": dg.AssetIn(partition_mapping=dg.AllPartitionMapping())},
    )
    def thumb(image: pl.DataFrame) -> pl.DataFrame:
        return image.filter(pl.col("id") == 1).select("id", "label", thumb="pixels")

    run(IMAGE, thumb, only=[thumb], partition_key="a")
    pending = store.resolve_update("thumb").pending.collect().to_native()
    assert pending.column("id").to_pylist() == [2]
