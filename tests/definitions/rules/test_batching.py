"""A function is called batch by batch where its asset asks for it, or the plan says why not."""

# Annotations are not postponed here: Dagster reads those of the arguments when an asset is made.

import asyncio
from pathlib import Path
from typing import Any

import dagster as dg
import polars as pl
import pyarrow as pa
import pytest
from dagster._core.definitions.reconstruct import ReconstructableJob

import metaxy_dagster as mxd
from metaxy_dagster.definitions import MetaxifySettings
from metaxy_dagster.features import FeatureGraph, FeatureSpec


class CrashError(Exception): ...


def tied(size: Any = 2, feature: str = "thumb", **more: Any) -> dict[str, Any]:
    given = {"metaxy/input": "increment", "metaxy/batch_size": size, **more}
    return {"metaxy/feature": feature, **{k: v for k, v in given.items() if v is not None}}


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
    """The upstream asset, whose rows a test changes, and the batches that came downstream."""

    def __init__(self):
        self.ids = [1, 2, 3, 4, 5]
        self.calls = []
        self.crashes = 0

    def asset(self):
        @dg.asset(metadata={"metaxy/feature": "image"})
        def image() -> pa.Table:
            return pa.table({"id": self.ids, "size": [each * 10 for each in self.ids]})

        return image

    def called(self, frame) -> pa.Table:
        ids = sorted(frame["id"].to_list())
        if self.crashes and self.crashes in ids:
            raise CrashError
        self.calls.append(ids)
        return pa.table({"id": frame["id"].to_arrow(), "size": frame["size"].to_arrow()})


def functions(source: Source, metadata: dict[str, Any]) -> dict[str, Any]:
    @dg.asset(metadata=metadata)
    def plain(image: pl.DataFrame):
        return source.called(image)

    @dg.asset(metadata=metadata)
    async def waiting(image: pl.DataFrame) -> pl.DataFrame:
        await asyncio.sleep(0)
        return pl.from_arrow(source.called(image))

    @dg.multi_asset(outs={"multi": dg.AssetOut(metadata=metadata)})
    def multi(context: dg.AssetExecutionContext, image: pl.DataFrame):
        return source.called(image)

    return {"plain": plain, "waiting": waiting, "multi": multi}


class World:
    """The pass over the source and one asset, and runs of what it made."""

    def __init__(self, source, asset, graph, instance, path, **options):
        defs = dg.Definitions(assets=[source.asset(), asset])
        self.options = {"features": graph, "store": str(path / "m.duckdb"), **options}
        self.plan = mxd.plan_definitions(defs, **self.options)
        self.made = self.plan.apply()
        self.job = self.made.resolve_implicit_global_asset_job_def()
        self.store = mxd.DuckDBMetadataStore(path / "m.duckdb", graph=graph)
        self.instance = instance

    def run(self) -> list[str]:
        """What the run logged."""
        run = self.job.execute_in_process(instance=self.instance)
        return [log.message for log in self.instance.all_logs(run.run_id)]

    def ids(self) -> list[int]:
        return sorted(self.store.read("thumb").collect()["id"].to_list())


def batches(plan: Any) -> list[tuple[str, str]]:
    return [
        (asset.key.to_user_string(), change.value)
        for asset in plan.assets
        for change in asset.changes
        if change.what == "body" and "called" in change.value
    ]


@pytest.mark.parametrize("enable_skipping", [True, False])
@pytest.mark.parametrize("name", ["plain", "waiting", "multi"])
def test_a_function_is_called_once_a_batch(graph, tmp_path, instance, name, enable_skipping):
    source = Source()
    asset = functions(source, tied())[name]
    settings = MetaxifySettings(enable_skipping=enable_skipping)
    world = World(source, asset, graph, instance, tmp_path, settings=settings)
    assert batches(world.plan) == [(name, "called once for every 2 samples")]
    world.run()
    assert source.calls == [[1, 2], [3, 4], [5]]
    assert world.ids() == [1, 2, 3, 4, 5]
    source.ids = [2, 3, 4, 5, 6]
    world.run()
    assert source.calls[3:] == [[6]]
    assert world.ids() == [2, 3, 4, 5, 6], "orphaned samples are deleted"
    source.ids = [3, 4, 5, 6]
    said = world.run()
    assert source.calls[4:] == []
    assert world.ids() == [3, 4, 5, 6], "also where nothing is pending"
    assert any("the body is left out" in message for message in said) == enable_skipping


def test_what_was_written_stays_when_a_later_batch_fails(graph, tmp_path, instance):
    source = Source()
    world = World(source, functions(source, tied())["plain"], graph, instance, tmp_path)
    source.crashes = 3
    with pytest.raises(CrashError):
        world.run()
    assert world.ids() == [1, 2]
    source.crashes = 0
    world.run()
    assert source.calls == [[1, 2], [3, 4], [5]]
    assert world.ids() == [1, 2, 3, 4, 5]


@pytest.mark.parametrize("renames", [False, True])
def test_twice_is_once(graph, tmp_path, instance, renames):
    source = Source()
    options = {"asset_keys": "feature"} if renames else {}
    asset = functions(source, tied(dg.MetadataValue.int(3)))["plain"]
    world = World(source, asset, graph, instance, tmp_path, **options)
    again = mxd.plan_definitions(world.made, **world.options)
    assert batches(again) == []
    assert again.apply() is world.made
    world.run()
    assert source.calls == [[1, 2, 3], [4, 5]]


def test_another_size_after_the_pass_is_refused(graph):
    source = Source()
    defs = dg.Definitions(assets=[source.asset(), functions(source, tied())["plain"]])
    made = mxd.metaxify_definitions(defs, features=graph)
    changed = dg.map_asset_specs(
        lambda spec: spec.merge_attributes(metadata={"metaxy/batch_size": 3}),
        [made.get_assets_def("plain")],
    )
    defs = dg.Definitions(assets=[source.asset(), *changed])
    (error,) = mxd.plan_definitions(defs, features=graph).errors
    assert error.found == "its function is called in batches of 2 already"


def test_batches_and_left_out_bodies_are_two_changes_in_every_form(graph):
    source = Source()
    defs = dg.Definitions(assets=[source.asset(), functions(source, tied(1))["plain"]])
    plan = mxd.plan_definitions(defs, features=graph)
    for form in ("text", "markdown", "json"):
        assert "left out while nothing is pending" in plan.render(form)
        assert "called once for every sample" in plan.render(form)


def refused(kind: str) -> tuple[Any, str, str]:  # noqa: C901 (a list of functions)
    """An asset that cannot be batched, and parts of what is found and of what is to be done."""
    metadata = {"metadata": tied()}

    def frame(image):
        return image

    def generator(image):
        yield dg.Output(image)

    def text(image) -> str:
        return ""

    def output(image) -> dg.Output[pl.DataFrame]:
        return dg.Output(image)

    def result(image) -> dg.MaterializeResult:
        return dg.MaterializeResult(value=image)

    def alone():
        return None

    def of_another_feature(image, other):
        return image

    @dg.op(ins={"image": dg.In()})
    def only(image):
        return image

    @dg.graph_asset(name="x", **metadata)
    def graph_of_one(image):
        return only(image)

    @dg.multi_asset(outs={"x": dg.AssetOut(metadata=tied()), "y": dg.AssetOut()}, name="several")
    def several(image):
        return image, image

    def of(function, metadata, **options):
        return dg.asset(function, name="x", metadata=metadata, **options)

    size, mode = '"metaxy/batch_size": 1000', '"metaxy/input": "increment"'
    remove = 'remove metadata "metaxy/batch_size"'
    return {
        "zero": (of(frame, tied(0)), "0", size),
        "negative": (of(frame, tied(-1)), "-1", size),
        "text": (of(frame, tied("1000")), "'1000'", size),
        "float": (of(frame, tied(dg.MetadataValue.float(10.0))), "10.0", size),
        "bool": (of(frame, tied(dg.MetadataValue.bool(True))), "True", size),
        "bool of Python": (of(frame, tied(True)), "True", size),
        "no mode": (of(frame, tied(**{"metaxy/input": None})), 'no "metaxy/input"', mode),
        "all": (of(frame, tied(**{"metaxy/input": "all"})), '"metaxy/input": "all"', mode),
        "generator": (of(generator, **metadata), "generator", remove),
        "no frame": (of(text, **metadata), "return str", remove),
        "an Output": (of(output, **metadata), "Output of Dagster", remove),
        "a MaterializeResult": (of(result, **metadata), "MaterializeResult of Dagster", remove),
        "no argument": (of(alone, **metadata), "none of its arguments", remove),
        "another feature": (of(of_another_feature, **metadata), "'other'", remove),
        "a graph": (graph_of_one, "it is a graph", remove),
        "several assets": (several, "2 assets", remove),
        "elsewhere": (of(frame, tied(), io_manager_key="none"), "metaxy_io_manager", remove),
    }[kind]


@pytest.mark.parametrize(
    "kind",
    [
        "zero",
        "negative",
        "text",
        "float",
        "bool",
        "bool of Python",
        "no mode",
        "all",
        "generator",
        "no frame",
        "an Output",
        "a MaterializeResult",
        "no argument",
        "another feature",
        "a graph",
        "several assets",
        "elsewhere",
    ],
)
def test_what_cannot_be_batched_is_a_fault(graph, kind):
    asset, found, remedy = refused(kind)
    other = dg.AssetSpec("other", metadata={"metaxy/feature": "other"})
    resources = {"mine": dg.mem_io_manager}
    defs = dg.Definitions(assets=[Source().asset(), asset, other], resources=resources)
    plan = mxd.plan_definitions(defs, features=graph)
    (error,) = plan.errors
    assert (error.asset, error.feature) == ("x", "thumb")
    assert isinstance(error, mxd.DefinitionsError)
    assert found in error.found
    assert error.allowed
    assert remedy in error.remedy
    assert batches(plan) == []


def test_faults_are_collected(graph):
    assets = [
        dg.asset(lambda image: image, name="x", metadata=tied(0, **{"metaxy/input": "all"})),
        dg.asset(lambda: None, name="y", metadata=tied(5, "second")),
    ]
    defs = dg.Definitions(assets=[Source().asset(), *assets])
    with pytest.raises(mxd.MetaxyErrorGroup) as caught:
        mxd.metaxify_definitions(defs, features=graph)
    assert [error.asset for error in caught.value.exceptions] == ["x", "x", "y"]


def test_a_spec_without_a_function_only_has_its_value_looked_at(graph):
    def faults(size):
        specs = [dg.AssetSpec("image", metadata={"metaxy/feature": "image"})]
        specs.append(dg.AssetSpec("x", metadata=tied(size)))
        return mxd.plan_definitions(dg.Definitions(assets=specs), features=graph).errors

    assert faults(10) == ()
    assert [error.found for error in faults(0)] == ["0"]


def test_the_key_alone_ties_nothing(graph):
    lone = dg.asset(lambda: None, name="x", metadata={"metaxy/batch_size": 5})
    plan = mxd.plan_definitions(dg.Definitions(assets=[lone]), features=graph)
    assert plan.errors == ()
    assert ["metaxy/batch_size" in notice.message for notice in plan.notices] == [True]


def test_ops_that_are_shared_need_the_same_batches(graph):
    def errors(first: Any, second: Any, *, job: bool = False):
        @dg.op(ins={"image": dg.In()})
        def shared(image):
            return image

        def of(name, size):
            return dg.AssetsDefinition.from_op(
                shared,
                keys_by_input_name={"image": dg.AssetKey("image")},
                keys_by_output_name={"result": dg.AssetKey(name)},
                metadata_by_output_name={"result": tied(size, name)},
            )

        @dg.op
        def start():
            return None

        @dg.job
        def also():
            shared(start())

        assets = [Source().asset(), of("thumb", first), of("second", second)]
        defs = dg.Definitions(assets=assets, jobs=[also] if job else [])
        plan = mxd.plan_definitions(defs, features=graph)
        if not plan.errors:
            assert mxd.plan_definitions(plan.apply(), features=graph).changes_anything is False
        return batches(plan), [(each.asset, each.found) for each in plan.errors]

    every = [(name, "called once for every 5 samples") for name in ("thumb", "second")]
    assert errors(5, 5) == (every, [])
    why = "its op is shared with assets that take other samples at once"
    assert errors(5, 6)[1] == [("thumb", why), ("second", why)]
    assert errors(5, None)[1] == [("thumb", why)]
    why = "its op is also used by a job or inside a graph"
    assert errors(None, 5, job=True)[1] == [
        ("second", why),
        ("thumb", "the IO manager 'io_manager'"),  # an increment that nobody would write
    ]


def test_the_function_is_still_there_to_be_called(graph):
    source = Source()
    defs = dg.Definitions(assets=[source.asset(), functions(source, tied())["plain"]])
    made = mxd.metaxify_definitions(defs, features=graph)
    frame = pl.DataFrame({"id": [4, 5, 6], "size": [40, 50, 60]})
    assert made.get_assets_def("plain")(frame).num_rows == 3
    assert source.calls == [[4, 5, 6]]


def test_worker_processes_call_the_same_batches(tmp_path, monkeypatch):
    trace = tmp_path / "trace"
    monkeypatch.setenv("METAXY_TEST_TRACE", str(trace))
    module = Path(__file__).with_name("batched_for_workers.py")
    job = ReconstructableJob.for_file(str(module), "job")
    with (
        dg.instance_for_test(temp_dir=str(tmp_path)) as instance,
        dg.execute_job(job, instance=instance, raise_on_error=True) as result,
    ):
        assert result.success
    assert trace.read_text().split() == ["2", "2", "1"]
