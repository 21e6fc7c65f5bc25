"""Narwhals expressions as filters: what they become, and what is refused."""

from __future__ import annotations

import pickle
from datetime import UTC, date, datetime

import narwhals as nw
import narwhals.stable.v1 as nw_v1
import narwhals.stable.v2 as nw_v2
import polars as pl
import pytest

from metaxy_dagster.errors import FeatureError
from metaxy_dagster.features import FeatureDep, FeatureSpec, filter_of, parse_filter

COL = nw.col
SAME = [
    (COL("a") > 1, "a > 1"),
    (COL("a") != "x", "a != 'x'"),
    (COL("a") <= nw.lit(2.5), "a <= 2.5"),
    (COL("in") == 1, '"in" = 1'),
    (nw.lit(2) < COL("a"), "a > 2"),
    (COL("a") <= 2, "a <= 2"),
    (COL("ok"), "ok"),
    (~COL("ok"), "NOT ok"),
    ((COL("a") == 1) & (COL("b") == 2) & COL("c"), "a = 1 AND b = 2 AND c"),
    ((COL("a") == 1) | (COL("b") == 2) & COL("c"), "a = 1 OR b = 2 AND c"),
    (((COL("a") == 1) | (COL("b") == 2)) & ~COL("c"), "(a = 1 OR b = 2) AND NOT c"),
    (COL("a").is_in([1, 2]), "a IN (1, 2)"),
    (COL("a").is_in(iter("xy")), "a IN ('x', 'y')"),
    (COL("a").is_in(pl.Series([1, 2])), "a IN (1, 2)"),
    (~COL("a").is_in([1]), "NOT a IN (1)"),
    (COL("a").is_in([]), "a IS NULL AND a IS NOT NULL"),
    (COL("a").is_null(), "a IS NULL"),
    (~COL("a").is_null(), "NOT a IS NULL"),
    (COL("a").is_between(1, 2), "a BETWEEN 1 AND 2"),
    (COL("a").is_between(nw.lit("x"), nw.lit("y")), "a BETWEEN 'x' AND 'y'"),
    (COL("a").is_between(1, nw.lit(2), closed="left"), "a >= 1 AND a < 2"),
    (COL("a").is_between(1, 2, closed="right"), "a > 1 AND a <= 2"),
    (COL("a").is_between(1, 2, closed="none"), "a > 1 AND a < 2"),
    (COL("a").str.starts_with("x"), "a LIKE 'x%'"),
    (COL("a").str.ends_with("50%"), "a LIKE '%50!%' ESCAPE '!'"),
    (COL("a").str.contains("a_!", literal=True), "a LIKE '%a!_!!%' ESCAPE '!'"),
    (COL("meta").struct.field("lang") == "en", "meta.lang = 'en'"),
    (COL("meta").struct.field("a").struct.field("b").is_null(), "meta.a.b IS NULL"),
    (COL("day") >= date(2026, 1, 31), "day >= DATE '2026-01-31'"),
    (
        COL("at") < datetime(2026, 1, 31, 12, tzinfo=UTC),
        "at < TIMESTAMPTZ '2026-01-31 12:00:00+00:00'",
    ),
    (nw.all_horizontal("a", COL("b") > 1, ignore_nulls=False), "a AND b > 1"),
    (nw.any_horizontal("a", COL("b") > 1, ignore_nulls=False), "a OR b > 1"),
    ((COL("a") > 1).alias("wanted"), "a > 1"),
    (nw_v1.col("a") > 1, "a > 1"),
    (nw_v2.col("a") > 1, "a > 1"),
]


@pytest.mark.parametrize(("expression", "text"), SAME, ids=[text for _, text in SAME])
def test_an_expression_is_the_filter_that_says_the_same(expression: nw.Expr, text: str) -> None:
    assert FeatureDep("video", filters=expression).filters == (parse_filter(text),)


OTHERS = [
    COL("a") * 2 > 3,
    COL("a") > COL("b"),
    COL("a", "b") > 1,
    nw.all() > 1,
    nw.nth(0) > 1,
    COL("a").cast(nw.Int64) > 1,
    COL("a").sum() > 1,
    COL("a").is_nan(),
    COL("a").str.contains("x.*"),
    COL("a").str.to_lowercase() == "x",
    COL("a").is_between(COL("b"), 2),
    COL("a").is_between("b", "c"),
    COL("a").fill_null(value=True),
    COL("a") == None,  # noqa: E711 - what is tested
    COL("a").is_in([1, None]),
    (COL("a") > 1) == (COL("b") > 1),
    COL("a") & nw.lit(value=True),
    nw.lit(value=True),
    nw.any_horizontal("a", "b", ignore_nulls=True),
    nw.selectors.boolean(),
    nw.when(COL("a") > 1).then(1),
    COL("a") > b"x",
    COL("a") > "\ud800",
    COL("\ud800") > 1,
    COL("meta").struct.field("") > 1,
]


@pytest.mark.parametrize("expression", OTHERS, ids=ascii)
def test_what_no_filter_says_is_refused_with_a_remedy(expression: nw.Expr) -> None:
    with pytest.raises(FeatureError) as caught:
        FeatureDep("video", filters=expression)
    assert caught.value.remedy


def _nested(levels: int) -> nw.Expr:
    one = COL("a") > 1
    for _ in range(levels):
        one = (COL("a") > 1) | ((COL("b") > 1) & one)
    return one


def test_no_expression_is_too_deep_or_too_long_for_an_error() -> None:
    inverted = COL("a")
    for _ in range(2_000):
        inverted = ~inverted
    chained = COL("a") > 0
    for _ in range(10_000):
        chained = chained | (COL("a") > 1)
    for expression in (inverted, _nested(30), _nested(400)):
        with pytest.raises(FeatureError, match="nested too deeply"):
            filter_of(expression)
    with pytest.raises(FeatureError, match="too long"):
        filter_of(chained)
    assert len(filter_of(_nested(20)).columns) == 2


def test_a_dependency_filtered_by_an_expression_is_that_filtered_by_its_text() -> None:
    text = "height > 720 AND codec IN ('av1')"
    expression = (COL("height") > 720) & COL("codec").is_in(["av1"])
    specs = [
        FeatureSpec("crop", id_columns=["id"], deps=[FeatureDep("video", filters=given)])
        for given in (text, [text], expression, [expression])
    ]
    for spec in specs:
        assert spec == specs[0]
        assert spec.deps[0].filters == (parse_filter(text),)
        assert pickle.loads(pickle.dumps(spec)) == spec  # noqa: S301 - our own bytes
        assert FeatureSpec.model_validate_json(spec.model_dump_json()) == spec
