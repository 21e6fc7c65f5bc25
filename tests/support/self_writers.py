"""Assets whose functions make their data themselves and return nothing, in all ways of writing."""

# Annotations are not postponed here: Dagster reads that of the context when an asset is made.

import asyncio
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import dagster as dg
import pandas as pd
import polars as pl

import metaxy_dagster as mxd

INCREMENT = {"metaxy/input": "increment"}


def keys(feature: str, **more: Any) -> dict[str, Any]:
    """The metadata of an asset with a feature; ``more`` with ``_`` for the ``/`` of the key."""
    given = {f"metaxy/{name}": value for name, value in more.items()}
    return {"metaxy/feature": feature, "metaxy/id_columns": ["id"], **given}


def pending_ids(increment: mxd.Increment) -> list[int]:
    """The ids of the samples to be computed."""
    return sorted(increment.pending.collect()["id"].to_list())


class Files:
    """A root ``raw`` whose rows a test changes, and the data that is made of it elsewhere."""

    def __init__(self) -> None:
        self.rows: dict[int, int] = {1: 10, 2: 20, 3: 30}
        self.made: dict[str, dict[int, int]] = {}
        self.calls: list[Any] = []

    def raw(self) -> dg.AssetsDefinition:
        """The upstream."""

        @dg.asset(metadata=keys("raw"))
        def raw() -> pl.DataFrame:
            return pl.DataFrame({"id": list(self.rows), "size": list(self.rows.values())})

        return raw

    def make(self, ids: Any = None, name: str = "x") -> None:
        """Write the data of some samples, or all of it anew."""
        wanted = None if ids is None else sorted(int(each) for each in ids)
        self.calls.append(wanted)
        if wanted is None:
            self.made[name] = dict(self.rows)
        else:
            self.made.setdefault(name, {}).update({each: self.rows[each] for each in wanted})


def asset(**options: Any) -> Callable[[Any], dg.AssetsDefinition]:
    """An asset ``x`` that takes increments."""
    return dg.asset(name="x", metadata=keys("x", input="increment"), **options)


def taking(files: Files) -> dict[str, dg.AssetsDefinition]:
    """Those that take the upstream as an argument."""

    @asset()
    def none(raw: pd.DataFrame) -> None:
        files.make(raw["id"])

    @asset()
    def unannotated(raw: pl.DataFrame):
        files.make(raw["id"])

    @asset()
    def a_result(raw: pd.DataFrame) -> dg.MaterializeResult:
        files.make(raw["id"])
        return dg.MaterializeResult(metadata={"mine": 1})

    @asset()
    def an_unannotated_result(raw: pd.DataFrame):
        files.make(raw["id"])
        return dg.MaterializeResult(metadata={"mine": 1})

    @asset()
    def with_both(context: dg.AssetExecutionContext, raw: pd.DataFrame, todo: mxd.Increment):
        assert pending_ids(todo) == sorted(raw["id"])
        assert context.asset_key.path == ["x"]
        files.make(raw["id"])

    @asset(required_resource_keys={"tool"})
    def with_a_resource(context: dg.AssetExecutionContext, raw: pd.DataFrame) -> None:
        context.resources.tool(raw["id"])

    class Options(dg.Config):
        name: str = "x"

    @asset()
    def configured(config: Options, raw: pd.DataFrame, tool: dg.ResourceParam[Any]) -> None:
        assert tool is not None
        files.make(raw["id"], config.name)

    return {
        "none": none,
        "unannotated": unannotated,
        "a_result": a_result,
        "an_unannotated_result": an_unannotated_result,
        "with_both": with_both,
        "with_a_resource": with_a_resource,
        "configured": configured,
    }


def loading(files: Files) -> dict[str, dg.AssetsDefinition]:
    """Those that load it themselves."""
    alone = asset(deps=["raw"])

    @alone
    def by_deps() -> None:
        files.make()

    @alone
    def by_deps_with_the_increment(increment: mxd.Increment) -> None:
        files.make(pending_ids(increment))

    @alone
    def by_deps_that_asks(context: dg.AssetExecutionContext):
        files.make(pending_ids(mxd.pending(context)))

    @alone
    def a_generator(context: dg.AssetExecutionContext) -> Iterator[dg.MaterializeResult]:
        context.log.info("before")
        files.make(pending_ids(mxd.pending(context)))
        yield dg.MaterializeResult(metadata={"mine": 1})
        mxd.pending(context)

    @alone
    async def waiting(increment: mxd.Increment) -> None:
        await asyncio.sleep(0)
        files.make(pending_ids(increment))

    @alone
    async def a_waiting_generator(context: dg.AssetExecutionContext):
        yield dg.AssetObservation("x", metadata={"seen": 1})
        await asyncio.sleep(0)
        files.make(pending_ids(mxd.pending(context)))
        yield dg.MaterializeResult(metadata={"mine": 1})

    return {
        "by_deps": by_deps,
        "by_deps_with_the_increment": by_deps_with_the_increment,
        "by_deps_that_asks": by_deps_that_asks,
        "a_generator": a_generator,
        "waiting": waiting,
        "a_waiting_generator": a_waiting_generator,
    }


def others(files: Files) -> dict[str, dg.AssetsDefinition]:
    """A graph, a spec, and one that says so itself."""

    @dg.op(out=dg.Out(dg.Nothing))
    def alone_in_a_graph(context: dg.OpExecutionContext, raw: pd.DataFrame):
        assert pending_ids(mxd.pending(context)) == sorted(raw["id"])
        files.make(raw["id"])

    @dg.graph_asset(name="x", metadata=keys("x", input="increment"))
    def a_graph_of_one(raw):
        return alone_in_a_graph(raw)

    @dg.multi_asset(specs=[dg.AssetSpec("x", metadata=keys("x", input="increment"), deps=["raw"])])
    def a_spec(context: dg.AssetExecutionContext):
        files.make(pending_ids(mxd.pending(context)))

    @dg.asset(name="x", metadata=keys("x", input="increment", output="self"))
    def said(raw: pd.DataFrame) -> int:
        files.make(raw["id"])
        return len(raw)

    return {"a_graph_of_one": a_graph_of_one, "a_spec": a_spec, "said": said}


def bodies(files: Files) -> Mapping[str, dg.AssetsDefinition]:
    """By a word on it, assets ``x`` that are computed from ``raw``."""
    return {**taking(files), **loading(files), **others(files)}


NAMES = list(bodies(Files()))


class World:
    """A repository of ``raw`` and others, tied, with what a run of it does."""

    def __init__(self, files: Files, folder: Path, *assets: Any, **options: Any) -> None:
        self.files, self.instance = files, dg.DagsterInstance.ephemeral(str(folder))
        self.path = f"{folder}/m.duckdb"
        self.legacy = dg.Definitions(assets=[files.raw(), *assets], resources={"tool": files.make})
        self.plan = mxd.plan_definitions(self.legacy, store=self.path, **options)
        self.defs = self.plan.apply()
        self.store = mxd.DuckDBMetadataStore(self.path, graph=self.plan.graph)

    def run(self, *names: str, **options: Any) -> list[Any]:
        """What was called in a run of all, or of some."""
        self.files.calls.clear()
        job = self.defs.resolve_implicit_global_asset_job_def()
        if names:
            options["asset_selection"] = [dg.AssetKey(name) for name in names]
        self.result = job.execute_in_process(instance=self.instance, **options)
        return list(self.files.calls)

    def event(self, name: str = "x") -> dict[str, Any]:
        """The metadata of the newest materialization."""
        event = self.instance.get_latest_materialization_event(dg.AssetKey(name))
        return {key: value.value for key, value in event.asset_materialization.metadata.items()}

    def counts(self, name: str = "x") -> mxd.Counts:
        """What is pending."""
        return self.store.resolve_update(name).counts
