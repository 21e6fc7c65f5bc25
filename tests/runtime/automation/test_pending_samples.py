"""An automation condition that counts: true while samples are pending."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable
from typing import Any

import dagster as dg
import polars as pl
import pytest
from feature_runs import IO_MANAGER, Repository, feature, images

import metaxy_dagster as mxd

# What Dagster's own tester uses, and sensors in the code location, are beta.
pytestmark = pytest.mark.filterwarnings("ignore:.* is currently in beta")

ROWS = {i: (f"p{i}", f"l{i}") for i in range(4)}
IN_PROGRESS = dg.AutomationCondition.in_progress()


class Ticks:
    """Evaluations one after the other, as the daemon makes them."""

    def __init__(self, defs: dg.Definitions, instance: dg.DagsterInstance) -> None:
        self.defs, self.instance = defs, instance
        self.cursor: Any = None

    def requested(self) -> dict[str, set[str | None]]:
        found = dg.evaluate_automation_conditions(
            self.defs, instance=self.instance, cursor=self.cursor
        )
        self.cursor = found.cursor
        keys = [result.key for result in found.results]
        asked = {key.to_user_string(): set(found.get_requested_partitions(key)) for key in keys}
        return {key: partitions for key, partitions in asked.items() if partitions}


def with_condition(
    assets: list[dg.AssetsDefinition], condition: Any, *keys: str
) -> list[dg.AssetsDefinition]:
    return [
        each.map_asset_specs(lambda spec: spec.replace_attributes(automation_condition=condition))
        if each.key.to_user_string() in keys
        else each
        for each in assets
    ]


@pytest.fixture
def ticks(resources: dict[str, Any], instance: dg.DagsterInstance) -> Callable[..., Ticks]:
    def make(*assets: Any) -> Ticks:
        return Ticks(dg.Definitions(assets=list(assets), resources=resources), instance)

    return make


def test_it_is_true_while_samples_are_pending(
    run: Callable[..., Any], ticks: Callable[..., Ticks]
) -> None:
    repository = Repository(ROWS)
    keys = ("image", "thumb", "pair")
    assets = with_condition(repository.assets(), mxd.pending_samples(), *keys)
    daemon = ticks(*assets)
    assert daemon.requested() == {}
    run(*assets, only=["image"])
    assert daemon.requested() == {"thumb": {None}}
    assert daemon.requested() == {"thumb": {None}}, "for as long as they are pending"
    run(*assets, only=["thumb", "name"])
    assert daemon.requested() == {"pair": {None}}
    run(*assets, only=["pair"])
    assert daemon.requested() == {}
    repository.rows[0] = ("other", "l0")
    run(*assets, only=["image"])
    assert daemon.requested() == {"thumb": {None}}, "stale samples count as well"


@pytest.mark.parametrize(
    ("condition", "wanted"),
    [
        (mxd.pending_samples(), {}),
        (mxd.pending_samples(orphaned=True), {"thumb": {None}}),
        (~mxd.pending_samples(), {"thumb": {None}}),
        (mxd.pending_samples() | mxd.pending_samples(orphaned=True), {"thumb": {None}}),
        (mxd.pending_samples(orphaned=True) & ~IN_PROGRESS, {"thumb": {None}}),
        (mxd.pending_samples(orphaned=True) & ~mxd.pending_samples(), {"thumb": {None}}),
        (mxd.pending_samples() & mxd.pending_samples(orphaned=True), {}),
    ],
    ids=["pending", "with orphaned", "not", "or", "not in progress", "only orphaned", "and"],
)
def test_it_combines_with_others_where_samples_are_orphaned(
    store: mxd.DuckDBMetadataStore, ticks: Callable[..., Ticks], condition: Any, wanted: Any
) -> None:
    store.write("image", images(ROWS))
    store.write("thumb", store.resolve_update("thumb").pending)
    store.delete("image", filters=["id = 1"])
    assets = with_condition(Repository(ROWS).assets()[:2], condition, "thumb")
    assert ticks(*assets).requested() == wanted


def test_once_asks_again_only_when_the_counts_change(
    run: Callable[..., Any], store: mxd.DuckDBMetadataStore, ticks: Callable[..., Ticks]
) -> None:
    repository = Repository(ROWS)
    repository.leave_out = {2, 3}
    condition = mxd.pending_samples(once=True)
    assets = with_condition(repository.assets(), condition, "thumb")
    store.write("image", images(ROWS))
    daemon = ticks(*assets)
    assert daemon.requested() == {"thumb": {None}}
    assert daemon.requested() == {}, "it was asked for"
    run(*assets, only=["thumb"])
    assert daemon.requested() == {"thumb": {None}}, "two are left: other counts"
    run(*assets, only=["thumb"])
    assert daemon.requested() == {}, "the same two, for good"
    repository.rows[9] = ("p9", "l9")
    run(*assets, only=["image"])
    assert daemon.requested() == {"thumb": {None}}


def test_once_goes_on_asking_while_something_else_stands_in_the_way(
    store: mxd.DuckDBMetadataStore, ticks: Callable[..., Ticks]
) -> None:
    store.write("image", images(ROWS))
    condition = mxd.pending_samples(once=True) & ~dg.AutomationCondition.missing()
    daemon = ticks(*with_condition(Repository(ROWS).assets()[:2], condition, "thumb"))
    with dg.DagsterInstance.ephemeral() as daemon.instance:
        assert daemon.requested() == {}
        assert daemon.requested() == {}
        daemon.instance.report_runless_asset_event(dg.AssetMaterialization("thumb"))
        assert daemon.requested() == {"thumb": {None}}
        assert daemon.requested() == {}


def test_a_root_has_nothing_pending(ticks: Callable[..., Ticks]) -> None:
    assets = with_condition(Repository(ROWS).assets(), mxd.pending_samples(), "image")
    assert ticks(*assets).requested() == {}


def test_on_an_asset_without_a_feature_it_says_so(ticks: Callable[..., Ticks]) -> None:
    @dg.asset(automation_condition=mxd.pending_samples())
    def plain(): ...

    with pytest.raises(Exception, match="conditions for plain") as caught:
        ticks(plain).requested()
    cause = caught.value.__cause__
    assert isinstance(cause, mxd.RunError)
    assert "metaxy/feature" in str(cause.remedy)


def test_without_any_store_it_says_so_and_a_store_can_be_named(
    store: mxd.DuckDBMetadataStore, ticks: Callable[..., Ticks]
) -> None:
    def thumb(condition: Any) -> dg.AssetSpec:
        metadata = {"metaxy/feature": "thumb"}

        @dg.asset(metadata=metadata, automation_condition=condition)
        def thumb(): ...

        return thumb

    store.write("image", images(ROWS))
    with pytest.raises(Exception, match="thumb") as caught:
        ticks(thumb(mxd.pending_samples())).requested()
    assert "store=" in str(caught.value.__cause__)
    named = mxd.pending_samples(store=store)
    assert ticks(thumb(named)).requested() == {"thumb": {None}}


def test_of_the_deps_of_an_asset(
    store: mxd.DuckDBMetadataStore, ticks: Callable[..., Ticks]
) -> None:
    """A report that waits until everything before it is done."""
    store.write("image", images(ROWS))

    @dg.asset(
        deps=["thumb", "image", "plain"],
        automation_condition=dg.AutomationCondition.any_deps_match(mxd.pending_samples()),
    )
    def report(): ...

    assets = [*Repository(ROWS).assets()[:2], dg.AssetSpec("plain"), report]
    assert ticks(*assets).requested() == {"report": {None}}
    store.write("thumb", store.resolve_update("thumb").pending)
    assert ticks(*assets).requested() == {}


DAYS = dg.DailyPartitionsDefinition(start_date="2024-01-01", end_date="2024-02-10")


@pytest.mark.parametrize("column", [dt.date, dt.datetime, str], ids=lambda kind: kind.__name__)
def test_of_partitions_those_with_pending_samples(
    store: mxd.DuckDBMetadataStore, ticks: Callable[..., Ticks], column: type
) -> None:
    first = dt.date(2024, 1, 1)
    convert = {
        dt.date: lambda day: day,
        dt.datetime: lambda day: dt.datetime(day.year, day.month, day.day, 13),  # noqa: DTZ001
        str: str,
    }[column]
    offsets = [0, 5, 5, 30]
    frame = pl.DataFrame(
        {
            "id": range(4),
            "pixels": list("abcd"),
            "label": ["x"] * 4,
            "day": [convert(first + dt.timedelta(days=n)) for n in offsets],
        }
    )
    store.write("image", frame)
    metadata = feature("thumb", input="increment", partition_by="day")

    def of(condition: Any) -> Ticks:
        @dg.asset(partitions_def=DAYS, automation_condition=condition, **metadata)
        def thumb(image: pl.DataFrame) -> pl.DataFrame:
            return image

        return ticks(dg.AssetSpec("image"), thumb)

    days = {"2024-01-01", "2024-01-06", "2024-01-31"}
    assert of(mxd.pending_samples()).requested() == {"thumb": days}
    few = mxd.pending_samples(max_partitions=2)
    assert of(few).requested() == {"thumb": days - {"2024-01-31"}}
    daemon = of(mxd.pending_samples(once=True, max_partitions=2))
    assert daemon.requested() == {"thumb": days - {"2024-01-31"}}
    assert daemon.requested() == {"thumb": {"2024-01-31"}}
    assert daemon.requested() == {}
    store.write("thumb", store.resolve_update("thumb", filters=["id < 3"]).pending)
    assert of(mxd.pending_samples()).requested() == {"thumb": {"2024-01-31"}}


def test_in_the_sensor_of_a_repository(
    store: mxd.DuckDBMetadataStore, resources: dict[str, Any], instance: dg.DagsterInstance
) -> None:
    """Dagster evaluates it in the code location, where the resources are."""
    store.write("image", images(ROWS))
    assets = with_condition(Repository(ROWS).assets(), mxd.pending_samples(), "thumb", "name")
    sensor = dg.AutomationConditionSensorDefinition(
        "automation", target=dg.AssetSelection.all(), use_user_code_server=True
    )
    defs = dg.Definitions(assets=assets, sensors=[sensor], resources=resources)
    repository = defs.get_repository_def()
    context = dg.build_sensor_context(instance=instance, repository_def=repository)
    tick = repository.get_sensor_def("automation").evaluate_tick(context)
    keys = {key.path[0] for each in tick.run_requests for key in each.asset_selection}
    assert keys == {"thumb", "name"}


def test_a_process_without_this_package_can_still_load_the_location() -> None:
    """Dagster serialises conditions of its own only; of others it keeps a description."""
    condition = mxd.pending_samples(once=True).with_label("work to do")
    assert not condition.is_serializable
    assert not (condition & ~IN_PROGRESS).is_serializable
    snapshot = dg.serialize_value(condition.get_snapshot())
    assert "work to do" in snapshot
    assert "new or stale" in snapshot
    assert IO_MANAGER not in snapshot
