"""Bad keys, filters and specs: refused with a remedy; the store is unchanged."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa
import pytest
from worlds import rows

from metaxy_dagster.errors import FeatureError, FrameError, MetaxyError, StoreError
from metaxy_dagster.features import (
    FeatureDep,
    FeatureGraph,
    FeatureSpec,
    FieldSpec,
    LineageRelationship,
    parse_filter,
)
from metaxy_dagster.features.columns import fold
from metaxy_dagster.stores import DuckDBMetadataStore
from metaxy_dagster.stores.results import WriteMode

T = pa.table

# Keys: whatever a key is looked up for, a bad one is refused, a good one may be unknown.

BAD_KEYS = [
    *(
        "",
        "/",
        "a/",
        "/a",
        "a//b",
        " ",
        "a b",
        "a\n",
        "\ta",
        "a\0",
        "a\x7f",
        "..",
        ".",
        "a/..",
        "-a",
    ),
    *('a"', "a'", "a;b", "a`b", "a\\b", "a:b", "a*", "a?", "a%", "a=b", "a,b", "(a)", "[a]", "{a}"),
    *('x"; DROP TABLE y; --', "' OR 1=1 --", "a/*b*/", "$a", "${HOME}", "a&b", "a|b", "a>b", "~a"),
    # Look-alikes: Cyrillic a, full-width a, the Kelvin sign, a dotless i, a zero-width space.
    *(
        "\u0430",
        "\uff41",
        "\u212a",
        "\u0131",
        "a\u200b",
        "a\u202eb",
        "é",
        "e\u0301",
        "🐕",
        "\ud800",
    ),
    *("a" * 101, "/".join(["a"] * 21), "/".join(["a"] * 500), "/".join(["a" * 99] * 3)),
    *([], [""], ["a", ""], ["a/b", "c d"], ["a", 1], [None], 5, 1.5, None, True, b"a", {}, {"a"}),
    *(object, object(), int, ("a", ["b"])),
]
GOOD_KEYS = [
    *("a", "A", "_", "0", "a.b", "a-b", "select", "main", "history", "metaxy", "pending", "null"),
    *("metaxy_features", "a__b/c", "a/b__c", "a" * 100, "/".join(["a"] * 20), ["a", "b"]),
    *("metaxy/format", "format", "commits", "features", "rowid", "CON", "x~y".replace("~", "-")),
]


def label(value: object) -> str:
    """The same in every worker: an address in memory is not."""
    return type(value).__name__ if type(value) is object else repr(value)[:40]


@pytest.mark.parametrize("key", BAD_KEYS, ids=label)
def test_bad_keys_are_refused_by_every_call(key: Any, refusing: DuckDBMetadataStore) -> None:
    calls: list[Callable[[], Any]] = [
        lambda: refusing.write(key, T({"id": [1]})),
        lambda: refusing.read(key),
        lambda: refusing.resolve_update(key),
        lambda: refusing.delete(key),
        lambda: refusing.drop(key),
        lambda: refusing.count(key),
        lambda: refusing.schema(key),
        lambda: refusing.table_name(key),
        lambda: FeatureSpec(key, id_columns=["id"]),
        lambda: FieldSpec(key),
    ]
    for call in calls:
        with pytest.raises(FeatureError) as caught:
            call()
        assert caught.value.remedy


@pytest.mark.parametrize("key", GOOD_KEYS, ids=label)
def test_odd_but_good_keys_work(key: Any, tmp_path: Path) -> None:
    graph = FeatureGraph()
    graph.add(FeatureSpec(key, id_columns=["id"], fields=[FieldSpec(key, columns=["x"])]))
    store = DuckDBMetadataStore(tmp_path / "m.duckdb", graph=graph)
    assert store.write(key, T({"id": [1], "x": ["a"]})).new == 1
    assert rows(store, key) == [{"id": 1, "x": "a"}]
    assert [str(k) for k in store.features()] == [key if isinstance(key, str) else "/".join(key)]


def test_an_unknown_key_names_a_close_one(refusing: DuckDBMetadataStore) -> None:
    for call in (refusing.read, refusing.count, refusing.delete, refusing.resolve_update):
        with pytest.raises(FeatureError, match="did you mean 'image'") as caught:
            call("imag")
        assert caught.value.feature == "imag"
    with pytest.raises(FeatureError):
        refusing.write("imag", T({"id": [1]}))


# Filters

BAD_FILTERS = {
    *("", " ", "height", "height >", "> 5", "height > 5 AND", "AND height > 5", "height > 5 OR OR"),
    *("(height > 5", "height > 5)", "height >> 5", "height > 'a", 'height > "a"', "height > path"),
    *("height = NULL", "height IN ()", "height IN (1, NULL)", "height BETWEEN 1", "height LIKE 5"),
    *("height > 1; DROP TABLE image", "height > 1 -- x", "height > 1 /* x */", "1 = 1", "TRUE"),
    *("lower(path) = 'a'", "(SELECT 1) = 1", "height > (SELECT 1)", "height > ?", "height > $v0"),
    *("height > 1e999", "height > 0x10", "height > 1_000", "height > NaN", "no > 5", '"no" = 1'),
    *("height > 'tall'", "path > 5", "path = true", "height LIKE '7%'", "height = true"),
    *("height > " + "9" * 40, "path = '\ud800'", "NOT " * 500 + "height > 5", "(" * 500 + "x"),
    *("height > 5 " * 3, "height > 1" + " AND height > 1" * 2_000, "\u0430 = 1", "height ＞ 5"),  # noqa: RUF001
}


@pytest.mark.parametrize("text", sorted(BAD_FILTERS, key=repr), ids=label)
def test_bad_filters_are_refused(text: str, refusing: DuckDBMetadataStore) -> None:
    for call in (
        lambda: rows(refusing, "image", filters=text),
        lambda: refusing.count("image", filters=text),
        lambda: refusing.delete("image", filters=text),
    ):
        with pytest.raises(MetaxyError) as caught:
            call()
        assert caught.value.remedy


@pytest.mark.parametrize(
    "given", [5, True, b"height > 5", {"height": 5}, object(), [["a"]], [None]]
)
def test_filters_of_other_types_are_refused(given: Any, refusing: DuckDBMetadataStore) -> None:
    for call in (refusing.count, refusing.delete, refusing.read, refusing.resolve_update):
        with pytest.raises(MetaxyError) as caught:
            call("image" if call != refusing.resolve_update else "score", filters=given)
        assert caught.value.remedy


GOOD_FILTERS = {
    "height > 720": [2],
    "HEIGHT >= 720": [1, 2],
    '"height" = 720.0': [1],
    "height IS NULL": [3],
    "NOT height > 720": [1],
    "height IS NULL OR NOT (height = 720)": [2, 3],
    "path LIKE '%.png' AND caption = 'cat'": [1],
    "caption = 'dög 🐕'": [3],
    "caption != 'cat'": [3],
    "path IN ('a.png', 'it''s', '; --')": [1],
    "height NOT IN (720, 1)": [2],
    "height BETWEEN -1 AND 1000": [1],
    "height NOT BETWEEN -1 AND 1000": [2],
    "height IS NOT NULL": [1, 2],
    "height > '720'": [2],
    "caption NOT LIKE 'c%'": [3],
    "metaxy_feature_version LIKE '%'": [1, 2, 3],
    "path = ''": [],
    f"height < {10**37}": [1, 2],
    "metaxy_deleted_at IS NULL": [1, 2, 3],
}


@pytest.mark.parametrize("text", GOOD_FILTERS)
def test_filters_select_as_sql_does(text: str, refusing: DuckDBMetadataStore) -> None:
    wanted = GOOD_FILTERS[text]
    assert [row["id"] for row in rows(refusing, "image", filters=text)] == wanted
    assert refusing.count("image", filters=[text]) == len(wanted)
    assert refusing.count("image", filters=parse_filter(text)) == len(wanted)


def test_of_several_filters_all_must_hold(refusing: DuckDBMetadataStore) -> None:
    several = ["height >= 720", parse_filter("caption = 'cat'")]
    assert [row["id"] for row in rows(refusing, "image", filters=several)] == [1]
    assert refusing.count("image", filters=tuple(several)) == 1
    assert refusing.count("image", filters=[]) == 3


def test_a_pattern_is_for_text_alone(refusing: DuckDBMetadataStore) -> None:
    for text in ("height LIKE '720'", "height NOT LIKE '720'"):
        with pytest.raises(StoreError, match="with a value of another kind") as caught:
            refusing.count("image", filters=text)
        assert caught.value.remedy


# Specs


def graph_of(*specs: FeatureSpec) -> FeatureGraph:
    graph = FeatureGraph()
    for spec in specs:
        graph.add(spec)
    return graph


ROOT = FeatureSpec("root", id_columns=["id"])
BAD_SPECS: dict[str, Callable[[], Any]] = {
    "no ids": lambda: FeatureSpec("a", id_columns=[]),
    "ids as text": lambda: FeatureSpec("a", id_columns="id"),
    "ids twice": lambda: FeatureSpec("a", id_columns=["id", "id"]),
    "ids by case": lambda: FeatureSpec("a", id_columns=["id", "ID"]),
    "reserved id": lambda: FeatureSpec("a", id_columns=["metaxy_id"]),
    "empty id": lambda: FeatureSpec("a", id_columns=[""]),
    "number as id": lambda: FeatureSpec("a", id_columns=[1]),
    "unknown argument": lambda: FeatureSpec("a", id_columns=["id"], bogus=1),
    "fields twice": lambda: FeatureSpec("a", id_columns=["id"], fields=["x", "x"]),
    "fields by case": lambda: FeatureSpec("a", id_columns=["id"], fields=["x", "X"]),
    "dep twice": lambda: FeatureSpec("a", id_columns=["id"], deps=["b", "b"]),
    "dep on itself": lambda: FeatureSpec("a", id_columns=["id"], deps=["a"]),
    "bad filter": lambda: FeatureDep("b", filters="height >"),
    "bad lineage": lambda: FeatureDep("b", lineage="sideways"),
    "bad code version": lambda: FieldSpec("x", code_version=1.5),
    "unknown dep": lambda: graph_of(FeatureSpec("a", id_columns=["id"], deps=["nope"])).plan("a"),
    "ids not shared": lambda: graph_of(
        ROOT, FeatureSpec("a", id_columns=["other"], deps=["root"])
    ).plan("a"),
    "cycle": lambda: graph_of(
        FeatureSpec("a", id_columns=["id"], deps=["b"]),
        FeatureSpec("b", id_columns=["id"], deps=["a"]),
    ).feature_version("a"),
    "two specs": lambda: graph_of(ROOT, FeatureSpec("root", id_columns=["other"])),
    "aggregation on foreign": lambda: graph_of(
        ROOT,
        FeatureSpec(
            "a",
            id_columns=["g"],
            deps=[FeatureDep("root", lineage=LineageRelationship.aggregation(on=["x"]))],
        ),
    ).plan("a"),
    "not a spec": lambda: FeatureGraph().add("a"),
}


@pytest.mark.parametrize("name", BAD_SPECS)
def test_bad_specs_are_refused(name: str) -> None:
    with pytest.raises(FeatureError) as caught:
        BAD_SPECS[name]()
    assert caught.value.remedy


@pytest.mark.parametrize(
    ("stored", "arrives"), [("é", "É"), ("straße", "STRASSE"), ("k", "\u212a")]
)
@pytest.mark.parametrize("mode", ["upsert", "replace"])
def test_case_beyond_ascii_is_told_apart_by_duckdb_and_refused_by_us(
    tmp_path: Path, stored: str, arrives: str, mode: WriteMode
) -> None:
    graph = FeatureGraph()
    graph.add(FeatureSpec("image", id_columns=["id"]))
    store = DuckDBMetadataStore(tmp_path / "m.duckdb", graph=graph)
    store.write("image", pa.table({"id": [1], stored: [1]}))
    with pytest.raises(FrameError, match="differs only by case"):
        store.write("image", pa.table({"id": [1], arrives: [2]}), mode=mode)
    with pytest.raises(FrameError, match="differ by more than case"):
        store.write("image", pa.table({"id": [1], stored: [1], arrives: [2]}), mode=mode)
    with pytest.raises(StoreError, match="does not have"):
        store.read("image", columns=[arrives])
    assert store.read("image", columns=["ID"]).collect_schema().names() == ["id"]
    assert list(store.schema("image")) == ["id", stored]


@pytest.mark.parametrize("pair", [("é", "É"), ("ß", "ẞ"), ("k", "\u212a"), ("K", "k"), ("É", "É_")])
def test_names_are_folded_as_duckdb_folds_them(pair: tuple[str, str]) -> None:
    first, second = pair
    sql = f'SELECT "{second}" FROM (SELECT 1 AS "{first}")'  # noqa: S608 - names of this test
    try:
        duckdb.connect().execute(sql)
        same = True
    except duckdb.BinderException:
        same = False
    assert (fold(first) == fold(second)) is same
