"""Several passes in one code location: their results are merged."""

from __future__ import annotations

import copy

import dagster as dg
import polars as pl
import pytest

import metaxy_dagster as mxd
from metaxy_dagster.definitions import _compat


def keys(name, **more):
    return {"metaxy/feature": name, "metaxy/id_columns": ["id"], **more}


def part(name):
    @dg.asset(name=name, metadata=keys(name))
    def made() -> pl.DataFrame:
        return pl.DataFrame({"id": [1, 2]})

    return made


def by_path(path):
    return {"store": str(path)}


def by_a_resource(path):
    return {"store": mxd.MetaxyStoreFromConfigResource(path=str(path))}


def by_equal_settings(path):
    options = {"path": str(path), "lock_timeout": 5.0}
    return {"store": mxd.MetaxyStoreFromConfigResource(**options)}


STORES = {}


def by_a_store(path):
    return {"store": STORES.setdefault(path, mxd.DuckDBMetadataStore(path))}


def ran(instance, defs, **options):
    job = defs.resolve_implicit_global_asset_job_def()
    return job.execute_in_process(instance=instance, **options)


@pytest.mark.parametrize("chosen", [by_path, by_a_resource, by_equal_settings, by_a_store])
def test_passes_that_store_in_one_place_can_be_merged(instance, tmp_path, chosen):
    path = tmp_path / "m.duckdb"
    results = [
        mxd.metaxify_definitions(dg.Definitions(assets=[part(name)]), features=[], **chosen(path))
        for name in ("sales", "stock", "staff")
    ]
    merged = dg.Definitions.merge(*results)
    assert ran(instance, merged).success
    # The one store knows the features of all; another pass has nothing to do.
    again = mxd.plan_definitions(merged, features=[], **chosen(path))
    assert (again.changes_anything, again.errors) == (False, ())
    assert mxd.metaxify_definitions(merged, features=[]) is merged


def test_a_resource_of_the_repository_is_shared_too(instance, tmp_path):
    resources = {"store": mxd.MetaxyStoreFromConfigResource(path=str(tmp_path / "m.duckdb"))}
    results = [
        mxd.metaxify_definitions(
            dg.Definitions(assets=[part(name)], resources=resources), features=[]
        )
        for name in ("sales", "stock")
    ]
    assert ran(instance, dg.Definitions.merge(*results)).success


def test_an_io_manager_of_the_repository_is_shared_too(instance, tmp_path):
    store = mxd.MetaxyStoreFromConfigResource(path=str(tmp_path / "m.duckdb"))
    manager = mxd.MetaxyIOManager(store=store, max_deleted_share=1.0)
    results = [
        mxd.metaxify_definitions(
            dg.Definitions(
                assets=[part(name)], resources={"store": store, "metaxy_io_manager": manager}
            ),
            features=[],
        )
        for name in ("sales", "stock")
    ]
    assert ran(instance, dg.Definitions.merge(*results)).success


def test_parts_that_no_pass_saw_yet_are_merged_with_others(instance, tmp_path):
    path = str(tmp_path / "m.duckdb")
    first = mxd.metaxify_definitions(dg.Definitions(assets=[part("sales")]), store=path)

    @dg.asset(metadata=keys("report", **{"metaxy/input": "increment"}))
    def report(sales: pl.DataFrame) -> pl.DataFrame:
        return sales

    merged = dg.Definitions.merge(first, dg.Definitions(assets=[report, part("stock")]))
    defs = mxd.metaxify_definitions(merged, features=[])
    assert ran(instance, defs).success
    store = defs.resources["store"].get_store()
    assert len(store.read("report").collect()) == 2
    assert mxd.plan_definitions(defs, features=[]).changes_anything is False


def test_a_feature_of_other_definitions_is_known_by_features(instance, tmp_path):
    path = str(tmp_path / "m.duckdb")
    sales = mxd.metaxify_definitions(dg.Definitions(assets=[part("sales")]), store=path)

    @dg.asset(deps=["sales"], metadata=keys("report", **{"metaxy/deps": ["sales"]}))
    def report(store: dg.ResourceParam[mxd.MetadataStore]) -> None:
        increment = store.resolve_update("report")
        store.write("report", increment.new.select("id"), increment=increment)

    features = [mxd.FeatureSpec("sales", id_columns=["id"])]
    rest = mxd.metaxify_definitions(dg.Definitions(assets=[report]), store=path, features=features)
    merged = dg.Definitions.merge(sales, rest)
    assert ran(instance, merged).success
    assert len(merged.resources["store"].get_store().read("report").collect()) == 2


def test_passes_that_store_in_two_places_are_told_of_both(tmp_path):
    first, second = (
        mxd.metaxify_definitions(
            dg.Definitions(assets=[part(name)]), features=[], store=str(tmp_path / name)
        )
        for name in ("sales", "stock")
    )
    with pytest.raises(mxd.DefinitionsError, match="in different places") as caught:
        dg.Definitions.merge(first, second)
    assert all(str(tmp_path / name) in str(caught.value) for name in ("sales", "stock"))
    assert "store=" in caught.value.remedy
    # Elsewhere the names are names, and what the user exchanges is the user's.
    assert list(first.resources) == list(second.resources) == ["store", "metaxy_io_manager"]
    assert type(copy.deepcopy(list(first.resources))[0]) is str
    one = {**second.resources, **first.resources}
    other = dg.Definitions(resources={**first.resources, "mine": 1})
    merged = dg.Definitions.merge(dg.Definitions(resources=one), other)
    assert {*merged.resources} == {"store", "metaxy_io_manager", "mine"}


def takes_a_value(seen):
    @dg.asset(metadata=keys("report", **{"metaxy/input": "increment"}))
    def report(sales: pl.DataFrame) -> pl.DataFrame:
        seen.append(len(sales))
        return sales

    return [report], []


def takes_it_by_another_name(seen):
    @dg.asset(ins={"rows": dg.AssetIn("sales", metadata={"columns": ["id"]})})
    def report(rows: pl.DataFrame) -> None:
        seen.append(len(rows))

    return [report], []


def takes_it_in_a_graph(seen):
    @dg.op
    def look(frame: pl.DataFrame) -> pl.DataFrame:
        seen.append(len(frame))
        return frame

    @dg.graph
    def inner(frame):
        return look(frame)

    @dg.graph_asset(metadata=keys("report", **{"metaxy/input": "increment"}))
    def report(sales):
        return inner(sales)

    return [report], []


def takes_it_in_a_check(seen):
    @dg.asset_check(asset="sales")
    def report(sales: pl.DataFrame) -> dg.AssetCheckResult:
        seen.append(len(sales))
        return dg.AssetCheckResult(passed=True)

    return [], [report]


TAKERS = [takes_a_value, takes_it_by_another_name, takes_it_in_a_graph, takes_it_in_a_check]


@pytest.mark.parametrize("take", TAKERS)
def test_an_argument_takes_a_feature_of_another_pass(instance, tmp_path, take):
    """Merged in one job, in either order, and each in a code location of its own."""
    path, seen = str(tmp_path / "m.duckdb"), []
    options = {"store": path, "features": [mxd.FeatureSpec("sales", id_columns=["id"])]}
    sales = mxd.metaxify_definitions(dg.Definitions(assets=[part("sales")]), store=path)
    assets, checks = take(seen)
    legacy = dg.Definitions(assets=assets, asset_checks=checks)
    plan = mxd.plan_definitions(legacy, **options)
    rest = plan.apply()
    merged = [dg.Definitions.merge(*both) for both in ((sales, rest), (rest, sales))]
    if not _compat.may_lack_assets():
        # Older releases of Dagster want an asset for it, which is there twice in the end.
        assert len(plan.externals) == 1
        with pytest.raises(dg.DagsterInvalidDefinitionError, match="Duplicate asset key"):
            dg.Definitions.validate_loadable(merged[0])
        return
    assert plan.externals == ()
    for defs in (rest, *merged):
        dg.Definitions.validate_loadable(defs)
        again = mxd.plan_definitions(defs, **options)
        assert (again.changes_anything, again.errors) == (False, ())
    assert ran(instance, merged[0]).success
    assert seen == [2]
    # Alone, it loads what the other code location wrote; of that, more is pending now.
    more = merged[0].resources["store"].get_store()
    more.write("sales", pl.DataFrame({"id": [1, 2, 3], "new": [0, 0, 1]}))
    assert ran(instance, rest).success
    assert ran(instance, merged[1], asset_selection=[asset.key for asset in assets] or None).success
    assert seen[1] == 3


def of_an_op(op_is_shared):
    @dg.op
    def look(sales: pl.DataFrame) -> pl.DataFrame:
        return sales

    made = dg.AssetsDefinition.from_op(look, keys_by_output_name={"result": dg.AssetKey("x")})

    @dg.op
    def give() -> pl.DataFrame:
        return pl.DataFrame({"id": [1]})

    @dg.job
    def holds():
        look(give())

    return dg.Definitions(assets=[made], jobs=[holds] if op_is_shared else [])


def test_an_external_asset_stands_in_where_an_op_cannot_be_rewritten(tmp_path):
    path, spec = str(tmp_path / "m.duckdb"), mxd.FeatureSpec("sales", id_columns=["id"])
    key = dg.AssetKey("sales")
    for shared, wanted in ((False, [] if _compat.may_lack_assets() else [key]), (True, [key])):
        plan = mxd.plan_definitions(of_an_op(shared), store=path, features=[spec])
        assert [each.key for each in plan.externals] == wanted
        assert plan.errors == ()


def test_features_that_contradict_each_other_are_not_mixed(tmp_path):
    path = str(tmp_path / "m.duckdb")

    def made(ids):
        spec = dg.AssetSpec("x", metadata={"metaxy/feature": "x", "metaxy/id_columns": ids})
        return mxd.metaxify_definitions(dg.Definitions(assets=[spec]), store=path, features=[])

    first, second, third = made(["id"]), made(["id", "day"]), made(["id"])
    known = [defs.resources["store"].graph["x"].id_columns for defs in (first, second, third)]
    assert known == [("id",), ("id", "day"), ("id",)]


def test_what_a_user_gave_features_is_left_alone(tmp_path):
    graph = mxd.FeatureGraph()
    graph.add(mxd.FeatureSpec("sales", id_columns=["id"]))
    store = mxd.MetaxyStoreFromConfigResource(path=str(tmp_path / "m.duckdb"), graph=graph)
    defs = mxd.metaxify_definitions(dg.Definitions(assets=[part("stock")]), store=store)
    assert defs.resources["store"] is store
    assert len(graph) == 1


def test_different_settings_are_different_objects(tmp_path):
    path = str(tmp_path / "m.duckdb")

    def manager(**settings):
        return mxd.metaxify_definitions(
            dg.Definitions(assets=[part("x")]),
            store=path,
            settings=mxd.MetaxifySettings(**settings),
        ).resources["metaxy_io_manager"]

    assert manager() is manager()
    assert manager(unannotated="pandas") is not manager()
    assert manager(unannotated="pandas").unannotated == "pandas"


def test_sensors_are_added_by_a_pass_over_the_whole(tmp_path):
    path = str(tmp_path / "m.duckdb")

    @dg.asset(metadata=keys("report", **{"metaxy/input": "increment"}))
    def report(sales: pl.DataFrame) -> pl.DataFrame:
        return sales

    first = mxd.metaxify_definitions(dg.Definitions(assets=[part("sales"), report]), store=path)
    second = mxd.metaxify_definitions(dg.Definitions(assets=[part("stock")]), store=path)
    merged = dg.Definitions.merge(first, second)
    options = {"features": [], "pending_sensor": True}
    defs = mxd.metaxify_definitions(merged, **options)
    assert [sensor.name for sensor in defs.sensors] == ["metaxy_pending"]
    dg.Definitions.validate_loadable(defs)
    assert mxd.plan_definitions(defs, **options).changes_anything is False


def reports(*names):
    made = []
    for name in names:

        @dg.asset(
            name=f"{name}_report",
            ins={"source": dg.AssetIn(name)},
            metadata=keys(f"{name}_report", **{"metaxy/input": "increment"}),
        )
        def report(source: pl.DataFrame) -> pl.DataFrame:
            return source

        made += [part(name), report]
    return made


def test_sensors_of_several_passes_have_names_of_their_own(tmp_path):
    path = str(tmp_path / "m.duckdb")
    options = {"store": path, "features": []}
    settings = mxd.MetaxifySettings(pending_sensor=True, pending_condition=True)

    def made(*names):
        defs = dg.Definitions(assets=reports(*names))
        return mxd.metaxify_definitions(defs, settings=settings, **options)

    def names(defs):
        return sorted(sensor.name for sensor in defs.sensors)

    first, second = made("sales"), made("stock")
    assert names(first) == ["metaxy_conditions", "metaxy_pending"]
    assert names(second) == ["metaxy_conditions_stock_report", "metaxy_pending_stock_report"]
    # Loaded again, and with one more asset, they are called the same.
    assert names(made("sales", "staff")) == names(first)
    assert names(made("stock", "shops")) == names(second)
    merged = dg.Definitions.merge(first, second)
    dg.Definitions.validate_loadable(merged)
    again = mxd.plan_definitions(merged, features=[], settings=settings)
    assert (again.changes_anything, again.errors) == (False, ())
