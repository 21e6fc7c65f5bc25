"""What a feature brings to its asset, and that the user's own always wins."""

from __future__ import annotations

import datetime as dt
import json

import dagster as dg
import pytest
from pydantic import Field

from metaxy_dagster.definitions import (
    MetaxifySettings,
    MetaxyTranslator,
    _compat,
    metaxify_definitions,
    plan_definitions,
)
from metaxy_dagster.features import BaseFeature, FeatureDep, FeatureGraph, FeatureSpec, FieldSpec


def feature(key, **more):
    return {"metaxy/feature": key, **more}


@pytest.fixture
def features():
    graph = FeatureGraph()
    with graph.use():

        class Video(
            BaseFeature,
            spec=FeatureSpec(
                "video/raw",
                id_columns=["video_id"],
                fields=[
                    FieldSpec("audio", columns=["audio_path"]),
                    FieldSpec("frames", columns=["frames_path"]),
                ],
            ),
        ):
            """Raw videos."""

            video_id: str = Field(description="its number")
            audio_path: str
            frames_path: str
            height: int | None = None
            taken: dt.datetime
            boxes: list[float]

        class Faces(
            BaseFeature,
            spec=FeatureSpec(
                "video/faces",
                id_columns=["id"],
                fields=[FieldSpec("frames", columns=["faces_path"])],
                deps=[
                    FeatureDep(
                        Video,
                        rename={"video_id": "id", "height": "video_height"},
                        select=["video_height"],
                    )
                ],
                description="Faces found",
                metadata={
                    "team": "vision",
                    "notes": {"a": 1, "b": 2},
                    "dagster/attributes": {
                        "group_name": "features",
                        "owners": ["team:vision", "ann@x.org"],
                        "tags": {"tier": "gold", "mine": "theirs"},
                        "kinds": ["duckdb"],
                        "description": None,
                    },
                },
            ),
        ):
            """Not shown, since the spec has a description."""

            id: str
            faces_path: str
            video_height: int

    return graph


@pytest.fixture
def spec(features):
    """The spec of an asset that carries video/faces, after the pass."""

    def make(settings=None, translator=None, **fields):
        metadata = {**feature("video/faces"), **fields.pop("metadata", {})}
        faces = dg.AssetSpec("faces", metadata=metadata, **fields)
        raw = dg.AssetSpec("raw", metadata=feature("video/raw"))
        defs = metaxify_definitions(
            dg.Definitions(assets=[raw, faces]),
            features=features,
            settings=settings,
            translator=translator,
            store="unused.duckdb",
        )
        return next(each for each in defs.assets if each.key == dg.AssetKey("faces"))

    return make


def test_an_empty_asset_gets_everything(spec, features):
    made = spec()
    assert made.description == "Faces found"
    assert made.group_name == "features"
    assert made.owners == ["team:vision", "ann@x.org"]
    assert made.kinds == {"metaxy", "duckdb"}
    assert made.code_version == features.code_version("video/faces")
    assert {tag: value for tag, value in made.tags.items() if "kind" not in tag} == {
        "metaxy/feature": "video.faces",
        "tier": "gold",
        "mine": "theirs",
    }
    assert made.metadata["team"] == "vision"
    assert "dagster/attributes" not in made.metadata
    assert [dep.asset_key for dep in made.deps] == [dg.AssetKey("raw")]


def test_what_the_user_set_wins_and_collections_are_merged(spec):
    made = spec(
        description="mine",
        group_name="mine",
        owners=["me@x.org"],
        kinds={"python"},
        tags={"mine": "mine"},
        code_version="7",
        metadata={"team": "mine", "notes": {"a": 7}},
    )
    assert (made.description, made.group_name, made.code_version) == ("mine", "mine", "7")
    assert made.owners == ["me@x.org", "team:vision", "ann@x.org"]
    assert made.kinds == {"python", "metaxy", "duckdb"}
    assert (made.tags["mine"], made.tags["tier"]) == ("mine", "gold")
    assert made.metadata["team"] == "mine"
    assert made.metadata["notes"] == {"a": 7, "b": 2}


def test_info_is_json(spec, features):
    info = spec().metadata["metaxy/info"]
    assert json.loads(json.dumps(info)) == info
    assert info["feature"] == {
        "key": "video/faces",
        "version": features.feature_version("video/faces"),
        "code_version": features.code_version("video/faces"),
        "id_columns": ["id"],
    }
    assert info["fields"]["frames"]["parents"] == ["video/raw:frames"]
    assert info["deps"] == [
        {
            "feature": "video/raw",
            "lineage": "identity",
            "on": ["id"],
            "optional": False,
            "assets": ["raw"],
        },
    ]


def test_the_schema_comes_from_the_class(features):
    (raw,) = metaxify_definitions(
        dg.Definitions(assets=[dg.AssetSpec("raw", metadata=feature("video/raw"))]),
        features=features,
        store="unused.duckdb",
    ).assets
    columns = {each.name: each for each in raw.metadata["dagster/column_schema"].columns}
    assert {name: each.type for name, each in columns.items()} == {
        "video_id": "string",
        "audio_path": "string",
        "frames_path": "string",
        "height": "int",
        "taken": "timestamp",
        "boxes": "list[float]",
    }
    assert columns["video_id"].description == "its number"
    assert columns["height"].constraints.nullable
    assert not columns["video_id"].constraints.nullable
    assert raw.description == "Raw videos."


def test_an_inline_feature_shows_the_columns_that_are_known():
    spec = dg.AssetSpec(
        "x",
        metadata=feature(
            "x",
            **{
                "metaxy/id_columns": ["id"],
                "metaxy/fields": {"text": {"code_version": "1", "columns": ["body"]}},
            },
        ),
    )
    (made,) = metaxify_definitions(
        dg.Definitions(assets=[spec]), features=[], store="unused.duckdb"
    ).assets
    columns = [each.name for each in made.metadata["dagster/column_schema"].columns]
    assert columns == ["id", "body"]


def test_the_lineage_of_columns(spec):
    lineage = spec().metadata["dagster/column_lineage"].deps_by_column
    found = {
        column: {(dep.asset_key.to_user_string(), dep.column_name) for dep in deps}
        for column, deps in lineage.items()
    }
    assert found == {
        "id": {("raw", "video_id")},
        "faces_path": {("raw", "frames_path")},
        "video_height": {("raw", "height")},
    }


def test_the_users_lineage_is_completed(spec):
    own = [dg.TableColumnDep(asset_key=dg.AssetKey("x"), column_name="y")]
    made = spec(metadata={"dagster/column_lineage": dg.TableColumnLineage({"id": own})})
    lineage = made.metadata["dagster/column_lineage"].deps_by_column
    assert lineage["id"] == own
    assert "faces_path" in lineage


OFF = {
    "enable_attributes": lambda made: made.group_name is None and not made.owners,
    "enable_code_versions": lambda made: made.code_version is None,
    "enable_column_lineage": lambda made: "dagster/column_lineage" not in made.metadata,
    "enable_column_schema": lambda made: "dagster/column_schema" not in made.metadata,
    "enable_deps": lambda made: not made.deps,
    "enable_descriptions": lambda made: made.description is None,
    "enable_kinds": lambda made: "metaxy" not in made.kinds,
    "enable_metadata": lambda made: "team" not in made.metadata,
    "enable_tags": lambda made: "metaxy/feature" not in made.tags,
}


@pytest.mark.parametrize("name", OFF)
def test_each_part_can_be_left_out(spec, name):
    assert not OFF[name](spec())
    assert OFF[name](spec(settings=MetaxifySettings(**{name: False})))


def test_assets_that_report_themselves_show_no_rows_either(spec):
    off = MetaxifySettings(enable_preview=False)
    assert "metaxy/preview" not in spec().metadata
    assert spec(settings=off).metadata["metaxy/preview"] is False
    mine = {"metaxy/feature": "f/mine", "metaxy/id_columns": ["id"], "metaxy/preview": True}

    @dg.asset(metadata=mine)
    def shown(): ...

    defs = metaxify_definitions(dg.Definitions(assets=[shown]), settings=off)
    assert defs.get_assets_def("shown").get_asset_spec().metadata["metaxy/preview"] is True


def test_a_translator_changes_what_is_brought(spec):
    class Mine(MetaxyTranslator):
        def get_asset_spec(self, data):
            made = super().get_asset_spec(data)
            return made.replace_attributes(
                description=f"{data.spec.key} of {data.asset_key.to_user_string()}"
            ).merge_attributes(tags={"version": data.feature_version[:8]})

    made = spec(translator=Mine())
    assert made.description == "video/faces of faces"
    assert len(made.tags["version"]) == 8


def test_the_project_is_a_tag(spec):
    made = spec(settings=MetaxifySettings(project="robotics"))
    assert made.tags["metaxy/project"] == "robotics"
    assert made.metadata["metaxy/info"]["project"] == "robotics"


def test_the_project_comes_from_the_configuration(spec, tmp_path, monkeypatch):
    (tmp_path / "metaxy.toml").write_text('project = "robotics"\n')
    monkeypatch.chdir(tmp_path)
    assert spec().tags["metaxy/project"] == "robotics"


def test_case_39_the_limit_of_kinds_is_respected_and_reported(features):
    kinds = {f"k{number}" for number in range(_compat.kind_limit())}
    raw = dg.AssetSpec("raw", kinds=kinds, metadata=feature("video/raw"))
    plan = plan_definitions(dg.Definitions(assets=[raw]), features=features)
    assert plan.assets[0].spec.kinds == kinds
    assert any("the kind metaxy is left out" in notice.message for notice in plan.notices)


def test_case_40_a_tag_value_that_dagster_refuses_is_left_out_and_reported():
    key = "/".join(["long" * 5] * 4)
    spec = dg.AssetSpec("x", metadata=feature(key, **{"metaxy/id_columns": ["id"]}))
    plan = plan_definitions(dg.Definitions(assets=[spec]), features=[])
    assert "metaxy/feature" not in plan.assets[0].spec.tags
    assert any("the tag metaxy/feature is left out" in notice.message for notice in plan.notices)
    assert not plan.errors


def test_inline_deps_default_to_the_features_among_the_dagster_deps():
    ids = {"metaxy/id_columns": ["id"]}
    one = dg.AssetSpec("one", metadata=feature("f/one", **ids))
    two = dg.AssetSpec("two", metadata=feature("f/two", **ids), deps=["one", "elsewhere"])
    three = dg.AssetSpec(
        "three", metadata=feature("f/three", **ids), deps=[dg.AssetKey(["f", "one"])]
    )
    plan = plan_definitions(dg.Definitions(assets=[one, two, three]), features=[])
    assert not plan.errors
    for key in ("f/two", "f/three"):
        assert [str(dep.feature) for dep in plan.graph[key].deps] == ["f/one"]


def test_the_users_graph_is_not_changed():
    graph = FeatureGraph()
    spec = dg.AssetSpec("x", metadata=feature("x", **{"metaxy/id_columns": ["id"]}))
    plan_definitions(dg.Definitions(assets=[spec]), features=graph)
    assert len(graph) == 0


def test_the_current_graph_is_the_default(features):
    spec = dg.AssetSpec("raw", metadata=feature("video/raw"))
    with features.use():
        plan = plan_definitions(dg.Definitions(assets=[spec]))
    assert not plan.errors
