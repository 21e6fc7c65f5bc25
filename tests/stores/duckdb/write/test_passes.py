"""Many rows are compared part by part with what is stored, as if it were done at once."""

from __future__ import annotations

import datetime as dt
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from videos import store_of

from metaxy_dagster.features import FeatureSpec
from metaxy_dagster.stores import DuckDBMetadataStore
from metaxy_dagster.stores.duckdb.write import passes

ROWS = 400
DAY = dt.datetime(2026, 1, 1, tzinfo=dt.UTC)
IDS: dict[str, dict[str, list[Any]]] = {
    "ascending": {"id": list(range(ROWS))},
    "in no order": {"id": [(i * 7_919_001) % 1_000_003 - 500_000 for i in range(ROWS)]},
    "text": {"id": [f"s3://ä'/{i}" for i in range(ROWS)]},
    "moments": {"id": [DAY + dt.timedelta(hours=i) for i in range(ROWS)]},
    "decimals": {"id": pl.Series(range(ROWS)).cast(pl.Decimal(12, 3)).to_list()},
    "two columns": {"id": [i // 200 for i in range(ROWS)], "k": [i % 200 for i in range(ROWS)]},
    "few values": {"id": ["x"] * ROWS, "k": list(range(ROWS))},
}


@pytest.fixture(autouse=True)
def small_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(passes, "_ROWS", 100)


@pytest.mark.parametrize("kind", IDS)
def test_rows_that_are_compared_part_by_part(kind: str, tmp_path: Path) -> None:
    ids = IDS[kind]
    store = store_of(tmp_path / "m.duckdb", FeatureSpec("root", id_columns=list(ids)))
    frame = pl.DataFrame({**ids, "v": range(ROWS)})
    most = frame[:-10]
    assert store.write("root", most).new == ROWS - 10
    assert store.write("root", most.reverse()).unchanged == ROWS - 10
    changed = frame.with_columns(v=pl.when(pl.col("v") % 7 == 0).then(-1).otherwise("v"))
    updated = sum(v % 7 == 0 for v in range(ROWS - 10))
    result = store.write("root", changed[20:].sample(fraction=1, shuffle=True, seed=1))
    assert (result.new, result.updated) == (10, updated - 3)
    result = store.write("root", changed[40:], mode="replace")
    assert (result.unchanged, result.deleted) == (ROWS - 40, 40)
    assert store.write("root", changed[40:], mode="replace").commit == 0
    assert store.write("root", changed[41:], mode="replace").deleted == 1
    found = pl.from_arrow(store.read_table("root", columns=[*ids, "v"]))
    assert isinstance(found, pl.DataFrame)
    assert found.sort(list(ids)).equals(changed[41:].sort(list(ids)))


@pytest.mark.parametrize("shift", [0, 5])
def test_replacing_within_a_scope(store: DuckDBMetadataStore, shift: int) -> None:
    """As many rows as are stored may still be others, of which some stand outside of the scope."""
    frame = pl.DataFrame({"id": range(ROWS), "part": [i % 2 for i in range(ROWS)]})
    store.write("root", frame)
    half = frame.filter(pl.col("part") == 0).with_columns(pl.col("id") + 2 * shift)
    result = store.write("root", half, mode="replace", scope="part = 0")
    assert (result.new, result.deleted) == (shift, shift)
    assert store.count("root") == ROWS


def test_a_new_feature_and_a_stored_one_in_one_block(store: DuckDBMetadataStore) -> None:
    frame = pl.DataFrame({"id": range(ROWS)})
    for _ in range(2):
        with store.open("w"), store.connected("w"):
            for feature in ("root", "leaf", "other", "root"):
                asked = feature == "leaf"
                increment = store.resolve_update(feature, keep_unchanged=True) if asked else None
                store.write(feature, frame, increment=increment)
    assert [store.count(one) for one in ("root", "leaf", "other")] == [ROWS] * 3


@pytest.fixture
def store(tmp_path: Path) -> DuckDBMetadataStore:
    specs = [
        FeatureSpec("root", id_columns=["id"]),
        FeatureSpec("other", id_columns=["id"]),
        FeatureSpec("leaf", id_columns=["id"], deps=["root"]),
    ]
    return store_of(tmp_path / "m.duckdb", *specs)
