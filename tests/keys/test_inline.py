from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import dagster as dg
import pytest

from metaxy_dagster.errors import FeatureError
from metaxy_dagster.features import (
    BaseFeature,
    FeatureDep,
    FeatureGraph,
    FeatureKey,
    FeatureSpec,
    FieldsMapping,
    FieldSpec,
    LineageRelationship,
)
from metaxy_dagster.keys import named_feature, spec_from_metadata

FACES = {"metaxy/feature": "video/faces", "metaxy/id_columns": ["video_id"]}


@dataclass
class Value:
    value: Any


@dataclass
class Text:
    text: str


@dataclass
class Json:
    data: Any


def test_a_class_metadata_and_a_dumped_spec_declare_the_same():
    with FeatureGraph().use() as graph:

        class Faces(
            BaseFeature,
            spec=FeatureSpec(
                key="video/faces",
                id_columns=["video_id"],
                fields=[FieldSpec(key="faces", code_version="2"), FieldSpec(key="count")],
                deps=[
                    FeatureDep(
                        feature="video/frames",
                        filters=["height > 720"],
                        rename={"vid": "video_id"},
                        fields_mapping=FieldsMapping.specific({"faces": {"frames"}}),
                        lineage=LineageRelationship.aggregation(on=["video_id"]),
                    )
                ],
            ),
        ):
            video_id: str

    inline = spec_from_metadata(
        {
            **FACES,
            "metaxy/fields": {"faces": {"code_version": "2"}, "count": None},
            "metaxy/deps": [
                {
                    "feature": "video/frames",
                    "filters": "height > 720",
                    "rename": {"vid": "video_id"},
                    "fields_mapping": {"type": "specific", "mapping": {"faces": ["frames"]}},
                    "lineage": {"type": "aggregation", "on": ["video_id"]},
                }
            ],
        }
    )
    dumped = FeatureSpec.model_validate(Faces.spec().model_dump(mode="json"))
    assert inline == dumped == Faces.spec()
    assert graph.add(inline) is Faces.spec()


@pytest.mark.parametrize("wrap", [lambda value: value, Value, Text, Json])
def test_values_may_be_wrapped(wrap):
    metadata = {
        **FACES,
        "metaxy/fields": ["faces"],
        "metaxy/deps": ["video/raw"],
    }
    wrapped = {key: wrap(value) for key, value in metadata.items()}
    assert spec_from_metadata(wrapped) == spec_from_metadata(metadata)
    assert named_feature(wrapped) == FeatureKey("video/faces")


def test_fields_may_be_names_or_code_versions():
    names = spec_from_metadata({**FACES, "metaxy/fields": ["faces", "count"]})
    assert names.fields == (FieldSpec("faces"), FieldSpec("count"))
    versions = spec_from_metadata({**FACES, "metaxy/fields": {"faces": "2", "count": 3}})
    assert [field.code_version for field in versions.fields] == ["2", "3"]


def test_deps_default_to_the_candidates_but_none_can_be_said():
    candidates = [FeatureKey(key) for key in ("video/raw", "video/faces", "audio", "audio")]
    spec = spec_from_metadata(FACES, dep_candidates=candidates)
    assert [str(dep.feature) for dep in spec.deps] == ["video/raw", "audio"]
    none = spec_from_metadata({**FACES, "metaxy/deps": []}, dep_candidates=candidates)
    assert none.deps == ()


def test_metadata_that_declares_nothing():
    assert spec_from_metadata({"owner": "ann"}) is None
    assert spec_from_metadata({"metaxy/feature": "video/faces", "metaxy/input": "all"}) is None
    assert named_feature({"metaxy/fields": ["a"]}) is None


def test_a_feature_can_be_named_by_its_class():
    with FeatureGraph().use():

        class Video(BaseFeature, spec=FeatureSpec("video", id_columns=["id"])):
            id: str

    assert named_feature({"metaxy/feature": Video}) == FeatureKey("video")
    assert named_feature({"metaxy/feature": Video.spec()}) == FeatureKey("video")
    assert named_feature({"metaxy/feature": FeatureKey("video")}) == FeatureKey("video")


@pytest.mark.parametrize(
    ("metadata", "feature", "says"),
    [
        ({"metaxy/id_columns": ["id"]}, None, '"metaxy/feature"'),
        ({"metaxy/feature": "a", "metaxy/fields": ["x"]}, "a", '"metaxy/id_columns"'),
        ({"metaxy/feature": "a", "metaxy/id_columns": "id"}, "a", "['id']"),
        ({"metaxy/feature": "a", "metaxy/id_columns": []}, "a", "id_columns="),
        ({**FACES, "metaxy/fields": "faces"}, "video/faces", "['faces']"),
        ({**FACES, "metaxy/fields": {"faces": 1.5}}, "video/faces", "write text"),
        ({**FACES, "metaxy/fields": {"faces": {"version": "1"}}}, "video/faces", "code_version"),
        ({**FACES, "metaxy/deps": "video"}, "video/faces", "['video']"),
        ({**FACES, "metaxy/deps": ["video/faces"]}, "video/faces", "itself"),
        ({**FACES, "metaxy/deps": [{"features": "a"}]}, "video/faces", "'feature'"),
    ],
)
def test_bad_metadata_is_refused(metadata, feature, says):
    with pytest.raises(FeatureError) as caught:
        spec_from_metadata(metadata)
    assert caught.value.feature == feature
    assert caught.value.remedy
    assert says in str(caught.value)


@pytest.mark.parametrize("bad", ["a b", "", 3, None, ["a", 1]])
def test_a_bad_feature_key_is_refused(bad):
    with pytest.raises(FeatureError) as caught:
        named_feature({"metaxy/feature": bad})
    assert caught.value.remedy


@pytest.mark.parametrize("wrap", [dg.MetadataValue.text, str, FeatureKey])
def test_a_key_may_come_wrapped_as_dagster_wraps_it(wrap: Any) -> None:
    assert named_feature({"metaxy/feature": wrap("a/b")}) == FeatureKey("a/b")
