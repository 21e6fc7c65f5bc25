"""Members of a group whose ids get a wider type: groups of which nothing changed are not stale."""

from __future__ import annotations

import tempfile
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from videos import T, store_of

from metaxy_dagster.features import FeatureDep, FeatureSpec, LineageRelationship
from metaxy_dagster.stores import DuckDBMetadataStore

DAY = 86_400 * 10**9
NANOS, MICROS = pa.timestamp("ns"), pa.timestamp("us")
# Each type of a chain, and how many of the finest units one step of it is.
CHAINS: dict[str, list[tuple[pa.DataType, int]]] = {
    "moments": [(pa.date32(), DAY), (pa.timestamp("s"), 10**9), (MICROS, 1000), (NANOS, 1)],
    "whole numbers": [(pa.int8(), 1), (pa.uint8(), 1), (pa.int32(), 1), (pa.int64(), 1)],
    "decimals": [(pa.decimal128(6, scale), 10 ** (3 - scale)) for scale in range(4)],
}


def members(path: Path, share: float = 0.3) -> DuckDBMetadataStore:
    lineage = LineageRelationship.aggregation(on=["g"])
    member = FeatureSpec("member", id_columns=["g", "t"])
    group = FeatureSpec("group", id_columns=["g"], deps=[FeatureDep("member", lineage=lineage)])
    store = store_of(path / "m.duckdb", member, group)
    return DuckDBMetadataStore(store.path, graph=store.graph, max_incremental_share=share)


def settled(store: DuckDBMetadataStore) -> list[int]:
    """The groups that are pending, which are computed."""
    increment = store.resolve_update("group")
    pending = increment.pending.collect()["g"].to_list()
    store.write("group", increment.pending)
    return sorted(pending)


def frame(group: int, value: int, ticks: int, kind: pa.DataType) -> pa.Table:
    found: Any = pa.array([ticks], pa.int64())
    if pa.types.is_decimal(kind):
        found = pa.array([Decimal(ticks).scaleb(-kind.scale)], kind)
    elif pa.types.is_date(kind):
        found = found.cast(pa.int32()).cast(kind)
    else:
        found = found.cast(kind)
    return T({"g": [group], "t": found, "value": [value]})


EVENTS = st.lists(
    st.tuples(st.integers(0, 3), st.integers(0, 2), st.integers(0, 3), st.integers(0, 1)),
    min_size=1,
    max_size=8,
)


@pytest.mark.parametrize("chain", CHAINS)
@settings(max_examples=15, deadline=None)
@given(EVENTS, st.sampled_from([0.0, 100.0]))
def test_a_group_is_stale_when_a_member_changed_and_only_then(
    chain: str, events: list[tuple[int, int, int, int]], share: float
) -> None:
    """The oracle knows members by what their ids are, in the finest unit of all."""
    with tempfile.TemporaryDirectory() as directory:
        store = members(Path(directory), share)
        model: dict[tuple[int, int], int] = {}
        for level, group, ticks, value in events:
            kind, step = CHAINS[chain][level]
            store.write("member", frame(group, value, ticks, kind))
            changed = model.get((group, ticks * step)) != value
            model[group, ticks * step] = value
            assert settled(store) == ([group] if changed else [])


@pytest.mark.parametrize("chain", CHAINS)
def test_the_version_of_the_feature_stays_as_well(tmp_path: Path, chain: str) -> None:
    store = members(tmp_path)
    (kind, step), (wide, finest) = CHAINS[chain][0], CHAINS[chain][-1]
    store.write("member", frame(1, 0, 1, kind))
    before = store.data_version("member")
    assert settled(store) == [1]
    store.write("member", frame(2, 0, 200, wide))
    assert settled(store) == [2]
    assert store.data_version("member", filters="g = 1") == before
    assert store.write("member", frame(1, 0, step // finest, wide)).unchanged == 1
