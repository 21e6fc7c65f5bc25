"""What an error says: where, what is wrong, what was found, what is allowed and what to do.

The texts are in ``messages.txt``. After a change that is meant, write them again and read the
difference: ``python tests/features/test_messages.py``.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import pytest
from pydantic import ConfigDict

from metaxy_dagster.errors import FeatureError
from metaxy_dagster.features import (
    And,
    BaseFeature,
    Between,
    Compare,
    FeatureDep,
    FeatureGraph,
    FeatureKey,
    FeatureSpec,
    FieldDep,
    FieldsMapping,
    FieldSpec,
    In,
    Like,
    LineageRelationship,
    Or,
    parse_filter,
)

TEXTS = Path(__file__).parent / "messages.txt"


def graph_of(*declared: str | FeatureSpec) -> FeatureGraph:
    graph = FeatureGraph()
    for one in declared:
        graph.add(FeatureSpec(one, id_columns=["id"]) if isinstance(one, str) else one)
    return graph


def lacking() -> None:
    fields = [FieldSpec("sound", columns=["wave"])]

    class Lacking(BaseFeature, spec=FeatureSpec("lacking", id_columns=["id"], fields=fields)):
        model_config = ConfigDict(extra="forbid")

        height: int


CASES: dict[str, Callable[[], object]] = {
    "unknown feature": lambda: graph_of("video", "audio")["vidio"],
    "unknown feature, nothing alike": lambda: graph_of("video")["qqq"],
    "undeclared upstream": lambda: graph_of(
        FeatureSpec("clip", id_columns=["id"], deps=["vidio"]), "video"
    ).plan("clip"),
    "a circle": lambda: graph_of(
        FeatureSpec("a", id_columns=["id"], deps=["c"]),
        FeatureSpec("b", id_columns=["id"], deps=["a"]),
        FeatureSpec("c", id_columns=["id"], deps=["b"]),
    ).topological_order(),
    "a circle behind others": lambda: graph_of(
        FeatureSpec("z", id_columns=["id"], deps=["a"]),
        FeatureSpec("a", id_columns=["id"], deps=["b"]),
        FeatureSpec("b", id_columns=["id"], deps=["a"]),
    ).topological_order(["z"]),
    "an argument is missing": lambda: FeatureSpec("a"),
    "an argument is not known": lambda: FeatureSpec("a", id_colums=["id"]),
    "an argument is not known at all": lambda: FieldSpec("a", qqqq=1),
    "two faults at once": lambda: FeatureSpec("a", id_columns=["id"], description=3, metadata=4),
    "not a mode": lambda: FeatureDep("a", optional="perhaps"),
    "not an object": lambda: FeatureSpec.model_validate(3),
    "a dependency on nothing": lambda: FeatureDep(rename={"a": "b"}),
    "a dependency with a bad filter": lambda: FeatureDep("video", filters=["height >"]),
    "a field dependency": lambda: FieldDep("video", fields=3),
    "a field": lambda: FieldSpec("audio", columns=3),
    "a field without a name": lambda: FieldSpec(code_version=[]),
    "metadata of no form": lambda: FeatureSpec(
        "a", id_columns=["id"], metadata={"x": [{"y": object}]}
    ),
    "metadata that cannot be encoded": lambda: FeatureSpec(
        "a", id_columns=["id"], metadata={"x": ["\ud800"]}
    ),
    "a name in metadata that cannot be encoded": lambda: FeatureSpec(
        "a", id_columns=["id"], metadata={"x": {"\ud800": 1}}
    ),
    "a closed class that lacks columns": lacking,
    "a key with a blank": lambda: FeatureKey("my video/.Frames"),
    "a key that ends in a mark": lambda: FeatureKey("a b-"),
    "a key with nothing usable": lambda: FeatureKey("/"),
    "a key of the wrong type": lambda: FeatureKey(3),
    "too long for a suggestion": lambda: FeatureKey("a b/" * 30 + "c"),
    "a filter with a word too many": lambda: parse_filter("height > 1 2"),
    "a filter with a wrong beginning": lambda: parse_filter("720 < 5"),
    "a filter without an operator": lambda: parse_filter("height 5"),
    "a filter that is null": lambda: parse_filter("a = NULL"),
    "a list with null": lambda: parse_filter("a IN (1, null)"),
    "a list that begins with null": lambda: parse_filter("a IN (null)"),
    "between null": lambda: parse_filter("a BETWEEN null AND 2"),
    "between and null": lambda: parse_filter("a BETWEEN 1 AND null"),
    "like null": lambda: parse_filter("a LIKE null"),
    "not null": lambda: parse_filter("a IS NOT 3"),
    "between without and": lambda: parse_filter("a BETWEEN 1 OR 2"),
    "a bare word": lambda: parse_filter("codec = av1"),
    "a quoted word": lambda: parse_filter('codec = "av1"'),
    "no value": lambda: parse_filter("codec = )"),
    "nothing after not": lambda: parse_filter("a NOT = 1"),
    "a wrong character": lambda: parse_filter("a = 1; DROP TABLE x -- and much more of it"),
    "a number of many digits": lambda: parse_filter("a = 1 AND a < " + "9" * 41),
    "a filter nested too deeply": lambda: parse_filter("NOT " * 99 + "a = 1"),
    "text that cannot be encoded": lambda: Compare("a", "=", "\ud800"),
    "a value of no kind": lambda: Compare("a", "=", object),
    "an endless number": lambda: Between("a", float("nan"), 1),
    "an endless upper end": lambda: Between("a", 1, float("inf")),
    "an endless number in a list": lambda: In("a", (1, float("nan"))),
    "a pattern that is no text": lambda: Like("a", 3),
    "too few parts": lambda: And((Compare("a", "=", 1),)),
    "too few parts of or": lambda: Or((Compare("a", "=", 1),)),
    "two declarations": lambda: graph_of(
        FeatureSpec("a", id_columns=["id"], description="x", metadata={"k": {"m": 1}}),
        FeatureSpec("a", id_columns=["id"], metadata={"k": 3}),
    ),
    "one more entry": lambda: graph_of(
        FeatureSpec("a", id_columns=["id"], metadata={"k": 1}),
        FeatureSpec("a", id_columns=["id"], metadata={"k": 1, "m": 2}),
    ),
    "one entry less": lambda: graph_of(
        FeatureSpec("a", id_columns=["id"], metadata={"k": 1, "m": 2}),
        FeatureSpec("a", id_columns=["id"], metadata={"k": 1}),
    ),
    "other fields and deps": lambda: graph_of(
        FeatureSpec("a", id_columns=["id"], fields=["x", "y"], deps=["u"]),
        FeatureSpec("a", id_columns=["id"], fields=["y", "z"], deps=["v"]),
    ),
    "another order": lambda: graph_of(
        FeatureSpec("a", id_columns=["id"], fields=["x", "y"]),
        FeatureSpec("a", id_columns=["id"], fields=["y", "x"]),
    ),
    "no shared id": lambda: graph_of(
        FeatureSpec("u", id_columns=["k"]), FeatureSpec("a", id_columns=["id"], deps=["u"])
    ).plan("a"),
    "coarser without expansion": lambda: graph_of(
        FeatureSpec("u", id_columns=["id"]), FeatureSpec("a", id_columns=["id", "n"], deps=["u"])
    ).plan("a"),
    "upstreams that share nothing": lambda: graph_of(
        FeatureSpec("u", id_columns=["id"]),
        FeatureSpec("v", id_columns=["n"]),
        FeatureSpec("a", id_columns=["id", "n"], deps=["u", "v"]),
    ).plan("a"),
    "optional ones of unequal grain": lambda: graph_of(
        FeatureSpec("u", id_columns=["id"]),
        FeatureSpec("v", id_columns=["id", "n"]),
        FeatureSpec(
            "a",
            id_columns=["id", "n"],
            deps=[FeatureDep("u", optional=True), FeatureDep("v", optional=True)],
        ),
    ).plan("a"),
    "aggregation on what is no id": lambda: graph_of(
        FeatureSpec("u", id_columns=["id"]),
        FeatureSpec(
            "a",
            id_columns=["id"],
            deps=[FeatureDep("u", lineage=LineageRelationship.aggregation(on=["zz"]))],
        ),
    ).plan("a"),
    "expansion on what is no id": lambda: graph_of(
        FeatureSpec("u", id_columns=["id"]),
        FeatureSpec(
            "a",
            id_columns=["id"],
            deps=[FeatureDep("u", lineage=LineageRelationship.expansion(on=["zz"]))],
        ),
    ).plan("a"),
    "a mapping to an unknown field": lambda: graph_of(
        "u",
        FeatureSpec(
            "a",
            id_columns=["id"],
            deps=[FeatureDep("u", fields_mapping=FieldsMapping.specific({"default": {"nope"}}))],
        ),
    ).plan("a"),
    "a mapping of an unknown field": lambda: graph_of(
        "u",
        FeatureSpec(
            "a",
            id_columns=["id"],
            deps=[FeatureDep("u", fields_mapping=FieldsMapping.specific({"nope": {"default"}}))],
        ),
    ).plan("a"),
    "a field dependency on an unknown field": lambda: graph_of(
        "u",
        FeatureSpec(
            "a",
            id_columns=["id"],
            fields=[FieldSpec("x", deps=[FieldDep("u", fields=["nope"])])],
            deps=["u"],
        ),
    ).plan("a"),
    "a field dependency on no upstream": lambda: graph_of(
        "u",
        "w",
        FeatureSpec(
            "a", id_columns=["id"], fields=[FieldSpec("x", deps=[FieldDep("w")])], deps=["u"]
        ),
    ).plan("a"),
    "fields of no list": lambda: FeatureSpec("a", id_columns=["id"], fields=3),
    "deps of no list": lambda: FeatureSpec("a", id_columns=["id"], deps=3),
    "filters of no list": lambda: FeatureDep("video", filters=3),
    "field deps of no list": lambda: FieldSpec("a", deps=3),
    "a mapping to no list": lambda: FieldsMapping.specific({"a": 3}),
    "columns of no list": lambda: FeatureSpec("a", id_columns=3),
    "columns that differ by case": lambda: FeatureSpec("a", id_columns=["id", "n", "ID"]),
    "columns of a field that are one": lambda: FieldSpec("a", columns=["x", "y", "x"]),
    "a column that is no text": lambda: FeatureSpec("a", id_columns=[3]),
    "a pattern that cannot be encoded": lambda: Like("a", "\ud800"),
    "a field dependency on nothing": lambda: FieldDep(fields=3),
    "a column of a filter that cannot be seen": lambda: parse_filter('"a\x01b" = 1'),
    "a later field depends on no upstream": lambda: FeatureSpec(
        "a", id_columns=["id"], fields=["y", FieldSpec("x", deps=[FieldDep("w")])]
    ),
    "a lineage without its type": lambda: FeatureDep.coerce(
        {"feature": "a", "lineage": {"on": ["x"]}}
    ),
    "a lineage with an argument that it does not have": lambda: FeatureDep.coerce(
        {"feature": "a", "lineage": {"type": "aggregation", "One": ["x"]}}
    ),
    "a dependency in JSON": lambda: FeatureDep.model_validate_json(
        '{"feature": "a", "optional": "perhaps"}'
    ),
    "a dependency in what is no JSON": lambda: FeatureDep.model_validate_json('{"feature": '),
}


def said(name: str) -> str:
    with pytest.raises(FeatureError) as caught, FeatureGraph().use():
        CASES[name]()
    return str(caught.value)


def written() -> dict[str, str]:
    parts = re.split(r"^== (.*)\n", TEXTS.read_text(encoding="utf-8"), flags=re.MULTILINE)[1:]
    return {name: text.strip() for name, text in zip(parts[::2], parts[1::2], strict=True)}


@pytest.mark.parametrize("name", CASES)
def test_an_error_says_all_there_is_to_say(name: str) -> None:
    assert said(name) == written()[name]


def test_no_message_is_left_over() -> None:
    assert list(written()) == list(CASES)


if __name__ == "__main__":
    TEXTS.write_text("\n".join(f"== {name}\n{said(name)}\n" for name in CASES), encoding="utf-8")
