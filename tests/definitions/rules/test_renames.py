"""A rename is told with all that nobody can rewrite, and with what it leaves behind."""

from __future__ import annotations

import dagster as dg
import pandas as pd
import pytest

import metaxy_dagster as mxd

pytestmark = [
    pytest.mark.filterwarnings("ignore::dagster.BetaWarning"),
    pytest.mark.filterwarnings("ignore::dagster.SupersessionWarning"),
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
]

ROWS = pd.DataFrame({"id": [1, 2]})
OLD = dg.AssetKey("old")
SEVERAL = {"keys": [OLD]}
NAMED = [dg.AssetKey("old"), dg.AssetKey("other")]


def keys(feature, **more):
    return {"metaxy/feature": feature, "metaxy/id_columns": ["id"], **more}


@dg.asset(metadata=keys("new/one"))
def old():
    return ROWS


class Folder(dg.IOManager):
    def handle_output(self, context, obj): ...

    def load_input(self, context):
        return ROWS


# ------------------------------------------------------------------------------ keys in functions
def requests_by_text(context):
    yield dg.RunRequest(asset_selection=[dg.AssetKey("old")])


def requests_by_constant(context):
    yield dg.RunRequest(asset_selection=[OLD])


def requests_by_list(context):
    yield dg.RunRequest(asset_selection=NAMED)


def request():
    return dg.RunRequest(asset_selection=[dg.AssetKey(["old"])])


def requests_by_helper(context):
    return request()


def asks(context):
    context.instance.get_latest_materialization_event(dg.AssetKey("old"))
    return dg.SkipReason("nothing")


def enclosed(key):
    def requests(context):
        yield dg.RunRequest(asset_selection=[key])

    return requests


def innocent(context):
    return dg.SkipReason("old")


def other(context):
    yield dg.RunRequest(asset_selection=[dg.AssetKey("other")])


#: What a schedule or sensor does, and whether it names the old key.
FUNCTIONS = {
    "text": (requests_by_text, True),
    "constant": (requests_by_constant, True),
    "list": (requests_by_list, True),
    "helper": (requests_by_helper, True),
    "question": (asks, True),
    "enclosed": (enclosed(OLD), True),
    "innocent": (innocent, False),
    "another key": (other, False),
}


def sensor(function):
    return {"sensors": [dg.sensor(name="it", target="*")(function)]}


def schedule(function):
    made = dg.schedule(cron_schedule="@daily", name="it", target="*")
    return {"schedules": [made(function)]}


def asset_sensor(function):
    def react(context, event):
        return function(context)

    made = dg.asset_sensor(asset_key=dg.AssetKey("plain"), name="it", job_name="job")
    return {"sensors": [made(react)], "jobs": [dg.define_asset_job("job", "*")]}


def run_status_sensor(function):
    made = dg.run_status_sensor(run_status=dg.DagsterRunStatus.SUCCESS, name="it")
    return {"sensors": [made(function)]}


def plan_of(*assets, asset_keys="feature", **fields):
    defs = dg.Definitions(assets, **fields)
    keep = mxd.MetaxifySettings(io_routing="keep")
    return mxd.plan_definitions(defs, features=[], asset_keys=asset_keys, settings=keep)


def named(plan):
    return [n.message for n in plan.notices if n.kind == "rename" and "seems to name" in n.message]


@pytest.mark.parametrize("make", [sensor, schedule, asset_sensor, run_status_sensor])
@pytest.mark.parametrize("kind", FUNCTIONS)
def test_keys_in_schedules_and_sensors_are_named(kind, make):
    function, names = FUNCTIONS[kind]
    plan = plan_of(old, dg.AssetSpec("plain"), **make(function))
    messages = named(plan)
    assert len(messages) == names
    if names:
        what = "schedule" if make is schedule else "sensor"
        assert f"the code of {what} 'it' seems to name old" in messages[0]
    assert named(plan_of(old, dg.AssetSpec("plain"), asset_keys="keep", **make(function))) == []


def test_keys_in_functions_that_an_asset_calls_are_named():
    @dg.asset
    def asking():
        return request()

    (notice,) = [n for n in plan_of(old, asking).notices if n.kind == "rename"]
    assert notice.asset == "asking"


# --------------------------------------------------------------------------- what is left behind
def history(plan):
    return [notice.message for notice in plan.notices if notice.kind == "history"]


def test_the_lost_history_is_told():
    day = dg.DailyPartitionsDefinition("2024-01-01")
    more = [
        dg.asset(lambda: ROWS, name=name, metadata=keys(f"new/{name}", partition_by="day"))
        for name in ("b", "c")
    ]
    parted = dg.asset(
        lambda: ROWS,
        name="d",
        partitions_def=day,
        metadata=keys("new/d", partition_by="day"),
    )
    (message,) = history(plan_of(old, *more, parted))
    assert message.startswith("4 assets get another key (b, c, d, …)")
    assert "1 of them in each partition" in message
    assert 'asset_keys="keep"' in message
    assert history(plan_of(old, *more, parted, asset_keys="keep")) == []


#: What stores ``old``, and what of it stays behind.
STORAGES = {
    "the store": (lambda: old, {}, None),
    "own storage": (lambda: old, {"io_manager": Folder()}, "runs before its next one miss it"),
    "memory": (lambda: old, {"io_manager": dg.mem_io_manager}, None),
    "a source": (
        lambda: dg.SourceAsset("old", metadata=keys("new/one")),
        {"io_manager": Folder()},
        "nobody puts anything",
    ),
    "a source of a key": (
        lambda: dg.SourceAsset("old", metadata=keys("new/one"), io_manager_key="mine"),
        {"mine": Folder()},
        "nobody puts anything",
    ),
    "a spec": (
        lambda: dg.AssetSpec("old", metadata=keys("new/one")).with_io_manager_key("mine"),
        {"mine": Folder()},
        "nobody puts anything",
    ),
}


@pytest.mark.parametrize("kind", STORAGES)
def test_what_is_found_by_the_old_key_is_told(kind):
    make, resources, told = STORAGES[kind]
    plan = plan_of(make(), resources=resources)
    assert plan.errors == ()
    messages = [n.message for n in plan.notices if n.kind == "IO manager" and n.asset == "old"]
    assert [each for each in messages if "finds it under its key" in each] == messages
    assert len(messages) == (told is not None)
    assert all(told in each for each in messages)
