"""Functions that make their data themselves: what is pending is computed, and recorded as done."""

# Annotations are not postponed here: Dagster reads that of the context when an asset is made.

import dagster as dg
import polars as pl
import pytest
from self_writers import NAMES, Files, World, bodies, keys

import metaxy_dagster as mxd

pytestmark = pytest.mark.filterwarnings("ignore::dagster.BetaWarning")

#: Those that are given no more than is pending; the others make all of it again.
WHOLE = {"by_deps"}
#: Those whose body is called all the same, and why.
CALLED = {"said": "takes what it returns"}
#: Those that see that samples are gone.
SEES_GONE = {
    "by_deps",
    "by_deps_with_the_increment",
    "by_deps_that_asks",
    "with_both",
    "a_generator",
    "waiting",
    "a_waiting_generator",
    "a_spec",
    "a_graph_of_one",
}


@pytest.mark.parametrize("name", NAMES)
def test_what_is_pending_is_made_and_recorded(tmp_path, name):
    files = Files()
    world = World(files, tmp_path, bodies(files)[name])
    assert world.plan.errors == ()
    assert mxd.plan_definitions(world.defs, store=world.path).apply() is world.defs
    nothing = [[]] if name in CALLED else []

    assert world.run() == ([None] if name in WHOLE else [[1, 2, 3]])
    assert files.made["x"] == files.rows
    assert world.event()["metaxy/new"] == world.event()["metaxy/written"] == 3
    assert world.counts() == mxd.Counts(0, 0, 0)

    assert world.run() == nothing
    assert world.event()["metaxy/written"] == 0, "the materialization is reported"
    assert world.event()["metaxy/unchanged"] == world.event()["dagster/row_count"] == 3

    files.rows |= {2: 21, 4: 40}
    assert world.run() == ([None] if name in WHOLE else [[2, 4]])
    assert files.made["x"] == files.rows
    assert world.event()["metaxy/stale"] == world.event()["metaxy/new"] == 1
    assert world.store.count("x") == 4

    del files.rows[3]
    called = world.run()
    assert called == (nothing if name not in SEES_GONE else [None] if name in WHOLE else [[]])
    assert world.store.count("x") == 3
    assert world.run() == nothing


@pytest.mark.parametrize("name", NAMES)
def test_what_the_function_says_of_itself_is_still_said(tmp_path, name):
    files = Files()
    world = World(files, tmp_path, bodies(files)[name])
    world.run()
    legacy = {each.key.path[-1]: each for each in [bodies(files)[name]]}["x"]
    said = "result" in name or "generator" in name
    assert world.event().get("mine") == (1 if said else None)
    assert world.result.success
    assert legacy.key == dg.AssetKey("x")


def test_each_feature_of_a_multi_asset_is_recorded(tmp_path):
    files = Files()

    @dg.multi_asset(
        specs=[
            dg.AssetSpec("x", metadata=keys("x", input="increment"), deps=["raw"]),
            dg.AssetSpec("y", metadata=keys("y", input="increment"), deps=["x"]),
        ]
    )
    def both(context: dg.AssetExecutionContext):
        files.make(name="x")
        yield dg.MaterializeResult("x", metadata={"mine": 1})
        files.make(name="y")
        yield dg.MaterializeResult("y", data_version=dg.DataVersion("own"))

    world = World(files, tmp_path, both)
    assert world.plan.errors == ()
    assert world.run() == [None, None]
    assert world.run() == []
    assert world.counts("x").pending == world.counts("y").pending == 0
    files.rows[1] = 11
    assert world.run() == [None, None]
    assert world.event("x")["metaxy/stale"] == world.event("y")["metaxy/stale"] == 1
    assert world.run() == []


def subset(files: Files) -> dg.AssetsDefinition:
    specs = [
        dg.AssetSpec(name, metadata=keys(name, input="increment"), deps=["raw"], skippable=True)
        for name in ("x", "y")
    ]

    @dg.multi_asset(specs=specs, can_subset=True)
    def some(context: dg.AssetExecutionContext):
        for key in sorted(context.selected_asset_keys):
            name = key.to_user_string()
            files.calls.append((name, mxd.pending(context, name).counts.pending))
            if name != files.made.get("left"):
                yield dg.MaterializeResult(key)

    return some


def test_of_a_multi_asset_that_can_be_split_what_is_asked_for_is_recorded(tmp_path):
    files = Files()
    world = World(files, tmp_path, subset(files))
    assert world.run("raw", "x") == [("x", 3)]
    assert (world.counts("x").pending, world.counts("y").pending) == (0, 3)
    files.made["left"] = "y"
    assert world.run("x", "y") == [("x", 0), ("y", 3)]
    assert world.counts("y").pending == 3, "it gave no result for it"
    del files.made["left"]
    assert world.run("x", "y") == [("x", 0), ("y", 3)]
    assert world.run("x", "y") == []
    assert world.run("y") == []


def test_what_takes_such_a_feature_by_deps_only_is_incremental_in_turn(tmp_path):
    files = Files()

    @dg.asset(deps=["x"], metadata=keys("y", input="increment"))
    def y(increment: mxd.Increment) -> None:
        files.make(increment.pending.collect()["id"], "y")

    @dg.asset(deps=["y"], metadata=keys("z", input="increment"))
    def z() -> None:
        files.make(name="z")

    world = World(files, tmp_path, bodies(files)["by_deps"], y, z)
    assert world.run() == [None, [1, 2, 3], None]
    assert world.run() == []
    files.rows[3] = 31
    assert world.run() == [None, [3], None]
    assert files.made["y"] == files.made["z"] == files.rows


def test_all_samples_are_made_in_each_run_where_nothing_else_is_said(tmp_path):
    files = Files()

    @dg.asset(deps=["raw"], metadata=keys("x", output="self"))
    def x() -> None:
        files.make()

    @dg.asset(deps=["x"], metadata=keys("y", input="increment"))
    def y(increment: mxd.Increment) -> None:
        files.make(increment.pending.collect()["id"], "y")

    world = World(files, tmp_path, x, y)
    assert world.run() == [None, [1, 2, 3]]
    files.rows[2] = 21
    assert world.run() == [None, [2]]
    assert world.run() == [None]


def test_frames_of_what_loads_by_itself_are_stored(tmp_path):
    files = Files()

    @dg.asset(deps=["raw"], metadata=keys("x", input="increment"))
    def x() -> pl.DataFrame:
        files.make()
        return pl.DataFrame({"id": list(files.rows), "twice": [2 * v for v in files.rows.values()]})

    @dg.asset(deps=["x"], metadata=keys("y"))
    def y() -> pl.DataFrame:
        files.make(name="y")
        return pl.DataFrame({"id": list(files.rows)})

    world = World(files, tmp_path, x, y)
    assert world.plan.errors == ()
    assert world.run() == [None, None]
    assert world.run() == [None], "y takes all samples"
    files.rows[1] = 11
    del files.rows[2]
    assert world.run() == [None, None]
    assert world.event("x")["metaxy/written"] == world.event("x")["metaxy/deleted"] == 1
    stored = world.store.read("x", columns=["id", "twice"]).collect().to_native()
    assert dict(zip(*(stored[name].to_pylist() for name in ("id", "twice")), strict=True)) == {
        1: 22,
        3: 60,
    }


def test_a_resource_that_is_bound_to_the_asset_stays(tmp_path):
    files = Files()

    @dg.asset(
        deps=["raw"],
        resource_defs={"maker": dg.ResourceDefinition.hardcoded_resource(files.make)},
        metadata=keys("x", input="increment"),
    )
    def x(context: dg.AssetExecutionContext) -> None:
        context.resources.maker(mxd.pending(context).pending.collect()["id"])

    world = World(files, tmp_path, x)
    assert world.run() == [[1, 2, 3]]
    assert world.run() == []


def test_called_directly_a_function_is_what_it_was(tmp_path):
    files = Files()
    world = World(files, tmp_path, bodies(files)["none"])
    (x,) = (each for each in world.defs.assets if each.key.path == ["x"])
    x(pl.DataFrame({"id": [2]}).to_pandas())
    assert files.made["x"] == {2: 20}

    @dg.asset(name="y", deps=["raw"], metadata=keys("y", input="increment"))
    def y(context: dg.AssetExecutionContext) -> None:
        files.make(name=context.asset_key.path[0])

    (y,) = (each for each in World(files, tmp_path, y).defs.assets if each.key.path == ["y"])
    y(dg.build_asset_context())
    assert files.made["y"] == files.rows


def test_one_asset_alone_is_tied_by_the_decorator(tmp_path):
    files = Files()
    with mxd.FeatureGraph().use() as graph:
        graph.add(mxd.FeatureSpec("raw", id_columns=["id"]))
        graph.add(mxd.FeatureSpec("x", id_columns=["id"], deps=["raw"]))
        x = mxd.metaxify(bodies(files)["by_deps_with_the_increment"])
        store = mxd.DuckDBMetadataStore(tmp_path / "m.duckdb", graph=graph)
    store.write("raw", pl.DataFrame({"id": [1, 2]}))
    for expected in ([[1, 2]], []):
        files.calls.clear()
        done = dg.materialize(
            [x], resources={"metaxy_io_manager": mxd.MetaxyIOManager(store=store)}
        )
        assert done.success
        assert files.calls == expected
