"""The hash of an aggregated sample, worked out by hand: the same in every engine and release."""

from __future__ import annotations

import datetime as dt
import hashlib
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from videos import store_of
from worlds import versions

from metaxy_dagster.constants import (
    COL_DATA_VERSION,
    COL_DATA_VERSION_BY_FIELD,
    COL_PROVENANCE,
    COL_PROVENANCE_BY_FIELD,
)
from metaxy_dagster.features import (
    FeatureDep,
    FeatureSpec,
    FieldDep,
    FieldSpec,
    LineageRelationship,
)

MOMENT = dt.datetime(2026, 1, 31, 12, 30, 15, 250_001, tzinfo=dt.UTC)
MICROSECONDS = 1_769_862_615_250_001
ZURICH = dt.timezone(dt.timedelta(hours=1))
# Id, its type, and how it stands in the hash.
IDS: dict[str, tuple[Any, pa.DataType, str]] = {
    "integer": (-7, pa.int64(), "-7"),
    "small integer": (7, pa.uint8(), "7"),
    "text": ("ä b", pa.string(), "ä b"),
    "empty text": ("", pa.string(), ""),
    "boolean": (True, pa.bool_(), "true"),
    "date": (dt.date(2026, 1, 31), pa.date32(), "2026-01-31"),
    "decimal": (Decimal("1.50"), pa.decimal128(10, 2), "1.50"),
    "moment": (MOMENT, pa.timestamp("us", tz="UTC"), str(MICROSECONDS)),
    "moment elsewhere": (
        MOMENT.astimezone(ZURICH),
        pa.timestamp("us", tz="Europe/Zurich"),
        str(MICROSECONDS),
    ),
    "moment without zone": (MOMENT.replace(tzinfo=None), pa.timestamp("us"), str(MICROSECONDS)),
    "seconds": (MOMENT.replace(tzinfo=None, microsecond=0), pa.timestamp("s"), "1769862615000000"),
    "nanoseconds": (MICROSECONDS * 1000 + 7, pa.timestamp("ns"), f"{MICROSECONDS}007"),
}


def enc(text: str) -> str:
    return f"{len(text.encode())}:{text}"


def md5(text: str) -> str:
    return hashlib.md5(text.encode(), usedforsecurity=False).hexdigest()


@pytest.mark.parametrize("kind", IDS)
def test_the_hash_of_a_group(kind: str, tmp_path: Path) -> None:
    value, arrow, text = IDS[kind]
    lineage = LineageRelationship.aggregation(on=["g"])
    store = store_of(
        tmp_path / "m.duckdb",
        FeatureSpec("member", id_columns=["g", "id"]),
        FeatureSpec("group", id_columns=["g"], deps=[FeatureDep("member", lineage=lineage)]),
    )
    table = pa.table({"g": pa.array([1]), "id": pa.array([value], arrow), "x": pa.array([5])})
    store.write("member", table)
    (version,) = (v["default"] for v in versions(store, "member").values())
    combined = md5(enc("1") + enc(text) + enc(version))
    wanted = md5(enc("default") + enc("0") + enc("1") + enc("member:default") + enc(combined))
    (row,) = store.resolve_update("group").new.collect().to_native().to_pylist()
    assert row[COL_PROVENANCE_BY_FIELD] == {"default": wanted}
    assert row[COL_PROVENANCE] == md5(enc("default") + enc(wanted))


def test_the_hash_of_a_group_is_that_of_its_members_in_the_order_of_their_ids(
    tmp_path: Path,
) -> None:
    """As texts with their lengths, whatever order they were written in, and how often."""
    lineage = LineageRelationship.aggregation(on=["g"])
    store = store_of(
        tmp_path / "m.duckdb",
        FeatureSpec("member", id_columns=["g", "id"]),
        FeatureSpec("group", id_columns=["g"], deps=[FeatureDep("member", lineage=lineage)]),
    )
    for ids in ([10, 2], [30, 1, 9], [10]):
        values = [7 * one + len(ids) for one in ids]
        store.write("member", pa.table({"g": [1] * len(ids), "id": ids, "x": values}))
    found = {id_: v["default"] for (_, id_), v in versions(store, "member").items()}
    combined = md5("".join(enc("1") + enc(str(i)) + enc(found[i]) for i in (1, 2, 9, 10, 30)))
    wanted = md5(enc("default") + enc("0") + enc("1") + enc("member:default") + enc(combined))
    (row,) = store.resolve_update("group").new.collect().to_native().to_pylist()
    assert row[COL_PROVENANCE_BY_FIELD] == {"default": wanted}


GIVEN = [("v1", "v2"), ("v" * 31, "w" * 33), ("a" * 32, "b" * 32), ("a" * 32, "b")]


@pytest.mark.parametrize(("a", "b"), GIVEN)
def test_the_hash_of_a_sample_whose_provenance_is_given(a: str, b: str, tmp_path: Path) -> None:
    """Of two fields, in the order of their names, whatever the length of what was given."""
    spec = FeatureSpec("root", id_columns=["id"], fields=["b", "a"])
    store = store_of(tmp_path / "m.duckdb", spec)
    frame = pa.table({"id": [1], COL_PROVENANCE_BY_FIELD: [{"a": a, "b": b}]})
    wanted = md5(enc("a") + enc(a) + enc("b") + enc(b))
    (row,) = store.resolve_update("root", samples=frame).new.collect().to_native().to_pylist()
    assert row[COL_PROVENANCE] == wanted
    store.write("root", frame)
    (row,) = store.read("root").collect().to_native().to_pylist()
    assert row[COL_PROVENANCE] == wanted


@pytest.mark.parametrize(("a", "b"), GIVEN)
def test_the_hash_of_a_sample_whose_data_versions_are_given(a: str, b: str, tmp_path: Path) -> None:
    spec = FeatureSpec("root", id_columns=["id"], fields=["b", "a"])
    store = store_of(tmp_path / "m.duckdb", spec)
    frame = pa.table({"id": [1], "x": [5], COL_DATA_VERSION_BY_FIELD: [{"a": a, "b": b}]})
    store.write("root", frame)
    (row,) = store.read("root").collect().to_native().to_pylist()
    assert row[COL_DATA_VERSION_BY_FIELD] == {"a": a, "b": b}
    assert row[COL_DATA_VERSION] == md5(enc("a") + enc(a) + enc("b") + enc(b))


def test_the_hash_of_a_sample_without_its_optional_upstream(tmp_path: Path) -> None:
    store = store_of(
        tmp_path / "m.duckdb",
        FeatureSpec("must", id_columns=["id"]),
        FeatureSpec("may", id_columns=["id"]),
        FeatureSpec("both", id_columns=["id"], deps=["must", FeatureDep("may", optional=True)]),
    )
    store.write("must", pa.table({"id": [1], "x": [5]}))
    (version,) = (v["default"] for v in versions(store, "must").values())
    parents = enc("may:default") + "-" + enc("must:default") + enc(version)
    (row,) = store.resolve_update("both").new.collect().to_native().to_pylist()
    wanted = md5(enc("default") + enc("0") + enc("2") + parents)
    assert row[COL_PROVENANCE_BY_FIELD] == {"default": wanted}


@pytest.mark.parametrize("grouped", [False, True])
def test_the_hash_of_a_sample_whose_upstream_waits_for_a_new_field(
    tmp_path: Path, *, grouped: bool
) -> None:
    """A field that its stored rows do not have yet is missing, and so differs from every value."""
    lineage = LineageRelationship.aggregation(on=["id"]) if grouped else None
    dep = FeatureDep("root", lineage=lineage) if lineage else FeatureDep("root")
    fields = [FieldSpec("default", deps=[FieldDep("root", fields=["b"])])]
    out = FeatureSpec("out", id_columns=["id"], deps=[dep], fields=fields)
    root = FeatureSpec("root", id_columns=["id"], fields=["a"])
    store_of(tmp_path / "m.duckdb", root).write("root", pa.table({"id": [1], "x": [5]}))
    root = FeatureSpec("root", id_columns=["id"], fields=["a", "b"])
    store = store_of(tmp_path / "m.duckdb", root, out)
    version = enc(md5(enc("1") + "-")) if grouped else "-"
    wanted = md5(enc("default") + enc("0") + enc("1") + enc("root:b") + version)
    (row,) = store.resolve_update("out").new.collect().to_native().to_pylist()
    assert row[COL_PROVENANCE_BY_FIELD] == {"default": wanted}
