"""A parameter of type polars.LazyFrame reads when it is collected, with what is needed then."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import dagster as dg
import polars as pl
import pyarrow as pa
import pytest
from feature_runs import feature
from patience import elsewhere, patient

import metaxy_dagster as mxd
from metaxy_dagster.stores.duckdb.read.snapshot import Snapshot
from metaxy_dagster.stores.duckdb.resolve import source
from metaxy_dagster.stores.frames import lazy, spool

ROWS = 300
TABLE = pa.table(
    {
        "id": list(range(ROWS)),
        "pixels": [i % 7 for i in range(ROWS)],
        "label": [f"no. {i}" if i % 3 else None for i in range(ROWS)],
        "box": [[float(i)] for i in range(ROWS)],
        "empty": pa.nulls(ROWS, pa.timestamp("us", "UTC")),
    }
)


@pytest.fixture(autouse=True)
def _small_is_large(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(spool, "IN_MEMORY", 1_000)
    monkeypatch.setattr(lazy, "BATCH_ROWS", 64)
    monkeypatch.setattr(source, "_READ_AT_ONCE", 10)


@pytest.fixture
def reads(monkeypatch: pytest.MonkeyPatch) -> list[tuple[list[str], int | None]]:
    """The columns and the limit of all that is read."""
    found: list[tuple[list[str], int | None]] = []
    read = Snapshot._read

    def noted(self: Snapshot, columns: Any, limit: int | None = None) -> Any:
        found.append((list(columns), limit))
        return read(self, columns, limit)

    monkeypatch.setattr(Snapshot, "_read", noted)
    return found


def given(run: Callable[..., Any], mode: str = "all") -> pl.LazyFrame:
    """What an asset gets, taken out of its run."""
    seen: list[pl.LazyFrame] = []

    @dg.asset(**feature("image"))
    def image():
        return TABLE

    @dg.asset(**feature("thumb", input=mode))
    def thumb(image: pl.LazyFrame):
        seen.append(image)
        return image.select("id", "pixels")

    assert run(image, thumb).success
    return seen[0]


QUERIES: dict[str, tuple[Callable[[pl.LazyFrame], pl.LazyFrame], set[str]]] = {
    "all": (lambda frame: frame, set(TABLE.column_names)),
    "columns": (lambda frame: frame.select("label", "id"), {"id", "label"}),
    "a filter": (
        lambda frame: frame.filter(pl.col("pixels") == 3).select("id"),
        {"id", "pixels"},
    ),
    "a filter of one's own": (
        lambda frame: frame.filter(
            pl.col("label").map_elements(lambda text: text.endswith("7"), return_dtype=pl.Boolean)
        ).select("id"),
        {"id", "label"},
    ),
    "a filter that leaves nothing": (
        lambda frame: frame.filter(pl.col("id") < 0),
        set(TABLE.column_names),
    ),
    "the first": (lambda frame: frame.sort("id").head(3).select("id"), {"id"}),
    "groups": (
        lambda frame: frame.group_by("pixels").agg(pl.len()).sort("pixels"),
        {"pixels"},
    ),
    # Any one column tells how many rows there are.
    "a number": (lambda frame: frame.select(pl.len()), {"any"}),
    "filter after head": (
        lambda frame: frame.sort("id").head(20).filter(pl.col("id") > 9).select("id"),
        {"id"},
    ),
}


@pytest.mark.parametrize("mode", ["all", "increment"])
@pytest.mark.parametrize(("query", "columns"), QUERIES.values(), ids=QUERIES)
@pytest.mark.filterwarnings("ignore::polars.exceptions.PolarsInefficientMapWarning")
def test_the_result_is_that_of_a_table(
    run: Callable[..., Any],
    reads: list[Any],
    mode: str,
    query: Callable[[pl.LazyFrame], pl.LazyFrame],
    columns: set[str],
) -> None:
    frame = given(run, mode)
    eager = query(pl.DataFrame(pl.from_arrow(TABLE)).lazy()).collect()
    for _ in range(2):
        reads.clear()
        found = query(frame).collect()
        if set(eager.columns) >= {"id"}:
            found = found.sort("id")
        assert found.equals(eager)
        assert found.schema == eager.schema
        asked = {name for names, _ in reads for name in names}
        assert asked == columns or (columns == {"any"} and len(asked) == 1)


def test_the_first_rows_are_all_that_is_read(run: Callable[..., Any], reads: list[Any]) -> None:
    frame = given(run)
    reads.clear()
    assert frame.head(5).collect().height == 5
    assert reads == [(TABLE.column_names, 5)]


def test_nothing_is_read_before_it_is_collected(run: Callable[..., Any], reads: list[Any]) -> None:
    @dg.asset(**feature("image"))
    def image():
        return TABLE

    @dg.asset(**feature("thumb"))
    def thumb(image: pl.LazyFrame):
        assert image.filter(pl.col("id") > 3).collect_schema().names() == TABLE.column_names
        assert reads == []
        return TABLE.select(["id"])

    assert run(image, thumb).success


def test_it_shows_the_state_at_which_it_was_loaded(
    run: Callable[..., Any], store: mxd.DuckDBMetadataStore
) -> None:
    frame = given(run)
    store.write("image", TABLE.slice(0, 3), mode="replace")
    assert frame.collect().sort("id").equals(pl.from_arrow(TABLE))


def test_two_of_them_are_collected_together(run: Callable[..., Any]) -> None:
    frame = given(run)
    joined = frame.join(frame.select("id", other="pixels"), on="id")
    assert joined.collect().height == ROWS
    both = pl.concat([frame.select("id"), frame.select("id")])
    assert both.collect(engine="streaming").height == 2 * ROWS
    assert [part.height for part in pl.collect_all([frame, joined])] == [ROWS, ROWS]


def _write_elsewhere(path: Path, graph: mxd.FeatureGraph) -> None:
    made = mxd.DuckDBMetadataStore(path, graph=graph, lock_timeout=patient(20))
    made.write("image", TABLE.slice(0, 2))


def test_others_may_write_while_rows_are_computed_with(
    run: Callable[..., Any], store: mxd.DuckDBMetadataStore
) -> None:
    frame = given(run)
    written: list[int | None] = []

    def slow(part: pl.DataFrame) -> pl.DataFrame:
        written.append(elsewhere(_write_elsewhere, store.path, store.graph))
        return part

    kinds = frame.collect_schema()
    assert frame.map_batches(slow, schema=kinds).collect().height == ROWS
    assert set(written) == {0}


def test_the_error_is_the_stores(run: Callable[..., Any], store: mxd.DuckDBMetadataStore) -> None:
    frame = given(run)
    store.path.write_bytes(b"no database" * 1000)
    # Early releases of polars put the text of the error into one of their own.
    kinds = mxd.StoreError, pl.exceptions.ComputeError
    with pytest.raises(kinds, match="cannot be read") as caught:
        frame.collect()
    is_recent = tuple(map(int, pl.__version__.split(".")[:2])) >= (1, 38)
    assert caught.type is mxd.StoreError or not is_recent
