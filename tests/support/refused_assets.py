"""Assets that the plan refuses, or says something of, beside those that they are made of."""

import dagster as dg
import polars as pl

import metaxy_dagster as mxd

ROWS = pl.DataFrame({"id": [1, 2]})


def keys(feature="x", **more):
    given = {name.replace("__", "/"): value for name, value in more.items()}
    return {"metaxy/feature": feature, "metaxy/id_columns": ["id"], **given}


@dg.asset(metadata=keys("raw"))
def raw() -> pl.DataFrame:
    return ROWS


@dg.asset
def plain() -> pl.DataFrame:
    return ROWS


@dg.asset(io_manager_key="mine", metadata=keys("apart"))
def apart() -> pl.DataFrame:
    return ROWS


def made(body=None, name="x", **options):
    """The asset ``x``; by default it takes ``raw``."""

    def takes_raw(raw: pl.DataFrame) -> pl.DataFrame:
        return raw

    return dg.asset(name=name, **options)(body or takes_raw)


def alone() -> pl.DataFrame:
    return ROWS


def of_plain(plain: pl.DataFrame) -> pl.DataFrame:
    return plain


def of_apart(apart: pl.DataFrame) -> pl.DataFrame:
    return apart


INCREMENT = {"metaxy__input": "increment"}
ON_RAW = {"metaxy__deps": ["raw"]}

RESOURCES = {"mine": dg.mem_io_manager, "warehouse": "w"}


def plan_of(*assets, jobs=(), **options):
    found = [raw, plain, apart, *assets]
    defs = dg.Definitions(assets=found, jobs=jobs, resources=RESOURCES)
    return mxd.plan_definitions(defs, features=[], **options)


KEPT = {"settings": mxd.MetaxifySettings(io_routing="keep")}
ROUTED = {"settings": mxd.MetaxifySettings(io_routing="route")}


def is_one_fault(make, parts, **options):
    """The asset ``x`` has one fault, which says these parts, in words of keys."""
    (error,) = plan_of(make(), **options).errors
    assert error.asset == "x"
    assert error.feature in ("x", "rwa")
    assert error.remedy
    assert all(part in str(error) for part in parts), error
    assert "FeatureGraph" not in str(error)
    assert "LineageRelationship" not in str(error)


def is_fine(make, said):
    """Nothing is at fault; what is said of the asset holds this, if anything is."""
    plan = plan_of(make())
    assert plan.errors == ()
    about = [n.message for n in plan.notices if n.asset in ("x", "a, x") and n.kind != "body"]
    about += [n.message for n in plan.notices if "argument" in n.message or "split" in n.message]
    about += [n.message for n in plan.notices if "run them" in n.message]
    assert any(said in message for message in about) if said else about == []
