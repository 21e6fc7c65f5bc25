"""Long work in batches: each is committed, progress is told, a plain function needs nothing."""

import asyncio
import io
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import dagster as dg
import polars as pl
import pyarrow as pa
import pytest
from feature_runs import IO_MANAGER, event, feature, images, stored
from killed_batches import ROWS, in_batches, open_store
from killed_batches import run as run_in_batches
from patience import patient
from places import SUPPORT

import metaxy_dagster as mxd
from metaxy_dagster.runtime.io.batching import batching_op, why_not_in_batches

IMAGE = dg.AssetSpec("image", metadata={"metaxy/feature": "image"}).with_io_manager_key(IO_MANAGER)
SCRIPT = SUPPORT / "killed_batches.py"


class CrashError(Exception): ...


class Thumbs:
    """``thumb`` as a plain function; remembers its batches, may crash in one."""

    def __init__(self) -> None:
        self.given: list[list[int]] = []
        self.crash_at: int | None = None

    def compute(self, image: Any) -> Any:
        frame = pl.from_arrow(image) if isinstance(image, pa.Table) else image
        if len(self.given) == self.crash_at:
            raise CrashError
        self.given.append(sorted(frame["id"].to_list()))
        return frame.select("id", thumb=pl.col("pixels").str.to_uppercase())

    def asset(self, kind: Any = pl.DataFrame, **options: Any) -> dg.AssetsDefinition:
        def thumb(image):
            return self.compute(image)

        thumb.__annotations__["image"] = kind
        tied = feature("thumb", input="increment")
        return in_batches(dg.asset(thumb, **{**tied, **options}))


@pytest.fixture
def thumbs() -> Thumbs:
    return Thumbs()


@pytest.mark.parametrize("kind", [pl.DataFrame, pa.Table])
def test_a_plain_function_is_called_once_a_batch(
    run: Callable[..., Any], store: mxd.DuckDBMetadataStore, thumbs: Thumbs, kind: Any
) -> None:
    store.write("image", images(ROWS))
    thumb = thumbs.asset(kind)
    found = event(run(IMAGE, thumb, only=[thumb]), "thumb")
    assert thumbs.given == [[0, 1, 2], [3, 4, 5], [6, 7, 8], [9]]
    assert stored(store, "thumb") == {i: (f"P{i}",) for i in ROWS}
    assert (found["metaxy/new"], found["metaxy/written"]) == (10, 10)
    # Changed, new and gone samples later on; nothing else is computed again.
    store.write("image", images({1: ("other", "l"), 11: ("p11", "l")}))
    store.delete("image", filters="id = 5")
    found = event(run(IMAGE, thumb, only=[thumb]), "thumb")
    assert thumbs.given[4:] == [[1, 11]]
    assert (found["metaxy/new"], found["metaxy/stale"], found["metaxy/deleted"]) == (1, 1, 1)
    assert set(stored(store, "thumb")) == {*ROWS, 11} - {5}
    run(IMAGE, thumb, only=[thumb])
    assert len(thumbs.given) == 5
    assert store.resolve_update("thumb").counts == mxd.Counts(0, 0, 0)


def test_a_crash_loses_one_batch_and_a_rerun_continues(
    run: Callable[..., Any], store: mxd.DuckDBMetadataStore, thumbs: Thumbs
) -> None:
    store.write("image", images(ROWS))
    thumb = thumbs.asset()
    thumbs.crash_at = 2
    with pytest.raises(CrashError):
        run(IMAGE, thumb, only=[thumb])
    assert set(stored(store, "thumb")) == {0, 1, 2, 3, 4, 5}
    thumbs.crash_at = None
    found = event(run(IMAGE, thumb, only=[thumb]), "thumb")
    assert thumbs.given[2:] == [[6, 7, 8], [9]]
    assert (found["metaxy/new"], found["dagster/row_count"]) == (4, 10)


def test_a_step_that_is_tried_again_goes_on_where_it_was(
    run: Callable[..., Any], store: mxd.DuckDBMetadataStore, thumbs: Thumbs
) -> None:
    store.write("image", images(ROWS))
    crashed: list[int] = []
    compute = thumbs.compute

    def once(image: Any) -> Any:
        if len(thumbs.given) == 2 and not crashed:
            crashed.append(1)
            raise CrashError
        return compute(image)

    thumbs.compute = once  # type: ignore[method-assign]
    thumb = thumbs.asset(retry_policy=dg.RetryPolicy(max_retries=1))
    found = event(run(IMAGE, thumb, only=[thumb]), "thumb")
    assert thumbs.given == [[0, 1, 2], [3, 4, 5], [6, 7, 8], [9]]
    assert found["metaxy/written"] == 4


def test_a_killed_process_loses_one_batch(tmp_path: Path) -> None:
    done = subprocess.run(  # noqa: S603 (our own script)
        [sys.executable, str(SCRIPT), str(tmp_path), "2"],
        env={**os.environ, "PYTHONPATH": str(SCRIPT.parent)},
        timeout=patient(120),
        check=False,
        capture_output=True,
    )
    assert done.returncode == -signal.SIGKILL, done.stderr
    store = open_store(tmp_path)
    assert set(stored(store, "thumb")) == {0, 1, 2, 3, 4, 5}
    assert run_in_batches(tmp_path, None) == [[6, 7, 8], [9]]
    assert stored(store, "thumb") == {i: (f"P{i}",) for i in ROWS}


def test_failures_in_batches(run: Callable[..., Any], store: mxd.DuckDBMetadataStore) -> None:
    store.write("image", images(ROWS))

    @dg.asset(**feature("thumb", input="increment"))
    def thumb(image: pl.DataFrame) -> pl.DataFrame:
        bad = pl.col("id") % 3 == 0
        mxd.report_failures(image.filter(bad), "no")
        return image.filter(~bad).select("id", thumb="pixels")

    made = in_batches(thumb)
    for _ in range(3):
        found = event(run(IMAGE, made, only=[made]), "thumb")
    assert (found["metaxy/written"], found["metaxy/quarantined"]) == (0, 4)
    assert store.resolve_update("thumb").counts == mxd.Counts(0, 0, 0, quarantined=4)


def test_two_inputs_and_a_plain_one(
    run: Callable[..., Any], store: mxd.DuckDBMetadataStore
) -> None:
    store.write("image", images(ROWS))
    for key, column in (("thumb", "pixels"), ("name", "label")):
        increment = store.resolve_update(key)
        frame = images(ROWS).select(["id", column]).rename_columns(["id", key])
        store.write(key, frame, increment=increment)
    given: list[tuple[list[int], list[int], int]] = []

    @dg.asset
    def factor() -> int:
        return 7

    @dg.asset(**feature("pair", input="increment"))
    async def pair(
        context: dg.AssetExecutionContext, thumb: pl.DataFrame, name: pl.DataFrame, factor: int
    ) -> pl.DataFrame:
        await asyncio.sleep(0)
        assert context.asset_key == dg.AssetKey("pair")
        given.append((thumb["id"].to_list(), name["id"].to_list(), factor))
        return thumb.join(name, on="id").select("id", pair=pl.col("thumb") + pl.col("name"))

    made = in_batches(pair, 6)
    specs = [
        dg.AssetSpec(key, metadata={"metaxy/feature": key}).with_io_manager_key(IO_MANAGER)
        for key in ("thumb", "name")
    ]
    run(*specs, factor, made, only=[factor, made])
    low, high = list(range(6)), list(range(6, 10))
    assert [(sorted(a), sorted(b), c) for a, b, c in given] == [(low, low, 7), (high, high, 7)]
    assert store.count("pair") == 10


def test_nothing_returned_for_a_batch_leaves_it_pending(
    run: Callable[..., Any], store: mxd.DuckDBMetadataStore
) -> None:
    store.write("image", images(ROWS))

    @dg.asset(**feature("thumb", input="increment"))
    def thumb(image: pl.DataFrame):
        return None if 0 in image["id"] else image.select("id", thumb="pixels")

    made = in_batches(thumb)
    run(IMAGE, made, only=[made])
    assert store.resolve_update("thumb").counts == mxd.Counts(3, 0, 0)


def test_a_result_object_is_refused(
    run: Callable[..., Any], store: mxd.DuckDBMetadataStore
) -> None:
    store.write("image", images(ROWS))

    @dg.asset(**feature("thumb", input="increment"))
    def thumb(image: pl.DataFrame):
        return dg.Output(image)

    made = in_batches(thumb)
    with pytest.raises(mxd.RunError, match=r"asset 'thumb', feature 'thumb': .*result object"):
        run(IMAGE, made, only=[made])


def test_outside_of_a_run_the_function_is_called_as_ever(thumbs: Thumbs) -> None:
    op = thumbs.asset().op
    assert op(pl.DataFrame({"id": [1], "pixels": ["a"]})).rows() == [(1, "A")]


def test_what_cannot_be_called_in_batches_is_left_alone() -> None:
    @dg.op
    def generator(frame):
        yield dg.Output(frame)

    assert batching_op(generator, 5) is generator
    assert why_not_in_batches(generator) == "it is a generator"
    with pytest.raises(ValueError, match="at least 1"):
        batching_op(generator, 0)


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


class Log:
    def __init__(self) -> None:
        self.lines: list[str] = []

    def info(self, text: str, *values: Any) -> None:
        self.lines.append(text % values)


class Context:
    def __init__(self) -> None:
        self.log = Log()


def test_a_bar_is_shown_on_a_terminal_and_nowhere_else(store: mxd.DuckDBMetadataStore) -> None:
    store.write("image", images(ROWS))
    increment = store.resolve_update("thumb")
    terminal, file = Terminal(), io.StringIO()
    for stream in (terminal, file):
        assert len(list(mxd.each_batch(Context(), increment, 4, terminal=stream))) == 3
    assert "thumb" in terminal.getvalue()
    assert file.getvalue() == ""


def test_progress_is_observed_now_and_then(
    run: Callable[..., Any], store: mxd.DuckDBMetadataStore
) -> None:
    store.write("image", images(ROWS))
    seconds = iter([0.0, 2.0, 70.0, 100.0, 200.0])

    @dg.asset(metadata={"metaxy/feature": "thumb"})
    def thumb(context: dg.AssetExecutionContext) -> None:
        increment = store.resolve_update("thumb")
        for _ in mxd.each_batch(context, increment, 3, clock=lambda: next(seconds)):
            pass

    result = run(thumb)
    (observed,) = result.asset_observations_for_node("thumb")
    found = {name: value.value for name, value in observed.metadata.items()}
    assert (found["metaxy/done"], found["metaxy/left"]) == (6, 4)
    assert found["metaxy/samples_per_second"] == pytest.approx(6 / 70)
    assert found["metaxy/expected_end"] == pytest.approx(70 + 4 / (6 / 70))
