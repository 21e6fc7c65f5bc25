"""The steps of a graph asset see one moment, in whatever processes and runs they are executed."""

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import dagster as dg
import polars as pl
import pytest
from feature_runs import IO_MANAGER, feature, images, stored
from shared_steps import FOLDER, MOVED, ROWS, make_job, open_store

import metaxy_dagster as mxd


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv(FOLDER, str(tmp_path))
    open_store(tmp_path).write("image", images(ROWS))
    return tmp_path


def execute(instance: dg.DagsterInstance, **options: Any) -> Any:
    return dg.execute_job(dg.reconstructable(make_job), instance=instance, **options)


def test_steps_in_processes_of_their_own_with_a_write_between(folder: Path) -> None:
    store = open_store(folder)
    (folder / "meddles").touch()
    with dg.DagsterInstance.local_temp(str(folder)) as instance:
        assert execute(instance).success
        assert stored(store, "thumb") == {i: (f"P{i}",) for i in ROWS}
        assert "moved" not in (folder / "pairs").read_text()
        # What was written meanwhile is news to the next run.
        assert store.resolve_update("thumb").counts == mxd.Counts(1, 1, 0)
        assert execute(instance).success
    assert (folder / "seen").read_text() == "[0, 9]"
    assert stored(store, "thumb")[0] == ("MOVED",)
    assert store.resolve_update("thumb").counts == mxd.Counts(0, 0, 0)


@pytest.mark.parametrize("whole", [False, True])
def test_a_run_goes_on_from_where_another_failed(folder: Path, whole: bool) -> None:
    """From failure: as of the first run's moment, whose result it uses. All steps: as of now."""
    store = open_store(folder)
    (folder / "fails").touch()
    with dg.DagsterInstance.local_temp(str(folder)) as instance:
        failed = execute(instance)
        assert not failed.success
        (folder / "fails").unlink()
        store.write("image", images(MOVED))
        options = (
            dg.ReexecutionOptions(parent_run_id=failed.run_id)
            if whole
            else dg.ReexecutionOptions.from_failure(failed.run_id, instance)
        )
        assert execute(instance, reexecution_options=options).success
    counts = store.resolve_update("thumb").counts
    assert counts == (mxd.Counts(0, 0, 0) if whole else mxd.Counts(1, 1, 0))
    assert stored(store, "thumb")[0] == (("MOVED",) if whole else ("P0",))


#: The op that loses the store, how, and the next one, which loads a feature or only writes one.
LOST = [
    ("scale", "put back", "again"),
    ("scale", "deleted", "again"),
    ("again", "made anew", "finish"),
]


@pytest.mark.parametrize(("op", "how", "refused"), LOST)
def test_a_store_that_is_lost_between_two_steps_is_refused(
    folder: Path, op: str, how: str, refused: str
) -> None:
    """Else the later step would see another state, and what both made would be stored as one."""
    store = open_store(folder)
    shutil.copy(store.path, folder / "backup.duckdb")
    (folder / f"loses_{op}").write_text(how)
    with dg.DagsterInstance.local_temp(str(folder)) as instance:
        lost = execute(instance)
        (failed,) = lost.get_step_failure_events()
        assert failed.step_key == f"thumb.{refused}"
        for part in ("asset 'thumb'", "put back to a backup", "commit 1", "not from failure"):
            assert part in refusal(failed)
        logged = instance.all_logs(lost.run_id, of_type=dg.DagsterEventType.ENGINE_EVENT)
        seen = f"all steps of thumb see {store.display()} as of commit 1"
        assert seen in [entry.get_dagster_event().message for entry in logged]
        if how == "put back":
            # Nor does going on from there make a second pin.
            options = dg.ReexecutionOptions.from_failure(lost.run_id, instance)
            again = execute(instance, reexecution_options=options)
            assert "as of one commit" in refusal(again.get_step_failure_events()[0])
    assert stored(store, "thumb") == {} if how != "deleted" else not store.path.exists()


def refusal(event: dg.DagsterEvent) -> str:
    error = event.step_failure_data.error
    return error.to_string() if error is not None else ""


def test_a_step_that_is_tried_again_sees_what_the_others_saw(
    run: Callable[..., Any], store: mxd.DuckDBMetadataStore
) -> None:
    store.write("image", images(ROWS))
    seen: list[list[int]] = []

    @dg.op(retry_policy=dg.RetryPolicy(max_retries=1))
    def look(image: pl.DataFrame) -> pl.DataFrame:
        seen.append(sorted(image["id"].to_list()))
        if len(seen) == 1:
            store.write("image", images(MOVED))
            raise RuntimeError
        return image.select("id", thumb="pixels")

    @dg.op(out=dg.Out(io_manager_key=IO_MANAGER))
    def keep(frame: pl.DataFrame) -> pl.DataFrame:
        return frame

    @dg.graph_asset(metadata=feature("thumb", input="increment")["metadata"])
    def thumb(image):
        return keep(look(image))

    image = dg.AssetSpec("image", metadata={"metaxy/feature": "image"})
    run(image.with_io_manager_key(IO_MANAGER), thumb, only=[thumb])
    assert seen == [[*ROWS], [*ROWS]]
    assert store.resolve_update("thumb").counts == mxd.Counts(1, 1, 0)


def test_a_pin_is_kept(store: mxd.DuckDBMetadataStore) -> None:
    assert store.pinned("run") is None
    store.write("image", images({1: ("a", "b")}))
    first = store.pin("run")
    store.write("image", images({2: ("a", "b")}))
    assert (store.pin("run"), store.pinned("run")) == (first, first)
    assert store.pin("other") > first
    assert store.resolve_update("thumb", as_of=first).counts == mxd.Counts(1, 0, 0)
    assert store.resolve_update("thumb", as_of=0).counts == mxd.Counts(0, 0, 0)


@pytest.mark.parametrize("commit", [99, -1, True, "1"])
def test_a_commit_that_is_not_there_is_refused(store: mxd.DuckDBMetadataStore, commit: Any) -> None:
    store.write("image", images({1: ("a", "b")}))
    with pytest.raises(mxd.StoreError, match="no commit"):
        store.resolve_update("thumb", as_of=commit)


@pytest.mark.parametrize("stopped", [False, True])
def test_what_failed_in_one_process_is_not_empty_in_another(folder: Path, stopped: bool) -> None:
    """Also where the run that reported it failed, and another goes on from its results."""
    store = open_store(folder)
    (folder / "thins").touch()
    with dg.DagsterInstance.local_temp(str(folder)) as instance:
        if stopped:
            (folder / "fails").touch()
            failed = execute(instance)
            assert store.resolve_update("thumb").counts == mxd.Counts(3, 0, 0)
            (folder / "fails").unlink()
            options = dg.ReexecutionOptions.from_failure(failed.run_id, instance)
            assert execute(instance, reexecution_options=options).success
        else:
            assert execute(instance).success
    assert set(stored(store, "thumb")) == {3}
    new = store.resolve_update("thumb").new.collect().to_native()
    assert new.column("id").to_pylist() == [0], "of 1 and 2 it is known that they yield nothing"
