"""Assets that write, or only look, by themselves."""

from collections.abc import Callable
from typing import Any

import dagster as dg
import polars as pl
import pytest
from feature_runs import data_version, images

import metaxy_dagster as mxd

ROWS = images({i: (f"p{i}", f"l{i}") for i in range(4)})


def specs(*keys: str) -> list[dg.AssetSpec]:
    return [dg.AssetSpec(["my", key], metadata={"metaxy/feature": key}) for key in keys]


def test_a_multi_asset_is_reported_upstream_first(
    run: Callable[..., Any], store: mxd.DuckDBMetadataStore, instance: dg.DagsterInstance
) -> None:
    @dg.multi_asset(specs=specs("pair", "name", "image", "thumb"))
    def everything(context: dg.AssetExecutionContext, store: dg.ResourceParam[mxd.MetadataStore]):
        store.write("image", ROWS, materialization_id=context.run.run_id)
        for key in ("thumb", "name"):
            pending = store.resolve_update(key).pending.collect("polars").to_native()
            store.write(key, pending.drop("pixels", "label").with_columns(pl.lit(key).alias(key)))
        increment = store.resolve_update("pair")
        store.write("pair", increment.pending)
        yield from mxd.generate_materialize_results(context, store)

    result = run(everything)
    events = [event.materialization for event in result.get_asset_materialization_events()]
    keys = [event.asset_key.path[-1] for event in events]
    assert keys.index("image") == 0
    assert keys.index("pair") == 3
    for event in events:
        feature = event.asset_key.path[-1]
        metadata = {name: value.value for name, value in event.metadata.items()}
        assert metadata["dagster/row_count"] == 4
        assert metadata["metaxy/materialized_in_run"] == 4
        assert "dagster/partition_row_count" not in metadata
        assert event.tags["metaxy/feature_version"] == store.graph.feature_version(feature)
        assert event.tags["metaxy/code_version"] == store.graph.code_version(feature)
        assert data_version(instance, f"my/{feature}") == store.data_version(feature)


def test_only_what_was_asked_for_is_reported(
    run: Callable[..., Any], store: mxd.DuckDBMetadataStore
) -> None:
    @dg.multi_asset(
        specs=[s._replace(skippable=True) for s in specs("image", "thumb")], can_subset=True
    )
    def both(context: dg.AssetExecutionContext):
        yield from mxd.generate_materialize_results(context, store)

    result = run(both, only=[dg.AssetKey(["my", "thumb"])])
    (event,) = result.get_asset_materialization_events()
    assert event.asset_key == dg.AssetKey(["my", "thumb"])


def test_the_resource_may_be_handed_over_instead_of_the_store(
    run: Callable[..., Any], store: mxd.DuckDBMetadataStore
) -> None:
    resource = mxd.MetaxyStoreFromConfigResource(path=str(store.path), graph=store.graph)
    store.write("image", ROWS)

    @dg.asset(metadata={"metaxy/feature": "image"})
    def image(context: dg.AssetExecutionContext):
        yield from mxd.generate_materialize_results(context, resource)

    (event,) = run(image).asset_materializations_for_node("image")
    assert event.metadata["dagster/row_count"].value == 4


def test_an_asset_without_a_feature_cannot_be_reported(
    run: Callable[..., Any], store: mxd.DuckDBMetadataStore
) -> None:
    @dg.asset
    def plain(context: dg.AssetExecutionContext):
        yield from mxd.generate_materialize_results(context, store)

    with pytest.raises(mxd.RunError, match="tied to no feature") as caught:
        run(plain)
    assert "asset 'plain'" in str(caught.value)


def test_a_partition_is_counted_for_itself(
    run: Callable[..., Any], store: mxd.DuckDBMetadataStore
) -> None:
    store.write("image", ROWS)

    @dg.asset(
        metadata={"metaxy/feature": "image", "partition_by": "label"},
        partitions_def=dg.StaticPartitionsDefinition(["l1", "l2"]),
    )
    def image(context: dg.AssetExecutionContext):
        yield from mxd.generate_materialize_results(context, store)

    (event,) = run(image, partition_key="l1").asset_materializations_for_node("image")
    assert event.metadata["dagster/row_count"].value == 4
    assert event.metadata["dagster/partition_row_count"].value == 1


def test_observations(run: Callable[..., Any], store: mxd.DuckDBMetadataStore) -> None:
    with pytest.warns(Warning, match="beta"):
        observable = dg.multi_observable_source_asset(specs=specs("thumb", "image"))

    @observable
    def outside(context: dg.AssetExecutionContext):
        yield from mxd.generate_observe_results(context, store)

    store.write("image", ROWS)
    defs = dg.Definitions(assets=[outside])
    result = defs.resolve_implicit_global_asset_job_def().execute_in_process()
    found = {
        event.asset_key.path[-1]: event
        for event in [e.asset_observation_data.asset_observation for e in _observations(result)]
    }
    assert list(found) == ["image", "thumb"]
    assert found["image"].metadata["dagster/row_count"].value == 4
    assert found["thumb"].metadata["dagster/row_count"].value == 0
    assert found["image"].tags["dagster/data_version"] == store.data_version("image")
    assert "metaxy/materialized_in_run" not in found["image"].metadata


def _observations(result: dg.ExecuteInProcessResult) -> list[Any]:
    return [event for event in result.all_events if event.is_asset_observation]


def observed(result: dg.ExecuteInProcessResult) -> dict[str, dg.AssetObservation]:
    found = [event.asset_observation_data.asset_observation for event in _observations(result)]
    return {each.asset_key.to_user_string(): each for each in found}


def test_a_job_observes_one_asset_by_its_partitions(
    store: mxd.DuckDBMetadataStore, instance: dg.DagsterInstance
) -> None:
    store.write("image", ROWS)
    spec = dg.AssetSpec(
        "image",
        metadata={"metaxy/feature": "image", "partition_by": "label"},
        partitions_def=dg.StaticPartitionsDefinition(["l1", "l2"]),
    )
    (job,) = mxd.build_metaxy_observation_job(spec, tags={"team": "x"})
    defs = dg.Definitions(jobs=[job], resources={"store": store})
    resolved = defs.resolve_job_def("observe_image")
    assert resolved.tags["team"] == "x"
    result = resolved.execute_in_process(instance=instance, partition_key="l2")
    found = observed(result)["image"]
    assert found.partition == "l2"
    assert found.metadata["dagster/partition_row_count"].value == 1


RANGE = {
    "dagster/asset_partition_range_start": "l1",
    "dagster/asset_partition_range_end": "l2",
}


def test_a_range_of_partitions(
    run: Callable[..., Any], store: mxd.DuckDBMetadataStore, instance: dg.DagsterInstance
) -> None:
    store.write("image", ROWS)
    days = dg.StaticPartitionsDefinition(["l1", "l2", "l3"])
    metadata = {"metaxy/feature": "image", "partition_by": "label"}

    @dg.asset(metadata=metadata, partitions_def=days)
    def image(context: dg.AssetExecutionContext):
        yield from mxd.generate_materialize_results(context, store)

    events = run(image, tags=RANGE).asset_materializations_for_node("image")
    assert {event.metadata["dagster/partition_row_count"].value for event in events} == {1}
    assert {event.metadata["metaxy/run_totals"].value["row_count"] for event in events} == {2}
    (job,) = mxd.build_metaxy_observation_job(image)
    resolved = dg.Definitions(jobs=[job], resources={"store": store}).resolve_job_def(job.name)
    result = resolved.execute_in_process(instance=instance, tags=RANGE)
    found = [event.asset_observation_data.asset_observation for event in _observations(result)]
    assert [each.partition for each in found] == ["l1", "l2"]
    assert [each.metadata["dagster/partition_row_count"].value for each in found] == [1, 1]


def test_a_job_for_each_feature_of_a_multi_asset() -> None:
    @dg.multi_asset(specs=[*specs("image", "thumb"), dg.AssetSpec("plain")])
    def several(): ...

    names = [job.name for job in mxd.build_metaxy_observation_job(several)]
    assert names == ["observe_my__image", "observe_my__thumb"]


def test_one_job_observes_many(
    store: mxd.DuckDBMetadataStore, instance: dg.DagsterInstance
) -> None:
    store.write("image", ROWS)
    assets = [*specs("image", "thumb", "name"), dg.AssetSpec("plain")]
    defs = dg.Definitions(assets=assets)
    chosen = dg.AssetSelection.assets(["my", "image"], ["my", "thumb"], "plain")
    for job, keys in (
        (mxd.build_metaxy_multi_observation_job("a", assets=assets), {"image", "thumb", "name"}),
        (mxd.build_metaxy_multi_observation_job("b", defs=defs), {"image", "thumb", "name"}),
        (
            mxd.build_metaxy_multi_observation_job("c", defs=defs, asset_selection=chosen),
            {"image", "thumb"},
        ),
    ):
        run = dg.Definitions(jobs=[job], resources={"store": store}).resolve_job_def(job.name)
        found = observed(run.execute_in_process(instance=instance))
        assert set(found) == {f"my/{key}" for key in keys}
        assert found["my/image"].metadata["dagster/row_count"].value == 4


@pytest.mark.parametrize(
    "arguments",
    [
        {},
        {"assets": [], "defs": dg.Definitions()},
        {"assets": [dg.AssetSpec("plain")]},
        {"defs": dg.Definitions(assets=[dg.AssetSpec("plain")])},
    ],
)
def test_a_job_that_would_observe_nothing_is_refused(arguments: dict[str, Any]) -> None:
    with pytest.raises(mxd.DefinitionsError, match="observ") as caught:
        mxd.build_metaxy_multi_observation_job("x", **arguments)
    assert caught.value.remedy
