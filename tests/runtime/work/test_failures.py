"""Failed samples of a run: reported by the function, shown in the event, retried on request."""

from collections.abc import Callable
from typing import Any

import dagster as dg
import polars as pl
import pytest
from feature_runs import IO_MANAGER, event, feature, images, stored

import metaxy_dagster as mxd

ROWS = {i: (f"p{i}", f"l{i}") for i in range(4)}
IMAGE = dg.AssetSpec("image", metadata={"metaxy/feature": "image"}).with_io_manager_key(IO_MANAGER)


class Torn(Exception): ...  # noqa: N818 - as users name them


def thumbs(broken: set[int], mode: str = "increment") -> dg.AssetsDefinition:
    @dg.asset(**feature("thumb", input=mode))
    def thumb(image: pl.DataFrame) -> pl.DataFrame:
        bad = pl.col("id").is_in(sorted(broken))
        if len(image.filter(bad)):
            mxd.report_failures(image.filter(bad), Torn("torn"))
        return image.filter(~bad).select("id", thumb="pixels")

    return thumb


@pytest.fixture
def broken() -> set[int]:
    return {1, 2}


def test_failed_samples_are_left_out_and_shown(
    run: Callable[..., Any], store: mxd.DuckDBMetadataStore, broken: set[int]
) -> None:
    store.write("image", images(ROWS))
    thumb = thumbs(broken)
    for attempt in (1, 2, 3):
        result = run(IMAGE, thumb, only=[thumb])
        found = event(result, "thumb")
        assert (found["metaxy/failed"], found["metaxy/quarantined"]) == (
            2,
            2 if attempt == 3 else 0,
        )
        rows = [record.data for record in found["metaxy/failures"].records]
        assert [(row["id"], row["metaxy_error"]) for row in rows] == [(1, "torn"), (2, "torn")]
        assert {row["metaxy_attempts"] for row in rows} == {attempt}
        assert rows[0]["metaxy_error_type"].endswith("Torn")
    assert set(stored(store, "thumb")) == {0, 3}
    assert store.resolve_update("thumb").counts == mxd.Counts(0, 0, 0, quarantined=2)
    assert store.failures("thumb").collect()["metaxy_materialization_id"][0] == result.run_id
    # Nothing is pending any more: the next run computes nothing, and still shows what failed.
    found = event(run(IMAGE, thumb, only=[thumb]), "thumb")
    assert (found["metaxy/new"], found["metaxy/quarantined"]) == (0, 2)


def test_retried_samples_are_computed(
    run: Callable[..., Any],
    store: mxd.DuckDBMetadataStore,
    broken: set[int],
    instance: dg.DagsterInstance,
) -> None:
    store.write("image", images(ROWS))
    thumb = thumbs(broken)
    for _ in range(3):
        run(IMAGE, thumb, only=[thumb])

    @dg.job
    def try_again():
        mxd.retry()

    config = {"feature": "thumb", "filters": ["id = 1"]}
    result = try_again.execute_in_process(
        run_config={"ops": {"retry_samples": {"config": config}}},
        resources={"store": store},
        instance=instance,
    )
    assert result.output_for_node("retry_samples") == 1
    broken.clear()
    found = event(run(IMAGE, thumb, only=[thumb]), "thumb")
    assert (found["metaxy/written"], found["metaxy/quarantined"]) == (1, 1)
    assert set(stored(store, "thumb")) == {0, 1, 3}


def test_a_full_recompute_forgives_what_it_brings(
    run: Callable[..., Any], store: mxd.DuckDBMetadataStore, broken: set[int]
) -> None:
    store.write("image", images(ROWS))
    thumb = thumbs(broken, "all")
    for _ in range(3):
        run(IMAGE, thumb, only=[thumb])
    assert store.resolve_update("thumb").counts == mxd.Counts(0, 0, 0, quarantined=2)
    broken.clear()
    found = event(run(IMAGE, thumb, only=[thumb]), "thumb")
    assert found["dagster/row_count"] == 4
    assert not {"metaxy/failed", "metaxy/quarantined", "metaxy/failures"} & set(found)


def test_several_features_in_one_step(
    run: Callable[..., Any], store: mxd.DuckDBMetadataStore
) -> None:
    store.write("image", images(ROWS))
    said: list[str] = []
    outs = {key: dg.AssetOut(**feature(key, input="increment")) for key in ("thumb", "name")}

    @dg.multi_asset(outs=outs)
    def both(image: pl.DataFrame):
        for wrong in (None, "pair"):
            with pytest.raises(mxd.RunError, match=r"compute this feature|which feature") as caught:
                mxd.report_failures(image.head(1), "x", feature=wrong)
            said.append(str(caught.value))
        mxd.report_failures([{"id": 2}], "x", feature="name")
        yield dg.Output(image.select("id", thumb="pixels"), "thumb")
        yield dg.Output(image.filter(pl.col("id") != 2).select("id", name="label"), "name")

    run(IMAGE, both, only=[both])
    assert all("['name', 'thumb']" in text for text in said)
    assert store.failed("name") == mxd.FailureResult(mxd.FeatureKey("name"), 1, 0)
    assert store.failed("thumb").failed == 0


def test_a_step_without_features_has_no_failures(run: Callable[..., Any]) -> None:
    @dg.asset
    def plain() -> None:
        mxd.report_failures([{"id": 1}], "x")

    with pytest.raises(mxd.RunError, match="no step is running"):
        run(plain)
    with pytest.raises(mxd.RunError, match="no step is running"):
        mxd.report_failures([{"id": 1}], "x")


def test_a_step_that_fails_afterwards_has_told_all_the_same(
    run: Callable[..., Any], store: mxd.DuckDBMetadataStore
) -> None:
    store.write("image", images(ROWS))

    @dg.asset(**feature("thumb", input="increment"))
    def thumb(image: pl.DataFrame) -> pl.DataFrame:
        mxd.report_failures(image.head(1), "bad")
        raise Torn

    with pytest.raises(Torn):
        run(IMAGE, thumb, only=[thumb])
    assert store.failed("thumb").failed == 1
