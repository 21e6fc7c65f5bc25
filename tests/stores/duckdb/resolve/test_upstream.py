"""The upstream rows behind an increment, in each of the ways to ask for them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from worlds import catch_up, scanned

from metaxy_dagster.features import FeatureDep, FeatureGraph, FeatureSpec, LineageRelationship
from metaxy_dagster.stores import DuckDBMetadataStore, Increment
from metaxy_dagster.stores.duckdb.resolve import source as source_module

Rows = list[dict[str, Any]]
Ask = Callable[[Increment, bool], Rows]


def graph() -> FeatureGraph:
    made = FeatureGraph()
    made.add(FeatureSpec("frame", id_columns=["video", "n"]))
    deps = {
        "same": FeatureDep("frame"),
        "named": FeatureDep("frame", rename={"video": "clip", "n": "at"}),
        "bright": FeatureDep("frame", rename={"light": "lux"}, filters="lux > 1"),
        "per_video": FeatureDep("frame", lineage=LineageRelationship.aggregation(on=["video"])),
        "box": FeatureDep("frame", lineage=LineageRelationship.expansion()),
    }
    ids = {"named": ["clip", "at"], "per_video": ["video"], "box": ["video", "n", "k"]}
    for name, dep in deps.items():
        made.add(FeatureSpec(name, id_columns=ids.get(name, ["video", "n"]), deps=[dep]))
    return made


FEATURES = ("same", "named", "bright", "per_video", "box")


def as_frame(increment: Increment, everything: bool) -> Rows:
    frame = increment.upstream("frame", all_rows=everything)
    return frame.collect("pyarrow").to_native().to_pylist()


def as_table(increment: Increment, everything: bool) -> Rows:
    return increment.upstream_table("frame", all_rows=everything).to_pylist()


def as_scan(increment: Increment, everything: bool) -> Rows:
    return scanned(increment.upstream_scan("frame", all_rows=everything)).to_pylist()


WAYS: dict[str, Ask] = {"frame": as_frame, "table": as_table, "scan": as_scan}


@pytest.fixture(params=["few", "many"])
def store(
    tmp_path: Path, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> DuckDBMetadataStore:
    """Rows are read when they are asked for, as many are, or at once."""
    if request.param == "many":
        monkeypatch.setattr(source_module, "_READ_AT_ONCE", 0)
    made = DuckDBMetadataStore(tmp_path / "m.duckdb", graph=graph())
    made.write("frame", frames({("a", 1): 1, ("a", 2): 2, ("b", 1): 3, ("c", 1): 0}))
    return made


def frames(lights: dict[tuple[str, int], int]) -> pa.Table:
    videos, numbers = zip(*lights, strict=True)
    return pa.table({"video": videos, "n": numbers, "light": list(lights.values())})


def answer(store: DuckDBMetadataStore, feature: str) -> None:
    """Store a row for each pending sample."""
    catch_up(store, feature, **({"k": 0} if feature == "box" else {}))


def told(rows: Rows) -> dict[tuple[str, int], int]:
    found = {(row["video"], row["n"]): row["light"] for row in rows}
    assert len(found) == len(rows), "each row once"
    return found


ALL = {("a", 1): 1, ("a", 2): 2, ("b", 1): 9, ("b", 2): 1, ("c", 1): 0, ("d", 1): 1}
# The rows behind what is pending once b-1 has changed and b-2 and d-1 have come.
BEHIND = {
    "same": {("b", 1): 9, ("b", 2): 1, ("d", 1): 1},
    "named": {("b", 1): 9, ("b", 2): 1, ("d", 1): 1},
    "bright": {("b", 1): 9},
    "per_video": {("b", 1): 9, ("b", 2): 1, ("d", 1): 1},
    "box": {("b", 1): 9, ("b", 2): 1, ("d", 1): 1},
}


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("feature", FEATURES)
def test_rows_are_those_of_the_pending_samples_or_all_as_of_the_resolve(
    feature: str, way: str, store: DuckDBMetadataStore
) -> None:
    answer(store, feature)
    store.write("frame", frames({("b", 1): 9, ("b", 2): 1, ("d", 1): 1}))
    increment, ask = store.resolve_update(feature), WAYS[way]
    everything = {key: light for key, light in ALL.items() if feature != "bright" or light > 1}
    for _ in range(2):
        assert told(ask(increment, False)) == BEHIND[feature]
        assert told(ask(increment, True)) == everything
        store.write("frame", frames({("a", 1): 7, ("b", 1): 8, ("e", 1): 1}))
        store.delete("frame", filters="video = 'd'")


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("feature", FEATURES)
def test_where_nothing_is_pending_no_rows_are_behind_it(
    feature: str, way: str, store: DuckDBMetadataStore
) -> None:
    answer(store, feature)
    increment, ask = store.resolve_update(feature), WAYS[way]
    assert ask(increment, False) == []
    assert len(told(ask(increment, True))) == (2 if feature == "bright" else 4)


@pytest.mark.parametrize("way", WAYS)
def test_an_upstream_that_was_never_written_has_no_rows(way: str, tmp_path: Path) -> None:
    store = DuckDBMetadataStore(tmp_path / "m.duckdb", graph=graph())
    for everything in (False, True):
        assert WAYS[way](store.resolve_update("same"), everything) == []


@pytest.mark.parametrize("limit", [None, 0, 1, 6, 7, 8])
@pytest.mark.parametrize("columns", [None, ["light"], ["n", "video"], ["light", "n", "video"]])
def test_a_scan_reads_what_it_is_asked_for(
    tmp_path: Path, columns: list[str] | None, limit: int | None
) -> None:
    store = DuckDBMetadataStore(tmp_path / "m.duckdb", graph=graph())
    store.write("frame", frames({("a", n): n for n in range(7)}))
    scan = store.resolve_update("same").upstream_scan("frame", all_rows=True)
    assert not isinstance(scan, pa.Table)
    found = [row for batch in scan.batches(columns, limit) for row in batch.to_pylist()]
    assert len(found) == (7 if limit is None else min(limit, 7))
    if columns is not None:
        assert all(list(row) == columns for row in found)
