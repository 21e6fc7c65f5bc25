"""Bad input: one clear error each, all together, and nothing changed."""

from __future__ import annotations

import dagster as dg
import pytest

from metaxy_dagster.definitions import (
    MetaxifySettings,
    MetaxyTranslator,
    metaxify,
    metaxify_definitions,
    plan_definitions,
)
from metaxy_dagster.errors import DefinitionsError, FeatureError, MetaxyErrorGroup
from metaxy_dagster.features import FeatureDep, FeatureGraph, FeatureSpec


def asset(name, key, deps=(), **metadata):
    return dg.AssetSpec(name, metadata={"metaxy/feature": key, **metadata}, deps=list(deps))


IDS = {"metaxy/id_columns": ["id"]}

#: Assets, and what the one error says: asset, feature, a part of what was found, of the remedy.
FAULTS = {
    "unknown feature": (
        [asset("x", "video/rwa")],
        ("x", "video/rwa", None, "video/raw"),
    ),
    "a value that is no key": (
        [asset("x", 42)],
        ("x", None, "42", None),
    ),
    "an empty key": (
        [asset("x", "")],
        ("x", None, None, None),
    ),
    "fields without id columns": (
        [asset("x", "new", **{"metaxy/fields": ["f"]})],
        ("x", "new", "metaxy/fields", "id_columns"),
    ),
    "two differing declarations": (
        [asset("x", "new", **IDS), asset("y", "new", **{"metaxy/id_columns": ["other"]})],
        ("y", "new", "other", None),
    ),
    "declared inline and otherwise": (
        [asset("x", "video/raw", **{"metaxy/id_columns": ["other"]})],
        ("x", "video/raw", "other", None),
    ),
    "unknown upstream": (
        [asset("x", "new", **IDS, **{"metaxy/deps": ["video/rwa"]})],
        ("x", "new", "video/rwa", "video/raw"),
    ),
    "a circle of features": (
        [
            asset("x", "p", **IDS, **{"metaxy/deps": ["q"]}),
            asset("y", "q", **IDS, **{"metaxy/deps": ["p"]}),
        ],
        (None, "p", "p -> q -> p", "drop"),
    ),
    "an input mode": (
        [asset("x", "video/raw", **{"metaxy/input": "some"})],
        ("x", "video/raw", "'some'", "metaxy/input"),
    ),
    "a write mode": (
        [asset("x", "video/raw", **{"metaxy/write": "append"})],
        ("x", "video/raw", "'append'", "metaxy/write"),
    ),
    "a write mode of another type": (
        [asset("x", "video/raw", **{"metaxy/write": ["upsert"]})],
        ("x", "video/raw", "['upsert']", "metaxy/write"),
    ),
    "samples that are not returned": (
        [asset("x", "video/raw", **{"metaxy/input": "increment", "metaxy/unreturned": "done"})],
        ("x", "video/raw", "'done'", "metaxy/unreturned"),
    ),
    "samples that are not returned, of all": (
        [asset("x", "video/raw", **{"metaxy/unreturned": "empty"})],
        ("x", "video/raw", 'no "metaxy/input", which is "all"', 'or remove "metaxy/unreturned"'),
    ),
    "samples that are not returned, in another mode": (
        [asset("x", "video/raw", **{"metaxy/input": "all", "metaxy/unreturned": "empty"})],
        ("x", "video/raw", '"metaxy/input": "all"', '"metaxy/input": "increment"'),
    ),
    "a partition that is no mapping": (
        [asset("x", "video/raw", **{"metaxy/partition": "camera"})],
        ("x", "video/raw", "'camera'", "metaxy/partition"),
    ),
    "a partition column that is no name": (
        [asset("x", "video/raw", partition_by=3)],
        ("x", "video/raw", "3", "column"),
    ),
    "an attribute that does not exist": (
        [asset("x", "bad/attribute")],
        ("x", "bad/attribute", "colour", "get_asset_spec"),
    ),
    "an attribute of a wrong type": (
        [asset("x", "bad/type")],
        ("x", "bad/type", "'ann'", "owners"),
    ),
    "an owner that Dagster refuses": (
        [asset("x", "bad/owner")],
        ("x", "bad/owner", "nobody", "dagster/attributes"),
    ),
    "attributes that are no mapping": (
        [asset("x", "bad/attributes")],
        ("x", "bad/attributes", "'g'", "by name"),
    ),
    "id columns that do not fit": (
        [asset("x", "bad/ids")],
        ("x", "bad/ids", None, "aggregation"),
    ),
}


@pytest.fixture
def features():
    graph = FeatureGraph()
    graph.add(FeatureSpec("video/raw", id_columns=["id"]))
    for key, attributes in {
        "bad/attribute": {"colour": "red"},
        "bad/type": {"owners": "ann"},
        "bad/owner": {"owners": ["nobody"]},
        "bad/attributes": "g",
    }.items():
        graph.add(FeatureSpec(key, id_columns=["id"], metadata={"dagster/attributes": attributes}))
    graph.add(FeatureSpec("bad/ids", id_columns=["other"], deps=[FeatureDep("video/raw")]))
    return graph


@pytest.mark.parametrize("case", FAULTS)
def test_each_fault_is_one_error_that_says_all(features, case):
    assets, (asset_name, feature, found, remedy) = FAULTS[case]
    plan = plan_definitions(dg.Definitions(assets=assets), features=features)
    (error,) = plan.errors
    assert isinstance(error, DefinitionsError | FeatureError)
    assert error.asset == asset_name
    if feature is not None:
        assert error.feature == feature
    if found is not None:
        assert found in str(error.found)
    assert error.remedy
    if remedy is not None:
        assert remedy in error.remedy
    with pytest.raises(MetaxyErrorGroup):
        plan.apply()


@pytest.mark.parametrize(
    "more",
    [
        {"metaxy/unreturned": "pending"},
        {"metaxy/input": "increment", "metaxy/unreturned": "pending"},
        {"metaxy/input": "increment", "metaxy/unreturned": "empty"},
    ],
)
def test_what_becomes_of_samples_that_are_not_returned(features, more):
    given = dg.Definitions(assets=[asset("x", "video/raw", **more)])
    assert not plan_definitions(given, features=features).errors


def test_all_faults_are_raised_together(features):
    assets = [
        asset("x", "video/rwa"),
        asset("y", "video/raw", **{"metaxy/input": "some", "metaxy/write": "append"}),
        dg.AssetSpec("fine"),
    ]
    with pytest.raises(MetaxyErrorGroup) as caught:
        metaxify_definitions(dg.Definitions(assets=assets), features=features)
    assert [error.asset for error in caught.value.exceptions] == ["y", "y", "x"] or [
        error.asset for error in caught.value.exceptions
    ] == ["x", "y", "y"]
    assert "3 faults" in str(caught.value)


@pytest.mark.parametrize(
    "value",
    [
        None.__class__,
        "defs",
        dg.AssetSpec("x"),
        [dg.AssetSpec("x")],
        dg.Definitions(assets=[dg.AssetSpec("x")]).get_repository_def(),
    ],
    ids=["a class", "text", "a spec", "a list", "a repository"],
)
def test_other_types_are_refused(value):
    with pytest.raises(DefinitionsError) as caught:
        metaxify_definitions(value)
    assert caught.value.remedy
    assert caught.value.allowed


@pytest.mark.parametrize(
    ("options", "name"),
    [
        ({"asset_keys": "rename"}, "asset_keys"),
        ({"inject_code_version": "no"}, "inject_code_version"),
        ({"translator": "mine"}, "translator"),
        ({"settings": {}}, "settings"),
    ],
)
def test_bad_options_are_refused_at_once(options, name):
    with pytest.raises(DefinitionsError, match=name):
        plan_definitions(dg.Definitions(), **options)


@pytest.mark.parametrize(
    ("options", "found"),
    [
        ({"features": "video/raw"}, "video/raw"),
        ({"features": 3}, "3"),
        ({"store": 3}, "int"),
    ],
)
def test_bad_features_and_stores_are_faults(options, found):
    (error,) = plan_definitions(dg.Definitions(), **options).errors
    assert found in error.found


@pytest.mark.parametrize(
    "options", [{"io_routing": "maybe"}, {"selection_drift": "x"}, {"enable_tags": "yes"}]
)
def test_settings_check_their_values(options):
    with pytest.raises(DefinitionsError) as caught:
        MetaxifySettings(**options)
    assert caught.value.allowed


def test_a_translator_that_returns_nothing(features):
    class Broken(MetaxyTranslator):
        def get_asset_spec(self, data):
            return None

    plan = plan_definitions(
        dg.Definitions(assets=[asset("x", "video/raw")]), features=features, translator=Broken()
    )
    (error,) = plan.errors
    assert (error.asset, error.feature) == ("x", "video/raw")


def test_a_configuration_that_cannot_be_read(features, tmp_path, monkeypatch):
    (tmp_path / "metaxy.toml").write_text("project = [")
    monkeypatch.chdir(tmp_path)
    plan = plan_definitions(dg.Definitions(assets=[asset("x", "video/raw")]), features=features)
    assert any("metaxy.toml" in str(error) for error in plan.errors)


@pytest.mark.parametrize("value", ["x", dg.Definitions(), print], ids=["text", "defs", "function"])
def test_metaxify_refuses_what_is_no_asset(value):
    with pytest.raises(DefinitionsError):
        metaxify(value)


def test_metaxify_needs_a_feature():
    @dg.asset
    def x(): ...

    with pytest.raises(DefinitionsError, match="names no feature") as caught:
        metaxify(x)
    assert caught.value.asset == "x"


def test_metaxify_cannot_give_one_feature_to_several_assets():
    @dg.multi_asset(specs=[dg.AssetSpec("x"), dg.AssetSpec("y")])
    def both(): ...

    with pytest.raises(DefinitionsError) as caught:
        metaxify(both, feature=FeatureSpec("f", id_columns=["id"]))
    assert caught.value.asset == "x, y"
