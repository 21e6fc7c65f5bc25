"""Functions that load by themselves or make their data themselves, as the plan sees them."""

# Annotations are not postponed here: Dagster reads that of the context when an asset is made.

import dagster as dg
import polars as pl
import pytest
from refused_assets import (
    INCREMENT,
    ON_RAW,
    ROWS,
    keys,
    made,
    plan_of,
)

import metaxy_dagster as mxd

pytestmark = pytest.mark.filterwarnings("ignore::dagster.BetaWarning")
SELF = {"metaxy__output": "self"}


def nothing() -> None:
    ROWS.head()


def nothing_of_raw(raw: pl.DataFrame) -> None:
    raw.head()


def takes_increment(increment: mxd.Increment) -> None:
    increment.pending.collect()


def takes_increment_of_two(increment: mxd.Increment):
    increment.pending.collect()


def with_a_value(raw: pl.DataFrame) -> dg.MaterializeResult:
    return dg.MaterializeResult(value=raw)


def with_an_output(raw: pl.DataFrame):
    yield dg.MaterializeResult(metadata={"a": 1}) if raw is None else dg.Output(raw)


def two_ops():
    @dg.op
    def first(raw: pl.DataFrame) -> int:
        return len(raw)

    @dg.op(out=dg.Out(dg.Nothing))
    def second(rows: int) -> None:
        assert rows

    @dg.graph_asset(name="x", metadata=keys(**INCREMENT))
    def graph(raw):
        return second(first(raw))

    return graph


def several(**more):
    metadata = {name: keys(name, **INCREMENT, **ON_RAW) for name in ("x", "y")}
    outs = {
        name: dg.AssetOut(dagster_type=dg.Nothing, metadata=metadata[name]) for name in metadata
    }
    return dg.multi_asset(outs=outs, **more)(takes_increment_of_two)


def in_a_graph():
    op = dg.op(name="inner", out=dg.Out(dg.Nothing))(takes_increment)

    @dg.graph_asset(name="x", metadata=keys(**INCREMENT, **ON_RAW))
    def graph(increment):
        return op(increment)

    return graph


def shared(**more):
    """The asset's op is also one of a job."""
    op = dg.op(name="inner", out=dg.Out(dg.Nothing))(nothing)

    @dg.job
    def other():
        op()

    asset = dg.AssetsDefinition.from_op(
        op,
        keys_by_output_name={"result": dg.AssetKey("x")},
        metadata_by_output_name={"result": keys(**ON_RAW, **more)},
    )
    return asset, other


#: The asset, and parts of its fault.
FAULTS = {
    "a root that makes its data itself": (
        lambda: made(nothing, metadata=keys(**SELF)),
        ('"metaxy/output": "self" does nothing', "no upstream feature", "return a frame"),
    ),
    "a root that takes increments": (
        lambda: made(nothing, metadata=keys(**INCREMENT)),
        ("computed from no other feature", "return a frame of what it made"),
    ),
    "several samples of each": (
        lambda: made(
            nothing,
            metadata=keys(
                **INCREMENT,
                metaxy__deps=[{"feature": "raw", "lineage": {"type": "expansion", "on": ["id"]}}],
            )
            | {"metaxy/id_columns": ["id", "part"]},
        ),
        ("nothing says which ones were made", '"metaxy/id_columns"', "mxd.pending(context)"),
    ),
    "a graph of several ops": (two_ops, ("cannot be recorded", "a graph of several ops")),
    "an increment of several features": (
        several,
        ("cannot be recorded", 'mxd.pending(context, "<feature>")'),
    ),
    "an increment in a graph": (in_a_graph, ("cannot be recorded", "mxd.pending(context)")),
    "an increment of a root": (
        lambda: made(takes_increment, metadata=keys()),
        ("a parameter is an Increment", "increment: mxd.Increment", '"metaxy/input"'),
    ),
    "an increment of no feature": (
        lambda: made(takes_increment),
        ("a parameter is an Increment", '"metaxy/feature"'),
    ),
}


@pytest.mark.parametrize("kind", FAULTS)
def test_what_cannot_be_recorded_is_one_fault_with_a_remedy(kind):
    make, parts = FAULTS[kind]
    error = plan_of(make()).errors[0]
    assert error.asset in ("x", "x, y")
    assert error.remedy
    assert all(part in str(error) for part in parts), error
    if kind != "an increment of no feature":
        assert len(plan_of(make()).errors) == 1


def changes(plan, name="x"):
    (asset,) = (each for each in plan.assets if each.key.path == [name])
    return [(change.what, change.value) for change in asset.changes]


#: Functions, and whether what they make is recorded.
SEEN = {
    "nothing of deps": (lambda: made(nothing, metadata=keys(**INCREMENT, **ON_RAW)), True),
    "nothing of all samples": (lambda: made(nothing, metadata=keys(**ON_RAW)), False),
    "said of all samples": (lambda: made(nothing, metadata=keys(**ON_RAW, **SELF)), True),
    "said not to": (
        lambda: made(
            nothing_of_raw, metadata=keys(**INCREMENT, metaxy__output="returned", **ON_RAW)
        ),
        False,
    ),
    "a result with a value": (lambda: made(with_a_value, metadata=keys(**INCREMENT)), False),
    "an output somewhere": (lambda: made(with_an_output, metadata=keys(**INCREMENT)), False),
    "a frame": (lambda: made(metadata=keys(**INCREMENT)), False),
}


@pytest.mark.parametrize("kind", SEEN)
def test_what_returns_nothing_is_seen(kind):
    make, recorded = SEEN[kind]
    plan = plan_of(make())
    assert plan.errors == ()
    (asset,) = (each for each in plan.assets if each.key.path == ["x"])
    assert (asset.spec.metadata.get("metaxy/output") == "self") == recorded
    said = dict(changes(plan)).get("output")
    assert said == ("metaxy/output: self" if recorded and "said" not in kind else None)


def test_why_a_body_is_called_all_the_same_is_said():
    check = dg.AssetCheckSpec("counted", asset="x")
    asset = dg.asset(
        name="x", check_specs=[check], metadata=keys(**INCREMENT, **ON_RAW), deps=["raw"]
    )(with_checks)
    plan = plan_of(asset)
    (said,) = (n.message for n in plan.notices if n.asset == "x")
    assert "also runs while nothing is pending: it reports results of asset checks" in said
    some = dg.multi_asset(
        specs=[
            dg.AssetSpec("x", deps=["raw"], metadata=keys(**INCREMENT)),
            dg.AssetSpec("plainer", deps=["raw"]),
        ]
    )(unannotated)
    (said,) = (n.message for n in plan_of(some).notices if "plainer" in (n.asset or ""))
    assert "it also computes plainer, which takes no increment" in said


def unannotated():
    ROWS.head()


def with_checks():
    yield dg.MaterializeResult(check_results=[dg.AssetCheckResult(passed=True)])


@pytest.mark.parametrize(
    ("more", "part"),
    [
        (SELF, "its op is also used by a job"),
        (INCREMENT, "none of its arguments is an upstream feature"),
    ],
)
def test_an_op_that_a_job_uses_too_stays_as_it_is(more, part):
    asset, other = shared(**more)
    plan = plan_of(asset, jobs=[other])
    (error,) = plan.errors
    assert part in str(error)
    (planned,) = (each for each in plan.assets if each.key.path == ["x"])
    assert planned.spec.metadata.get("metaxy/output") == more.get("metaxy__output")
    assert "output" not in dict(changes(plan))


def test_the_parameter_is_no_dep_any_more():
    @dg.asset(name="increment")
    def other() -> None: ...

    asset = made(takes_increment, deps=["raw"], metadata=keys(**INCREMENT))
    defs = plan_of(asset).apply()
    node = defs.resolve_asset_graph().get(dg.AssetKey("x"))
    assert sorted(each.to_user_string() for each in node.parent_keys) == ["raw"]
