"""Where rows move to the store, the plan names everyone who goes on looking at the old place."""

from __future__ import annotations

import dagster as dg
import pandas as pd
import pytest

import metaxy_dagster as mxd

pytestmark = [
    pytest.mark.filterwarnings("ignore::dagster.SupersessionWarning"),
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
]

ROWS = pd.DataFrame({"id": [1, 2]})
X = {"metaxy/feature": "x", "metaxy/id_columns": ["id"]}


class Folder(dg.IOManager):
    """Where a repository has its data."""

    def handle_output(self, context, obj): ...

    def load_input(self, context):
        return ROWS


@dg.asset(metadata=X)
def x():
    return ROWS


def by_deps() -> None: ...


def by_argument(x): ...


def passed():
    return dg.AssetCheckResult(passed=True)


def passed_with(x):
    return dg.AssetCheckResult(passed=True)


def asks(store: dg.ResourceParam[object]) -> None: ...


@dg.graph_asset(name="y", ins={"x": dg.AssetIn(key="x")})
def graphed(x):
    return dg.op(by_argument)(x)


#: Who else has to do with the feature ``x``, and how that is told.
READERS = {
    "deps only": (lambda: dg.asset(by_deps, name="y", deps=["x"]), "y (deps only)"),
    "deps of specs": (
        lambda: dg.multi_asset(specs=[dg.AssetSpec("y", deps=["x"])])(by_deps),
        "y (deps only)",
    ),
    "a dashboard": (lambda: dg.AssetSpec("y", deps=["x"]), "y (deps only)"),
    "a feature": (
        lambda: dg.asset(
            by_deps,
            name="y",
            deps=["x"],
            metadata={**X, "metaxy/feature": "y", "metaxy/deps": ["x"]},
        ),
        "y (deps only)",
    ),
    "an argument": (lambda: dg.asset(by_argument, name="y"), None),
    "an argument of a graph": (lambda: graphed, None),
    "its own input manager": (
        lambda: dg.asset(by_argument, name="y", ins={"x": dg.AssetIn(input_manager_key="loader")}),
        "y (loads it by 'loader')",
    ),
    "a check": (lambda: dg.asset_check(asset="x", name="c")(passed), "x:c (a check)"),
    "a check of an argument": (lambda: dg.asset_check(asset="x", name="c")(passed_with), None),
    "a check of another": (
        lambda: dg.asset_check(asset="z", name="c", additional_deps=["x"])(passed),
        "z:c (a check)",
    ),
    "a source": (lambda: dg.SourceAsset("x"), "the SourceAsset of its key"),
    "who asks the store": (lambda: dg.asset(asks, name="y", deps=["x"]), None),
    "who has nothing to do with it": (lambda: dg.asset(by_deps, name="y", deps=["z"]), None),
}


def told(*entries, resources=None, routing="route"):
    checks = [each for each in entries if isinstance(each, dg.AssetChecksDefinition)]
    assets = [each for each in entries if not isinstance(each, dg.AssetChecksDefinition)]
    resources = {"io_manager": Folder(), "loader": Folder()} if resources is None else resources
    defs = dg.Definitions(assets, asset_checks=checks, resources=resources)
    settings = mxd.MetaxifySettings(io_routing=routing)
    plan = mxd.plan_definitions(defs, features=[], settings=settings)
    assert plan.errors == ()
    return [(n.asset, n.message) for n in plan.notices if "go on looking" in n.message]


@pytest.mark.parametrize("kind", READERS)
def test_readers_of_the_old_place_are_named(kind):
    make, name = READERS[kind]
    found = told(x, make())
    if name is None:
        assert found == []
        return
    ((asset, message),) = found
    assert asset == "x"
    assert message.endswith(f"at the IO manager 'io_manager' (Folder): {name}")


def test_all_of_them_are_named_in_one_warning():
    entries = [make() for name, (make, said) in READERS.items() if name in ("deps only", "a check")]
    ((_, message),) = told(x, *entries, dg.asset(by_deps, name="w", deps=["x"]))
    assert message.endswith(": y (deps only); w (deps only); x:c (a check)")


@pytest.mark.parametrize("kind", READERS)
def test_where_data_stays_there_is_nobody_to_name(kind):
    assert told(x, READERS[kind][0](), routing="keep") == []


@pytest.mark.parametrize("routing", ["keep", "route"])
def test_an_input_manager_is_named_wherever_the_rows_were(routing):
    """Of Dagster's plain default as well: what it pickled is not written any more."""
    resources = {"loader": Folder()}
    ((_, message),) = told(
        x, READERS["its own input manager"][0](), resources=resources, routing=routing
    )
    assert message.endswith("where it was stored so far: y (loads it by 'loader')")


def test_a_source_that_is_looked_for_in_the_store_is_told():
    source = dg.SourceAsset("x", metadata=X)
    defs = dg.Definitions([source], resources={"io_manager": Folder()})
    routed = mxd.MetaxifySettings(io_routing="route")
    plan = mxd.plan_definitions(defs, features=[], settings=routed)
    (message,) = [n.message for n in plan.notices if n.kind == "IO manager" and n.asset == "x"]
    assert "is not there" in message
