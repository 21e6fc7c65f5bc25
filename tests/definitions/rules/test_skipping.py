"""Where nothing is pending, the pass leaves the bodies of incremental assets out."""

# Annotations are not postponed here: Dagster reads that of the context when an asset is made.

import asyncio
from typing import Any

import dagster as dg
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest

import metaxy_dagster as mxd
from metaxy_dagster.definitions import MetaxifySettings
from metaxy_dagster.features import FeatureGraph, FeatureSpec

INCREMENT = {"metaxy/feature": "thumb", "metaxy/input": "increment"}


@pytest.fixture
def graph():
    made = FeatureGraph()
    for spec in (
        FeatureSpec("image", id_columns=["id"]),
        FeatureSpec("other", id_columns=["id"]),
        FeatureSpec("thumb", id_columns=["id"], deps=["image"]),
        FeatureSpec("second", id_columns=["id"], deps=["image"]),
    ):
        made.add(spec)
    return made


class Source:
    """The upstream asset, whose rows a test changes, and what was called downstream."""

    def __init__(self):
        self.ids = [1, 2, 3]
        self.calls = []

    def asset(self):
        @dg.asset(metadata={"metaxy/feature": "image"})
        def image() -> pa.Table:
            return pa.table({"id": self.ids, "size": [each * 10 for each in self.ids]})

        return image

    def called(self, frame) -> pa.Table:
        self.calls.append(sorted(frame["id"].to_list()))
        return pa.table({"id": frame["id"].to_arrow(), "size": frame["size"].to_arrow()})


def bodies(source: Source) -> dict[str, Any]:  # noqa: C901 (a list of functions)
    """Every way of writing the downstream asset whose body can be left out."""

    @dg.asset(metadata=INCREMENT)
    def plain(image: pl.DataFrame):
        return source.called(image)

    @dg.asset(metadata=INCREMENT)
    def annotated(image: pl.DataFrame) -> pl.DataFrame:
        return pl.from_arrow(source.called(image))

    @dg.asset(metadata=INCREMENT)
    def pandas(image: pl.DataFrame) -> pd.DataFrame:
        return source.called(image).to_pandas()

    @dg.asset(metadata=INCREMENT)
    def an_output(image: pl.DataFrame) -> dg.Output[pl.DataFrame]:
        return dg.Output(pl.from_arrow(source.called(image)), metadata={"mine": 1})

    @dg.asset(metadata=INCREMENT)
    def a_result(image: pl.DataFrame) -> dg.MaterializeResult[pl.DataFrame]:
        return dg.MaterializeResult(value=pl.from_arrow(source.called(image)))

    @dg.asset(metadata=INCREMENT)
    def bare_result(image: pl.DataFrame) -> dg.MaterializeResult:
        return dg.MaterializeResult(value=source.called(image))

    @dg.asset(metadata=INCREMENT)
    async def waiting(image: pl.DataFrame) -> pa.Table:
        await asyncio.sleep(0)
        return source.called(image)

    @dg.asset(metadata=INCREMENT, ins={"frame": dg.AssetIn("image")})
    def renamed(context: dg.AssetExecutionContext, frame: pl.DataFrame) -> pa.Table:
        assert context.asset_key.path == ["renamed"]
        return source.called(frame)

    @dg.op(ins={"image": dg.In(pl.DataFrame)})
    def only(image):
        return source.called(image)

    @dg.graph_asset(metadata=INCREMENT)
    def graph_of_one(image):
        return only(image)

    @dg.graph(ins={"image": dg.GraphIn()})
    def inner(image):
        return only(image)

    @dg.graph_asset(metadata=INCREMENT)
    def nested(image):
        return inner(image)

    @dg.multi_asset(outs={"one": dg.AssetOut(metadata=INCREMENT)})
    def multi(image: pl.DataFrame):
        return source.called(image)

    made = [plain, annotated, pandas, an_output, a_result, bare_result, waiting, renamed]
    return {next(iter(each.keys)).path[-1]: each for each in [*made, graph_of_one, nested, multi]}


NAMES = list(bodies(Source()))


def told(plan: Any, what: str = "body") -> list[str]:
    return [
        asset.key.to_user_string()
        for asset in plan.assets
        if any(change.what == what for change in asset.changes)
    ]


@pytest.mark.parametrize("name", NAMES)
def test_a_body_runs_only_while_something_is_pending(graph, tmp_path, instance, name):
    source = Source()
    asset = bodies(source)[name]
    defs = dg.Definitions(assets=[source.asset(), asset])
    options = {"features": graph, "store": str(tmp_path / "m.duckdb")}
    plan = mxd.plan_definitions(defs, **options)
    assert told(plan) == [name]
    made = plan.apply()
    again = mxd.plan_definitions(made, **options)
    assert again.apply() is made, "applied twice is applied once"
    assert not [notice for notice in again.notices if notice.kind == "body"]
    job = made.resolve_implicit_global_asset_job_def()
    store = mxd.DuckDBMetadataStore(tmp_path / "m.duckdb", graph=graph)

    def run() -> dict[str, Any]:
        result = job.execute_in_process(instance=instance)
        (event,) = (
            each.step_materialization_data.materialization
            for each in result.all_events
            if each.is_step_materialization and each.asset_key.path == [name]
        )
        return {key: value.value for key, value in event.metadata.items()}

    assert run()["metaxy/written"] == 3
    assert run()["metaxy/written"] == 0, "the materialization is reported"
    assert source.calls == [[1, 2, 3]]
    source.ids = [2, 3]
    assert run()["metaxy/deleted"] == 1, "orphaned samples are deleted"
    assert store.count("thumb") == 2
    assert source.calls == [[1, 2, 3]]
    source.ids = [2, 3, 7]
    run()
    assert source.calls == [[1, 2, 3], [7]]
    assert store.count("thumb") == 3


def test_the_run_says_that_it_left_the_body_out(graph, tmp_path, instance):
    source = Source()
    defs = dg.Definitions(assets=[source.asset(), bodies(source)["plain"]])
    made = mxd.metaxify_definitions(defs, features=graph, store=str(tmp_path / "m.duckdb"))
    job = made.resolve_implicit_global_asset_job_def()
    job.execute_in_process(instance=instance)
    run = job.execute_in_process(instance=instance)
    said = [log.message for log in instance.all_logs(run.run_id) if log.step_key == "plain"]
    assert any("the body is left out" in message for message in said)


def always(kind: str) -> tuple[Any, str]:
    """An asset whose body cannot be left out, and a part of the reason."""
    metadata = {"metadata": INCREMENT}

    @dg.asset(**metadata)
    def x(image: pl.DataFrame) -> dict:
        return {}

    def generator(image):
        yield dg.Output(image)

    def of_its_own_type(image):
        return image

    def alone():
        return None

    def of_another_feature(image, other):
        return image

    @dg.op(ins={"image": dg.In()})
    def first(image):
        return image

    @dg.op
    def then(frame):
        return frame

    @dg.graph_asset(name="x", **metadata)
    def steps(image):
        return then(first(image))

    second = {"metaxy/feature": "second", "metaxy/input": "increment"}

    @dg.multi_asset(
        outs={"x": dg.AssetOut(**metadata), "y": dg.AssetOut(metadata=second)}, name="several"
    )
    def several(image):
        return image, image

    own = dg.DagsterType(lambda _context, value: len(value) > 0, name="NotEmpty")
    return {
        "no frame": (x, "return dict"),
        "generator": (dg.asset(generator, name="x", **metadata), "generator"),
        "type": (dg.asset(of_its_own_type, name="x", dagster_type=own, **metadata), "NotEmpty"),
        "another feature": (dg.asset(of_another_feature, name="x", **metadata), "'other'"),
        "several ops": (steps, "several ops"),
        "several assets": (several, "2 assets"),
    }[kind]


@pytest.mark.parametrize(
    "kind",
    [
        "no frame",
        "generator",
        "type",
        "another feature",
        "several ops",
        "several assets",
    ],
)
def test_what_cannot_be_left_out_is_said(graph, kind):
    asset, why = always(kind)
    other = dg.AssetSpec("other", metadata={"metaxy/feature": "other"})
    resources = {"mine": dg.mem_io_manager}
    defs = dg.Definitions(assets=[Source().asset(), asset, other], resources=resources)
    plan = mxd.plan_definitions(defs, features=graph)
    assert told(plan) == []
    (notice,) = (each for each in plan.notices if each.kind == "body")
    assert why in notice.message
    dg.Definitions.validate_loadable(plan.apply())


def test_ops_that_are_shared_keep_their_bodies(graph):
    @dg.op(ins={"image": dg.In()})
    def shared(image):
        return image

    def of(name, mode):
        metadata = {"x": {"metaxy/feature": name, "metaxy/input": mode}}
        return dg.AssetsDefinition.from_op(
            shared,
            keys_by_input_name={"image": dg.AssetKey("image")},
            keys_by_output_name={"result": dg.AssetKey(name)},
            metadata_by_output_name={"result": metadata["x"]},
        )

    def bodies_of(first, second):
        assets = [Source().asset(), of("thumb", first), of("second", second)]
        plan = mxd.plan_definitions(dg.Definitions(assets=assets), features=graph)
        assert mxd.plan_definitions(plan.apply(), features=graph).changes_anything is False
        return told(plan), [each.asset for each in plan.notices if each.kind == "body"]

    assert bodies_of("increment", "increment") == (["thumb", "second"], [])
    assert bodies_of("increment", "all") == ([], ["thumb"])


def test_a_setting_leaves_every_body_as_it_is(graph):
    source = Source()
    settings = MetaxifySettings(enable_skipping=False)
    defs = dg.Definitions(assets=[source.asset(), *bodies(source).values()])
    plan = mxd.plan_definitions(defs, features=graph, settings=settings)
    assert told(plan) == []
    assert not [notice for notice in plan.notices if notice.kind == "body"]


def test_the_plan_shows_it_in_every_form(graph):
    source = Source()
    defs = dg.Definitions(assets=[source.asset(), bodies(source)["plain"]])
    plan = mxd.plan_definitions(defs, features=graph)
    for form in ("text", "markdown", "json"):
        assert "left out while nothing is pending" in plan.render(form)


def test_the_body_is_still_there_to_be_called(graph):
    source = Source()
    asset = bodies(source)["annotated"]
    defs = mxd.metaxify_definitions(dg.Definitions(assets=[source.asset(), asset]), features=graph)
    frame = pl.DataFrame({"id": [4], "size": [40]})
    assert defs.get_assets_def("annotated")(frame).height == 1
    assert source.calls == [[4]]
