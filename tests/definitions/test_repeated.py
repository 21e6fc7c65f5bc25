"""What a plan says of many assets is said once to people, and asset by asset where they ask."""

from __future__ import annotations

import json

import dagster as dg
import pytest

import metaxy_dagster as mxd

COUNT = 40


def asset(number, **more):
    def computed(): ...

    metadata = {"metaxy/feature": f"f/x{number}", "metaxy/id_columns": ["id"], **more}
    return dg.asset(computed, name=f"x{number}", metadata=metadata)


def reader(number):
    namespace: dict[str, object] = {}
    exec(f"def reading(x{number}): ...", namespace)  # noqa: S102 (the name of a parameter)
    return dg.asset(namespace["reading"], name=f"y{number}")


@pytest.fixture(scope="module")
def plan():
    others = [dg.AssetSpec(f"plain{number}") for number in range(COUNT)]
    special = asset("special", **{"metaxy/unknown": 1})
    assets = [asset(number) for number in range(COUNT)]
    readers = [reader(number) for number in range(COUNT)]
    defs = dg.Definitions([*assets, special, *readers, *others])
    return mxd.plan_definitions(defs, features=[])


@pytest.mark.parametrize("form", ["text", "markdown"])
def test_what_many_have_in_common_is_said_once(plan, form):
    short, full = plan.render(form), plan.render(form, full=True)
    assert f"{COUNT + 1} assets" in short
    assert short.count("dagster/column_schema") == 1
    assert full.count("dagster/column_schema") == COUNT + 1
    assert short.count("is not annotated") == 1
    assert "(so for 39 more: y1, y2, y3, …)" in short
    assert full.count("is not annotated") == COUNT
    assert "… and 50 more" in short
    assert "plain39" in full
    assert len(short) * 5 < len(full)
    for every in (short, full):
        assert "metaxy/unknown" in every
        assert f"{COUNT + 1} assets change" in every


def test_programs_are_told_everything(plan):
    data = json.loads(plan.render("json"))
    assert len(data["assets"]) == COUNT + 1
    assert len(data["left_alone"]) == 2 * COUNT
    assert sum("is not annotated" in each["message"] for each in data["warnings"]) == COUNT
    assert plan.render("json", full=True) == plan.render("json")


def test_a_few_are_told_of_one_by_one():
    defs = dg.Definitions([asset(number) for number in range(3)])
    plan = mxd.plan_definitions(defs, features=[])
    for form in ("text", "markdown"):
        assert plan.render(form) == plan.render(form, full=True)


def test_what_only_one_of_many_has_is_told_of_it_alone():
    described = mxd.FeatureSpec("f/x7", id_columns=["id"], description="the seventh")
    seventh = dg.asset(lambda: None, name="x7", metadata={"metaxy/feature": "f/x7"})
    others = [asset(number) for number in range(COUNT) if number != 7]
    plan = mxd.plan_definitions(dg.Definitions([seventh, *others]), features=[described])
    lines = plan.render().splitlines()
    at = lines.index("~ x7 (feature f/x7)")
    own = [line.split()[0] for line in lines[at + 1 : lines.index("", at)]]
    assert own == ["description"]
