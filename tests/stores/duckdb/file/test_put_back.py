"""A store that was put back to a backup, deleted or made anew is another one.

What was read, resolved or pinned in the history that is gone is refused by every holder of it,
however many commits were made since; what is older than the backup is not concerned.
"""

from __future__ import annotations

import datetime as dt
import pickle
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from patience import patient
from worlds import catch_up, image, small_graph, small_store, statuses

from metaxy_dagster.errors import StoreError
from metaxy_dagster.stores import DuckDBMetadataStore

NOTHING = pa.table({})


def another(store: DuckDBMetadataStore) -> DuckDBMetadataStore:
    """The same file, without a session."""
    return store.with_graph(store.graph)


def rebuild(store: DuckDBMetadataStore) -> None:
    store.path.unlink()
    small_store(store.path.parent)


def shorter(store: DuckDBMetadataStore) -> None:
    """A backup that nothing was written to since."""
    shutil.copy(store.path.with_suffix(".bak"), store.path)


def as_long(store: DuckDBMetadataStore) -> None:
    """A backup to which as much was written as to the file, and more."""
    shorter(store)
    for path in ("other", "others"):
        store.write("image", image(1, path))


def listed_no_more(store: DuckDBMetadataStore) -> None:
    """The same; and the commits that the question is of are not even on the list."""
    as_long(store)
    store.compact(older_than=dt.timedelta())


def deleted(store: DuckDBMetadataStore) -> None:
    store.path.unlink()


WAYS: dict[str, Callable[[DuckDBMetadataStore], None]] = {
    "shorter": shorter,
    "as long": as_long,
    "listed no more": listed_no_more,
    "deleted": deleted,
    "made anew": rebuild,
}


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store of which there is a backup, before image 1 changed."""
    made = small_store(tmp_path_factory.mktemp("prepared"))
    shutil.copy(made.path, made.path.with_suffix(".bak"))
    made.write("image", image(1, "changed"))
    return made.path.parent


@pytest.fixture
def store(prepared: Path, tmp_path: Path) -> DuckDBMetadataStore:
    folder = Path(shutil.copytree(prepared, tmp_path / "store"))
    return DuckDBMetadataStore(folder / "m.duckdb", graph=small_graph(), lock_timeout=patient(10))


def asked(store: DuckDBMetadataStore) -> Any:
    increment = store.resolve_update("score")
    assert increment.delta.num_rows == 1
    return increment


def batch_of(store: DuckDBMetadataStore) -> Any:
    return next(store.resolve_update("score").batches(1))


def pickled(store: DuckDBMetadataStore) -> int:
    return pickle.loads(pickle.dumps(store.pin("run")))  # noqa: S301


def session(store: DuckDBMetadataStore) -> DuckDBMetadataStore:
    return store.__enter__()


def rows() -> pa.Table:
    return pa.table({"id": [1], "score": [0.5]})


# What holds a commit, and what is done with it later.
HOLDERS: dict[str, tuple[Callable[..., Any], Callable[[DuckDBMetadataStore, Any], Any]]] = {
    "an answer": (asked, lambda s, i: s.write("score", rows(), increment=i)),
    "an answer of nothing": (asked, lambda s, i: s.write("score", NOTHING, increment=i)),
    "an answer that says empty": (
        asked,
        lambda s, i: s.write("score", NOTHING, increment=i, empty="rest"),
    ),
    "an answer that deletes": (
        asked,
        lambda s, i: s.write("score", NOTHING, increment=i, delete_orphaned=True),
    ),
    "the answer to a batch": (batch_of, lambda s, i: s.write("score", rows(), increment=i)),
    "an answer with a filter": (
        lambda s: s.resolve_update("score", filters="id = 1"),
        lambda s, i: s.write("score", rows(), increment=i),
    ),
    "failures": (
        asked,
        lambda s, i: s.record_failures("score", [{"id": 1}], "torn", increment=i),
    ),
    "a list not looked at": (lambda s: s.resolve_update("score"), lambda _, i: i.delta),
    "counts not looked at": (lambda s: s.resolve_update("score"), lambda _, i: i.counts),
    "pending rows": (lambda s: s.resolve_update("score"), lambda _, i: i.pending.collect()),
    "upstream rows": (asked, lambda _, i: i.upstream("image", all_rows=True).collect()),
    "a frame": (lambda s: s.read("image"), lambda _, frame: frame.collect()),
    "a frame with its history": (
        lambda s: s.read("image", history=True),
        lambda _, frame: frame.collect(),
    ),
    "a scan": (lambda s: s.scan("image"), lambda _, scan: list(scan.batches())),
    "a session's count": (session, lambda _, s: s.count("image")),
    "a session's frame": (session, lambda _, s: s.read("image").collect()),
    "a session's versions": (session, lambda _, s: s.data_version("image")),
    "a session's summary": (session, lambda _, s: s.summary("image")),
    "a session's increment": (session, lambda _, s: s.resolve_update("score").delta),
    "a pin": (lambda s: s.pin("run"), lambda s, at: s.resolve_update("score", as_of=at).counts),
    "a pin in another process": (
        pickled,
        lambda s, at: s.resolve_update("score", as_of=at).counts,
    ),
    "the number of a write": (
        lambda s: s.write("image", image(2, "z")).commit,
        lambda s, at: s.resolve_update("score", as_of=at).counts,
    ),
}


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("holder", HOLDERS)
def test_what_belongs_to_a_history_that_is_gone_is_refused(
    store: DuckDBMetadataStore, holder: str, way: str
) -> None:
    take, use = HOLDERS[holder]
    held = take(store)
    WAYS[way](another(store))
    with pytest.raises(StoreError, match="put back to a backup, deleted or made anew") as caught:
        use(store, held)
    assert "read or resolve again" in str(caught.value.remedy)
    if held is store:
        store.__exit__()
    if way != "deleted" and take is asked:
        catch_up(store, "score", score=1.0)
        store.write("image", image(1, "after"))
        assert statuses(store.resolve_update("score")) == {"stale": [1]}, "nothing was taken"


@pytest.mark.parametrize("holder", HOLDERS)
def test_what_is_of_this_history_is_taken_however_long_it_went_on(
    store: DuckDBMetadataStore, holder: str
) -> None:
    take, use = HOLDERS[holder]
    horizon = store.compact(older_than=dt.timedelta(), dry_run=True).horizon
    held = take(store)
    for path in ("x", "y"):
        another(store).write("plain", pa.table({"id": [path]}))
    another(store).compact(older_than=dt.timedelta(), before=horizon)
    use(store, held)
    if held is store:
        store.__exit__()


@pytest.mark.parametrize("way", ["shorter", "as long"])
def test_what_is_older_than_the_backup_is_taken(tmp_path: Path, way: str) -> None:
    store = small_store(tmp_path)
    store.write("image", image(1, "changed"))
    increment, frame, pin = asked(store), store.read("image"), store.pin("run")
    shutil.copy(store.path, store.path.with_suffix(".bak"))
    for path in ("lost", "lost too", "lost as well"):
        store.write("image", image(2, path))
    WAYS[way](store)
    assert store.write("score", rows(), increment=increment).updated == 1
    assert store.resolve_update("score", as_of=pin).counts.stale == 1
    found = frame.collect().to_native().to_pylist()
    assert [row["path"] for row in found if row["id"] == 1] == ["changed"]


def test_a_question_to_an_empty_store_is_of_every_history(tmp_path: Path) -> None:
    empty = DuckDBMetadataStore(tmp_path / "m.duckdb", graph=small_store(tmp_path / "a").graph)
    increment, frame = empty.resolve_update("score"), empty.read("image")
    small_store(tmp_path)
    assert increment.counts.new == 0
    assert frame.collect().to_native().num_rows == 0
    assert empty.write("score", NOTHING, increment=increment).commit == 0


def test_a_later_change_is_found_after_the_future_was_lost(store: DuckDBMetadataStore) -> None:
    """The watermark of the file is one of its own history."""
    increment = asked(store)
    shorter(store)
    with pytest.raises(StoreError):
        store.write("score", rows(), increment=increment)
    for number in range(5):
        store.write("plain", pa.table({"id": [str(number)]}))
    store.write("image", image(3, "later"))
    assert statuses(store.resolve_update("score")) == {"stale": [3]}
