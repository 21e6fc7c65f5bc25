from __future__ import annotations

import json
import pickle

import pytest
from hypothesis import given
from hypothesis import strategies as st

from metaxy_dagster.errors import FeatureError
from metaxy_dagster.features import (
    BaseFeature,
    FeatureDep,
    FeatureGraph,
    FeatureKey,
    FeatureSpec,
    FieldDep,
    FieldKey,
    FieldsMapping,
    FieldSpec,
    LineageRelationship,
    SpecialFieldDep,
)

NAMES = st.sampled_from(["audio", "frames", "faces/left", "text"])
COLUMNS = st.sampled_from(["id", "video_id", "frame_id", "größe", 'a"b', "with space"])
SEVERAL_COLUMNS = st.lists(COLUMNS, unique=True, min_size=1, max_size=3)
TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=10)
JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | TEXT,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXT, inner, max_size=3),
    max_leaves=6,
)
UPSTREAMS = ["up/a", "up/b", "up/c"]


@st.composite
def specs(draw):
    upstreams = draw(st.lists(st.sampled_from(UPSTREAMS), unique=True, max_size=3))
    names = draw(st.lists(NAMES, unique=True, min_size=1, max_size=3))
    return FeatureSpec(
        draw(st.sampled_from(["a", "a/b"])),
        id_columns=draw(SEVERAL_COLUMNS),
        fields=[draw(_fields(name, upstreams)) for name in names],
        deps=[draw(_deps(upstream, names)) for upstream in upstreams],
        metadata=draw(st.dictionaries(TEXT, JSON, max_size=3)),
        description=draw(st.none() | TEXT),
    )


def _fields(name, upstreams):
    listed = st.lists(NAMES, max_size=2) | st.just(SpecialFieldDep.ALL)
    deps = st.none() | st.just(SpecialFieldDep.ALL)
    if upstreams:
        one = st.builds(FieldDep, st.sampled_from(upstreams), fields=listed)
        deps |= st.lists(one, max_size=2)
    return st.builds(
        FieldSpec,
        st.just(name),
        code_version=st.sampled_from(["1", "v2", "é"]) | st.integers(0, 9),
        deps=deps,
        columns=st.none() | SEVERAL_COLUMNS,
    )


def _deps(upstream, names):
    lineages = st.one_of(
        st.just(LineageRelationship.identity()),
        st.builds(LineageRelationship.aggregation, st.none() | SEVERAL_COLUMNS),
        st.builds(LineageRelationship.expansion, st.none() | SEVERAL_COLUMNS),
    )
    mappings = st.one_of(
        st.builds(
            FieldsMapping.default,
            match_suffix=st.booleans(),
            exclude_fields=st.lists(NAMES, max_size=2),
        ),
        st.just(FieldsMapping.all()),
        st.just(FieldsMapping.none()),
        st.builds(
            FieldsMapping.specific,
            st.dictionaries(st.sampled_from(names), st.sets(NAMES, max_size=2), max_size=2),
        ),
    )
    return st.builds(
        FeatureDep,
        st.just(upstream),
        select=st.none() | SEVERAL_COLUMNS,
        rename=st.none() | st.just({"old": "new"}),
        filters=st.none() | st.just("height > 720") | st.just(["a = 1", "b IS NULL"]),
        fields_mapping=mappings,
        lineage=lineages,
        optional=st.booleans(),
    )


@given(specs())
def test_a_spec_survives_json_and_pickle(spec):
    copies = [
        FeatureSpec.model_validate(spec.model_dump(mode="json")),
        FeatureSpec.model_validate(spec.model_dump()),
        FeatureSpec.model_validate_json(spec.model_dump_json()),
        pickle.loads(pickle.dumps(spec)),  # noqa: S301 - our own bytes
    ]
    assert all(copy == spec for copy in copies)
    assert {hash(copy) for copy in copies} == {hash(spec)}


def test_keys_can_be_given_by_position():
    assert FieldSpec("audio") == FieldSpec(key="audio")
    assert FeatureDep("video") == FeatureDep(feature=FeatureKey("video"))
    assert FieldDep("video", fields=["a"]) == FieldDep(feature="video", fields=[FieldKey("a")])
    with pytest.raises(TypeError):
        FieldSpec("audio", "1")
    with pytest.raises(TypeError):
        FieldSpec("audio", key="audio")


def test_a_feature_without_fields_has_one():
    spec = FeatureSpec("a", id_columns=["id"])
    assert [str(field.key) for field in spec.fields] == ["default"]
    assert FeatureSpec("a", id_columns=["id"], fields=[]) == spec


@pytest.mark.parametrize(
    "fields",
    [
        ["audio", FieldSpec("frames", code_version="2")],
        [FieldKey("audio"), {"key": "frames", "code_version": "2"}],
        {"audio": None, "frames": "2"},
        {"audio": {}, "frames": {"code_version": 2}},
    ],
)
def test_shorthands_of_fields_give_the_same_spec(fields):
    expected = (FieldSpec("audio"), FieldSpec("frames", code_version="2"))
    assert FeatureSpec("a", id_columns=["id"], fields=fields).fields == expected


def test_shorthands_of_deps_give_the_same_spec():
    with FeatureGraph().use():

        class Video(BaseFeature, spec=FeatureSpec("video", id_columns=["id"])):
            id: str

    spellings = [Video, Video.spec(), "video", ["video"], FeatureKey("video"), {"feature": "video"}]
    for one in spellings:
        spec = FeatureSpec("a", id_columns=["id"], deps=[one])
        assert spec.deps == (FeatureDep(feature=Video),)
        assert FieldSpec("x", deps=[FieldDep(feature=Video)]) == FieldSpec("x", deps=["video"])


def test_shorthands_of_lineage_and_mapping():
    assert FeatureDep("a", lineage="aggregation").lineage == LineageRelationship.aggregation()
    assert FeatureDep("a", fields_mapping="all").fields_mapping == FieldsMapping.all()


def test_what_is_inside_a_spec_cannot_be_changed():
    metadata = {"owners": ["ann"], "dagster/attributes": {"tags": {"a": "b"}}}
    spec = FeatureSpec("a", id_columns=["id"], metadata=metadata)
    metadata["owners"].append("bob")
    assert spec.metadata["owners"] == ("ann",)
    with pytest.raises(TypeError):
        spec.metadata["x"] = 1
    with pytest.raises(TypeError):
        spec.metadata["dagster/attributes"]["tags"]["c"] = "d"
    with pytest.raises(ValueError, match="frozen"):
        spec.description = "other"


def test_metadata_and_renames_have_no_order():
    one, other = (
        FeatureSpec(
            "a",
            id_columns=["id"],
            metadata=dict(pairs),
            deps=[FeatureDep("b", rename=dict(pairs))],
        )
        for pairs in ([("x", "1"), ("y", "2")], [("y", "2"), ("x", "1")])
    )
    assert one == other
    assert hash(one) == hash(other)


def test_a_dependency_knows_both_names_of_a_column():
    dep = FeatureDep("video", rename={"id": "video_id"}, select=["video_id", "height"])
    assert [dep.name_here("id"), dep.name_here("height")] == ["video_id", "height"]
    assert [dep.name_upstream("video_id"), dep.name_upstream("height")] == ["id", "height"]


def test_two_columns_can_swap_names():
    dep = FeatureDep("video", rename={"a": "b", "b": "a"}, select=["a", "b"])
    assert [dep.name_upstream("a"), dep.name_upstream("b")] == ["b", "a"]


def test_sets_have_one_order_in_every_process():
    assert FeatureSpec("a", id_columns={"b", "a", "c"}).id_columns == ("a", "b", "c")


IDS = {"id_columns": ["id"]}
BAD_SPECS = {
    "bad key": (("a b",), IDS, "a_b"),
    "no id columns": (("f",), {}, "id_columns="),
    "empty id columns": (("f",), {"id_columns": []}, "id_columns="),
    "id columns as text": (("f",), {"id_columns": "id"}, "['id']"),
    "id columns as mapping": (("f",), {"id_columns": {"id": 1}}, "list"),
    "id column twice": (("f",), {"id_columns": ["id", "id"]}, "drop or rename"),
    "id columns differ by case": (("f",), {"id_columns": ["id", "ID"]}, "drop or rename"),
    "reserved id column": (("f",), {"id_columns": ["metaxy_id"]}, "rename"),
    "reserved, other case": (("f",), {"id_columns": ["Metaxy_id"]}, "rename"),
    "empty id column": (("f",), {"id_columns": [""]}, "sample_id"),
    "spaced id column": (("f",), {"id_columns": [" id"]}, "sample_id"),
    "id column with a line break": (("f",), {"id_columns": ["a\nb"]}, "sample_id"),
    "numeric id column": (("f",), {"id_columns": [1]}, "sample_id"),
    "unknown argument": (("f",), {**IDS, "id_column": []}, "'id_columns'"),
    "fields as text": (("f",), {**IDS, "fields": "audio"}, "['audio']"),
    "fields as number": (("f",), {**IDS, "fields": 3}, "list"),
    "field twice": (("f",), {**IDS, "fields": ["x", "x"]}, "drop or rename"),
    "fields differ by case": (("f",), {**IDS, "fields": ["x", "X"]}, "drop or rename"),
    "bad field key": (("f",), {**IDS, "fields": ["a b"]}, "a_b"),
    "misspelt field argument": (("f",), {**IDS, "fields": {"x": {"codeversion": "1"}}}, "code_ver"),
    "float code version": (("f",), {**IDS, "fields": {"x": 1.1}}, "write text"),
    "boolean code version": (("f",), {**IDS, "fields": {"x": True}}, "write text"),
    "empty code version": (("f",), {**IDS, "fields": {"x": ""}}, "write text"),
    "code version in half a character": (("f",), {**IDS, "fields": {"x": "\ud800"}}, "write text"),
    "no field columns": (("f",), {**IDS, "fields": {"x": {"columns": []}}}, "columns"),
    "deps as text": (("f",), {**IDS, "deps": "up"}, "['up']"),
    "self-dependency": (("f",), {**IDS, "deps": ["f"]}, "drop"),
    "dependency twice": (("f",), {**IDS, "deps": ["up", FeatureDep("up")]}, "merge"),
    "bad dependency": (("f",), {**IDS, "deps": [3]}, "key"),
    "misspelt dependency argument": (("f",), {**IDS, "deps": [{"featur": "a"}]}, "feature"),
    "unknown lineage": (("f",), {**IDS, "deps": [{"feature": "a", "lineage": "agg"}]}, "type"),
    "lineage of another type": (("f",), {**IDS, "deps": [{"feature": "a", "lineage": 1}]}, "line"),
    "field dependency outside deps": (
        ("f",),
        {**IDS, "deps": ["video"], "fields": [FieldSpec("x", deps=["vidoe"])]},
        "'video'",
    ),
    "mapping of an unknown field": (
        ("f",),
        {
            **IDS,
            "fields": ["audio"],
            "deps": [FeatureDep("up", fields_mapping=FieldsMapping.specific({"adio": {"x"}}))],
        },
        "'audio'",
    ),
    "metadata that JSON has no form for": (("f",), {**IDS, "metadata": {"x": object()}}, "str()"),
    "metadata with NaN": (("f",), {**IDS, "metadata": {"x": [float("nan")]}}, "str()"),
    "metadata as list": (("f",), {**IDS, "metadata": [1]}, "metadata"),
    "metadata with numeric keys": (("f",), {**IDS, "metadata": {1: 2}}, "metadata"),
    "metadata with half a character": (("f",), {**IDS, "metadata": {"x": "\ud800"}}, "UTF-8"),
    "description as number": (("f",), {**IDS, "description": 3}, "description"),
    "description in half a character": (("f",), {**IDS, "description": "\ud800"}, "decode"),
}


@pytest.mark.parametrize(("args", "arguments", "says"), BAD_SPECS.values(), ids=BAD_SPECS)
def test_a_bad_spec_is_refused(args, arguments, says):
    with pytest.raises(FeatureError) as caught:
        FeatureSpec(*args, **arguments)
    assert caught.value.feature == args[0]
    assert caught.value.remedy
    assert says in str(caught.value)
    with pytest.raises(FeatureError) as again:
        FeatureSpec.model_validate({"key": args[0], **arguments})
    assert str(again.value) == str(caught.value)


def test_metadata_cannot_be_too_deep():
    deep = []
    for _ in range(5000):
        deep = [deep]
    with pytest.raises(FeatureError, match="50 levels"):
        FeatureSpec("f", id_columns=["id"], metadata={"x": deep})


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (lambda: FieldSpec("x", code_version=1.5), "field 'x'"),
        (lambda: FeatureDep("up", filters="height >"), "dependency on 'up'"),
        (lambda: FeatureDep("up", filters=[3]), "filters"),
        (lambda: FeatureDep("up", rename={"a": "c", "b": "C"}), "case"),
        (lambda: FeatureDep("up", rename={"a": "metaxy_a"}), "metaxy_"),
        (lambda: FeatureDep("up", rename={"a": "b"}, select=["a"]), "write b"),
        (lambda: FeatureDep("up", rename={"a": "b"}, filters="A = 1"), "write b"),
        (
            lambda: FeatureDep(
                "up", rename={"a": "b"}, lineage=LineageRelationship.aggregation(on=["a"])
            ),
            "write b",
        ),
        (lambda: FeatureDep("up", optional="perhaps"), "optional"),
        (lambda: FeatureDep(filters="a = 1"), "feature="),
        (lambda: FieldDep("up", fields=3), "field dependency on 'up'"),
        (lambda: LineageRelationship.aggregation(on=[]), "leave on= out"),
        (lambda: LineageRelationship.expansion(on="id"), "['id']"),
        (lambda: LineageRelationship("identity", on=["id"]), "drop on="),
        (lambda: FieldsMapping("all", mapping={"a": ["b"]}), "specific"),
        (lambda: FieldsMapping("none", match_suffix=True), "default"),
        (lambda: FieldsMapping.specific({"a": "b"}), "['b']"),
        (lambda: FeatureSpec.model_validate([1]), "FeatureSpec"),
        (lambda: FeatureSpec.model_validate({}), "'key'"),
        (lambda: FeatureSpec.model_validate_json("{"), "JSON"),
    ],
)
def test_bad_parts_are_refused(make, says):
    with pytest.raises(FeatureError) as caught:
        make()
    assert says in str(caught.value)
    assert caught.value.remedy


def test_all_faults_of_a_spec_are_told_at_once():
    with pytest.raises(FeatureError, match="3 faults") as caught:
        FeatureSpec("f", id_columns=["id", "id"], fields=["a b"], colour="red")
    for part in ("id_columns", "'a b'", "'colour'"):
        assert part in str(caught.value)


@pytest.mark.parametrize("wrap", [lambda x: [x], lambda x: {"k": x}, lambda x: (x,)])
def test_metadata_may_be_fifty_levels_deep(wrap):
    value = "x"
    for _ in range(49):  # the metadata are a level themselves
        value = wrap(value)
    spec = FeatureSpec("a", id_columns=["id"], metadata={"top": value})
    assert FeatureSpec.model_validate(spec.model_dump(mode="json")) == spec
    with pytest.raises(FeatureError, match="50 levels"):
        FeatureSpec("a", id_columns=["id"], metadata={"top": wrap(value)})


def test_specs_that_differ_have_hashes_that_differ():
    metadata = [{}, {"a": 1}, {"a": 2}, {"b": 1}, {"a": [1]}, {"a": {"b": 1}}]
    specs = [FeatureSpec("a", id_columns=["id"], metadata=one) for one in metadata]
    assert len(set(map(hash, specs))) == len(metadata)


def test_one_name_is_a_list_of_one():
    assert FieldDep("video", fields="audio").fields == (FieldKey("audio"),)
    assert FieldDep("video", fields=FieldKey("a/b")).fields == (FieldKey("a/b"),)
    assert FieldDep("video", fields=["b", "a"]) == FieldDep("video", fields=["a", "b"])


def test_sets_of_unlike_things_have_an_order_too():
    dep = FieldDep("video", fields={"b", FieldKey("a"), FieldKey("c")})
    assert dep.fields == (FieldKey("a"), FieldKey("b"), FieldKey("c"))


def test_the_longest_column_name_is_allowed():
    assert FeatureSpec("a", id_columns=["x" * 255]).id_columns == ("x" * 255,)
    with pytest.raises(FeatureError, match="255"):
        FeatureSpec("a", id_columns=["x" * 256])


@pytest.mark.parametrize(
    ("build", "given_as"),
    [(FeatureDep.model_validate, dict), (FeatureDep.model_validate_json, json.dumps)],
)
@pytest.mark.parametrize("value", ["yes", 1, "true"])
def test_strict_takes_nothing_for_a_truth_value_that_is_none(build, given_as, value):
    given = {"feature": "video", "optional": value}
    assert build(given_as(given)).optional is True
    with pytest.raises(FeatureError, match="'video', optional: not valid") as caught:
        build(given_as(given), strict=True)
    assert caught.value.allowed == "a valid boolean"


def test_strict_refuses_nothing_that_is_meant():
    given = {
        "feature": "video",
        "optional": True,
        "select": ["a"],
        "rename": {"b": "c"},
        "filters": "a > 1",
        "lineage": "aggregation",
        "fields_mapping": "all",
    }
    strict = FeatureDep.model_validate(given, strict=True)
    assert strict == FeatureDep.model_validate(given) == FeatureDep(**given)
