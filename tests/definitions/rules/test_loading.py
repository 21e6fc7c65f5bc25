"""Assets that write their feature themselves, and are loaded for an argument of another."""

from __future__ import annotations

import dagster as dg
import polars as pl
import pytest

import metaxy_dagster as mxd

FRAME = pl.DataFrame({"id": [1, 2]})
KEYS = {"metaxy/feature": "alone", "metaxy/id_columns": ["id"]}
Store = dg.ResourceParam[mxd.MetadataStore]


def by_an_asset():
    @dg.asset(metadata=KEYS)
    def alone(store: Store) -> None:
        store.write("alone", FRAME)

    return alone


def by_a_result():
    @dg.asset(metadata=KEYS)
    def alone(store: Store) -> dg.MaterializeResult:
        store.write("alone", FRAME)
        return dg.MaterializeResult()

    return alone


def by_specs(**options):
    specs = [dg.AssetSpec("alone", metadata=KEYS), dg.AssetSpec("plain")]

    @dg.multi_asset(specs=specs, **options)
    def several(context, store: Store):
        store.write("alone", FRAME)
        for key in context.selected_asset_keys:
            yield dg.MaterializeResult(asset_key=key)

    return several


def by_specs_that_can_be_split():
    return by_specs(can_subset=True)


def by_a_graph():
    @dg.op(out=dg.Out(dg.Nothing), required_resource_keys={"store"})
    def compute(context):
        context.resources.store.write("alone", FRAME)

    @dg.graph
    def inner():
        return compute()

    @dg.graph_asset(metadata=KEYS)
    def alone():
        return inner()

    return alone


def outside(asset):
    """Written by somebody else, before any run."""

    def made(store):
        store.write("alone", FRAME)
        return asset()

    return made


WRITERS = {
    "an asset": by_an_asset,
    "a result": by_a_result,
    "specs of a multi-asset": by_specs,
    "specs that can be split": by_specs_that_can_be_split,
    "a graph": by_a_graph,
    "a spec": outside(lambda: dg.AssetSpec("alone", metadata=KEYS)),
    "a source asset": outside(lambda: dg.SourceAsset("alone", metadata=KEYS)),
    "an external asset": outside(
        lambda: dg.AssetsDefinition(specs=[dg.AssetSpec("alone", metadata=KEYS)])
    ),
    "a source asset with an IO manager of the default name": outside(
        lambda: dg.SourceAsset("alone", io_manager_key="io_manager", metadata=KEYS)
    ),
}


def readers(seen):
    @dg.asset
    def first(alone: pl.DataFrame) -> None:
        seen.append(("first", alone.shape))

    @dg.op
    def look(frame: pl.DataFrame) -> pl.DataFrame:
        seen.append(("second", frame.shape))
        return frame

    @dg.graph_asset
    def second(alone):
        return look(alone)

    @dg.asset_check(asset="alone")
    def third(alone: pl.DataFrame) -> dg.AssetCheckResult:
        seen.append(("third", alone.shape))
        return dg.AssetCheckResult(passed=True)

    return [first, second], [third]


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
@pytest.mark.parametrize("kind", WRITERS)
def test_what_writes_itself_is_loaded_from_the_store(instance, tmp_path, kind):
    store = mxd.MetaxyStoreFromConfigResource(path=str(tmp_path / "m.duckdb"))
    make = WRITERS[kind]
    graph = mxd.FeatureGraph()
    graph.add(mxd.FeatureSpec("alone", id_columns=["id"]))
    outsider = mxd.DuckDBMetadataStore(tmp_path / "m.duckdb", graph=graph)
    writer = make(outsider) if make.__name__ == "made" else make()
    seen = []
    assets, checks = readers(seen)
    legacy = dg.Definitions(
        assets=[writer, *assets], asset_checks=checks, resources={"store": store}
    )
    defs = mxd.metaxify_definitions(legacy, features=[])
    assert mxd.plan_definitions(defs, features=[]).changes_anything is False
    job = defs.resolve_implicit_global_asset_job_def()
    assert job.execute_in_process(instance=instance).success
    whole = sorted(seen)
    assert whole == [("first", (2, 1)), ("second", (2, 1)), ("third", (2, 1))]
    # In a run of their own they load what an earlier one wrote.
    seen.clear()
    keys = [asset.key for asset in assets]
    assert job.execute_in_process(instance=instance, asset_selection=keys).success
    assert sorted(seen) == whole[:2]


def test_the_plan_says_why_and_leaves_what_nobody_loads():
    def changes(*more):
        defs = dg.Definitions(assets=[by_an_asset(), *more], resources={"store": object()})
        plan = mxd.plan_definitions(defs, features=[])
        return [
            (change.value, change.why)
            for asset in plan.assets
            for change in asset.changes
            if change.what == "io_manager_key"
        ]

    @dg.asset(deps=["alone"])
    def waits() -> None: ...

    assert changes(waits) == []
    assert changes(*readers([])[0]) == [("metaxy_io_manager", "it is loaded for an argument")]
