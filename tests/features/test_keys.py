from __future__ import annotations

import pickle
import string

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel

from metaxy_dagster.errors import FeatureError
from metaxy_dagster.features import (
    BaseFeature,
    FeatureGraph,
    FeatureKey,
    FeatureSpec,
    FieldKey,
    FieldSpec,
)

FIRST = string.ascii_letters + string.digits + "_"
PARTS = st.builds(
    str.__add__, st.sampled_from(FIRST), st.text(alphabet=FIRST + ".-", min_size=0, max_size=10)
)
KEYS = st.lists(PARTS, min_size=1, max_size=6)
HUNDRED = "c" * 100


@given(KEYS)
def test_all_spellings_of_a_key_are_one_key(parts):
    key = FeatureKey(parts)
    same = [
        FeatureKey("/".join(parts)),
        FeatureKey(tuple(parts)),
        FeatureKey(key),
        FeatureKey(FeatureSpec(key, id_columns=["id"])),
        pickle.loads(pickle.dumps(key)),  # noqa: S301 - our own bytes
    ]
    assert {key} == set(same)
    assert key.parts == tuple(parts)
    assert FeatureKey(str(key)) == key


@given(st.lists(KEYS))
def test_keys_sort_by_their_parts(several):
    keys = sorted(FeatureKey(parts) for parts in several)
    assert [key.parts for key in keys] == sorted(tuple(parts) for parts in several)


def test_a_key_is_not_before_itself():
    key = FeatureKey("a/b")
    assert not key < key  # noqa: PLR0124 - the point
    assert key <= FeatureKey("a/b")
    assert FeatureKey("a") < key < FeatureKey("a/c")


def test_features_of_one_parent_sort_together():
    ordered = ["a/b", "a/c", "a-b", "a.b/c"]
    assert [str(key) for key in sorted(map(FeatureKey, reversed(ordered)))] == ordered


def test_a_feature_class_gives_its_key():
    with FeatureGraph().use():

        class Video(BaseFeature, spec=FeatureSpec("video/raw", id_columns=["id"])):
            id: str

    assert FeatureKey(Video) == FeatureKey("video/raw")


def test_a_field_spec_gives_its_key():
    assert FieldKey(FieldSpec("audio/left")) == FieldKey(["audio", "left"])


def test_keys_of_features_and_of_fields_are_never_equal():
    assert FeatureKey("a") != FieldKey("a")
    assert FeatureKey("a") != "a"
    with pytest.raises(TypeError):
        sorted([FeatureKey("a"), FieldKey("a")])


def test_a_key_cannot_be_changed():
    key = FeatureKey("a")
    with pytest.raises(AttributeError):
        key.parts = ("b",)
    with pytest.raises(AttributeError):
        del key.parts


def test_a_key_is_a_pydantic_field():
    class Model(BaseModel):
        key: FeatureKey
        by_field: dict[FieldKey, int] = {}

    model = Model(key=["a", "b"], by_field={"x/y": 1})
    assert model.key == FeatureKey("a/b")
    assert model.model_dump(mode="json") == {"key": "a/b", "by_field": {"x/y": 1}}
    assert Model.model_validate_json(model.model_dump_json()) == model
    assert Model.model_json_schema()["properties"]["key"]["type"] == "string"
    with pytest.raises(ValueError, match="feature key"):
        Model(key="a//b")


@pytest.mark.parametrize("make", [FeatureKey, FieldKey])
@pytest.mark.parametrize(
    "bad",
    [
        "",
        "/",
        "a//b",
        "/a",
        "a/",
        "a b",
        ".a",
        "-a",
        "a/é",
        "a\n",
        "a:b",
        [],
        [""],
        ["a/b"],
        ["a", 1],
        "x" * 101,
        "/".join("a" * 21),
        "/".join(["x" * 99] * 3),
        None,
        3,
        {"a": 1},
        b"a",
        object,
    ],
)
def test_a_bad_key_is_refused_with_a_remedy(make, bad):
    with pytest.raises(FeatureError) as caught:
        make(bad)
    assert caught.value.found
    assert caught.value.allowed
    assert caught.value.remedy


def test_the_remedy_is_a_valid_key_close_by():
    with pytest.raises(FeatureError, match=r"write for instance 'my_video/raw'") as caught:
        FeatureKey("my video//raw")
    suggested = caught.value.remedy.split("'")[1]
    assert str(FeatureKey(suggested)) == suggested


def test_the_longest_key_is_allowed():
    assert len(str(FeatureKey(["x" * 84] * 3))) == 254
    assert len(FeatureKey("/".join("a" * 20)).parts) == 20


def test_a_key_shows_what_it_is():
    assert repr(FeatureKey("a/b")) == "FeatureKey('a/b')"
    assert repr(FieldKey("a")) == "FieldKey('a')"
    assert eval(repr(FeatureKey("a/b"))) == FeatureKey("a/b")  # noqa: S307 - our own text


def test_a_key_is_short_text_in_a_json_schema():
    class Holder(BaseModel):
        key: FeatureKey

    assert Holder.model_json_schema()["properties"]["key"] == {
        "maxLength": 255,
        "title": "Key",
        "type": "string",
    }


@pytest.mark.parametrize(
    ("text", "near"),
    [
        ("a b", "a_b"),
        ("Ä/.Video-", "_/Video-"),
        ("--a/..b", "a/b"),
        ("x y/" * 19 + "z", "x_y/" * 19 + "z"),
        ("a b/" + "c" * 300, "a_b/" + "c" * 100),
        (" " + "c" * 400, "_" + "c" * 99),
        (f"a b/{HUNDRED}/{HUNDRED}/" + "e" * 49, f"a_b/{HUNDRED}/{HUNDRED}/" + "e" * 49),
        (f"a b/{HUNDRED}/{HUNDRED}/" + "e" * 50, "video/frames"),
        ("x y/" * 20 + "z", "video/frames"),
        ("-/" * 30, "video/frames"),
    ],
)
def test_a_bad_key_gets_a_good_one_close_by(text, near):
    with pytest.raises(FeatureError) as caught:
        FeatureKey(text)
    found = str(caught.value.remedy).removeprefix("write for instance ").strip("'\"")
    FeatureKey(found)
    assert found == near
