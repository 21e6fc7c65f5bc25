"""What raised is not stored, and what is stored did not raise: a fault at each statement."""

from __future__ import annotations

import datetime as dt
import shutil
from collections.abc import Callable, Iterator
from itertools import groupby
from operator import itemgetter
from pathlib import Path
from typing import Any, Self

import duckdb
import pyarrow as pa
import pytest
from filelock import ReadWriteLock

from metaxy_dagster.errors import StoreError
from metaxy_dagster.features import FeatureGraph, FeatureSpec
from metaxy_dagster.stores import DuckDBMetadataStore
from metaxy_dagster.stores.duckdb.file.connection import DuckDBFile
from metaxy_dagster.stores.duckdb.sql.identifiers import CATALOG, quote

Done = Callable[[DuckDBMetadataStore], object]
NO_ROWS = pa.table({"id": pa.array([], pa.int64())})


class Faulty:
    """A connection on which one statement fails, as on a disk that is full."""

    # Statements that were begun, and the one that fails.
    count, fails = 0, 0
    said: str | None = None

    def __init__(self, connection: duckdb.DuckDBPyConnection) -> None:
        self._connection = connection

    def __getattr__(self, name: str) -> Any:
        return getattr(self._connection, name)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self._connection.close()

    def cursor(self) -> Faulty:
        return Faulty(self._connection.cursor())

    def execute(self, query: str, *args: Any) -> duckdb.DuckDBPyConnection:
        Faulty.count += 1
        if Faulty.count == Faulty.fails:
            Faulty.said = query
            raise duckdb.IOException("IO Error: No space left on device")
        return self._connection.execute(query, *args)


def graph(*ids: str) -> FeatureGraph:
    made = FeatureGraph()
    made.add(FeatureSpec("video", id_columns=["id"]))
    made.add(FeatureSpec("crop", id_columns=["id"], deps=["video"]))
    made.add(FeatureSpec("note", id_columns=["id"], deps=["video"]))
    made.add(FeatureSpec("shot", id_columns=ids or ("id", "camera")))
    return made


def frame(*ids: int, y: int = 1) -> pa.Table:
    return pa.table({"id": list(ids), "y": [y] * len(ids)})


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Videos 1-6; crops 1-3, of which 1 was changed; 2 and 4 failed, and a note of 1."""
    path = tmp_path_factory.mktemp("template") / "m.duckdb"
    store = DuckDBMetadataStore(path, graph=graph())
    store.write("video", frame(1, 2, 3, 4, 5, 6))
    store.write("crop", frame(1, 2, 3), increment=store.resolve_update("crop"))
    store.write("video", frame(1, 2, y=2))
    increment = store.resolve_update("crop")
    store.record_failures("crop", [{"id": 2}, {"id": 4}], "torn", increment=increment)
    store.write("crop", frame(1, y=2), increment=increment)
    notes = store.resolve_update("note")
    store.record_failures("note", [{"id": 1}], "torn", increment=notes)
    store.write("shot", pa.table({"id": [1, 2], "camera": [0, 0]}))
    return path


def answer(written: pa.Table, key: str = "crop", **options: Any) -> Done:
    return lambda store: store.write(key, written, increment=store.resolve_update(key), **options)


def fail_again(store: DuckDBMetadataStore) -> object:
    increment = store.resolve_update("crop")
    return store.record_failures("crop", [{"id": 5}], "torn", increment=increment)


def migrate(store: DuckDBMetadataStore) -> object:
    return DuckDBMetadataStore(store.path, graph=graph("id")).migrate_ids("shot", drop=["camera"])


#: What is asked of the store.
ASKED: dict[str, Done] = {
    "rows": lambda store: store.write("video", frame(7, y=3)),
    "all rows": lambda store: store.write("video", frame(1, 7, y=3), mode="replace"),
    "rows that had failed": answer(frame(2, 4)),
    "no rows": answer(NO_ROWS),
    "empty samples": answer(NO_ROWS, empty=[{"id": 4}]),
    "empty samples, and nothing before": answer(NO_ROWS, "note", empty=[{"id": 1}]),
    "first rows": answer(frame(1), "note"),
    "rows and empty samples": answer(frame(2), empty=[{"id": 4}]),
    "deleted": lambda store: store.delete("crop"),
    "deleted for good": lambda store: store.delete("crop", soft=False),
    "dropped": lambda store: store.drop("crop"),
    "failures": fail_again,
    "retried": lambda store: store.retry("crop"),
    "compacted": lambda store: store.compact(older_than=dt.timedelta()),
    "compacted in place": lambda store: store.compact(older_than=dt.timedelta(), rewrite=False),
    "altered": lambda store: store.alter("video", columns={"y": "VARCHAR"}),
    "ids migrated": migrate,
    "pinned": lambda store: store.pin("name"),
}


def state(store: DuckDBMetadataStore) -> dict[str, Any]:
    """All that the file holds, but for times and random numbers."""
    found: dict[str, Any] = {}
    with store._engine.file.connect("r") as connection:
        columns = connection.execute(
            "SELECT schema_name, table_name, column_name FROM duckdb_columns()"
            " WHERE database_name = ? AND NOT starts_with(data_type, 'TIMESTAMP')"
            " AND column_name <> 'token' ORDER BY ALL",
            [CATALOG],
        ).fetchall()
        for (schema, table), names in groupby(columns, key=itemgetter(0, 1)):
            listed = ", ".join(quote(name) for *_, name in names)
            source = f"{CATALOG}.{quote(schema)}.{quote(table)}"
            query = f"SELECT {listed} FROM {source} ORDER BY ALL"  # noqa: S608 - of the catalog
            found[f"{schema}.{table}"] = connection.execute(query).fetchall()
    return found


@pytest.fixture
def copied(
    template: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Callable[[], DuckDBMetadataStore]]:
    """Gives stores that hold what the template holds, one after the other."""
    engine = DuckDBFile.engine
    monkeypatch.setattr(DuckDBFile, "engine", lambda file: Faulty(engine(file)))
    monkeypatch.setattr(Faulty, "fails", 0)

    def make() -> DuckDBMetadataStore:
        shutil.copy(template, tmp_path / "m.duckdb")
        return DuckDBMetadataStore(tmp_path / "m.duckdb", graph=graph())

    yield make
    Faulty.fails = 0


@pytest.mark.parametrize("asked", ASKED)
def test_a_fault_at_any_statement(
    asked: str,
    copied: Callable[[], DuckDBMetadataStore],
    caplog: pytest.LogCaptureFixture,
) -> None:
    do, store = ASKED[asked], copied()
    before = state(store)
    Faulty.count = 0
    do(store)
    statements, after = Faulty.count, state(store)
    assert before != after or asked in (
        "no rows",
        "compacted",
        "compacted in place",
        "ids migrated",
    )
    for number in range(1, statements + 1):
        store = copied()
        Faulty.count, Faulty.fails, Faulty.said = 0, number, None
        caplog.clear()
        raised = False
        try:
            do(store)
        except StoreError:
            raised = True
        Faulty.fails = 0
        if Faulty.said is None:
            break  # what was left in the log decides how many a compaction needs
        assert state(store) == (before if raised else after), (number, Faulty.said)
        assert raised or caplog.records or "ROLLBACK" in Faulty.said, (number, Faulty.said)


@pytest.mark.parametrize("name", ["release", "close"])
def test_a_lock_that_is_not_given_back_does_not_undo_a_write(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    store, real = (
        DuckDBMetadataStore(tmp_path / "m.duckdb", graph=graph()),
        getattr(ReadWriteLock, name),
    )

    def fail(lock: ReadWriteLock, **options: bool) -> None:
        real(lock, **options)
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(ReadWriteLock, name, fail)
    assert store.write("video", frame(1)).new == 1
    assert "what was asked of" in caplog.text
    monkeypatch.undo()
    assert store.count("video") == 1
