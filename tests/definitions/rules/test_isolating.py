"""A function is called for parts of what fails, or the plan says why it cannot be."""

# Annotations are not postponed here: Dagster reads those of the arguments when an asset is made.

from typing import Any

import dagster as dg
import polars as pl
import pytest
from failing_samples import graph

import metaxy_dagster as mxd

TIED = {
    "metaxy/feature": "thumb",
    "metaxy/input": "increment",
    "metaxy/on_error": "quarantine",
}


@dg.asset(metadata={"metaxy/feature": "image"})
def image() -> pl.DataFrame:
    return pl.DataFrame({"id": [1]})


def tied(**more: Any) -> dg.AssetsDefinition:
    def thumb(image: pl.DataFrame) -> pl.DataFrame:
        return image

    return dg.asset(thumb, metadata={**TIED, **more})


def plan_of(*assets: Any, **options: Any) -> Any:
    return mxd.plan_definitions(
        dg.Definitions(assets=[image, *assets]), features=graph(), **options
    )


def bodies(plan: Any) -> list[str]:
    return [
        change.value
        for asset in plan.assets
        for change in asset.changes
        if change.what == "body" and "called" in change.value
    ]


#: Keys of the asset, and what the plan says of its body.
SAID: dict[str, tuple[dict[str, Any], list[str]]] = {
    "by itself": ({}, ["called for parts of what fails; 20 samples at most may be set aside"]),
    "in batches": (
        {"metaxy/batch_size": 5},
        [
            "called once for every 5 samples",
            "called for parts of what fails; 20 samples at most may be set aside",
        ],
    ),
    "and then fails": (
        {"metaxy/on_error": "quarantine_then_raise", "metaxy/max_failed_samples": 1},
        ["called for parts of what fails; 1 sample at most may be set aside, and the step fails"],
    ),
    "not at all": ({"metaxy/on_error": "raise"}, []),
    "of all samples, which no increment tells apart": ({"metaxy/input": "all"}, []),
}


@pytest.mark.parametrize("case", SAID)
def test_the_plan_says_how_a_function_is_called(case: str) -> None:
    keys, said = SAID[case]
    plan = plan_of(tied(**keys))
    assert not plan.errors
    assert bodies(plan) == said


def test_twice_is_once() -> None:
    made = plan_of(tied(**{"metaxy/batch_size": 5})).apply()
    again = mxd.plan_definitions(made, features=graph())
    assert bodies(again) == []
    assert again.apply() is made


def test_another_way_after_the_pass_is_refused() -> None:
    made = plan_of(tied()).apply()
    for more, found in (
        ({"metaxy/max_failed_samples": 3}, "called by another metaxy/on_error already"),
        ({"metaxy/batch_size": 3}, "called in batches of all samples already"),
    ):
        changed = dg.map_asset_specs(
            lambda spec, more=more: spec.merge_attributes(metadata=more),
            [made.get_assets_def("thumb")],
        )
        (error,) = mxd.plan_definitions(
            dg.Definitions(assets=[image, *changed]), features=graph()
        ).errors
        assert found in error.found


def generator(image: pl.DataFrame):
    yield dg.Output(image)


def text(image: pl.DataFrame) -> str:
    return ""


def alone() -> pl.DataFrame:
    return pl.DataFrame()


def nothing():
    return None


@dg.op
def only(image):
    return image


@dg.graph_asset(name="thumb", metadata=TIED)
def graph_of_one(image):
    return only(image)


@dg.multi_asset(outs={"thumb": dg.AssetOut(metadata=TIED), "y": dg.AssetOut()}, name="several")
def several(image):
    return image, image


REFUSED: dict[str, tuple[Any, str]] = {
    "a generator": (dg.asset(generator, name="thumb", metadata=TIED), "it is a generator"),
    "no frame": (dg.asset(text, name="thumb", metadata=TIED), "annotated to return str"),
    "what loads by itself": (
        dg.asset(alone, name="thumb", metadata=TIED),
        "it asks for its samples itself",
    ),
    "nothing of an upstream": (dg.asset(nothing, name="thumb", metadata=TIED), "none of its"),
    "a graph": (graph_of_one, "it is a graph"),
    "several outputs": (several, "it computes 2 assets"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_cannot_be_called_so_is_a_fault_of_the_plan(case: str) -> None:
    asset, found = REFUSED[case]
    errors = [e for e in plan_of(asset).errors if "parts of what fails" in str(e)]
    assert len(errors) == 1
    assert found in errors[0].found
    assert "metaxy/on_error" in errors[0].remedy
    assert "report_failures" in errors[0].remedy


VALUES = [
    ({"metaxy/on_error": "skip"}, "quarantine_then_raise"),
    ({"metaxy/max_failed_samples": 0}, "at least 1"),
    ({"metaxy/max_failed_samples": "many"}, "at least 1"),
]


@pytest.mark.parametrize(("keys", "allowed"), VALUES)
def test_values_that_are_not_allowed_are_faults_of_the_plan(
    keys: dict[str, Any], allowed: str
) -> None:
    errors = plan_of(tied(**keys)).errors
    assert any(allowed in str(error.allowed) for error in errors)


@pytest.mark.parametrize("value", [0, -1, 2.5, True, "7"])
def test_a_setting_that_is_not_allowed_is_refused(value: Any) -> None:
    with pytest.raises(mxd.DefinitionsError, match="max_failed_samples"):
        mxd.MetaxifySettings(max_failed_samples=value)
