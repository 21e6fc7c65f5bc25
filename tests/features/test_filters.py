from __future__ import annotations

import pickle
from datetime import UTC, date, datetime, timedelta, timezone
from decimal import Decimal
from enum import Enum

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from metaxy_dagster.errors import FeatureError
from metaxy_dagster.features import (
    And,
    Between,
    Compare,
    FeatureDep,
    Filter,
    In,
    IsNull,
    Like,
    Member,
    Not,
    Or,
    parse_filter,
)

WALL = datetime.fromisoformat
UTF8 = st.characters(exclude_categories=["Cs"])
NAMES = st.text(UTF8, min_size=1, max_size=8).filter(str.isprintable) | st.sampled_from(
    ["height", "NOT", "in", "null", 'a"b', "a b", "1st", "a.b", "date", "timestamp", "ilike"]
)
COLUMNS = NAMES | st.builds(Member, st.lists(NAMES, min_size=2, max_size=4).map(tuple))
TEXT = st.text(UTF8, max_size=8) | st.text("'\"%_ a", max_size=4)
LITERALS = st.one_of(
    TEXT,
    st.booleans(),
    st.integers(-(10**30), 10**30),
    st.floats(allow_nan=False, allow_infinity=False),
    st.dates(),
    st.datetimes(),
    st.datetimes(
        timezones=st.just(UTC) | st.just(timezone(timedelta(hours=-5, minutes=30)))
    ).filter(lambda moment: 1 < moment.year < 9999),
)
LEAVES = st.one_of(
    st.builds(Compare, COLUMNS, st.sampled_from(["=", "!=", "<", "<=", ">", ">="]), LITERALS),
    st.builds(In, COLUMNS, st.lists(LITERALS, min_size=1, max_size=3).map(tuple), st.booleans()),
    st.builds(IsNull, COLUMNS, st.booleans()),
    st.builds(Like, COLUMNS, TEXT, st.booleans(), st.booleans()),
    st.builds(Like, COLUMNS, TEXT, st.booleans(), st.booleans(), st.just("!")),
    st.builds(Between, COLUMNS, LITERALS, LITERALS, st.booleans()),
)


def _joined(inner):
    several = st.lists(inner, min_size=2, max_size=3).map(tuple)
    return st.one_of(st.builds(And, several), st.builds(Or, several), st.builds(Not, inner))


FILTERS = st.recursive(LEAVES, _joined, max_leaves=8)


def _tree(value):
    """A filter as plain tuples, so that equality does not rest on the text under test."""
    if isinstance(value, Filter):
        return (type(value), *(_tree(getattr(value, name)) for name in value.__match_args__))
    if isinstance(value, tuple):
        return tuple(map(_tree, value))
    return (type(value), repr(value))


@given(FILTERS)
def test_the_canonical_text_parses_back_to_the_same_tree(one):
    again = parse_filter(str(one))
    assert _tree(again) == _tree(one)
    assert again == one
    assert hash(again) == hash(one)
    assert again.columns == one.columns
    assert pickle.loads(pickle.dumps(one)) == one  # noqa: S301 - our own bytes


@given(FILTERS, FILTERS)
def test_filters_are_equal_exactly_if_their_trees_are(one, other):
    assert (one == other) == (_tree(one) == _tree(other))


@given(st.text(max_size=40) | st.text("()'\" =<>!,aNOTIn1.-", max_size=40))
def test_any_text_is_parsed_or_refused(text):
    try:
        parsed = parse_filter(text)
    except FeatureError as error:
        assert error.remedy  # noqa: PT017 - both outcomes are right
    else:
        assert parse_filter(str(parsed)) == parsed


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("height > 720", Compare("height", ">", 720)),
        ("height<>-7", Compare("height", "!=", -7)),
        ("height == 1.5e3", Compare("height", "=", 1500.0)),
        ("name = 'it''s'", Compare("name", "=", "it's")),
        ('"my ""col""" = TRUE', Compare('my "col"', "=", True)),
        ("codec not in ('a', 'b')", In("codec", ("a", "b"), negated=True)),
        ("a is null", IsNull("a")),
        ("a IS NOT NULL", IsNull("a", negated=True)),
        ("a LIKE 'x%'", Like("a", "x%")),
        ("a NOT LIKE 'x_'", Like("a", "x_", negated=True)),
        ("a BETWEEN 1 AND 2 AND b = 3", And((Between("a", 1, 2), Compare("b", "=", 3)))),
        ("a NOT BETWEEN 1 AND 2", Between("a", 1, 2, negated=True)),
        (
            "a = 1 OR b = 2 AND NOT c = 3",
            Or((Compare("a", "=", 1), And((Compare("b", "=", 2), Not(Compare("c", "=", 3)))))),
        ),
        (
            "(a = 1 OR b = 2) AND c = 3",
            And((Or((Compare("a", "=", 1), Compare("b", "=", 2))), Compare("c", "=", 3))),
        ),
        ("((a = 1))", Compare("a", "=", 1)),
        ("is_valid", Compare("is_valid", "=", True)),
        ("NOT is_valid", Not(Compare("is_valid", "=", True))),
        (
            "a AND (b) OR NOT c",
            Or(
                (
                    And((Compare("a", "=", True), Compare("b", "=", True))),
                    Not(Compare("c", "=", True)),
                )
            ),
        ),
        ("720 < height", Compare("height", ">", 720)),
        ("720 <= height", Compare("height", ">=", 720)),
        ("720 > height", Compare("height", "<", 720)),
        ("-7.5 >= height", Compare("height", "<=", -7.5)),
        ("'a' = codec", Compare("codec", "=", "a")),
        ("true != ok", Compare("ok", "!=", True)),
        ("a ILIKE 'x%'", Like("a", "x%", any_case=True)),
        ("a not ilike 'x%'", Like("a", "x%", True, True)),
        ("a LIKE 'x!%%' ESCAPE '!'", Like("a", "x!%%", escape="!")),
        ("ilike ILIKE 'escape'", Like("ilike", "escape", any_case=True)),
        ("day > DATE '2026-01-31'", Compare("day", ">", date(2026, 1, 31))),
        ("date '2026-01-31' < date", Compare("date", ">", date(2026, 1, 31))),
        ("date = '2026-01-31'", Compare("date", "=", "2026-01-31")),
        ("date", Compare("date", "=", True)),
        ("timestamp IS NULL", IsNull("timestamp")),
        ("at >= TIMESTAMP '2026-01-31 12:30'", Compare("at", ">=", WALL("2026-01-31 12:30"))),
        (
            "at < timestamp '2026-01-31T12:30:00.25'",
            Compare("at", "<", WALL("2026-01-31 12:30:00.250")),
        ),
        (
            "at = TIMESTAMPTZ '2026-01-31 12:30:00+02:00'",
            Compare("at", "=", datetime(2026, 1, 31, 10, 30, tzinfo=UTC)),
        ),
        (
            "at = TIMESTAMPTZ '2026-01-31'",
            Compare("at", "=", datetime(2026, 1, 31, tzinfo=UTC)),
        ),
        (
            "day BETWEEN DATE '2026-01-01' AND DATE '2026-01-31'",
            Between("day", date(2026, 1, 1), date(2026, 1, 31)),
        ),
        ("day IN (DATE '2026-01-01')", In("day", (date(2026, 1, 1),))),
        ("meta.lang = 'en'", Compare(Member(("meta", "lang")), "=", "en")),
        ("1 < meta.a.b", Compare(Member(("meta", "a", "b")), ">", 1)),
        ('meta."a.b" . "in" IS NULL', IsNull(Member(("meta", "a.b", "in")))),
        (
            "meta.ok AND NOT meta.bad",
            And(
                (
                    Compare(Member(("meta", "ok")), "=", True),
                    Not(Compare(Member(("meta", "bad")), "=", True)),
                )
            ),
        ),
    ],
)
def test_the_grammar(text, expected):
    assert _tree(parse_filter(text)) == _tree(expected)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "height > 720"),
        ("   ", "height > 720"),
        (None, "height > 720"),
        (3, "height > 720"),
        ("height 5", "operator"),
        ("NOT height NOT", "operator"),
        ("height >", "end of"),
        ("height > 1 2", "character 12"),
        ("height = NULL", "IS NULL"),
        ("height IN (1, null)", "IS NULL"),
        ("height IN ()", "value"),
        ("height IN (1", "')'"),
        ("(height = 1", "')'"),
        ("height = 1)", "character 11"),
        ("codec = av1", "'av1'"),
        ('codec = "av1"', "'av1'"),
        ("720 < 5", "a column"),
        ("720", "an operator"),
        ("720 IN (720)", "an operator"),
        ("true", "an operator"),
        ("height > width", "'width'"),
        ("a = 1 AND", "a column"),
        ("a = 'x", "character 5"),
        ("a. = 1", "a column"),
        (".a = 1", "a column"),
        ("a = b.c", "a value"),
        ("a" + ".b" * 60 + " = 1", "a path of 61 names"),
        ("a LIKE 'x!' ESCAPE '!'", "escape character"),
        ("a LIKE 'x' ESCAPE '!!'", "one character"),
        ("a > DATE 'yesterday'", "DATE '2026-01-31'"),
        ("a > DATE '2026-02-30'", "DATE '2026-01-31'"),
        ("a > DATE '2026-02-03 12:00'", "without a time"),
        ("a > DATE 5", "a value"),
        ("a > TIMESTAMP '2026-W05-1'", "TIMESTAMP '2026-01-31 12:30:00'"),
        ("a > TIMESTAMP '2026-01-31 12:30:00+02'", "TIMESTAMP '2026-01-31 12:30:00'"),
        ("a > TIMESTAMP '2026-01-31 12:30:00.123456789'", "TIMESTAMP"),
        ("a = 1; DROP TABLE x", "character 6"),
        ("a = 1 -- no", "character 7"),
        ("a = 12abc", "character 5"),
        ("a = 1e999", "finite"),
        ("a = " + "9" * 50, "digits"),
        ("a LIKE 5", "quotes"),
        ("NOT", "a column"),
        ("and = 1", "a column"),
        ("a NOT 5", "operator"),
        ("(" * 60 + "a = 1" + ")" * 60, "nested"),
        ("NOT " * 60 + "a = 1", "nested"),
        ("(" * 4_900 + "a = 1" + ")" * 4_900, "nested"),
        ("NOT " * 2_400 + "a = 1", "nested"),
        ("(" * 100_000 + "a = 1" + ")" * 100_000, "too long"),
        ("NOT " * 100_000 + "a", "too long"),
        ("a OR " * 200_000 + "a", "too long"),
        ("a = 1 AND " * 2000 + "a = 1", "too long"),
    ],
)
def test_other_text_is_refused_with_its_place_and_a_remedy(text, says):
    with pytest.raises(FeatureError) as caught:
        parse_filter(text)
    assert says in str(caught.value)
    assert caught.value.remedy


@pytest.mark.parametrize(
    "make",
    [
        lambda: Compare("a", "~", 1),
        lambda: Compare("a", "=", None),
        lambda: Compare("a", "=", float("nan")),
        lambda: Compare("", "=", 1),
        lambda: Compare("a", "=", b"x"),
        lambda: Compare("a", "=", "\ud800"),
        lambda: In("a", ()),
        lambda: Like("a", 1),
        lambda: And((Compare("a", "=", 1),)),
        lambda: Or(("a = 1", "b = 1")),
        lambda: Not("a = 1"),
        lambda: And(5),
        lambda: In("a", 5),
        lambda: In("a", "text"),
        lambda: Compare("a", "=", 1 << 200),
        lambda: Compare("a", "=", 10**5000),
        lambda: Compare("a\x00", "=", 1),
        lambda: Compare("\ud800", "=", 1),
        lambda: Compare(("a", "b"), "=", 1),
        lambda: Compare("a", "=", pd.NaT),
        lambda: Compare("a", "=", pd.Timestamp("2026-01-01 00:00:00.000000001")),
        lambda: Compare("a", "=", WALL("0001-01-01").replace(tzinfo=timezone(timedelta(hours=5)))),
        lambda: Compare("a", "=", Decimal(1)),
        lambda: Member(("a",)),
        lambda: Member(("a", "")),
        lambda: Like("a", "x", escape="ab"),
        lambda: Or([Compare("a", "=", 1)] * 10_001),
        lambda: Or([And([Compare("a", "=", 1)] * 101)] * 100),
    ],
)
def test_nodes_refuse_what_has_no_text(make):
    with pytest.raises(FeatureError) as caught:
        make()
    assert caught.value.remedy


def test_a_tree_built_by_hand_cannot_be_too_deep():
    one = Compare("a", "=", 1)
    for _ in range(50):
        one = Not(one)
    with pytest.raises(FeatureError, match="nested too deeply"):
        Not(one)
    assert parse_filter(str(one)) == one


def test_literals_of_other_libraries_are_plain():
    codec = Enum("codec", {"AV1": "av1"}, type=str)

    for other, plain in [
        (np.int64(3), 3),
        (np.float32(0.5), 0.5),
        (np.bool_(True), True),
        (np.str_("x"), "x"),
        (codec.AV1, "av1"),
        (pd.Timestamp("2026-01-31 12:00"), WALL("2026-01-31 12:00")),
        (pd.Timestamp("2026-01-31 12:00", tz="Asia/Tokyo"), datetime(2026, 1, 31, 3, tzinfo=UTC)),
    ]:
        assert _tree(Compare("a", "=", other)) == _tree(Compare("a", "=", plain))


def test_one_and_one_point_zero_are_two_filters():
    assert parse_filter("a = 1") != parse_filter("a = 1.0")
    assert parse_filter("a = 1") != parse_filter("a = true")


def test_several_filters_of_a_dependency_stay_apart():
    dep = FeatureDep("video", filters=["a = 1", parse_filter("b = 2 OR c = 3")])
    assert [str(one) for one in dep.filters] == ["a = 1", "b = 2 OR c = 3"]
    assert FeatureDep("video", filters="a = 1").filters == (parse_filter("a=1"),)
    assert FeatureDep("video", filters=None).filters == ()


@pytest.mark.parametrize("side", ["NOT a = 1", "(a = 1)", "NOT (a = 1 OR NOT b = 2)"])
def test_conditions_side_by_side_are_not_deep(side):
    parsed = parse_filter(" AND ".join([side] * 120))
    assert len(parsed.parts) == 120


@pytest.mark.parametrize(
    ("before", "after"), [("NOT ", ""), ("(", ")"), ("NOT (", ")"), ("(NOT ", ")")]
)
def test_fifty_levels_are_not_too_deep(before, after):
    levels = 50 // (len(before.replace(" ", "")) // 3 + ("(" in before))
    assert parse_filter(before * levels + "a = 1" + after * levels).columns == {"a"}
    with pytest.raises(FeatureError, match="nested too deeply"):
        parse_filter(before * (levels + 1) + "a = 1" + after * (levels + 1))


def test_the_longest_filter_is_allowed():
    text = "a = '" + "x" * (10_000 - len("a = ''")) + "'"
    assert parse_filter(text) == Compare("a", "=", text[5:-1])
    with pytest.raises(FeatureError, match="too long"):
        parse_filter(text + " ")


@pytest.mark.parametrize("number", ["9" * 40, "-" + "9" * 39])
def test_the_widest_number_is_allowed(number):
    assert parse_filter(f"a = {number}") == Compare("a", "=", int(number))
    with pytest.raises(FeatureError, match="40 digits"):
        parse_filter(f"a = {number}9")


@pytest.mark.parametrize(
    ("text", "canonical"),
    [
        ("a==1 and not b<>2", "a = 1 AND NOT b != 2"),
        ("a not in (1,'x') or b not like 'y%'", "a NOT IN (1, 'x') OR b NOT LIKE 'y%'"),
        ("a=TRUE and b=False", "a = true AND b = false"),
        (
            "(a = 1 or b is null) and c between 1 and 2",
            "(a = 1 OR b IS NULL) AND c BETWEEN 1 AND 2",
        ),
        ('"in" is not null', '"in" IS NOT NULL'),
        ("\"it's\" = 'it''s'", "\"it's\" = 'it''s'"),
        ("a = 'null'", "a = 'null'"),
        ('ok and not 5<"date"', "ok = true AND NOT date > 5"),
        ("a not Ilike 'x' escape '!'", "a NOT ILIKE 'x' ESCAPE '!'"),
        ("a>date'2026-01-31'", "a > DATE '2026-01-31'"),
        ("a>timestamp'2026-01-31'", "a > TIMESTAMP '2026-01-31 00:00:00'"),
        ("a>timestamptz'2026-01-31 02:00+02'", "a > TIMESTAMPTZ '2026-01-31 00:00:00+00:00'"),
        ('a . "B c">1', 'a."B c" > 1'),
        ('"a.b" > 1', '"a.b" > 1'),
        ("not (a = 1 and b = 2)", "NOT (a = 1 AND b = 2)"),
    ],
)
def test_the_canonical_text(text, canonical):
    assert str(parse_filter(text)) == canonical


def test_filters_that_differ_have_hashes_that_differ():
    texts = ["a = 1", "a = 2", "a != 1", "a IS NULL", "a = 1 AND b = 1", "a = 1 OR b = 1"]
    assert len({hash(parse_filter(text)) for text in texts}) == len(texts)


def test_a_filter_is_text_in_a_json_schema():
    schema = FeatureDep.model_json_schema()["properties"]["filters"]
    assert schema["items"] == {"type": "string"}


def test_conditions_side_by_side_do_not_make_room_for_deeper_ones():
    side = " AND ".join(["NOT (a = 1)"] * 40)
    with pytest.raises(FeatureError, match="nested too deeply"):
        parse_filter(f"{side} AND {'(' * 51}a = 1{')' * 51}")
    assert parse_filter(f"{side} AND {'(' * 50}a = 1{')' * 50}").columns == {"a"}
