"""Names for commits: the first call decides, and work goes on as of that moment."""

from __future__ import annotations

from pathlib import Path

import duckdb
import pyarrow as pa
import pytest
from worlds import small_graph, small_store, statuses

from metaxy_dagster.errors import StoreError
from metaxy_dagster.stores import DuckDBMetadataStore


@pytest.fixture
def store(tmp_path: Path) -> DuckDBMetadataStore:
    return small_store(tmp_path)


def image(number: int, path: str) -> pa.Table:
    return pa.table({"id": [number], "path": [path], "height": [1], "caption": [path]})


def test_the_first_call_decides(store: DuckDBMetadataStore) -> None:
    assert store.pin("first") == 2
    store.write("image", image(1, "x"))
    assert (store.pin("first"), store.pin("second"), store.pin("first")) == (2, 3, 2)
    store.write("image", image(1, "y"))
    assert (store.pinned("second"), store.pinned("first"), store.pinned("third")) == (3, 2, None)


def test_a_name_that_was_never_given_is_none(store: DuckDBMetadataStore) -> None:
    assert store.pinned("run") is None


def test_an_empty_store_has_a_moment_too(tmp_path: Path) -> None:
    store = DuckDBMetadataStore(tmp_path / "m.duckdb", graph=small_graph())
    assert store.pinned("run") is None
    assert not store.path.exists()
    assert store.pin("run") == 0
    assert store.write("image", image(1, "x")).commit == 1
    assert (store.pin("run"), store.pinned("run")) == (0, 0)


def test_asking_for_one_changes_nothing(store: DuckDBMetadataStore) -> None:
    """Not even the log of a killed writer, which who writes would fold into the file."""
    store.pin("run")
    with duckdb.connect(str(store.path)) as connection:
        connection.execute("PRAGMA disable_checkpoint_on_shutdown")
        connection.execute("UPDATE metaxy.pins SET commit = 1")
    files = [store.path, Path(f"{store.path}.wal")]
    before = [file.read_bytes() for file in files]
    assert store.pinned("run") == 1
    assert [file.read_bytes() for file in files] == before


def test_names_are_forgotten_after_a_month(store: DuckDBMetadataStore) -> None:
    for name in ("old", "recent"):
        store.pin(name)
    with duckdb.connect(str(store.path)) as connection:
        connection.execute(
            "UPDATE metaxy.pins SET pinned_at = now() - CASE name WHEN 'old'"
            " THEN INTERVAL 31 DAYS ELSE INTERVAL 29 DAYS END"
        )
    store.write("image", image(1, "x"))
    assert (store.pin("old"), store.pin("recent")) == (3, 2)


@pytest.mark.parametrize(
    ("commit", "expected"), [(0, {}), (1, {"new": [1, 2, 3]}), (2, {}), (3, {"stale": [1]})]
)
def test_resolving_as_of_a_commit(
    commit: int, expected: dict[str, list[int]], store: DuckDBMetadataStore
) -> None:
    store.write("image", image(1, "x"))
    assert statuses(store.resolve_update("score", as_of=commit)) == expected


@pytest.mark.parametrize("commit", [-1, 3, True, "1", 1.0])
def test_a_commit_that_never_was_is_refused(commit: object, store: DuckDBMetadataStore) -> None:
    with pytest.raises(StoreError, match="no commit of this number") as caught:
        store.resolve_update("score", as_of=commit)
    assert caught.value.allowed == "0 to 2"
    assert caught.value.remedy
