from __future__ import annotations

import pytest

from metaxy_dagster.errors import FeatureError
from metaxy_dagster.features import (
    FeatureDep,
    FeatureGraph,
    FeatureSpec,
    FieldDep,
    FieldKey,
    FieldsMapping,
    FieldSpec,
    LineageRelationship,
    SpecialFieldDep,
)

IDENTITY = LineageRelationship.identity()
AGGREGATION = LineageRelationship.aggregation
EXPANSION = LineageRelationship.expansion

UPSTREAMS = [
    FeatureSpec("video", id_columns=["video_id"], fields=["audio", "frames"]),
    FeatureSpec("frame", id_columns=["video_id", "frame_id"], fields=["image"]),
    FeatureSpec("reading", id_columns=["sensor", "time"], fields=["value"]),
    FeatureSpec("sound", id_columns=["id"], fields=["audio/left", "audio/right", "text"]),
]


def plan(ids, *deps, fields=("default",)):
    graph = FeatureGraph()
    for upstream in UPSTREAMS:
        graph.add(upstream)
    graph.add(FeatureSpec("this", id_columns=ids, deps=deps, fields=fields))
    return graph.plan("this")


def parents(made, field="default"):
    chosen = next(one for one in made.fields if one.key == FieldKey(field))
    return [str(parent) for parent in chosen.parents]


def test_a_root():
    made = plan(["id"])
    assert made.is_root
    assert str(made.key) == "this"
    assert made.deps == ()
    assert made.fields[0].parents == ()


@pytest.mark.parametrize(
    ("ids", "dep", "joined", "members", "sources"),
    [
        (["video_id"], FeatureDep("video"), ["video_id"], [], {"video_id": "video_id"}),
        (
            ["vid"],
            FeatureDep("video", rename={"video_id": "vid"}),
            ["vid"],
            [],
            {"vid": "video_id"},
        ),
        (
            ["frame_id", "video_id"],
            FeatureDep("frame"),
            ["frame_id", "video_id"],
            [],
            {"frame_id": "frame_id", "video_id": "video_id"},
        ),
        (
            ["video_id"],
            FeatureDep("frame", lineage=AGGREGATION()),
            ["video_id"],
            ["frame_id", "video_id"],
            {"video_id": "video_id"},
        ),
        (
            ["sensor", "hour"],
            FeatureDep("reading", rename={"h": "hour"}, lineage=AGGREGATION(["sensor", "hour"])),
            ["sensor", "hour"],
            ["sensor", "time"],
            {"sensor": "sensor", "hour": "h"},
        ),
        (
            ["video_id", "frame_id"],
            FeatureDep("video", lineage=EXPANSION()),
            ["video_id"],
            [],
            {"video_id": "video_id"},
        ),
        (
            ["vid", "frame_id"],
            FeatureDep("video", rename={"video_id": "vid"}, lineage=EXPANSION(on=["vid"])),
            ["vid"],
            [],
            {"vid": "video_id"},
        ),
    ],
)
def test_join_columns(ids, dep, joined, members, sources):
    made = plan(ids, dep).deps[0]
    assert made.dep == dep
    assert made.upstream.key == dep.feature
    assert made.lineage_type == dep.lineage.type
    assert list(made.join_columns) == joined
    assert list(made.member_columns) == members
    assert made.source_columns == sources


def test_upstreams_of_several_grains():
    made = plan(["video_id", "frame_id"], "frame", FeatureDep("video", lineage=EXPANSION()))
    assert [dep.join_columns for dep in made.deps] == [("video_id", "frame_id"), ("video_id",)]
    assert plan(["video_id", "frame_id"], "video", "frame").deps[0].join_columns == ("video_id",)
    made = plan(["video_id", "frame_id"], "frame", FeatureDep("video", optional=True))
    assert made.deps[1].join_columns == ("video_id",)


@pytest.mark.parametrize(
    ("ids", "deps", "says"),
    [
        (["video_id"], ["frame"], "LineageRelationship.aggregation"),
        (["video"], ["video"], "did you mean 'video'"),
        (["VIDEO_ID"], ["video"], "'VIDEO_ID'"),
        (["video_id", "frame_id"], ["video"], "LineageRelationship.expansion(on=['video_id'])"),
        (["x"], [FeatureDep("frame", lineage=AGGREGATION())], "no column to group by"),
        (["video_id", "x"], [FeatureDep("frame", lineage=AGGREGATION())], "['x']"),
        (["video_id"], [FeatureDep("frame", lineage=AGGREGATION(["shot"]))], "['shot']"),
        (["frame_id"], [FeatureDep("video", lineage=EXPANSION())], "add the parent's columns"),
        (
            ["video_id", "shot"],
            [FeatureDep("frame", lineage=EXPANSION(["video_id"]))],
            "does not tell one parent",
        ),
        (
            ["video_id", "id"],
            ["video", "sound"],
            "share no id column",
        ),
        (
            ["video_id", "frame_id"],
            [FeatureDep("video", lineage=EXPANSION()), FeatureDep("frame", optional=True)],
            "drop optional=True",
        ),
        (
            ["video_id", "frame_id"],
            [FeatureDep("video", optional=True), FeatureDep("frame", optional=True)],
            "all upstreams are optional",
        ),
    ],
)
def test_ids_and_lineage_that_contradict_each_other_are_refused(ids, deps, says):
    with pytest.raises(FeatureError) as caught:
        plan(ids, *deps)
    assert caught.value.feature == "this"
    assert caught.value.remedy
    assert says in str(caught.value)


def test_all_optional_upstreams_on_the_same_columns():
    graph = FeatureGraph()
    for key in ("a", "b"):
        graph.add(FeatureSpec(key, id_columns=["id"]))
    deps = [FeatureDep(key, optional=True) for key in ("a", "b")]
    graph.add(FeatureSpec("this", id_columns=["id"], deps=deps))
    assert [dep.join_columns for dep in graph.plan("this").deps] == [("id",), ("id",)]


VIDEO = ["video:audio", "video:frames"]


@pytest.mark.parametrize(
    ("mapping", "field", "expected"),
    [
        (FieldsMapping.default(), "audio", ["video:audio"]),
        (FieldsMapping.default(), "other", VIDEO),
        (FieldsMapping.default(exclude_fields=["frames"]), "other", ["video:audio"]),
        (FieldsMapping.default(exclude_fields=["audio"]), "audio", ["video:frames"]),
        (FieldsMapping.all(), "audio", VIDEO),
        (FieldsMapping.none(), "audio", []),
        (FieldsMapping.specific({"audio": {"frames"}}), "audio", ["video:frames"]),
        (FieldsMapping.specific({}), "audio", []),
    ],
)
def test_fields_map_to_upstream_fields(mapping, field, expected):
    made = plan(["video_id"], FeatureDep("video", fields_mapping=mapping), fields=[field])
    assert parents(made, field) == expected
    assert [f"video:{used}" for used in made.deps[0].used_fields] == expected


def test_fields_map_by_suffix():
    dep = FeatureDep("sound", fields_mapping=FieldsMapping.default(match_suffix=True))
    made = plan(["id"], dep, fields=["left", "text", "other"])
    assert parents(made, "left") == ["sound:audio/left"]
    assert parents(made, "text") == ["sound:text"]
    assert len(parents(made, "other")) == 3


def test_what_a_field_says_itself_goes_before_the_mapping():
    fields = [
        FieldSpec("some", deps=[FieldDep("video", fields=["frames"])]),
        FieldSpec("all_of_one", deps=["frame"]),
        FieldSpec("all", deps=SpecialFieldDep.ALL),
        FieldSpec("none", deps=[]),
        FieldSpec("audio"),
    ]
    none = FeatureDep("frame", fields_mapping=FieldsMapping.none())
    made = plan(["video_id", "frame_id"], "video", none, fields=fields)
    assert parents(made, "some") == ["video:frames"]
    assert parents(made, "all_of_one") == ["frame:image"]
    assert parents(made, "all") == ["frame:image", *VIDEO]
    assert parents(made, "none") == []
    assert parents(made, "audio") == ["video:audio"]


@pytest.mark.parametrize(
    ("fields", "mapping"),
    [
        ([FieldSpec("x", deps=[FieldDep("video", fields=["adio"])])], FieldsMapping.default()),
        (["x"], FieldsMapping.specific({"x": {"adio"}})),
    ],
)
def test_an_unknown_upstream_field_is_refused(fields, mapping):
    with pytest.raises(FeatureError, match="did you mean 'audio'") as caught:
        plan(["video_id"], FeatureDep("video", fields_mapping=mapping), fields=fields)
    assert caught.value.feature == "this"


def test_plans_are_values():
    made = plan(["video_id"], "video")
    assert made == plan(["video_id"], "video")
    assert hash(made) == hash(plan(["video_id"], "video"))


def test_fields_of_a_plan_know_their_code():
    made = plan(["id"], fields=[FieldSpec("x", code_version="7"), FieldSpec("y")])
    assert [one.code_version for one in made.fields] == ["7", "0"]


def test_suffixes_match_only_when_asked_for():
    for dep in ("sound", FeatureDep("sound", fields_mapping=FieldsMapping.default())):
        assert len(parents(plan(["id"], dep, fields=["left"]), "left")) == 3
    dep = FeatureDep(
        "sound", fields_mapping=FieldsMapping.default(match_suffix=True, exclude_fields=["text"])
    )
    assert parents(plan(["id"], dep, fields=["text"]), "text") == [
        "sound:audio/left",
        "sound:audio/right",
    ]


@pytest.mark.parametrize(
    ("deps", "fine"),
    [
        (["video", FeatureDep("tag", optional=True)], True),
        (["frame", FeatureDep("video", optional=True)], True),
        ([FeatureDep("video", optional=True), FeatureDep("tag", optional=True)], True),
        ([FeatureDep("video", optional=True), FeatureDep("frame", optional=True)], False),
        ([FeatureDep("frame", optional=True), FeatureDep("video", optional=True)], False),
        ([FeatureDep("frame", optional=True)], True),
    ],
)
def test_optional_upstreams_join_on_what_is_known_without_them(deps, fine):
    graph = FeatureGraph()
    for upstream in (*UPSTREAMS, FeatureSpec("tag", id_columns=["video_id"])):
        graph.add(upstream)
    names = [dep if isinstance(dep, str) else str(dep.feature) for dep in deps]
    ids = ["video_id", "frame_id"] if "frame" in names else ["video_id"]
    graph.add(FeatureSpec("this", id_columns=ids, deps=deps))
    if fine:
        assert [dep.dep.optional for dep in graph.plan("this").deps] == [
            not isinstance(dep, str) for dep in deps
        ]
    else:
        with pytest.raises(FeatureError, match="optional"):
            graph.plan("this")
