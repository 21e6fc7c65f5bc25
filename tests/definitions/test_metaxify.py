"""The decorator on one asset: all its forms, and the pass after it."""

from __future__ import annotations

import dagster as dg
import pytest

from metaxy_dagster.definitions import metaxify, metaxify_definitions
from metaxy_dagster.errors import DefinitionsError
from metaxy_dagster.features import BaseFeature, FeatureGraph, FeatureSpec

A = FeatureSpec("f/a", id_columns=["id"], description="the root")
B = FeatureSpec(
    "f/b", id_columns=["id"], deps=["f/a"], metadata={"dagster/attributes": {"asset_key": "ns/b"}}
)


@pytest.fixture(autouse=True)
def features(isolated_graph):
    isolated_graph.add(A)
    isolated_graph.add(B)
    return isolated_graph


def tagged(key="f/a"):
    @dg.asset(name=f"mine_{key[-1]}", metadata={"metaxy/feature": key})
    def mine(): ...

    return mine


class Declared(BaseFeature, spec=None):
    """No feature of its own."""


def forms():
    @metaxify
    @dg.asset(metadata={"metaxy/feature": "f/a"})
    def bare(): ...

    @metaxify()
    @dg.asset(metadata={"metaxy/feature": "f/a"})
    def called(): ...

    @metaxify(feature=A)
    @dg.asset
    def with_spec(): ...

    @metaxify(feature="f/a")
    @dg.asset
    def with_text(): ...

    @metaxify(inject_code_version=False)
    @dg.asset(metadata={"metaxy/feature": "f/a"})
    def without_code_version(): ...

    return {
        "bare": bare,
        "called": called,
        "a spec": with_spec,
        "a key": with_text,
        "options": without_code_version,
        "a function": metaxify(tagged()),
        "a function with a feature": metaxify(tagged("f/b"), feature=A),
    }


@pytest.mark.parametrize(
    "form",
    ["bare", "called", "a spec", "a key", "options", "a function", "a function with a feature"],
)
def test_every_form_gives_a_definition_under_the_features_key(form):
    made = forms()[form]
    assert isinstance(made, dg.AssetsDefinition)
    assert made.key == dg.AssetKey(["f", "a"])
    spec = made.get_asset_spec()
    assert (spec.description, spec.kinds) == ("the root", {"metaxy"})
    assert (spec.code_version is None) is (form == "options")


def test_a_feature_class():
    class Video(BaseFeature, spec=FeatureSpec("video", id_columns=["id"])):
        """Videos."""

        id: str

    @metaxify(feature=Video)
    @dg.asset
    def anything(): ...

    assert anything.key == dg.AssetKey("video")
    assert anything.get_asset_spec().description == "Videos."


def test_an_asset_spec():
    made = metaxify(dg.AssetSpec("mine"), feature=B)
    assert isinstance(made, dg.AssetSpec)
    assert made.key == dg.AssetKey(["ns", "b"])
    assert [dep.asset_key for dep in made.deps] == [dg.AssetKey(["f", "a"])]


def test_a_multi_asset():
    @metaxify
    @dg.multi_asset(
        specs=[
            dg.AssetSpec("x", metadata={"metaxy/feature": "f/a"}),
            dg.AssetSpec("y", metadata={"metaxy/feature": "f/b"}),
            dg.AssetSpec("plain", deps=["x"]),
        ]
    )
    def many(): ...

    assert many.keys == {
        dg.AssetKey(["f", "a"]),
        dg.AssetKey(["ns", "b"]),
        dg.AssetKey("plain"),
    }
    (dep,) = many.specs_by_key[dg.AssetKey("plain")].deps
    assert dep.asset_key == dg.AssetKey(["f", "a"])


def test_a_check_on_the_asset_follows_its_key():
    @metaxify
    @dg.asset(
        metadata={"metaxy/feature": "f/a"}, check_specs=[dg.AssetCheckSpec("good", asset="mine")]
    )
    def mine(): ...

    assert mine.check_keys == {dg.AssetCheckKey(dg.AssetKey(["f", "a"]), "good")}


def test_the_io_manager_stays_until_the_pass(execute):
    made = metaxify(tagged())
    assert made.op.output_defs[0].io_manager_key == "io_manager"


def test_upstream_features_are_deps_on_their_keys_and_order_execution(log, execute):
    @metaxify(feature=B)
    @dg.asset
    def a_first_by_name() -> None:
        log.append("b")

    @metaxify(feature=A)
    @dg.asset
    def z_last_by_name() -> None:
        log.append("a")

    defs = dg.Definitions(assets=[a_first_by_name, z_last_by_name])
    dg.Definitions.validate_loadable(defs)
    assert execute(defs).success
    assert log == ["a", "b"]


def test_the_pass_may_follow_and_agrees():
    a, b = metaxify(tagged()), metaxify(tagged("f/b"))
    defs = metaxify_definitions(dg.Definitions(assets=[a, b]), store="unused.duckdb")
    dg.Definitions.validate_loadable(defs)
    assert {key.to_user_string() for key in defs.resolve_asset_graph().get_all_asset_keys()} == {
        "f/a",
        "ns/b",
    }
    assert metaxify_definitions(defs) is defs


def test_metaxify_twice_is_metaxify_once():
    once = metaxify(tagged())
    assert metaxify(once) is once


def test_other_features_can_be_given():
    graph = FeatureGraph()
    graph.add(FeatureSpec("f/a", id_columns=["other"], description="another"))
    assert metaxify(tagged(), features=graph).get_asset_spec().description == "another"


def test_a_spec_that_differs_from_the_declared_one_is_refused():
    with pytest.raises(ValueError, match="declared twice"):
        metaxify(tagged(), feature=FeatureSpec("f/a", id_columns=["other"]))


def test_a_nameless_feature_is_refused():
    with pytest.raises((DefinitionsError, ValueError)):
        metaxify(tagged(), feature=Declared)
