"""An injected dep comes before every op of a graph asset, at any depth."""

from __future__ import annotations

import itertools
from pathlib import Path

import dagster as dg
import pytest
from dagster._core.definitions.reconstruct import ReconstructableJob
from dagster._core.execution.api import create_execution_plan
from hypothesis import given, settings
from hypothesis import strategies as st

from metaxy_dagster.definitions import metaxify_definitions

KEYS = {"metaxy/id_columns": ["id"]}
FIT = {"metaxy/feature": "fit", "metaxy/deps": ["weather"], **KEYS}


@dg.asset(metadata={"metaxy/feature": "weather", **KEYS})
def weather() -> None: ...


@dg.asset
def plain():
    return 1


@dg.op
def source():
    return 1


@dg.op
def one(value):
    return value


@dg.op
def two(left, right):
    return left + right


@dg.op(config_schema={"number": dg.Field(int, default_value=1)})
def configured(context):
    return context.op_config["number"]


@dg.op(out=dg.DynamicOut())
def parts():
    for number in range(2):
        yield dg.DynamicOutput(number, mapping_key=str(number))


@dg.op
def total(values):
    return sum(values)


@dg.graph
def half(value):
    return two(source(), value)


@dg.graph
def lonely(value):  # its op with a config waits for nothing
    return two(configured(), value)


@dg.graph
def deeper(value):
    return two.alias("sum")(half.alias("inner")(value), half.alias("other")(source.alias("s")()))


@dg.graph
def deepest(value):
    return two(deeper(one.alias("sum")(value)), deeper.alias("again")(value=source()))


def graph_asset(body, **options):
    body.__name__ = "fit"
    return dg.graph_asset(metadata=FIT, **options)(body)


def several():
    @dg.graph_multi_asset(
        outs={"fit": dg.AssetOut(metadata=FIT), "loose": dg.AssetOut(is_required=False)}
    )
    def both():
        return {"fit": half(source()), "loose": lonely(configured())}

    return both


SHAPES = {
    "an op beside one that waits": lambda: graph_asset(lambda: half(source())),
    "an op with config only": lambda: graph_asset(lambda: lonely(source())),
    "three deep, the same op under three names": lambda: graph_asset(lambda: deepest(source())),
    "one graph twice": lambda: graph_asset(
        lambda: two(half.alias("a")(source()), half.alias("b")(configured()))
    ),
    "an asset is an input": lambda: graph_asset(
        lambda plain: one(half(plain)), ins={"plain": dg.AssetIn("plain")}
    ),
    "dynamic outputs": lambda: graph_asset(lambda: total(parts().map(half).collect())),
    "a dynamic output into a graph with an op that does not use it": lambda: graph_asset(
        lambda: total(parts().map(lonely).collect())
    ),
    "fan-in": lambda: graph_asset(lambda: total([half(source()), configured()])),
    "several assets": several,
}


def waits_of(defs):
    """Per step of the graph asset, whatever it waits for in the end."""
    waits = create_execution_plan(defs.resolve_implicit_global_asset_job_def()).get_all_step_deps()
    found = {}
    for step in waits:
        seen, waiting = set(), [step]
        while waiting:
            for other in waits[waiting.pop()]:
                name = other.partition("[")[0]
                if name not in seen:
                    seen.add(name)
                    waiting += [each for each in waits if each.partition("[")[0] == name]
        found[step] = seen
    return found


def assert_ordered(assets):
    before = waits_of(dg.Definitions(assets=assets))
    after = waits_of(metaxify_definitions(dg.Definitions(assets=assets)))
    assert before.keys() == after.keys()  # step keys stay
    early = [step for step in after if "." in step and "weather" not in after[step]]
    assert not early, early
    for step, waits in before.items():
        assert after[step] - waits <= {"weather"}


@pytest.mark.parametrize("shape", SHAPES)
def test_no_op_of_a_graph_asset_starts_before_an_injected_dep(shape):
    assert_ordered([weather, plain, SHAPES[shape]()])


def _graph(shape, names):
    """A graph of one input, as a shape says: its nodes, each with the nodes that it waits for."""

    def body(value):
        made = [value]
        for kind, uses in shape:
            picked = [made[use % len(made)] for use in uses]
            if isinstance(kind, tuple):
                inner = _graph(kind, names).alias(f"n{len(made)}")
                made.append(inner(picked[0] if picked else source.alias(f"f{len(made)}")()))
            elif not picked:
                made.append(source.alias(f"n{len(made)}")())
            elif len(picked) == 1:
                made.append(one.alias(f"n{len(made)}")(picked[0]))
            else:
                made.append(two.alias(f"n{len(made)}")(*picked[:2]))
        return total.alias("last")(made)

    body.__name__ = f"graph_{next(names)}"
    return dg.graph(body)


USES = st.lists(st.integers(0, 5), max_size=2)
SHAPE = st.recursive(
    st.lists(st.tuples(st.just("op"), USES), max_size=3).map(tuple),
    lambda inner: st.lists(
        st.tuples(st.one_of(st.just("op"), inner), USES), min_size=1, max_size=3
    ).map(tuple),
    max_leaves=6,
)


@settings(max_examples=40, deadline=None)
@given(SHAPE)
def test_no_op_of_any_graph_starts_early(shape):
    inner = _graph(shape, itertools.count())
    assert_ordered([weather, graph_asset(lambda: inner(source()))])


def test_config_of_inner_ops_and_config_mappings_stay_where_they_were():
    @dg.config_mapping(config_schema={"number": int})
    def mapping(value):
        return {"configured": {"config": value}}

    @dg.graph(config=mapping)
    def mapped(value):
        return two(configured(), value)

    def body():
        return two(mapped(source()), lonely.alias("own")(source.alias("s")()))

    fit = graph_asset(body)
    config = {
        "ops": {
            "fit": {
                "ops": {
                    "mapped": {"config": {"number": 40}},
                    "own": {"ops": {"configured": {"config": {"number": 2}}}},
                }
            }
        }
    }
    stays = {"metaxy_io_manager": dg.mem_io_manager, "store": object()}
    for defs in (
        dg.Definitions(assets=[weather, fit]),
        metaxify_definitions(dg.Definitions(assets=[weather, fit], resources=stays)),
    ):
        result = defs.resolve_implicit_global_asset_job_def().execute_in_process(run_config=config)
        assert result.output_for_node("fit") == 44


def test_worker_processes_wait_inside_of_inner_graphs(tmp_path, monkeypatch):
    trace = tmp_path / "trace"
    monkeypatch.setenv("METAXY_TEST_TRACE", str(trace))
    module = Path(__file__).with_name("nested_for_workers.py")
    job = ReconstructableJob.for_file(str(module), "job")
    with (
        dg.instance_for_test(temp_dir=str(tmp_path)) as instance,
        dg.execute_job(job, instance=instance, raise_on_error=True) as result,
    ):
        assert result.success
    ran = trace.read_text().split()
    assert ran[0] == "root"
    assert sorted(ran[1:]) == ["fitted", "measured", "numbered"]
