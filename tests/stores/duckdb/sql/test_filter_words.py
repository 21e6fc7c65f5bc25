"""Filters as the field writes them: as text and as narwhals expressions, wherever they go."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import narwhals as nw
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st
from worlds import statuses

from metaxy_dagster.errors import FeatureError, MetaxyError, StoreError
from metaxy_dagster.features import And, Compare, FeatureDep, FeatureGraph, FeatureSpec, Or
from metaxy_dagster.stores import DuckDBMetadataStore

ROWS: dict[str, list[Any]] = {
    "id": [1, 2, 3, 4],
    "light": [10, 20, None, 40],
    "kind": ["a%", "b", None, "B_c"],
    "ok": [True, False, None, True],
    "day": [date(2026, 1, 1), date(2026, 1, 31), None, date(2026, 2, 1)],
    "at": [datetime(2026, 1, day, 12, tzinfo=UTC) for day in (1, 2, 3, 4)],
    "meta": [{"lang": "en", "Deep": {"n": n}} for n in (1, 2)]
    + [None, {"lang": None, "Deep": None}],
}


def graph(filters: object = None) -> FeatureGraph:
    made = FeatureGraph()
    made.add(FeatureSpec("clip", id_columns=["id"]))
    made.add(FeatureSpec("note", id_columns=["id"]))
    deps = [FeatureDep("clip", rename={"light": "lux"}, filters=filters)]
    made.add(FeatureSpec("crop", id_columns=["id"], deps=deps))
    made.add(FeatureSpec("both", id_columns=["id"], deps=[*deps, FeatureDep("note")]))
    return made


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> DuckDBMetadataStore:
    return filled(tmp_path_factory.mktemp("words"))


def filled(folder: Path) -> DuckDBMetadataStore:
    made = DuckDBMetadataStore(folder / "m.duckdb", graph=graph())
    made.write("clip", pa.table(ROWS))
    made.write("note", pa.table({"id": [1, 2, 3], "words": [5, 6, 7]}))
    return made


def ids(store: DuckDBMetadataStore, filters: object) -> list[int]:
    return sorted(store.read_table("clip", filters=filters).column("id").to_pylist())


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("ok", [1, 4]),
        ("NOT ok", [2]),
        ("NOT ok OR light = 10", [1, 2]),
        ("15 < light", [2, 4]),
        ("40 <= light OR 10 = light", [1, 4]),
        ("light IS NOT NULL", [1, 2, 4]),
        ("kind ILIKE 'B%'", [2, 4]),
        ("kind LIKE 'B%'", [4]),
        ("kind NOT LIKE 'B%'", [1, 2]),
        ("kind NOT ILIKE 'B%'", [1]),
        ("kind LIKE '%!%' ESCAPE '!'", [1]),
        ("kind LIKE '%!_%' ESCAPE '!'", [4]),
        ("day > DATE '2026-01-31'", [4]),
        ("DATE '2026-01-31' >= day", [1, 2]),
        ("day = TIMESTAMP '2026-01-31 00:00:00'", [2]),
        ("at < TIMESTAMP '2026-01-02 12:00:00'", [1]),
        ("at <= TIMESTAMPTZ '2026-01-02 14:00:00+02:00'", [1, 2]),
        ("at >= DATE '2026-01-03'", [3, 4]),
        ("at IN (TIMESTAMPTZ '2026-01-04 12:00:00Z')", [4]),
        ("day BETWEEN DATE '2026-01-02' AND DATE '2026-02-01'", [2, 4]),
        ("meta.lang = 'en'", [1, 2]),
        ("META.LANG = 'en' AND meta.deep.n = 2", [2]),
        ("meta.lang IS NULL", [3, 4]),
        ('2 > meta."Deep".n', [1]),
    ],
)
def test_words_of_the_field(store: DuckDBMetadataStore, text: str, expected: list[int]) -> None:
    assert ids(store, text) == expected
    assert store.count("clip", filters=text) == len(expected)
    found = store.resolve_update("crop", filters=text.replace("light", "lux"))
    assert statuses(found) == {"new": expected}


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("meta.length > 1", "names a member"),
        ("meta.lang.x = 1", "names a member"),
        ("id.x = 1", "names a member"),
        ("other.x = 1", "does not have"),
        ("light", "another kind"),
        ("kind", "another kind"),
        ("day > 5", "another kind"),
        ("at = true", "another kind"),
        ("light > DATE '2026-01-01'", "another kind"),
        ("kind > DATE '2026-01-01'", "another kind"),
        ("ok = DATE '2026-01-01'", "another kind"),
        ("meta.deep.n = 'x'", "another kind"),
        ("meta = 'x'", "cannot be read"),
        ("day > 'yesterday'", "cannot be read"),
    ],
)
def test_what_a_column_cannot_be_asked(store: DuckDBMetadataStore, text: str, says: str) -> None:
    with pytest.raises(StoreError, match=says) as caught:
        store.read("clip", filters=text).collect()
    assert caught.value.remedy


Give = Callable[[DuckDBMetadataStore, object], object]


def of_a_dependency(store: DuckDBMetadataStore, filters: object) -> object:
    narrowed = DuckDBMetadataStore(store.path, graph=graph(filters))
    return statuses(narrowed.resolve_update("crop"))


def of_failures(store: DuckDBMetadataStore, filters: object) -> object:
    increment = store.resolve_update("crop")
    store.record_failures("crop", pa.table({"id": [1, 4]}), "too dark", increment=increment)
    found = store.failures("crop", filters=filters).collect()["id"].to_list()
    return found, store.retry("crop", filters=filters)


def of_a_replace(store: DuckDBMetadataStore, filters: object) -> object:
    frame = pa.table({name: values[:1] for name, values in ROWS.items()})
    return store.write("clip", frame, mode="replace", max_deleted_share=1.0, scope=filters).deleted


# What holds for sample 4 alone, given in each place where a filter may be given.
PLACES: dict[str, tuple[Give, object]] = {
    "read": (lambda s, f: s.read("clip", filters=f).collect()["id"].to_list(), [4]),
    "read a table": (ids, [4]),
    "read history": (
        lambda s, f: s.read("clip", filters=f, history=True).collect()["id"].to_list(),
        [4],
    ),
    "scan": (
        lambda s, f: pa.Table.from_batches(s.scan("clip", filters=f).batches())["id"].to_pylist(),
        [4],
    ),
    "count": (lambda s, f: s.count("clip", filters=f), 1),
    "summary": (lambda s, f: s.summary("clip", filters=f).chosen, 1),
    "data version": (
        lambda s, f: s.data_version("clip", filters=f) == s.data_version("clip", filters="id = 4"),
        True,
    ),
    "delete": (lambda s, f: s.delete("clip", filters=f).deleted, 1),
    "replace": (of_a_replace, 1),
    "increment": (lambda s, f: statuses(s.resolve_update("crop", filters=f)), {"new": [4]}),
    "upstream": (
        lambda s, f: statuses(s.resolve_update("crop", filters={"clip": f})),
        {"new": [4]},
    ),
    "dependency": (of_a_dependency, {"new": [4]}),
    "failures": (of_failures, ([4], 1)),
}
FORMS = {
    "text": "id > 3",
    "expression": nw.col("id") > 3,
    "parsed": Compare("id", ">", 3),
    "several": [nw.col("id") > 2, "NOT id = 3"],
}


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("place", PLACES)
def test_every_form_is_taken_in_every_place(place: str, form: str, tmp_path: Path) -> None:
    give, expected = PLACES[place]
    assert give(filled(tmp_path), FORMS[form]) == expected


@pytest.mark.parametrize("place", PLACES)
def test_what_a_filter_cannot_say_is_refused_or_done(place: str, tmp_path: Path) -> None:
    give, expected = PLACES[place]
    store = filled(tmp_path)
    if place in ("read", "read history", "count"):
        # Narwhals itself filters the frame.
        assert give(store, nw.col("id") * 2 > 7) == expected
    else:
        with pytest.raises(FeatureError, match="says more than a filter can") as caught:
            give(store, nw.col("id") * 2 > 7)
        assert caught.value.remedy
    with pytest.raises(MetaxyError):
        give(store, nw.col("nothing") * 2 > 7)


def test_stored_samples_are_stale_where_an_expression_holds(tmp_path: Path) -> None:
    store = filled(tmp_path)
    store.write(
        "crop", pa.table({"id": [1, 2], "x": [1, 2]}), increment=store.resolve_update("crop")
    )
    found = store.resolve_update("crop", stale_when=nw.col("x") > 1, filters="id < 3")
    assert statuses(found) == {"stale": [2]}


def test_filters_by_upstream_use_the_columns_of_each(store: DuckDBMetadataStore) -> None:
    by_upstream: Any = {"clip": "light >= 20", "note": [nw.col("words") < 7]}
    assert statuses(store.resolve_update("both", filters=by_upstream)) == {"new": [2]}
    assert statuses(store.resolve_update("both", filters={})) == {"new": [1, 2, 3]}


@pytest.mark.parametrize(
    ("feature", "filters", "says"),
    [
        ("crop", {"note": "words > 1"}, "not looked at"),
        ("crop", {"clip": "lumen > 1"}, "does not have"),
        ("crop", {"clip": 5}, "cannot be used"),
    ],
)
def test_filters_by_upstream_that_cannot_be_used(
    store: DuckDBMetadataStore, feature: str, filters: Any, says: str
) -> None:
    with pytest.raises(StoreError, match=says) as caught:
        _ = store.resolve_update(feature, filters=filters).counts
    assert caught.value.remedy


def test_very_long_filters_are_read_or_refused(store: DuckDBMetadataStore) -> None:
    one = Compare("id", "=", 1)
    assert ids(store, " OR ".join(["id = 1"] * 1_000)) == [1]
    assert ids(store, nw.col("id").is_in(list(range(2, 20_000)))) == [2, 3, 4]
    assert ids(store, Or(tuple(And((one, one)) for _ in range(1_000)))) == [1]
    for filters in ([one] * 10_001, ["id = 1"] * 10_001):
        with pytest.raises(StoreError, match="too long"):
            store.count("clip", filters=filters)


VALUES: dict[str, st.SearchStrategy[Any]] = {
    "light": st.sampled_from([5, 10, 20, 40]),
    "kind": st.sampled_from(["a%", "b", "B", "_", "%"]),
    "day": st.sampled_from([date(2026, 1, 1), date(2026, 1, 31), date(2030, 1, 1)]),
}


SIGNS = ["__eq__", "__ne__", "__lt__", "__le__", "__gt__", "__ge__"]
CLOSED = st.sampled_from(["both", "left", "right", "none"])


def leaves(name: str) -> st.SearchStrategy[nw.Expr]:
    column, value = nw.col(name), VALUES[name]
    found = [
        st.builds(lambda sign, one: getattr(column, sign)(one), st.sampled_from(SIGNS), value),
        st.builds(column.is_in, st.lists(value, min_size=1, max_size=2)),
        st.builds(column.is_between, value.map(nw.lit), value.map(nw.lit), CLOSED),
        st.just(column.is_null()),
        st.just(nw.col("ok")),
    ]
    if name == "kind":
        text = column.str
        found += [st.builds(text.starts_with, value), st.builds(text.ends_with, value)]
        found.append(st.builds(lambda one: text.contains(one, literal=True), value))
    return st.one_of(found)


def _joined(inner: st.SearchStrategy[nw.Expr]) -> st.SearchStrategy[nw.Expr]:
    return st.one_of(
        st.builds(lambda a, b: a & b, inner, inner),
        st.builds(lambda a, b: a | b, inner, inner),
        st.builds(lambda a: ~a, inner),
    )


LEAVES = st.sampled_from(sorted(VALUES)).flatmap(leaves)


@given(st.recursive(LEAVES, _joined, max_leaves=6))
def test_an_expression_chooses_what_narwhals_would(
    store: DuckDBMetadataStore, expression: nw.Expr
) -> None:
    plain = store.read("clip").filter(expression).collect()["id"].to_list()
    assert ids(store, expression) == sorted(plain)
