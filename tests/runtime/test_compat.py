"""What ``runtime/_compat`` assumes of Dagster's private names, release by release."""

from collections.abc import Callable
from typing import Any

import dagster as dg
import pytest
from feature_runs import IO_MANAGER

from metaxy_dagster.runtime import _compat
from metaxy_dagster.runtime._compat import Step, StepOutput

DAYS = dg.StaticPartitionsDefinition(["a", "b", "c"])


class Spy(dg.IOManager):
    """Notes what the adapters say of each context."""

    def __init__(self) -> None:
        self.steps: list[Step | None] = []
        self.keys: dict[str, Any] = {}
        self.metadata: dict[str, Any] = {}

    def load_input(self, context: dg.InputContext) -> int:
        self.steps.append(_compat.running_step(context))
        self.keys[context.asset_key.to_user_string()] = _compat.input_partition_keys(context)
        self.metadata[context.asset_key.to_user_string()] = _compat.input_metadata(context)
        return 1

    def handle_output(self, context: dg.OutputContext, obj: object) -> None:
        del obj
        self.steps.append(_compat.running_step(context))
        _compat.set_data_version(context, "v1")


@pytest.fixture
def spy() -> Spy:
    return Spy()


@pytest.fixture
def materialize(instance: dg.DagsterInstance, spy: Spy) -> Callable[..., Any]:
    def run(*assets: Any, **options: Any) -> dg.ExecuteInProcessResult:
        return dg.materialize(
            list(assets), instance=instance, resources={IO_MANAGER: spy}, **options
        )

    return run


@dg.asset(io_manager_key=IO_MANAGER, metadata={"mine": 1}, partitions_def=DAYS)
def up() -> int:
    return 1


def test_a_step_and_its_outputs(materialize: Callable[..., Any], spy: Spy) -> None:
    @dg.multi_asset(
        outs={
            name: dg.AssetOut(io_manager_key=IO_MANAGER, metadata={"n": name}, is_required=False)
            for name in ("x", "y")
        },
        can_subset=True,
        partitions_def=DAYS,
    )
    def both(up: int):
        yield dg.Output(up, "x")

    result = materialize(up, both, partition_key="b", selection=["up", "x"])
    last = spy.steps[-1]
    assert last is not None
    assert last == Step(
        result.run_id,
        "both",
        ("both", 0),
        (StepOutput(dg.AssetKey("x"), last.outputs[0].metadata, DAYS, ("b",)),),
    )
    assert last.outputs[0].metadata["n"] == "x"
    assert spy.keys == {"up": ["b"]}
    assert spy.metadata["up"]["mine"] == 1


def test_the_attempts_of_a_step_are_counted(materialize: Callable[..., Any], spy: Spy) -> None:
    tries: list[int] = []

    @dg.asset(retry_policy=dg.RetryPolicy(max_retries=1), io_manager_key=IO_MANAGER)
    def flaky(up: int) -> int:
        tries.append(up)
        if len(tries) == 1:
            raise RuntimeError
        return up

    materialize(up, flaky, partition_key="a", selection=["up"])
    materialize(up, flaky, selection=["flaky"])
    assert [step.attempt for step in spy.steps if step and step.node == "flaky"] == [
        ("flaky", 0),
        ("flaky", 1),
        ("flaky", 1),
    ]


def test_all_partitions_are_not_enumerated(materialize: Callable[..., Any], spy: Spy) -> None:
    @dg.asset
    def report(up: int) -> None: ...

    materialize(up, report, partition_key="a", selection=["up"])
    materialize(up, report, selection=["report"])
    assert spy.keys == {"up": None}


def test_the_steps_of_a_graph_asset_share_their_node(
    materialize: Callable[..., Any], spy: Spy
) -> None:
    @dg.op
    def first(up: int) -> int:
        return up

    @dg.op(out=dg.Out(io_manager_key=IO_MANAGER))
    def second(value: int) -> int:
        return value

    @dg.graph_asset(partitions_def=DAYS)
    def down(up):
        return second(first(up))

    materialize(up, down, partition_key="c")
    steps = [step for step in spy.steps if step and step.node == "down"]
    assert [step.attempt[0] for step in steps] == ["down.first", "down.second"]
    assert {output.asset_key.to_user_string() for s in steps for output in s.outputs} == {"down"}


def test_contexts_that_were_made_outside_of_a_run() -> None:
    given = dg.build_input_context(
        asset_key=dg.AssetKey("up"),
        upstream_output=dg.build_output_context(definition_metadata={"mine": 1}),
    )
    assert _compat.running_step(given) is None
    assert _compat.input_metadata(given) == {"mine": 1}
    assert _compat.input_partition_keys(given) is None
    assert _compat.running_step(dg.build_output_context()) is None


def test_the_data_version_reaches_the_event(
    materialize: Callable[..., Any], instance: dg.DagsterInstance
) -> None:
    materialize(up, partition_key="a")
    record = instance.get_latest_materialization_event(dg.AssetKey("up"))
    assert record is not None
    assert record.asset_materialization is not None
    assert (record.asset_materialization.tags or {})["dagster/data_version"] == "v1"
