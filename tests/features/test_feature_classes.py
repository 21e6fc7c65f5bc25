from __future__ import annotations

import pytest
from pydantic import ConfigDict, Field

from metaxy_dagster.errors import FeatureError
from metaxy_dagster.features import (
    BaseFeature,
    FeatureGraph,
    FeatureKey,
    FeatureSpec,
    FieldSpec,
    digest,
)
from metaxy_dagster.features.class_columns import ClassColumns

IDS = ["id"]


@pytest.fixture(autouse=True)
def graph():
    with FeatureGraph().use() as current:
        yield current


def test_a_class_registers_and_has_versions(graph):
    class Video(BaseFeature, spec=FeatureSpec("video", id_columns=IDS, fields={"audio": "1"})):
        id: str
        height: int

    class Faces(BaseFeature, spec=FeatureSpec("faces", id_columns=IDS, deps=[Video])):
        id: str

    assert tuple(graph) == (FeatureKey("video"), FeatureKey("faces"))
    assert Video.spec() is graph["video"]
    assert Faces.feature_version() == graph.feature_version("faces")
    assert Faces.field_version("default") == graph.field_version("faces", "default")
    assert Video.code_version() == digest("audio", "1")
    assert Video(id="1", height=2).height == 2
    assert list(Video.model_fields) == ["id", "height"]


def test_versions_are_those_of_the_graph_that_the_class_registered_on():
    class Faces(BaseFeature, spec=FeatureSpec("faces", id_columns=IDS)):
        id: str

    version = Faces.feature_version()
    with FeatureGraph().use():
        assert Faces.feature_version() == version


def test_an_abstract_base_shares_its_columns(graph):
    class Base(BaseFeature, spec=None):
        id: str

    class Video(Base, spec=FeatureSpec("video", id_columns=IDS)):
        height: int

    assert tuple(graph) == (FeatureKey("video"),)
    assert set(Video.model_fields) == {"id", "height"}
    with pytest.raises(FeatureError, match="abstract base"):
        Base.spec()
    with pytest.raises(FeatureError, match="abstract base"):
        FeatureKey(Base)


def test_columns_need_not_be_declared():
    class Video(BaseFeature, spec=FeatureSpec("video", id_columns=IDS)):
        pass

    assert Video.feature_version()


def test_a_column_with_the_name_of_a_method_has_an_alias():
    class Video(BaseFeature, spec=FeatureSpec("video", id_columns=["spec"])):
        spec_: str = Field(alias="spec")

    assert Video.spec().id_columns == ("spec",)


def test_the_same_class_again_is_no_conflict(graph):
    for _ in range(2):

        class Video(BaseFeature, spec=FeatureSpec("video", id_columns=IDS)):
            id: str

    assert graph.feature_class("video") is Video


def declare(spec, /, *, closed=False, **columns):
    content = {"__annotations__": columns, "__module__": __name__}
    if closed:
        content["model_config"] = {"extra": "forbid"}
    return type("Video", (BaseFeature,), content, spec=spec)


SOUND = FeatureSpec("video", id_columns=IDS, fields=[FieldSpec("a", columns=["sound"])])


@pytest.mark.parametrize("closed", [False, True])
def test_ids_need_not_be_declared(graph, closed):
    made = declare(FeatureSpec("video", id_columns=["video_id"]), closed=closed, height=int)
    assert graph.feature_class("video") is made


def test_an_open_class_need_not_name_the_columns_of_fields(graph):
    made = declare(SOUND, height=int)
    assert graph.feature_class("video") is made


def test_what_a_class_says_of_its_columns(graph):
    class Base(BaseFeature, spec=None):
        model_config = ConfigDict(extra="forbid")

    class Video(Base, spec=SOUND):
        height: int
        sound_: bytes | None = Field(default=None, alias="sound")

    said = ClassColumns.of(Video)
    assert said.kinds == {"height": int, "sound": bytes | None}
    assert (said.required, said.is_closed) == ({"height"}, True)
    assert said.missing(["sound"]) == ["height"]
    assert said.missing(["HEIGHT"]) == []
    assert said.unknown(["Sound", "heights"]) == ["heights"]
    for nothing in (None, int):
        assert ClassColumns.of(nothing) == ClassColumns()


@pytest.mark.parametrize(
    ("make", "feature", "says"),
    [
        (lambda: type("Video", (BaseFeature,), {}), None, "spec=FeatureSpec"),
        (lambda: declare("video", id="str"), None, "'video'"),
        (
            lambda: declare(FeatureSpec("video", id_columns=IDS), id=str, spec=str),
            "video",
            "alias",
        ),
        (
            lambda: declare(FeatureSpec("video", id_columns=IDS), id=str, ID=str),
            "video",
            "case",
        ),
        (
            lambda: declare(
                FeatureSpec("video", id_columns=IDS, fields=[FieldSpec("a", columns=["sound"])]),
                closed=True,
                id=str,
            ),
            "video",
            "columns of field 'a'",
        ),
        (
            lambda: declare(
                FeatureSpec("video", id_columns=IDS, fields=[FieldSpec("a", columns=["sound"])]),
                closed=True,
                sounds=str,
            ),
            "video",
            "did you mean 'sounds'",
        ),
    ],
)
def test_a_class_that_contradicts_its_spec_is_refused(graph, make, feature, says):
    with pytest.raises(FeatureError) as caught:
        make()
    assert caught.value.feature == feature
    assert caught.value.remedy
    assert says in str(caught.value)
    assert len(graph) == 0


def test_reserved_columns_are_refused():
    with pytest.raises(FeatureError, match="metaxy_"):
        declare(FeatureSpec("video", id_columns=IDS), id=str, metaxy_provenance=str)


def test_two_classes_that_differ_are_refused(graph):
    first = declare(FeatureSpec("video", id_columns=IDS), id=str)
    with pytest.raises(FeatureError, match=r"fields\['default'\]: only in the first"):
        declare(FeatureSpec("video", id_columns=IDS, fields=["audio"]), id=str)
    assert graph.feature_class("video") is first
