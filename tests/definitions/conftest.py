"""What the tests of the pass share: features, stand-in resources, keys in words."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import dagster as dg
import pytest
from selected_assets import feature

from metaxy_dagster.definitions import MetaxifyPlan, metaxify_definitions, plan_definitions
from metaxy_dagster.features import FeatureGraph, FeatureSpec

STAND_INS = {"store": object(), "metaxy_io_manager": dg.mem_io_manager}


@pytest.fixture
def graph() -> FeatureGraph:
    """a → b → c, and d from a and b; e from a feature that no asset carries."""
    made = FeatureGraph()
    for spec in (
        FeatureSpec("f/a", id_columns=["id"], description="the root"),
        FeatureSpec("f/b", id_columns=["id"], deps=["f/a"]),
        FeatureSpec("f/c", id_columns=["id"], deps=["f/b"]),
        FeatureSpec("f/d", id_columns=["id"], deps=["f/a", "f/b"]),
        FeatureSpec("f/outside", id_columns=["id"]),
        FeatureSpec("f/e", id_columns=["id"], deps=["f/outside"]),
    ):
        made.add(spec)
    return made


@pytest.fixture
def tie(graph: FeatureGraph) -> Callable[..., dg.Definitions]:
    """``tie(*assets, options..., **fields)``: the pass over Definitions of these assets."""

    def run(*assets: Any, resources: dict[str, Any] | None = None, **fields: Any) -> dg.Definitions:
        options = {name: fields.pop(name) for name in list(fields) if name in OPTIONS}
        defs = dg.Definitions(
            assets=list(assets), resources={**STAND_INS, **(resources or {})}, **fields
        )
        made = metaxify_definitions(defs, **{"features": graph, **options})
        dg.Definitions.validate_loadable(made)
        return made

    return run


@pytest.fixture
def plan_of(graph: FeatureGraph) -> Callable[..., MetaxifyPlan]:
    """As ``tie``, but only the plan."""

    def run(*assets: Any, resources: dict[str, Any] | None = None, **fields: Any) -> MetaxifyPlan:
        options = {name: fields.pop(name) for name in list(fields) if name in OPTIONS}
        defs = dg.Definitions(
            assets=list(assets), resources={**STAND_INS, **(resources or {})}, **fields
        )
        return plan_definitions(defs, **{"features": graph, **options})

    return run


OPTIONS = ("features", "store", "translator", "asset_keys", "inject_code_version", "settings")


@pytest.fixture
def log() -> list[str]:
    """What ran, in order."""
    return []


@pytest.fixture
def deps_of() -> Callable[[dg.Definitions, str], list[str]]:
    """The deps of an asset after Dagster resolved the repository."""

    def run(defs: dg.Definitions, key: str) -> list[str]:
        node = defs.resolve_asset_graph().get(dg.AssetKey.from_user_string(key))
        return sorted(each.to_user_string() for each in node.parent_keys)

    return run


@pytest.fixture
def execute(instance: dg.DagsterInstance) -> Callable[..., dg.ExecuteInProcessResult]:
    """Materialize assets of a Definitions in this process."""

    def run(defs: dg.Definitions, **options: Any) -> dg.ExecuteInProcessResult:
        job = defs.resolve_implicit_global_asset_job_def()
        keys = options.pop("keys", None)
        if keys is not None:
            options["asset_selection"] = [dg.AssetKey.from_user_string(key) for key in keys]
        return job.execute_in_process(instance=instance, **options)

    return run


@pytest.fixture
def assets():
    """raw (f/a) → mid (f/b) without a dep between them, and a plain asset of its own."""

    @dg.asset(**feature("f/a"))
    def raw(): ...

    @dg.asset(**feature("f/b"))
    def mid(): ...

    @dg.asset(deps=[mid])
    def plain(): ...

    return raw, mid, plain
