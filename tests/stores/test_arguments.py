"""Whatever is passed, to whichever method: a result, or an error of ours."""

from __future__ import annotations

import contextlib
import datetime as dt
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import narwhals as nw
import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st
from worlds import small_graph, small_store

import metaxy_dagster as mxd
from metaxy_dagster.errors import MetaxyError
from metaxy_dagster.stores import DuckDBMetadataStore, Increment, MetaxyConfig, load_config

Call = Callable[[DuckDBMetadataStore, Any], object]
ONE = pa.table({"id": [1], "path": ["a"], "height": [1], "caption": ["b"]})
SCORE = pa.table({"id": [1], "score": [1.0]})


def deep() -> list[Any]:
    found: list[Any] = []
    for _ in range(50_000):
        found = [found]
    return found


class Mute:
    """It cannot even be shown."""

    def __repr__(self) -> str:
        raise ValueError("no")


VALUES: dict[str, Any] = {
    "nothing": None,
    "a number": 5,
    "a negative number": -1,
    "a huge number": 10**400,
    "more than 64 bits": 2**70,
    "a fraction": 0.5,
    "NaN": float("nan"),
    "for ever": float("inf"),
    "true": True,
    "bytes": b"x",
    "empty text": "",
    "half a surrogate": "\ud800",
    "a null character": "a\0b",
    "a long text": "x" * 100_000,
    "slashes": "///",
    "an empty list": [],
    "a list of numbers": [5],
    "a list of nothing": [None],
    "a list of half surrogates": ["\ud800"],
    "a deep list": deep(),
    "a set": {1},
    "a dictionary": {"\ud800": "\ud800"},
    "a type": int,
    "an object": object(),
    "a mute object": Mute(),
    "the longest time": dt.timedelta.max,
    "a negative time": dt.timedelta.min,
    "the last date": dt.datetime.max.replace(tzinfo=dt.UTC),
    "not a time": pd.NaT,
    "an array": np.array([1, 2]),
    "a table": pa.table({"q": [1]}),
    "an expression": nw.col("q") * 2 > 1,
}


def made(store: DuckDBMetadataStore, **options: Any) -> object:
    again = DuckDBMetadataStore(**{"path": store.path, "graph": store.graph, **options})
    return again.resolve_update("score").counts


def increment(store: DuckDBMetadataStore) -> Increment:
    return store.resolve_update("score", keep_unchanged=True)


def entered(manager: Any) -> None:
    with manager:
        pass


CALLS: dict[str, Call] = {
    "path": lambda s, v: made(s, path=v),
    "graph": lambda s, v: made(s, graph=v),
    "lock_timeout": lambda s, v: made(s, lock_timeout=v),
    "settings": lambda s, v: made(s, settings=v),
    "a setting": lambda s, v: made(s, settings={"memory_limit": v}),
    "max_incremental_share": lambda s, v: made(s, max_incremental_share=v),
    "max_attempts": lambda s, v: made(s, max_attempts=v),
    "with_graph": lambda s, v: s.with_graph(v).features(),
    "open": lambda s, v: entered(s.open(v)),
    "connected": lambda s, v: entered(s.connected(v)),
    "write: feature": lambda s, v: s.write(v, ONE),
    "write: frame": lambda s, v: s.write("image", v),
    "write: increment": lambda s, v: s.write("score", SCORE, increment=v),
    "write: empty": lambda s, v: s.write("score", SCORE, increment=increment(s), empty=v),
    "write: mode": lambda s, v: s.write("image", ONE, mode=v),
    "write: scope": lambda s, v: s.write("image", ONE, mode="replace", scope=v),
    "write: share": lambda s, v: s.write("image", ONE, mode="replace", max_deleted_share=v),
    "write: orphans": lambda s, v: s.write("image", ONE, delete_orphaned=v),
    "write: versioned": lambda s, v: s.write("image", ONE, versioned=v),
    "write: run": lambda s, v: s.write("image", ONE, materialization_id=v),
    "delete: feature": lambda s, v: s.delete(v),
    "delete: filters": lambda s, v: s.delete("image", filters=v),
    "delete: soft": lambda s, v: s.delete("image", soft=v),
    "drop": lambda s, v: s.drop(v),
    "resolve: feature": lambda s, v: s.resolve_update(v),
    "resolve: samples": lambda s, v: s.resolve_update("image", samples=v).counts,
    "resolve: filters": lambda s, v: s.resolve_update("score", filters=v).counts,
    "resolve: of one": lambda s, v: s.resolve_update("score", filters={"image": v}).counts,
    "resolve: stale_when": lambda s, v: s.resolve_update("score", stale_when=v).counts,
    "resolve: keep": lambda s, v: s.resolve_update("score", keep_unchanged=v).counts,
    "resolve: as_of": lambda s, v: s.resolve_update("score", as_of=v).counts,
    "batches": lambda s, v: list(increment(s).batches(v)),
    "batches: pending": lambda s, v: list(
        s.resolve_update("score", stale_when="id > 0").batches(v)
    ),
    "upstream": lambda s, v: increment(s).upstream(v).collect(),
    "read: feature": lambda s, v: s.read(v).collect(),
    "read: filters": lambda s, v: s.read("image", filters=v).collect(),
    "read: columns": lambda s, v: s.read("image", columns=v).collect(),
    "read: history": lambda s, v: s.read("image", history=v).collect(),
    "table: columns": lambda s, v: s.read_table("image", columns=v),
    "scan: columns": lambda s, v: list(s.scan("image").batches(v)),
    "scan: limit": lambda s, v: list(s.scan("image").batches(None, v)),
    "count": lambda s, v: s.count("image", filters=v),
    "data version": lambda s, v: s.data_version(v),
    "summary: preview": lambda s, v: s.summary("image", preview=v),
    "schema": lambda s, v: s.schema(v),
    "table name": lambda s, v: s.table_name(v),
    "pin": lambda s, v: s.pin(v),
    "pinned": lambda s, v: s.pinned(v),
    "failures": lambda s, v: s.failures("score", filters=v).collect(),
    "failed": lambda s, v: s.failed(v),
    "retry": lambda s, v: s.retry("score", filters=v),
    "failed samples": lambda s, v: s.record_failures("score", v, "e", increment=increment(s)),
    "failed: error": lambda s, v: s.record_failures("score", SCORE, v, increment=increment(s)),
    "failed: increment": lambda s, v: s.record_failures("score", SCORE, "e", increment=v),
    "compact: older_than": lambda s, v: s.compact(older_than=v, dry_run=True),
    "compact: before": lambda s, v: s.compact(before=v, dry_run=True),
    "compact: dry_run": lambda s, v: s.compact(dry_run=v),
    "alter: columns": lambda s, v: s.alter("image", columns=v, dry_run=True),
    "alter: a type": lambda s, v: s.alter("image", columns={"path": v}, dry_run=True),
    "alter: dry_run": lambda s, v: s.alter("image", columns={}, dry_run=v),
    "ids: feature": lambda s, v: s.migrate_ids(v, dry_run=True),
    "ids: rename": lambda s, v: s.migrate_ids("image", rename=v, dry_run=True),
    "ids: fill": lambda s, v: s.migrate_ids("image", fill=v, dry_run=True),
    "ids: a constant": lambda s, v: s.migrate_ids("image", fill={"id": v}, dry_run=True),
    "ids: types": lambda s, v: s.migrate_ids("image", types=v, dry_run=True),
    "ids: a type": lambda s, v: s.migrate_ids("image", types={"id": v}, dry_run=True),
    "ids: drop": lambda s, v: s.migrate_ids("image", drop=v, dry_run=True),
    "ids: keep": lambda s, v: s.migrate_ids("image", keep=v, dry_run=True),
    "ids: dry_run": lambda s, v: s.migrate_ids("image", dry_run=v),
    "newest commits": lambda s, v: s.newest_commits(v),
    "newest commits: filters": lambda s, v: s.newest_commits(["image"], filters=v),
    "has_commit": lambda s, v: s.has_commit(v),
    "configuration": lambda _, v: load_config(v),
    "configured": lambda _, v: MetaxyConfig().get_store(v),
    "dependency": lambda _, v: mxd.FeatureDep(v),
    "dependency: filters": lambda _, v: mxd.FeatureDep("image", filters=v),
    "key": lambda _, v: mxd.FeatureSpec(v, id_columns=["id"]),
    "id columns": lambda _, v: mxd.FeatureSpec("new", id_columns=v),
}


class Refused(Exception):  # noqa: N818 - what is expected is no error
    """It was refused as it should be."""


@contextlib.contextmanager
def refusing() -> Iterator[None]:
    """Errors of ours have a remedy and can be written down."""
    try:
        yield
    except MetaxyError as error:
        faults = getattr(error, "exceptions", (error,))
        if all(one.remedy for one in faults) and str(error).encode():
            raise Refused from error
        raise


@pytest.mark.parametrize("name", CALLS)
def test_every_argument_of_every_method(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    store, call = small_store(tmp_path), CALLS[name]
    for value in VALUES.values():
        with contextlib.suppress(Refused), refusing():
            call(store, value)
    # None of them broke it.
    assert store.write("plain", pa.table({"id": [1]})).new == 1


def test_compacting_with_the_longest_time_keeps_all(tmp_path: Path) -> None:
    store = small_store(tmp_path)
    store.delete("image")
    assert store.compact(older_than=dt.timedelta.max).rows_removed == 0
    assert len(store.read("image", history=True).collect()) == 3


WORDS = st.text("()'\"\\ =<>!,aNOTIn1.-%_\ud800\0é", max_size=30) | st.text(max_size=10)
JUNK = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | WORDS | st.binary(max_size=3),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(WORDS, inner, max_size=3),
    max_leaves=5,
)


@pytest.fixture(scope="module")
def fuzzed(tmp_path_factory: pytest.TempPathFactory) -> DuckDBMetadataStore:
    return small_store(tmp_path_factory.mktemp("fuzzed"))


READING = ["resolve: filters", "read: columns", "count", "pinned", "schema", "failures"]


@given(st.sampled_from(READING), JUNK)
def test_junk_is_taken_or_refused(fuzzed: DuckDBMetadataStore, name: str, value: Any) -> None:
    with contextlib.suppress(MetaxyError):
        CALLS[name](fuzzed, value)


@given(st.dictionaries(WORDS, st.lists(JUNK, min_size=2, max_size=2), max_size=3))
def test_frames_of_junk_are_taken_or_refused(
    tmp_path_factory: pytest.TempPathFactory, columns: dict[str, list[Any]]
) -> None:
    store = DuckDBMetadataStore(tmp_path_factory.mktemp("junk") / "m.duckdb", graph=small_graph())
    names = ["id", *columns]
    frame = pd.DataFrame(dict(enumerate([[1, 2], *columns.values()])), dtype=object)
    # Pandas itself would refuse some of them as texts.
    frame.columns = pd.Index(names, dtype=object)
    with contextlib.suppress(MetaxyError):
        store.write("plain", frame)
