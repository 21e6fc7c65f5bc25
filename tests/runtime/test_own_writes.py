"""Assets that write by themselves: their run is known, and what they report is what they wrote."""

from collections.abc import Callable
from typing import Any

import dagster as dg
import pytest
from feature_runs import images

import metaxy_dagster as mxd

ROWS = images({i: (f"p{i}", f"l{i}") for i in range(4)})


def spec(key: str) -> dg.AssetSpec:
    return dg.AssetSpec(key, metadata={"metaxy/feature": key})


def test_what_an_asset_writes_itself_carries_its_run(
    run: Callable[..., Any], store: mxd.DuckDBMetadataStore
) -> None:
    @dg.asset(metadata={"metaxy/feature": "thumb"})
    def thumb(context: dg.AssetExecutionContext, store: dg.ResourceParam[mxd.MetadataStore]):
        increment = store.resolve_update("thumb")
        store.record_failures("thumb", [{"id": 3}], "torn", increment=increment)
        store.write("thumb", images({}).select(["id"]), increment=increment)
        pending = increment.pending.collect("pyarrow").to_native()
        store.write("thumb", pending.slice(0, 2).drop_columns(["label"]))
        yield from mxd.generate_materialize_results(context, store)

    store.write("image", ROWS)
    result = run(thumb)
    (event,) = result.asset_materializations_for_node("thumb")
    assert event.metadata["metaxy/materialized_in_run"].value == 2
    written = store.read("thumb", columns=["metaxy_materialization_id"]).collect()
    assert set(written["metaxy_materialization_id"].to_list()) == {result.run_id}
    failed = store.failures("thumb").collect()
    assert failed["metaxy_materialization_id"].to_list() == [result.run_id]
    outside = store.read("image", columns=["metaxy_materialization_id"]).collect()
    assert set(outside["metaxy_materialization_id"].to_list()) == {None}


def test_an_id_of_the_users_own_wins(
    run: Callable[..., Any], store: mxd.DuckDBMetadataStore
) -> None:
    @dg.asset(metadata={"metaxy/feature": "image"})
    def image() -> None:
        store.write("image", ROWS, materialization_id="mine")

    run(image)
    ids = store.read("image", columns=["metaxy_materialization_id"]).collect()
    assert set(ids["metaxy_materialization_id"].to_list()) == {"mine"}


def test_in_an_asset_that_is_called_directly(store: mxd.DuckDBMetadataStore) -> None:
    @dg.asset(metadata={"metaxy/feature": "image"})
    def image(context: dg.AssetExecutionContext):
        store.write("image", ROWS)
        yield from mxd.generate_materialize_results(context, store)

    (found,) = image(dg.build_asset_context())
    assert found.metadata["dagster/row_count"] == 4
    assert "metaxy/materialized_in_run" not in found.metadata


def test_outputs_that_are_no_features_are_passed_over(
    run: Callable[..., Any], store: mxd.DuckDBMetadataStore
) -> None:
    @dg.multi_asset(specs=[spec("image"), dg.AssetSpec("plain")])
    def both(context: dg.AssetExecutionContext):
        store.write("image", ROWS)
        yield from mxd.generate_materialize_results(context, store)
        yield dg.MaterializeResult("plain")

    events = run(both).get_asset_materialization_events()
    assert {event.asset_key.to_user_string() for event in events} == {"image", "plain"}


def test_in_the_op_of_a_graph_asset(
    run: Callable[..., Any], store: mxd.DuckDBMetadataStore
) -> None:
    rows: list[int] = []

    @dg.op
    def compute(context: dg.OpExecutionContext) -> int:
        store.write("image", ROWS)
        (found,) = mxd.generate_materialize_results(context, store, [spec("image")])
        rows.append(found.metadata["metaxy/materialized_in_run"])
        return 1

    @dg.graph_asset(metadata={"metaxy/feature": "image"})
    def image():
        return compute()

    run(image)

    @dg.job
    def plain():
        compute()

    store.write("image", images({9: ("p", "l")}))
    plain.execute_in_process()
    assert rows == [4, 0], "the second run has changed nothing"


def test_an_op_of_no_asset_has_to_say_which(store: mxd.DuckDBMetadataStore) -> None:
    @dg.op
    def compute(context: dg.OpExecutionContext) -> None:
        list(mxd.generate_materialize_results(context, store))

    @dg.job
    def plain():
        compute()

    with pytest.raises(mxd.RunError, match="belongs to no asset") as caught:
        plain.execute_in_process()
    assert "specs=" in str(caught.value.remedy)


def test_metaxify_passes_outputs_without_the_key_through() -> None:
    made = mxd.FeatureGraph()
    with made.use():

        @mxd.metaxify
        @dg.multi_asset(
            specs=[
                dg.AssetSpec("a", metadata={"metaxy/feature": "f", "metaxy/id_columns": ["id"]}),
                dg.AssetSpec("b", description="plain", metadata={"mine": 1}),
            ]
        )
        def both(): ...

    specs = {one.key.to_user_string(): one for one in both.specs}
    assert set(specs) == {"f", "b"}
    assert (specs["b"].description, specs["b"].metadata["mine"]) == ("plain", 1)
    assert "metaxy/feature" not in specs["b"].metadata
