"""Many columns and many fields: the same rows and hashes as few, for a cost that follows both."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa
import pytest
from videos import store_of
from worlds import rows, versions

from metaxy_dagster import constants as c
from metaxy_dagster.features import FeatureDep, FeatureSpec, FieldDep, FieldSpec
from metaxy_dagster.stores import DuckDBMetadataStore
from metaxy_dagster.stores.duckdb.file.reshape import Change, reshape
from metaxy_dagster.stores.frames.encoding import encode_all, hash_text

MANY = 150
TABLE = "metaxy_store.main.t"


def fields(prefix: str, number: int) -> list[str]:
    return [f"{prefix}{i:02}" for i in range(number)]


def expected(field: str, parents: dict[str, str | None]) -> str:
    """The provenance of a field by the rules of the encoding, in Python."""
    pairs = [part for name in sorted(parents) for part in (name, parents[name])]
    return hash_text(encode_all([field, "0", str(len(parents)), *pairs]))


ALL, BUT_ONE, PAIRS, OWN, NONE = "all", "all but one", "neighbours", "of the same name", "none"
SOME = "all or none but one"
CHOICES: dict[str, Callable[[int, Sequence[str]], list[str]]] = {
    ALL: lambda _, names: list(names),
    BUT_ONE: lambda i, names: [name for j, name in enumerate(names) if j != i],
    PAIRS: lambda i, names: sorted({names[i], names[i - 1]}),
    OWN: lambda i, names: [names[i]],
    SOME: lambda i, names: list(names) if i % 3 else [names[i]],
    NONE: lambda _i, _names: [],
}


@pytest.mark.parametrize("number", [1, 3, 9])
@pytest.mark.parametrize("choice", CHOICES)
def test_the_hash_of_fields_that_depend_on_many(choice: str, number: int, tmp_path: Path) -> None:
    """Few are hashed by another query than many; an upstream may be absent, a version short."""
    names, chosen = fields("p", number), CHOICES[choice]
    own = {f"g{i}": chosen(i, names) for i in range(number)}
    store = store_of(
        tmp_path / "m.duckdb",
        FeatureSpec("must", id_columns=["id"], fields=names),
        FeatureSpec("may", id_columns=["id"], fields=names),
        FeatureSpec(
            "leaf",
            id_columns=["id"],
            deps=["must", FeatureDep("may", optional=True)],
            fields=[
                FieldSpec(key, deps=[FieldDep(one, fields=wanted) for one in ("must", "may")])
                for key, wanted in own.items()
            ],
        ),
    )
    given = [{name: f"{i}{name}" * (16 if i else 1) for name in names} for i in range(3)]
    store.write("must", pa.table({"id": [0, 1, 2], c.COL_PROVENANCE_BY_FIELD: given}))
    store.write("may", pa.table({"id": [0, 1], c.COL_PROVENANCE_BY_FIELD: given[:2]}))
    must, may = versions(store, "must"), versions(store, "may")
    found = store.resolve_update("leaf", filters="id >= 1").new.collect().to_native().to_pylist()
    assert sorted(row["id"] for row in found) == [1, 2]
    for row in found:
        for key, wanted in own.items():
            parents: dict[str, str | None] = {f"must:{n}": must[row["id"]][n] for n in wanted}
            parents |= {f"may:{n}": may.get(row["id"], {}).get(n) for n in wanted}
            assert row[c.COL_PROVENANCE_BY_FIELD][key] == expected(key, parents)


def test_fields_of_the_same_columns_have_the_same_content(tmp_path: Path) -> None:
    made = [FieldSpec("a", columns=["x"]), FieldSpec("b", columns=["x"]), FieldSpec("c")]
    store = store_of(tmp_path / "m.duckdb", FeatureSpec("root", id_columns=["id"], fields=made))
    store.write("root", pa.table({"id": [1], "x": [1], "y": [2]}))
    (first,) = versions(store, "root").values()
    store.write("root", pa.table({"id": [1], "x": [1], "y": [3]}))
    (second,) = versions(store, "root").values()
    assert first["a"] == first["b"] == second["a"] == second["b"]
    assert len({first["a"], first["c"], second["c"]}) == 3


def described(store: DuckDBMetadataStore) -> list[tuple[Any, ...]]:
    """Names and types of the columns of both tables of a feature, as another program sees them."""
    with duckdb.connect(str(store.path), read_only=True) as connection:
        return connection.execute(
            "SELECT table_schema, column_name, data_type FROM information_schema.columns"
            " WHERE table_schema <> 'metaxy' ORDER BY table_schema, ordinal_position"
        ).fetchall()


@pytest.mark.parametrize("number", [1, MANY])
def test_columns_that_are_added(number: int, tmp_path: Path) -> None:
    """The rows that were there, and their past, have none of them."""
    store = store_of(tmp_path / "m.duckdb", FeatureSpec("root", id_columns=["id"]))
    for value in "abc":
        store.write("root", pa.table({"id": [1, 2], "v": [value, "x"]}))
    before = described(store)
    more = {f"c{i}": [i] for i in range(number)}
    assert store.write("root", pa.table({"id": [3], "v": ["d"], **more})).new == 1
    nothing = dict.fromkeys(more)
    assert rows(store, "root") == [
        {"id": 1, "v": "c", **nothing},
        {"id": 2, "v": "x", **nothing},
        {"id": 3, "v": "d", **{name: value for name, (value,) in more.items()}},
    ]
    past = store.read("root", history=True, filters="id = 1").collect().to_native().to_pylist()
    assert [row["v"] for row in past] == ["a", "b", "c"]
    after = described(store)
    assert [one for one in after if one[1] not in more] == before
    assert store.write("root", pa.table({"id": [3], "v": ["d"], **more})).unchanged == 1


@pytest.mark.parametrize("number", [1, 2, 40])
def test_fields_that_are_added(number: int, tmp_path: Path) -> None:
    """Rows that are not written again have none of them; nor has the past."""
    old, new = fields("a", 2), fields("b", number)
    store = store_of(tmp_path / "m.duckdb", FeatureSpec("root", id_columns=["id"], fields=old))
    for value in (1, 2):
        store.write("root", pa.table({"id": [1, 2], "v": [value, 0]}))
    known = versions(store, "root")
    spec = FeatureSpec("root", id_columns=["id"], fields=[*old, *new])
    later = store_of(store.path, spec)
    assert later.write("root", pa.table({"id": [1], "v": [3]})).updated == 1
    found = versions(later, "root")
    assert found[2] == known[2] | dict.fromkeys(new)
    assert sorted(found[1]) == [*old, *new]
    assert None not in found[1].values()
    past = later.read("root", history=True, filters="id = 1").collect().to_native().to_pylist()
    assert [
        sum(v is not None for v in row[c.COL_PROVENANCE_BY_FIELD].values()) for row in past
    ] == [
        2,
        2,
        2 + number,
    ]


@pytest.mark.parametrize("stored", [0, 3, 5_000])
@pytest.mark.parametrize("number", [1, MANY])
def test_columns_that_are_added_or_change_their_type(number: int, stored: int) -> None:
    """Small tables are made anew, large ones changed: the outcome is the same."""
    with duckdb.connect() as connection:
        connection.execute("ATTACH ':memory:' AS metaxy_store")
        columns = {f"c{i}": pa.array(range(stored), pa.int32()) for i in range(number)}
        made = pa.table({"k": pa.array([f"k{i}" for i in range(stored)], pa.string()), **columns})
        connection.register("made", made)
        connection.execute(f"CREATE TABLE {TABLE} AS FROM made")
        connection.execute("BEGIN TRANSACTION")
        retyped = {f"c{i}": ("DOUBLE", f'"c{i}" + 0.5') for i in range(number)}
        change = Change({f'd"{i}': "DATE[]" for i in range(number)}, retyped)
        reshape(connection, TABLE, change)
        connection.execute("COMMIT")
        relation = connection.table(TABLE)
        assert relation.columns == ["k", *retyped, *change.added]
        assert list(map(str, relation.types)) == [
            "VARCHAR",
            *["DOUBLE"] * number,
            *["DATE[]"] * number,
        ]
        found = [(row[0], row[1], row[-1]) for row in relation.fetchall()]
        assert found == [(f"k{i}", i + 0.5, None) for i in range(stored)]
        tables = connection.execute("SELECT table_name FROM duckdb_tables()").fetchall()
        assert tables == [("t",)]
