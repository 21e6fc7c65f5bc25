"""Random repositories: untouched without features, and stable when the pass runs twice."""

from __future__ import annotations

import dagster as dg
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from metaxy_dagster.definitions import metaxify_definitions, plan_definitions
from metaxy_dagster.features import FeatureGraph, FeatureSpec

pytestmark = pytest.mark.filterwarnings("ignore::dagster.BetaWarning")

STAND_INS = {"store": 1, "metaxy_io_manager": dg.mem_io_manager}
SIZES = st.integers(min_value=1, max_value=8)
KINDS = st.sampled_from(["spec", "asset", "argument", "multi", "subset", "graph", "external"])


def build(name, kind, upstream, metadata):
    """One definition named ``name`` that depends on ``upstream``."""
    key = dg.AssetKey(["ns", name]) if len(name) % 2 else dg.AssetKey(name)
    spec = dg.AssetSpec(key, deps=upstream, metadata=metadata)
    if kind == "spec":
        return key, spec
    if kind == "external":
        return key, dg.AssetsDefinition(specs=[spec])
    if kind in ("multi", "subset"):

        @dg.multi_asset(
            name=f"op_{name}",
            specs=[spec, dg.AssetSpec([*key.path, "more"], deps=[key])],
            can_subset=kind == "subset",
        )
        def many(): ...

        return key, many
    if kind == "graph" and not upstream:

        @dg.op(name=f"op_{name}")
        def inner():
            return 1

        @dg.graph(name=f"graph_{name}")
        def whole():
            return inner()

        return key, dg.AssetsDefinition.from_graph(
            whole,
            keys_by_output_name={"result": key},
            metadata_by_output_name={"result": metadata},
        )
    ins = (
        {f"i{n}": dg.AssetIn(key=each) for n, each in enumerate(upstream)}
        if kind == "argument"
        else {}
    )
    deps = [] if ins else upstream

    @dg.asset(key=key, ins=ins, deps=deps, metadata=metadata)
    def one(**values):
        return 1

    return key, one


@st.composite
def repositories(draw, tied):
    """Definitions of up to eight assets of any kind, with deps, checks, jobs and schedules."""
    entries, keys, features = [], [], []
    count = draw(SIZES)
    for number in range(count):
        name = f"a{number}" if draw(st.booleans()) else f"bb{number}"
        upstream = draw(st.lists(st.sampled_from(keys), unique=True, max_size=2)) if keys else []
        metadata = {}
        if tied and draw(st.booleans()):
            parents = (
                draw(st.lists(st.sampled_from(features), unique=True, max_size=2))
                if features
                else []
            )
            feature = f"f/{number}"
            metadata = {
                "metaxy/feature": feature,
                "metaxy/id_columns": ["id"],
                "metaxy/deps": parents,
            }
            features.append(feature)
        key, entry = build(name, draw(KINDS), upstream, metadata)
        keys.append(key)
        entries.append(entry)
    order = draw(st.permutations(entries))
    chosen = draw(st.sampled_from(keys))
    executable = [
        entry for entry in entries if isinstance(entry, dg.AssetsDefinition) and entry.is_executable
    ]
    selections = [
        dg.AssetSelection.all(),
        dg.AssetSelection.all() - dg.AssetSelection.assets(chosen).downstream(),
        dg.AssetSelection.groups("default"),
    ]
    jobs = [
        dg.define_asset_job(f"job{n}", each)
        for n, each in enumerate(draw(st.lists(st.sampled_from(selections), max_size=2)))
    ]

    @dg.asset_check(asset=chosen, name="good")
    def check(): ...

    schedules = []
    if executable and draw(st.booleans()):
        schedules = [
            dg.ScheduleDefinition(
                "s", cron_schedule="@daily", target=[draw(st.sampled_from(executable))]
            )
        ]
    return dg.Definitions(
        assets=order, jobs=jobs, asset_checks=[check], schedules=schedules, resources=STAND_INS
    )


def meaning(defs, renames=None):
    """What each job selects, in terms of the given names."""
    renames = renames or {}
    graph = defs.resolve_asset_graph()
    return {
        job.name: {renames.get(key, key) for key in job.selection.resolve(graph)}
        for job in defs.jobs
    }


MANY = settings(max_examples=40, suppress_health_check=[HealthCheck.too_slow])


@MANY
@given(repositories(tied=False))
def test_without_feature_keys_nothing_changes(defs):
    plan = plan_definitions(defs, features=[])
    assert plan.errors == ()
    assert plan.apply() is defs
    assert all(
        asset.spec in unit.specs
        for each in plan.definitions
        for unit in [each.unit]
        for asset in each.assets
    )


@MANY
@given(repositories(tied=True))
def test_wrapped_twice_is_wrapped_once(defs):
    plan = plan_definitions(defs, features=[])
    if plan.errors:  # features against the deps: a circle, refused as a whole
        assert all("circle" in error.problem for error in plan.errors)
        return
    once = plan.apply()
    dg.Definitions.validate_loadable(once)
    assert metaxify_definitions(once, features=[]) is once
    assert meaning(once) == meaning(defs)
    untouched = [each.unit.given for each in plan.definitions if not each.touched]
    assert all(
        any(each is entry for entry in [*once.assets, *once.asset_checks]) for each in untouched
    )
    assert_deps_lead_to_carriers(plan, once)


def assert_deps_lead_to_carriers(plan, defs):
    graph = defs.resolve_asset_graph()
    carriers = {asset.feature: asset.spec.key for asset in plan.assets if asset.feature}
    for feature, key in carriers.items():
        wanted = {carriers[dep.feature] for dep in plan.graph[feature].deps}
        assert wanted - {key} <= graph.get(key).parent_keys


@MANY
@given(repositories(tied=True))
def test_after_a_rename_every_key_exists_and_jobs_mean_the_same(defs):
    plan = plan_definitions(defs, features=[], asset_keys="feature")
    if plan.errors:
        assert all("circle" in error.problem for error in plan.errors)
        return
    made = plan.apply()
    dg.Definitions.validate_loadable(made)
    renames = {asset.key: asset.spec.key for asset in plan.assets}
    assert set(made.resolve_asset_graph().get_all_asset_keys()) == set(renames.values())
    assert meaning(made) == meaning(defs, renames)
    assert metaxify_definitions(made, features=[], asset_keys="feature") is made


@given(st.permutations(range(6)))
def test_the_order_of_the_assets_does_not_change_what_they_become(order):
    features = FeatureGraph()
    for number in range(6):
        features.add(
            FeatureSpec(
                f"f/{number}", id_columns=["id"], deps=[f"f/{each}" for each in range(number)]
            )
        )
    specs = [dg.AssetSpec(f"x{n}", metadata={"metaxy/feature": f"f/{n}"}) for n in range(6)]
    defs = dg.Definitions(assets=[specs[n] for n in order], resources=STAND_INS)
    made = {spec.key: spec for spec in metaxify_definitions(defs, features=features).assets}
    assert [dep.asset_key.path[0] for dep in made[dg.AssetKey("x5")].deps] == [
        f"x{number}" for number in range(5)
    ]
