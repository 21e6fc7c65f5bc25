"""Multi-assets whose features are computed from each other, in one call."""

# Annotations are not postponed here: Dagster reads that of the context when an asset is made.

from collections.abc import Callable
from typing import Any

import dagster as dg
import polars as pl
import pytest
from self_writers import Files, World, keys

import metaxy_dagster as mxd

pytestmark = pytest.mark.filterwarnings("ignore::dagster.BetaWarning")
NOTHING = mxd.Counts(0, 0, 0)


def computed(files: Files, raw: pl.DataFrame) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Twice the size as ``x``, in a list; and of that once more, as ``y``."""
    files.calls.append(sorted(raw["id"]))
    x = raw.select("id", twice=pl.concat_list(pl.col("size") * 2))
    return x, x.select("id", more=pl.col("twice").list.first() * 2)


def outs(mode: str, deps: list[str], **options: Any) -> dict[str, dg.AssetOut]:
    return {
        "x": dg.AssetOut(metadata=keys("x", input=mode, deps=["raw"]), **options),
        "y": dg.AssetOut(metadata=keys("y", input=mode, deps=deps), **options),
    }


def returning(files: Files, mode: str, deps: list[str]) -> dg.AssetsDefinition:
    @dg.multi_asset(outs=outs(mode, deps))
    def both(raw: pl.DataFrame):
        return computed(files, raw)

    return both


def yielding(files: Files, mode: str, deps: list[str]) -> dg.AssetsDefinition:
    @dg.multi_asset(outs=outs(mode, deps))
    def both(raw: pl.DataFrame):
        x, y = computed(files, raw)
        yield dg.Output(x, "x")
        yield dg.Output(y, "y")

    return both


def split(files: Files, mode: str, deps: list[str]) -> dg.AssetsDefinition:
    internal = {"x": {dg.AssetKey("raw")}, "y": {dg.AssetKey("x"), dg.AssetKey("raw")}}
    named = outs(mode, deps, is_required=False)

    @dg.multi_asset(outs=named, can_subset=True, internal_asset_deps=internal)
    def both(context: dg.AssetExecutionContext, raw: pl.DataFrame):
        for name, frame in zip(("x", "y"), computed(files, raw), strict=True):
            if name in context.op_execution_context.selected_output_names:
                yield dg.Output(frame, name)

    return both


def sizes(world: World) -> dict[int, int]:
    found = world.store.read("y", columns=["id", "more"]).collect().to_native().to_pylist()
    return {each["id"]: each["more"] for each in found}


@pytest.mark.parametrize("deps", [["x"], ["raw", "x"]])
@pytest.mark.parametrize("mode", ["increment", "all"])
@pytest.mark.parametrize("make", [returning, yielding, split])
def test_each_is_stored_before_the_next_is_looked_up(
    tmp_path: Any, make: Callable[..., Any], mode: str, deps: list[str]
) -> None:
    files = Files()
    world = World(files, tmp_path, make(files, mode, deps))
    assert world.plan.errors == ()
    assert world.run() == [[1, 2, 3]]
    files.rows |= {2: 21, 4: 40}
    del files.rows[3]
    assert world.run() == [[2, 4] if mode == "increment" else [1, 2, 4]]
    assert world.event("y")["metaxy/written"] == 2
    assert sizes(world) == {1: 40, 2: 84, 4: 160}
    assert world.counts("x") == world.counts("y") == NOTHING


def test_what_is_pending_of_the_second_alone_is_computed_of_all_rows(tmp_path: Any) -> None:
    files = Files()
    world = World(files, tmp_path, returning(files, "increment", ["x"]))
    world.run()
    world.store.invalidate("y", [{"id": 2}])
    assert world.run() == [[1, 2, 3]]
    assert world.counts("y") == NOTHING
    assert sizes(world) == {1: 40, 2: 80, 3: 120}


def test_what_else_changed_while_the_step_ran_is_pending(tmp_path: Any, caplog: Any) -> None:
    files = Files()

    @dg.asset(metadata=keys("other"))
    def other() -> pl.DataFrame:
        return pl.DataFrame({"id": [1, 2, 3, 4], "color": ["r", "g", "b", "y"]})

    changed: list[Callable[[], Any]] = []

    @dg.multi_asset(outs=outs("increment", ["x", "other"]))
    def both(raw: pl.DataFrame, other: pl.DataFrame):
        for each in changed:
            each()
        return computed(files, raw)

    world = World(files, tmp_path, both, other)
    world.run()
    assert world.counts("y") == NOTHING
    files.rows |= {1: 11, 4: 40}
    colors = pl.DataFrame({"id": [2], "color": ["black"]})
    changed.append(lambda: world.store.write("other", colors))
    world.run()
    assert world.counts("x") == NOTHING
    assert world.counts("y") == mxd.Counts(new=1, stale=2, orphaned=0)
    changed.clear()
    world.run()
    assert world.counts("y") == NOTHING
    assert sizes(world) == {1: 44, 2: 80, 3: 120, 4: 160}


def test_what_an_older_repository_made_of_the_first_does_not_stop_both(tmp_path: Any) -> None:
    files = Files()
    world = World(files, tmp_path, returning(files, "increment", ["x"]))
    world.instance.report_runless_asset_event(dg.AssetMaterialization("x"))
    assert world.run() == [[1, 2, 3]]
