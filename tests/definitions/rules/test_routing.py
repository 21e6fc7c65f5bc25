"""Outputs: which go through the library's IO manager and which have chosen another."""

from __future__ import annotations

import dagster as dg
import pytest

from metaxy_dagster.definitions import MetaxifySettings

pytestmark = pytest.mark.filterwarnings("ignore::dagster.BetaWarning")


def feature(key, **more):
    return {"metadata": {"metaxy/feature": key, **more}}


class Recording(dg.IOManager):
    def __init__(self, seen):
        self.seen = seen

    def handle_output(self, context, obj):
        self.seen.append((context.asset_key.to_user_string(), obj))

    def load_input(self, context):
        return context.asset_key.to_user_string()


@pytest.fixture
def recorded():
    return []


def test_case_35_an_unannotated_none_goes_through_the_io_manager(tie, execute, recorded):
    @dg.asset(**feature("f/a"))
    def a():
        return None

    @dg.asset(**feature("f/outside"))
    def nothing() -> None:
        return None

    @dg.asset(**feature("f/b"))
    def b(a):
        return a

    defs = tie(a, nothing, b, resources={"metaxy_io_manager": Recording(recorded)})
    assert execute(defs).success
    assert recorded == [("a", None), ("b", "a")]


def test_case_36_outputs_of_specs_are_left_alone(plan_of):
    @dg.multi_asset(specs=[dg.AssetSpec("a", **feature("f/a"))])
    def a(): ...

    plan = plan_of(a)
    assert "io_manager_key" not in {change.what for change in plan.assets[0].changes}


def mine():
    return {"io_manager_def": dg.mem_io_manager}


def keyed():
    return {"io_manager_key": "own"}


@pytest.mark.parametrize("choice", [mine, keyed])
def test_case_37_an_io_manager_that_the_asset_chose_stays(tie, choice):
    @dg.asset(**choice(), **feature("f/a"))
    def a():
        return 1

    (output,) = tie(a, resources={"own": dg.mem_io_manager}).get_assets_def("a").op.output_defs
    assert output.io_manager_key != "metaxy_io_manager"


def test_case_37_with_resources(tie):
    @dg.asset(**feature("f/a"))
    def a():
        return 1

    (bound,) = dg.with_resources([a], {"io_manager": dg.mem_io_manager})
    assert tie(bound).get_assets_def("a").op.output_defs[0].io_manager_key == "io_manager"


@pytest.mark.parametrize(
    ("routing", "expected"),
    [
        ("keep", "io_manager"),
        ("route", "metaxy_io_manager"),
        ("respect_default", "io_manager"),
        ("off", "io_manager"),
    ],
)
def test_a_repositorys_own_default_io_manager_is_a_matter_of_policy(tie, routing, expected):
    @dg.asset(**feature("f/a"))
    def a():
        return 1

    defs = tie(
        a,
        resources={"io_manager": dg.mem_io_manager},
        settings=MetaxifySettings(io_routing=routing),
    )
    assert defs.get_assets_def("a").op.output_defs[0].io_manager_key == expected


def test_a_spec_says_where_it_is_loaded_from(tie):
    spec = dg.AssetSpec("raw", **feature("f/a"))
    (made,) = tie(spec).assets
    assert made.metadata["dagster/io_manager_key"] == "metaxy_io_manager"
