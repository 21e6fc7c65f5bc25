"""Names and values from outside never reach SQL as text; secrets never reach a person.

Each hostile text is used wherever a user may put one. The proof is twofold: it comes back as the
plain data that it is, and every other table of the file is what it was.
"""

from __future__ import annotations

import itertools
import pickle
import traceback
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from worlds import catch_up, digest, rows, small_graph, small_store, statuses

from metaxy_dagster import constants as c
from metaxy_dagster.errors import MetaxyError
from metaxy_dagster.features import (
    FeatureDep,
    FeatureGraph,
    FeatureKey,
    FeatureSpec,
    FieldSpec,
    LineageRelationship,
)
from metaxy_dagster.stores import DuckDBMetadataStore, load_config
from metaxy_dagster.stores.duckdb.sql.identifiers import table_name

HOSTILE = [
    "'",
    '"',
    "''",
    '""',
    "`",
    "\\",
    "\\'",
    ";",
    "--",
    "/*",
    "*/",
    "$v0",
    "$1",
    "?",
    ":x",
    "%s",
    "{0}",
    "a.b",
    "'; DROP TABLE main.image; --",
    '"; DROP TABLE main.image; --',
    "') OR TRUE --",
    '") OR TRUE --',
    "x' UNION SELECT 1 --",
    "1); ATTACH 'x' AS y; --",
    "${HOME}",
    "$(touch x)",
    "é'🐕\"",
    "NULL",
    "metaxy",
]
# Words that the store itself uses in its queries.
OWN_WORDS = [
    *("present", "stored", "in_scope", "forced", "expected", "own", "status", "samples", "gone"),
    *("rid", "d0", "e", "o", "r", "s", "i", "k", "h", "commit", "now", "id_1", "select", "count"),
]


def quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'


def text(value: str) -> str:
    return "'" + value.replace("'", "''") + "'"


def others(path: Path) -> Any:
    """What must not change: the images and their scores."""
    with duckdb.connect(str(path), read_only=True) as connection:
        tables = sorted(
            connection.execute("SELECT schema_name, table_name FROM duckdb_tables()").fetchall()
        )
        kept = [connection.table(f"main.{name}").fetchall() for name in ("image", "score")]
    return [t for t in tables if t[1] in ("image", "score")], kept


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> DuckDBMetadataStore:
    return small_store(tmp_path_factory.mktemp("shared"))


@pytest.mark.parametrize("value", HOSTILE)
def test_values_are_only_values(value: str, shared: DuckDBMetadataStore) -> None:
    """In cells, in ids, in filters, in materialization ids."""
    store, before = shared, others(shared.path)
    frame = pa.table({"id": [value, "other"], "x": [value, "y"]})
    store.write("plain", frame, mode="replace", materialization_id=value)
    same = f"x = {text(value)}"
    for condition in (same, f"id IN ({text(value)}, 'z')", f"NOT x != {text(value)}"):
        assert rows(store, "plain", filters=condition) == [{"id": value, "x": value}]
    only = store.read("plain", filters=same, columns=[c.COL_MATERIALIZATION_ID])
    assert only.collect().rows() == [(value,)]
    assert store.delete("plain", filters=same).deleted == 1
    assert rows(store, "plain") == [{"id": "other", "x": "y"}]
    assert store.count("plain", filters=f"x LIKE {text(value)}") == 0
    assert others(shared.path) == before


def chunks(names: list[str], size: int) -> list[list[str]]:
    return [names[start : start + size] for start in range(0, len(names), size)]


@pytest.mark.parametrize("names", chunks([*HOSTILE, *OWN_WORDS], 12), ids=lambda names: names[0])
def test_column_names_are_only_names(names: list[str], tmp_path: Path) -> None:
    """As ids, as columns, as the group of an aggregation, as what is renamed."""
    parents = LineageRelationship.expansion()
    group = LineageRelationship.aggregation(on=names)
    renames = {name: f"to {number}" for number, name in enumerate(names)}
    graph = FeatureGraph()
    for key, ids, dep in (
        ("root", names, None),
        ("same", names, FeatureDep("root")),
        ("child", [*names, "kk"], FeatureDep("root", lineage=parents)),
        ("wide", ["zz"], None),
        ("group", names, FeatureDep("wide", lineage=group)),
        ("renamed", list(renames.values()), FeatureDep("root", rename=renames)),
    ):
        graph.add(FeatureSpec(key, id_columns=ids, deps=[dep] if dep else []))
    store = DuckDBMetadataStore(tmp_path / "m.duckdb", graph=graph)
    # Zero and one, which would pass for false and true.
    zero, one = ((value,) * len(names) for value in (0, 1))
    store.write("root", pa.table({name: [0, 1] for name in names}))
    store.write("wide", pa.table({"zz": [1, 2, 3], **{name: [0, 0, 1] for name in names}}))
    for feature in ("same", "group", "renamed"):
        assert statuses(store.resolve_update(feature)) == {"new": [zero, one]}, feature
        catch_up(store, feature)
    increment = store.resolve_update("child")
    frame = pa.table({**{name: [0, 1] for name in names}, "kk": [5, 5]})
    store.write("child", frame, increment=increment)
    for feature in ("same", "group", "renamed", "child"):
        assert statuses(store.resolve_update(feature)) == {}, feature
    frame = pa.table({"zz": [1, 2], **{name: [0, 1] for name in names}})
    store.write("wide", frame, mode="replace")
    assert rows(store, "wide") == frame.to_pylist()
    assert statuses(store.resolve_update("group")) == {"stale": [zero, one]}
    every = " AND ".join(f"{quoted(name)} = 0" for name in names)
    assert store.count("root", filters=every) == 1
    assert store.delete("root", filters=every).deleted == 1
    for feature in ("same", "child", "renamed"):
        assert statuses(store.resolve_update(feature)) == {"orphaned": [zero]}, feature


NAME = st.text(
    st.characters(codec="utf-8", exclude_categories=["C"]), min_size=1, max_size=8
).filter(
    lambda name: (
        name == name.strip()
        and name.casefold() not in ("id", "rowid")
        and not name.casefold().startswith(c.PREFIX)
    )
)


@settings(max_examples=8, deadline=None)
@example(name="0\xa00")
@given(name=NAME)
def test_any_name_and_value_comes_back(tmp_path_factory: pytest.TempPathFactory, name: str) -> None:
    path = tmp_path_factory.mktemp("any") / "m.duckdb"
    store = DuckDBMetadataStore(path, graph=small_graph())
    store.write("plain", pa.table({"id": ["k"], name: [name]}))
    assert rows(store, "plain", [name, "id"]) == [{name: name, "id": "k"}]
    assert store.count("plain", filters=f"{quoted(name)} = {text(name)}") == 1


def test_code_versions_are_only_constants(tmp_path: Path) -> None:
    graph = FeatureGraph()
    graph.add(FeatureSpec("root", id_columns=["id"]))
    fields = [FieldSpec(f"f{i}", code_version=version) for i, version in enumerate(HOSTILE)]
    graph.add(FeatureSpec("out", id_columns=["id"], deps=["root"], fields=fields))
    store = DuckDBMetadataStore(tmp_path / "m.duckdb", graph=graph)
    store.write("root", pa.table({"id": [1]}))
    catch_up(store, "out")
    assert statuses(store.resolve_update("out")) == {}


@pytest.mark.parametrize("name", ["it's", 'a"b', "a;b", "a b", "é🐕", "--", "$v0", "%s", "a'; --"])
def test_paths_are_only_paths(name: str, tmp_path: Path) -> None:
    folder = tmp_path / name
    store = DuckDBMetadataStore(folder / f"{name}.duckdb", graph=small_graph())
    assert store.write("plain", pa.table({"id": [1]})).new == 1
    assert rows(store, "plain") == [{"id": 1}]
    assert [path.name for path in tmp_path.iterdir()] == [name]
    assert {path.name.removeprefix(f"{name}.duckdb") for path in folder.iterdir()} <= {"", ".lock"}


# Tables


KEYS = [
    *("a/b__c", "a__b/c", "a/b/c", "a__b__c", "a_/b", "a/_b", "a_b", "a/b", "A/b", "a/B", "A/B"),
    *("a-b", "a.b", "a/b-c", "a/b.c", "_a", "a_", "__", "_", "a__", "x" * 60, "x" * 61, "x" * 62),
    *("/".join(["a"] * 20), "/".join(["a"] * 19), "main", "history", "metaxy", "format", "commits"),
]


def test_distinct_keys_never_share_a_table(tmp_path: Path) -> None:
    graph = FeatureGraph()
    for key in KEYS:
        graph.add(FeatureSpec(key, id_columns=["id"]))
    store = DuckDBMetadataStore(tmp_path / "m.duckdb", graph=graph)
    with store.connected("w"):
        for number, key in enumerate(KEYS):
            store.write(key, pa.table({"id": [number], "key": [key]}))
    with store.connected():
        found = [rows(store, key) for key in KEYS]
    for number, key in enumerate(KEYS):
        assert found[number] == [{"id": number, "key": key}]
    assert len({store.table_name(key).lower() for key in KEYS}) == len(KEYS)
    assert store.drop("a/b__c") is None
    assert rows(store, "a__b/c") == [{"id": KEYS.index("a__b/c"), "key": "a__b/c"}]


PART = st.text(st.sampled_from("aAbB_.-0"), min_size=1, max_size=4).filter(
    lambda part: part[0] not in ".-"
)


@settings(max_examples=100, deadline=None)
@given(st.lists(st.lists(PART, min_size=1, max_size=3), min_size=2, max_size=6, unique_by=tuple))
def test_table_names_are_one_to_one(keys: list[list[str]]) -> None:
    """Case is folded, as DuckDB does."""
    names = [table_name(FeatureKey(key)).lower() for key in keys]
    assert len(set(names)) == len(keys)


@pytest.mark.parametrize(
    ("key", "name"),
    [
        ("audio", "audio"),
        ("audio/clusters_2", "audio__clusters_2"),
        ("x" * 60, "x" * 60),
        ("x" * 61, "x" * 60 + "~c508e75f24e25db94dff52c9564a5102"),
        ("Audio/clusters", "audio__clusters~4136aa7455295437ae0db1285a07c801"),
        ("a__b/c", "a__b__c~e6f836044532044a42bec99728a322d0"),
    ],
)
def test_table_names_stay_what_they_are_from_release_to_release(key: str, name: str) -> None:
    assert table_name(FeatureKey(key)) == name


def test_distinct_fields_never_share_an_entry(tmp_path: Path) -> None:
    names = ["a/b", "a.b", "a_b", "a-b", "a/b/c", "a__b", "default", "metaxy"]
    graph = FeatureGraph()
    fields = [FieldSpec(name, columns=[f"c{i}"]) for i, name in enumerate(names)]
    graph.add(FeatureSpec("root", id_columns=["id"], fields=fields))
    for i, name in enumerate(names):
        deps = {"fields": [FieldSpec("x", deps=[{"feature": "root", "fields": [name]}])]}
        graph.add(FeatureSpec(f"out{i}", id_columns=["id"], deps=["root"], **deps))
    store = DuckDBMetadataStore(tmp_path / "m.duckdb", graph=graph)
    store.write("root", pa.table({"id": [1], **{f"c{i}": [0] for i in range(len(names))}}))
    for i in range(len(names)):
        catch_up(store, f"out{i}")
    changed = {f"c{i}": [int(i == 2)] for i in range(len(names))}
    store.write("root", pa.table({"id": [1], **changed}))
    stale = [i for i in range(len(names)) if statuses(store.resolve_update(f"out{i}"))]
    assert stale == [2]


def test_no_query_holds_a_literal_of_the_user(tmp_path: Path) -> None:
    """Hostile filters on a dependency, on a read and on a resolve leave the file as it is."""
    graph = FeatureGraph()
    graph.add(FeatureSpec("root", id_columns=["id"]))
    for number, value in enumerate(HOSTILE):
        dep = FeatureDep("root", filters=f"x = {text(value)} OR x LIKE {text(value)}")
        graph.add(FeatureSpec(f"out{number}", id_columns=["id"], deps=[dep]))
    store = DuckDBMetadataStore(tmp_path / "m.duckdb", graph=graph)
    store.write("root", pa.table({"id": range(len(HOSTILE)), "x": HOSTILE}))
    before = digest(store.path)
    with store.connected():
        for number, value in enumerate(HOSTILE):
            increment = store.resolve_update(f"out{number}", filters=f"x = {text(value)}")
            assert statuses(increment) == {"new": [number]}
    assert digest(store.path) == before


# Secrets

SECRET = "hunter2-s3cr3t"  # noqa: S105 - made up


def shown(error: BaseException) -> str:
    return "".join(traceback.format_exception(error)) + repr(error) + str(error)


def test_secrets_of_a_store_are_never_shown(tmp_path: Path) -> None:
    store = DuckDBMetadataStore(
        tmp_path / "m.duckdb", graph=small_graph(), settings={"s3_secret": SECRET}
    )
    with pytest.raises(MetaxyError) as caught:
        store.write("plain", pa.table({"id": [1]}))
    assert SECRET not in shown(caught.value)
    for part in (store.display(), repr(store), str(store), store.uri, repr(store._engine.file)):
        assert SECRET not in part
    assert pickle.loads(pickle.dumps(store)).path == store.path  # noqa: S301


@pytest.mark.parametrize(
    "content",
    [
        "[stores.a]\ntype = 'no.such'\nconfig = {password = '%s'}",
        "[stores.a]\nconfig = {path = 'x', password = '%s'}",
        "[stores.a]\npassword = '%s'",
        "password = '%s'",
        "[stores.a]\nconfig = '%s'",
        "[stores.a]\nconfig = {path = 'm', settings = {threads = '%s'}}",
        "[stores.a]\nconfig = {path = 'm', settings = {no_such_setting = '%s'}}",
        "[stores.a]\nconfig = {path = 'm', lock_timeout = 5, settings = {TimeZone = '%s'}}",
        "[stores.a]\nconfig = {path = 'm', password = '${METAXY_TEST_SECRET}'}",
    ],
)
def test_secrets_of_a_configuration_are_never_shown(
    content: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("METAXY_TEST_SECRET", SECRET)
    path = tmp_path / "metaxy.toml"
    path.write_text(content.replace("%s", SECRET), encoding="utf-8")
    with pytest.raises(MetaxyError) as caught:
        use(path)
    assert SECRET not in shown(caught.value)


def use(path: Path) -> None:
    config = load_config(path)
    assert SECRET not in repr(config) + str(config) + repr(config.stores)
    store = config.get_store("a", graph=small_graph())
    store.write("plain", pa.table({"id": [1]}))


def test_only_environment_variables_are_expanded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("METAXY_TEST_NAME", "${HOME}/$(whoami)/`id`")
    path = tmp_path / "metaxy.toml"
    path.write_text(
        "[stores.a]\nconfig = {path = 'x-${METAXY_TEST_NAME}-${UNSET_ONE:-default}-{{ y }}-$HOME'}",
        encoding="utf-8",
    )
    store = load_config(path).get_store()
    wanted = tmp_path / "x-${HOME}/$(whoami)/`id`-default-{{ y }}-$HOME"
    assert store.path == wanted


def test_every_hostile_pair_of_columns_is_kept_apart(tmp_path: Path) -> None:
    store = small_store(tmp_path)
    names = {name.casefold(): name for name in HOSTILE}.values()
    frame = pa.table({"id": [1], **{name: [i] for i, name in enumerate(names)}})
    store.write("plain", frame)
    assert rows(store, "plain") == frame.to_pylist()
    for left, right in itertools.islice(itertools.combinations(names, 2), 0, None, 40):
        assert list(rows(store, "plain", [right, left])[0]) == [right, left]
