"""The plan as text, Markdown and JSON."""

from __future__ import annotations

import json

import dagster as dg
import pytest

from metaxy_dagster.errors import DefinitionsError


@pytest.fixture
def plan(plan_of):
    @dg.asset(metadata={"metaxy/feature": "f/a"})
    def raw(): ...

    @dg.asset(metadata={"metaxy/feature": "f/b"})
    def mid(): ...

    @dg.asset
    def plain(): ...

    @dg.asset(metadata={"metaxy/feature": "f/nowhere"})
    def wrong(): ...

    return plan_of(raw, mid, plain, wrong)


def test_json_holds_all(plan):
    data = json.loads(plan.render("json"))
    by_key = {asset["key"]: asset for asset in data["assets"]}
    assert set(by_key) == {"raw", "mid"}
    assert {"what": "dep", "value": "raw", "why": "feature f/b depends on it"} in by_key["mid"][
        "changes"
    ]
    assert data["left_alone"] == ["plain", "wrong"]
    assert data["longest_chain"] == 2
    assert [error["asset"] for error in data["errors"]] == ["wrong"]
    assert data["errors"][0]["remedy"]


@pytest.mark.parametrize("form", ["text", "markdown"])
def test_people_see_the_same(plan, form):
    text = plan.render(form)
    for part in (
        "2 assets change, 2 left alone",
        "feature f/b depends on it",
        "plain",
        "f/nowhere",
        "code version",
        "longest chain of deps: 2",
    ):
        assert part in text


def test_markdown_is_a_table(plan):
    lines = plan.render("markdown").splitlines()
    assert "| asset | feature | change | value | why |" in lines
    assert any(line.startswith("| mid | f/b | dep | raw |") for line in lines)


def test_another_form_is_refused(plan):
    with pytest.raises(DefinitionsError, match="form"):
        plan.render("html")


def test_a_chain_is_measured(plan_of):
    specs = [
        dg.AssetSpec(f"x{number}", deps=[f"x{number - 1}"] if number else [])
        for number in range(600)
    ]
    plan = plan_of(*specs)
    assert plan.longest_chain == 600
    assert [notice.kind for notice in plan.notices] == ["long chain"]


def test_a_plan_prints_as_its_report(plan):
    assert str(plan) == plan.render("text")
    assert repr(plan) == (
        "<MetaxifyPlan: 2 assets change, 2 left alone, 1 warnings, 1 errors;"
        " longest chain of deps: 2>"
    )
