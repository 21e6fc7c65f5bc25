"""Ids of one feature may be of other types than those of another: what is the same sample?"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from worlds import catch_up, statuses

from metaxy_dagster.features import FeatureDep, FeatureGraph, FeatureSpec, LineageRelationship
from metaxy_dagster.stores import DuckDBMetadataStore


def graph() -> FeatureGraph:
    made = FeatureGraph()
    made.add(FeatureSpec("clip", id_columns=["id"], fields=["sound", "picture"]))
    made.add(FeatureSpec("label", id_columns=["id"]))
    made.add(FeatureSpec("crop", id_columns=["id"], deps=["clip"], fields=["left", "right"]))
    made.add(FeatureSpec("both", id_columns=["id"], deps=["clip", "label"]))
    parent = FeatureDep("clip", lineage=LineageRelationship.expansion())
    made.add(FeatureSpec("child", id_columns=["id", "n"], deps=[parent]))
    return made


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "m.duckdb"


def rows(kind: pa.DataType, *ids: Any, value: int = 0, **more: Any) -> pa.Table:
    columns = {"id": pa.array(ids, kind), "value": [value] * len(ids)}
    return pa.table(columns | {name: [one] * len(ids) for name, one in more.items()})


def labels(kind: pa.DataType, *ids: Any) -> pa.Table:
    return pa.table({"id": pa.array(ids, kind), "name": ["a"] * len(ids)})


def store_at(path: Path, share: float = 0.3) -> DuckDBMetadataStore:
    return DuckDBMetadataStore(path, graph=graph(), max_incremental_share=share)


@pytest.mark.parametrize("share", [0, 100])
@pytest.mark.parametrize("feature", ["crop", "child"])
def test_an_upstream_may_have_ids_beyond_the_stored_type(
    path: Path, feature: str, share: float
) -> None:
    store = store_at(path, share)
    store.write("clip", rows(pa.int64(), 1, 2))
    more = {"n": 0} if feature == "child" else {}
    increment = store.resolve_update(feature)
    store.write(feature, rows(pa.int8(), 1, 2, **more), increment=increment)
    assert statuses(store.resolve_update(feature)) == {}
    store.write("clip", rows(pa.int64(), 2, 300, value=1))
    assert statuses(store.resolve_update(feature)) == {"new": [300], "stale": [2]}


@pytest.mark.parametrize(
    ("stored", "given", "new"),
    [(pa.int8(), pa.int64(), 300), (pa.int64(), pa.string(), "300")],
    ids=["wider", "text"],
)
def test_given_samples_may_have_ids_of_another_type(
    path: Path, stored: pa.DataType, given: pa.DataType, new: Any
) -> None:
    store = store_at(path)
    store.write("clip", rows(stored, 1, 2))
    two = type(new)(2)
    increment = store.resolve_update("clip", samples=rows(given, two, new))
    assert statuses(increment) == {"new": [300], "orphaned": [1]}


@pytest.mark.parametrize(
    ("kind", "one", "two"),
    [(pa.string(), "1", "2"), (pa.uint64(), 1, 2), (pa.int16(), 1, 2)],
    ids=["text", "unsigned", "narrow"],
)
@pytest.mark.parametrize("feature", ["crop", "child", "both"])
def test_ids_that_were_written_anew_in_another_type_are_the_same(
    path: Path, feature: str, kind: pa.DataType, one: Any, two: Any
) -> None:
    store = store_at(path)
    store.write("clip", rows(pa.int64(), 1, 2))
    store.write("label", labels(pa.int64(), 1, 2))
    catch_up(store, feature, **({"n": 0} if feature == "child" else {}))
    store.drop("clip")
    assert statuses(store.resolve_update(feature)) == {"orphaned": [1, 2]}
    store.write("clip", rows(kind, two))
    if feature == "both":
        store.drop("label")
        store.write("label", labels(kind, one, two))
    assert statuses(store.resolve_update(feature)) == {"orphaned": [1]}


def with_counts(store: DuckDBMetadataStore, feature: str) -> pa.Schema:
    increment = store.resolve_update(feature)
    assert increment.counts.pending == 0
    return increment.delta.schema


def of_frames(store: DuckDBMetadataStore, feature: str) -> pa.Schema:
    return store.resolve_update(feature).new.collect("pyarrow").to_native().schema


@pytest.mark.parametrize("look", [with_counts, of_frames])
@pytest.mark.parametrize("kind", [pa.int8(), pa.int64(), pa.string()], ids=str)
@pytest.mark.parametrize("feature", ["crop", "both", "child"])
def test_where_nothing_is_compared_the_columns_are_those_of_a_comparison(
    path: Path,
    feature: str,
    kind: pa.DataType,
    look: Callable[[DuckDBMetadataStore, str], pa.Schema],
) -> None:
    store = store_at(path)
    wide = pa.string() if kind == pa.string() else pa.int32()
    ids = ("1", "2") if kind == pa.string() else (1, 2)
    store.write("clip", rows(wide, *ids))
    store.write("label", labels(wide, *ids))
    increment = store.resolve_update(feature)
    more = {"n": 0} if feature == "child" else {}
    store.write(feature, rows(kind, *ids, **more), increment=increment)
    settled = look(store, feature)
    assert settled.equals(look(store_at(path, 0), feature))


@pytest.mark.parametrize("kind", [pa.string(), pa.int16()], ids=str)
def test_columns_are_those_of_a_comparison_where_ids_were_written_anew(
    path: Path, kind: pa.DataType
) -> None:
    store, one = store_at(path), "1" if kind == pa.string() else 1
    store.write("clip", rows(pa.int64(), 1))
    catch_up(store, "crop")
    store.drop("clip")
    store.write("clip", rows(kind, one))
    store.write("clip", rows(kind, one, value=1))
    store.write("crop", rows(pa.int64(), 1), increment=store.resolve_update("crop"))
    assert with_counts(store_at(path, 0), "crop").equals(with_counts(store, "crop"))
