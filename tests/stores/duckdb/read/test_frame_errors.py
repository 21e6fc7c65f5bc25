"""A lazy frame that can no longer be read says so as the store would."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeAlias

import duckdb
import narwhals as nw
import pyarrow as pa
import pytest

import metaxy_dagster as mxd

Lazy: TypeAlias = nw.LazyFrame[Any]


@pytest.fixture
def store(tmp_path: Path) -> mxd.DuckDBMetadataStore:
    graph = mxd.FeatureGraph()
    graph.add(mxd.FeatureSpec("image", id_columns=["id"]))
    made = mxd.DuckDBMetadataStore(tmp_path / "m.duckdb", graph=graph)
    made.write("image", pa.table({"id": [1, 2], "size": [1, 2]}))
    return made


AFTER: dict[str, Callable[[Lazy], Lazy]] = {
    "as it is": lambda frame: frame,
    "filtered": lambda frame: frame.filter(nw.col("size") > 1).select("id"),
    "grouped": lambda frame: frame.group_by("size").agg(nw.len().alias("n")),
    "joined": lambda frame: frame.select("id").join(frame.select("id", "size"), on="id"),
    "one below the other": lambda frame: nw.concat([frame.select("id"), frame.select("id")]),
}


@pytest.mark.parametrize("done", AFTER.values(), ids=AFTER)
@pytest.mark.parametrize("backend", [None, "polars"])
def test_the_error_is_the_stores(
    store: mxd.DuckDBMetadataStore, done: Callable[[Lazy], Lazy], backend: Any
) -> None:
    frame = done(store.read("image"))
    assert isinstance(frame, nw.LazyFrame)
    assert len(frame.collect(backend)) in (1, 2, 4)
    store.path.write_bytes(b"no database" * 1000)
    with pytest.raises(mxd.StoreError, match="cannot be read") as caught:
        frame.collect(backend)
    with pytest.raises(mxd.StoreError) as direct:
        store.count("image")
    assert str(caught.value) == str(direct.value)
    assert caught.value.__dict__ == direct.value.__dict__
    assert caught.value.__cause__ is not None


def test_errors_of_the_query_stay_what_they_are(store: mxd.DuckDBMetadataStore) -> None:
    store_error = store.read("image").with_columns(bad=nw.lit("x").cast(nw.Int64))
    with pytest.raises(Exception, match="Could not convert") as caught:
        store_error.collect()
    assert not isinstance(caught.value, mxd.MetaxyError)


def test_who_writes_the_frame_is_told_the_error_of_the_store(
    store: mxd.DuckDBMetadataStore, tmp_path: Path
) -> None:
    other = mxd.DuckDBMetadataStore(tmp_path / "other.duckdb", graph=store.graph)
    frame = store.read("image", columns=["id", "size"])
    assert other.write("image", frame).new == 2
    store.path.write_bytes(b"no database" * 1000)
    with pytest.raises(mxd.StoreError) as caught:
        other.write("image", frame)
    with pytest.raises(mxd.StoreError) as direct:
        store.count("image")
    assert str(direct.value) == str(caught.value)
    assert other.count("image") == 2


@pytest.mark.parametrize("place", ["", "\n\nAt:\n  a/snapshot.py(70): _read\n  b/query.py(3): x\n"])
def test_where_in_our_code_it_was_raised_is_not_told(
    store: mxd.DuckDBMetadataStore, monkeypatch: pytest.MonkeyPatch, place: str
) -> None:
    """Some releases of DuckDB add it to the text."""
    given = mxd.StoreBusyError("it is busy", found="a\nb", allowed="c", remedy="wait")

    def fail(*_: object, **__: object) -> None:
        raise duckdb.InvalidInputException(f"Python exception: StoreBusyError: {given}{place}")

    monkeypatch.setattr(nw.LazyFrame, "collect", fail)
    with pytest.raises(mxd.StoreBusyError) as caught:
        store.read("image").collect()
    assert caught.value.__dict__ == given.__dict__
