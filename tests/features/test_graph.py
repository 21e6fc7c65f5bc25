from __future__ import annotations

import threading

import pytest

from metaxy_dagster.errors import FeatureError
from metaxy_dagster.features import BaseFeature, FeatureDep, FeatureGraph, FeatureKey, FeatureSpec


def spec(key, *deps, **arguments):
    return FeatureSpec(key, **{"id_columns": ["id"], **arguments}, deps=deps)


def graph_of(*specs):
    graph = FeatureGraph()
    for one in specs:
        graph.add(one)
    return graph


def keys(*names):
    return tuple(map(FeatureKey, names))


def test_a_graph_is_a_collection_of_features():
    graph = graph_of(spec("b", "a"), spec("a"))
    assert tuple(graph) == keys("b", "a")
    assert len(graph) == 2
    assert "a" in graph
    assert ["a"] in graph
    assert "c" not in graph
    assert "not a key!" not in graph
    assert graph["b"] == spec("b", "a")
    assert graph.upstream("b") == keys("a")
    assert graph.downstream("a") == keys("b")
    assert graph.downstream("b") == ()


def test_adding_an_equal_spec_again_changes_nothing():
    graph = graph_of(spec("a"))
    first = graph["a"]
    assert graph.add(spec("a")) is first
    assert len(graph) == 1


@pytest.mark.parametrize(
    ("changed", "told"),
    [
        ({"id_columns": ["other"]}, "id_columns: ['id'] or ['other']"),
        ({"fields": {"x": "2"}}, "fields['x'].code_version: '1' or '2'"),
        ({"fields": {"x": "1", "y": "1"}}, "fields['y']: only in the second"),
        ({"deps": [FeatureDep("b", optional=True)]}, "deps['b'].optional: False or True"),
        ({"deps": ["b", "c"]}, "deps['c']: only in the second"),
        ({"deps": []}, "deps['b']: only in the first"),
        ({"description": "new"}, "description: None or 'new'"),
        ({"metadata": {"owner": "ann"}}, "metadata.owner: nothing or 'ann'"),
    ],
)
def test_two_declarations_that_differ_show_the_difference(changed, told):
    declared = {"id_columns": ["id"], "fields": {"x": "1"}, "deps": ["b"]}
    first = FeatureSpec("a", **declared)
    graph = graph_of(first)
    with pytest.raises(FeatureError) as caught:
        graph.add(FeatureSpec("a", **{**declared, **changed}))
    assert caught.value.feature == "a"
    assert caught.value.found == told
    assert caught.value.remedy
    assert graph["a"] is first


@pytest.mark.parametrize("bad", ["a", 3, None, object, FeatureKey("a"), {"key": "a"}])
def test_what_is_no_feature_is_refused(bad):
    with pytest.raises(FeatureError, match="FeatureSpec") as caught:
        FeatureGraph().add(bad)
    assert caught.value.remedy


def test_another_order_of_fields_is_a_difference_with_a_name():
    graph = graph_of(spec("a", fields=["x", "y"]))
    with pytest.raises(FeatureError, match="order of fields"):
        graph.add(spec("a", fields=["y", "x"]))


def test_an_unknown_feature_is_refused_with_what_is_close():
    graph = graph_of(spec("video/frames"))
    for ask in (
        graph.__getitem__,
        graph.plan,
        graph.feature_version,
        graph.code_version,
        graph.upstream,
        graph.downstream,
        graph.feature_class,
        lambda key: graph.topological_order([key]),
    ):
        with pytest.raises(FeatureError, match="did you mean 'video/frames'") as caught:
            ask("video/frame")
        assert caught.value.feature == "video/frame"


def test_an_unknown_field_is_refused_with_what_is_close():
    graph = graph_of(spec("a", fields=["audio"]))
    with pytest.raises(FeatureError, match="did you mean 'audio'") as caught:
        graph.field_version("a", "adio")
    assert caught.value.feature == "a"


def test_a_missing_upstream_is_reported_when_it_is_needed_and_may_come_later():
    graph = graph_of(spec("c", "b"), spec("b", "vidoe"), spec("video"))
    assert len(graph.code_version("b")) == 32
    assert graph.downstream("vidoe") == keys("b")
    assert graph.topological_order() == keys("b", "video", "c")
    for ask in (graph.plan, graph.feature_version):
        with pytest.raises(FeatureError, match="did you mean 'video'") as caught:
            ask("c")
        assert caught.value.feature == "b"
    graph.add(spec("vidoe"))
    assert graph.plan("c").deps[0].upstream.key == FeatureKey("b")


def test_the_order_has_upstreams_first_and_is_the_same_however_features_were_added():
    specs = [spec("d", "b", "c"), spec("b", "a"), spec("c", "a"), spec("a"), spec("z"), spec("e")]
    expected = keys("a", "e", "z", "b", "c", "d")
    assert graph_of(*specs).topological_order() == expected
    assert graph_of(*reversed(specs)).topological_order() == expected
    assert graph_of(*specs).topological_order(["d", "z", "a", "d"]) == keys("a", "z", "d")
    assert graph_of().topological_order() == ()


def test_the_order_follows_what_is_added_later():
    graph = graph_of(spec("b", "a"))
    assert graph.topological_order() == keys("b")
    graph.add(spec("a"))
    assert graph.topological_order() == keys("a", "b")


def test_a_circle_is_refused_by_name():
    graph = graph_of(spec("b", "a"), spec("c", "b"), spec("a", "c"), spec("down", "a"), spec("x"))
    for ask in (graph.plan, graph.feature_version):
        for key in ("a", "b", "down"):
            with pytest.raises(FeatureError, match="circle") as caught:
                ask(key)
            assert "a -> b -> c -> a" in caught.value.found
            assert caught.value.feature == "a"
            assert caught.value.remedy
    with pytest.raises(FeatureError, match="circle"):
        graph.topological_order()
    assert graph.feature_version("x")


def test_a_chain_of_3000_features():
    specs = [spec(f"f{i}", *([f"f{i - 1}"] if i else [])) for i in range(3000)]
    graph = graph_of(*reversed(specs))
    assert len(graph.feature_version("f2999")) == 32
    assert graph.plan("f2999").deps[0].upstream == specs[2998]
    assert graph.topological_order() == tuple(one.key for one in specs)
    graph = graph_of(*specs, spec("f3000", "f2999", "f3001"), spec("f3001", "f3000"))
    with pytest.raises(FeatureError, match="f3000 -> f3001 -> f3000"):
        graph.plan("f3001")


def test_a_circle_of_3000_features_is_named():
    graph = graph_of(*(spec(f"f{i}", f"f{(i + 1) % 3000}") for i in range(3000)))
    with pytest.raises(FeatureError, match="circle"):
        graph.plan("f0")


class Counting(dict):
    """Counts the look-ups that plans make, which are the work that must stay linear."""

    looked_up = 0

    def __getitem__(self, key):
        self.looked_up += 1
        return super().__getitem__(key)


def test_the_work_is_linear_in_the_edges():
    counts = []
    for layers in (10, 20):
        graph = FeatureGraph()
        graph._specs = Counting()
        for layer in range(layers):
            for i in range(10):
                graph.add(
                    spec(f"l{layer}/f{i}", *(f"l{layer - 1}/f{j}" for j in range(10) if layer))
                )
        for key in graph:
            graph.feature_version(key)
            graph.plan(key)
        counts.append(graph._specs.looked_up)
    assert counts[1] < 2.5 * counts[0]


def test_plans_and_versions_are_made_once():
    graph = graph_of(spec("a"), spec("b", "a"))
    plan = graph.plan("b")
    graph.add(spec("c", "b"))
    assert graph.plan("b") is plan


def test_a_copy_can_grow_alone():
    for made in (FeatureGraph(), graph_of(spec("a"), spec("b", "a"))):
        made.topological_order()
        before = tuple(made), {key: made.downstream(key) for key in made}
        twin = made.copy()
        twin.add(spec("new", "a"))
        twin.add(spec("a"))
        assert "new" in twin
        assert twin.topological_order()[0] == FeatureKey("a")
        assert twin.feature_version("new")
        assert (tuple(made), {key: made.downstream(key) for key in made}) == before


def test_use_isolates_and_nests():
    outside = FeatureGraph.current()
    with FeatureGraph().use() as outer:
        assert FeatureGraph.current() is outer
        with FeatureGraph().use() as inner:
            assert FeatureGraph.current() is inner
        assert FeatureGraph.current() is outer
        seen = []
        thread = threading.Thread(target=lambda: seen.append(FeatureGraph.current()))
        thread.start()
        thread.join()
        assert seen[0] not in (outer, inner)
    assert FeatureGraph.current() is outside


def test_the_graph_knows_which_class_declares_a_feature():
    with FeatureGraph().use() as graph:

        class Video(BaseFeature, spec=spec("video")):
            id: str

    graph.add(spec("plain"))
    assert graph.feature_class("video") is Video
    assert graph.feature_class("plain") is None
    other = graph_of(spec("video"))
    other.add(Video)
    assert other.feature_class(Video) is Video
