"""Structs grow: what one sample's dictionary holds differs from what another's does."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import duckdb
import pandas as pd
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from videos import T, store_of
from worlds import rows

from metaxy_dagster.errors import FrameError
from metaxy_dagster.features import FeatureSpec
from metaxy_dagster.stores import DuckDBMetadataStore

CLIP = FeatureSpec("clip", id_columns=["id"])
SCORE = FeatureSpec("score", id_columns=["id"], deps=["clip"])


def store_at(directory: Path) -> DuckDBMetadataStore:
    return store_of(directory / "m.duckdb", CLIP, SCORE)


@pytest.fixture
def store(tmp_path: Path) -> DuckDBMetadataStore:
    return store_at(tmp_path)


def without_nulls(value: Any) -> Any:
    """A value without entries that are null: whether one is there depends on other rows."""
    if isinstance(value, dict):
        found = {name: without_nulls(one) for name, one in value.items()}
        return {name: one for name, one in found.items() if one is not None}
    return [without_nulls(one) for one in value] if isinstance(value, list) else value


def stored(store: DuckDBMetadataStore) -> list[Any]:
    return [without_nulls(row["x"]) for row in sorted(rows(store, "clip"), key=lambda r: r["id"])]


def frame(values: list[Any], first: int = 0) -> pd.DataFrame:
    ids = range(first, first + len(values))
    return pd.DataFrame({"id": ids, "x": pd.Series(values, dtype=object)})


def settle(store: DuckDBMetadataStore) -> int:
    """Compute what is pending downstream, and tell how much that was."""
    increment = store.resolve_update("score")
    store.write("score", increment.pending)
    return increment.counts.pending


# DuckDB 1.5 has no structs without entries, and calls entries of nothing but nulls numbers.
TWO = not duckdb.__version__.startswith("1.")


def has_type(values: list[Any]) -> bool:
    return TWO or "struct<>" not in str(pa.array(values).type)


INNER = st.fixed_dictionaries({}, optional={"n": st.integers(0, 3), "t": st.sampled_from("ab")})
VALUES = st.none() | st.fixed_dictionaries(
    {},
    optional={
        "a": st.none() | st.integers(-2, 2),
        "b b": st.none() | st.sampled_from(["", "x"]),
        "c": st.none() | INNER,
        "d": st.none() | st.lists(st.none() | INNER, max_size=2),
        "e": st.none() | st.lists(st.lists(st.floats(0, 1), max_size=2), max_size=2),
        'f"': st.none() | st.fixed_dictionaries({}, optional={"g": INNER, "h": st.lists(INNER)}),
    },
)


@settings(max_examples=40, deadline=None)
@given(st.lists(st.lists(VALUES, min_size=1, max_size=3).filter(has_type), min_size=1, max_size=4))
def test_whatever_keys_each_increment_brings_every_value_comes_back(
    increments: list[list[Any]],
) -> None:
    with tempfile.TemporaryDirectory() as directory:
        store, model = store_at(Path(directory)), []
        for values in increments:
            store.write("clip", frame(values, first=len(model)))
            assert settle(store) == len(values)
            model += values
        assert stored(store) == without_nulls(model)
        # The legacy asset returns all there is, in a frame whose structs have all the keys.
        assert store.write("clip", frame(model)).unchanged == len(model)
        assert store.resolve_update("score").counts.pending == 0
        part = store.resolve_update("clip", samples=frame(model)).counts
        assert (part.stale, part.orphaned) == (0, 0)


@pytest.mark.parametrize(
    ("first", "second", "kind"),
    [
        ({"a": 1}, {"b": "x"}, "STRUCT(a BIGINT, b VARCHAR)"),
        ({"a": 1, "b": 2}, {"b": 3, "a": 4}, "STRUCT(a BIGINT, b BIGINT)"),
        ({"a": 1}, {"A": 2}, "STRUCT(a BIGINT)"),
        ({"a": 1}, {"a": 0.5}, "STRUCT(a DOUBLE)"),
        ({"a": None}, {"a": [{"b": 1}]}, "STRUCT(a STRUCT(b BIGINT)[])"),
        ({"a": []}, {"a": [1]}, "STRUCT(a BIGINT[])"),
        ([{"a": None}], [{"a": 1}], "STRUCT(a BIGINT)[]"),
        ({"a": [{"b": 1}]}, {"a": [{"c": 1}]}, "STRUCT(a STRUCT(b BIGINT, c BIGINT)[])"),
        ({}, {"a": 1}, "STRUCT(a BIGINT)"),
        ({"a": 1}, {}, "STRUCT(a BIGINT)"),
        ({"a": {}}, {"a": {"b": 1}}, "STRUCT(a STRUCT(b BIGINT))"),
        ({'"': 1}, {"NULL": None}, 'STRUCT("""" BIGINT, "NULL" VARCHAR)'),
    ],
)
def test_a_struct_has_the_entries_of_both(
    store: DuckDBMetadataStore, first: Any, second: Any, kind: str
) -> None:
    if not (has_type([first]) and has_type([second])):
        with pytest.raises(FrameError, match="'x' has a type that cannot be stored"):
            store.write("clip", frame([{}]))
        return
    store.write("clip", frame([first]))
    assert store.write("clip", frame([second], first=1)).new == 1
    assert store.schema("clip")["x"] == kind
    kept = [without_nulls(one) for one in (first, second)]
    kept = [{"a": one["A"]} if "A" in one else one for one in kept]
    assert stored(store) == kept
    assert store.write("clip", frame([second], first=1)).unchanged == 1


def test_maps_and_arrays_grow_by_what_is_in_them(store: DuckDBMetadataStore) -> None:
    one, two = pa.struct([("a", pa.int64())]), pa.struct([("b", pa.string()), ("a", pa.int64())])
    for kind in (lambda inner: pa.map_(pa.string(), inner), lambda inner: pa.list_(inner, 1)):
        store.drop("clip")
        is_map = pa.types.is_map(kind(one))
        first, second = {"a": 1}, {"b": "x", "a": 2}
        values = [[("k", each)] if is_map else [each] for each in (first, second)]
        store.write("clip", T({"id": [0], "x": pa.array(values[:1], kind(one))}))
        store.write("clip", T({"id": [1], "x": pa.array(values[1:], kind(two))}))
        values[0] = [("k", {"a": 1, "b": None})] if is_map else [{"a": 1, "b": None}]
        read = store.read_table("clip", columns=["id", "x"]).sort_by("id")
        assert read.column("x").to_pylist() == values
        again = T({"id": [1], "x": pa.array(values[1:], kind(two))})
        assert store.write("clip", again).unchanged == 1


@pytest.mark.parametrize(
    ("first", "second"),
    [({"a": 1}, {"a": "x"}), ({"a": [1]}, {"a": {"b": 1}}), ({"a": 2**53 + 1}, {"a": 0.5})],
)
def test_an_entry_of_another_kind_is_refused_and_nothing_changes(
    store: DuckDBMetadataStore, first: Any, second: Any
) -> None:
    store.write("clip", frame([first]))
    before = rows(store, "clip"), store.schema("clip")
    with pytest.raises(FrameError, match=r"cast 'x'.*store\.alter\('clip', columns=\{'x'"):
        store.write("clip", frame([second], first=1))
    assert (rows(store, "clip"), store.schema("clip")) == before


def test_a_field_of_which_nothing_changed_stays_as_it_was(tmp_path: Path) -> None:
    fields = {"tags": {"columns": ["x"]}, "title": {"columns": ["t"]}}
    clip = FeatureSpec("clip", id_columns=["id"], fields=fields)
    one = FeatureSpec("score", id_columns=["id"], fields=["tags"], deps=["clip"])
    store = store_of(tmp_path / "m.duckdb", clip, one)
    store.write("clip", frame([{"a": 1}]).assign(t="old"))
    assert settle(store) == 1
    both = frame([{"a": 1}, {"a": 2, "b": 1}]).assign(t=["new", "new"])
    assert (store.write("clip", both).updated, settle(store)) == (1, 1)
    assert store.resolve_update("score").counts.stale == 0
