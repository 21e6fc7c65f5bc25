"""What the sensor and the condition ask for, over histories of commits and runs."""

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
from feature_runs import Repository, images

import metaxy_dagster as mxd

# What Dagster's own tester uses is beta.
pytestmark = pytest.mark.filterwarnings("ignore:.* is currently in beta")

THUMB = dg.AssetKey("thumb")
STATUSES = dg.DagsterRunStatus


class World:
    """A repository of which the daemon watches one asset; each word of a history is a method."""

    def __init__(
        self, store: mxd.DuckDBMetadataStore, resources: Any, instance: Any, **patience: Any
    ) -> None:
        self.store, self.instance = store, instance
        self.repository = Repository({})
        self.patience = {"backoff_seconds": 0, **patience}
        assets = self.repository.assets()[:2]
        self.defs = dg.Definitions(assets=assets, resources=resources)
        self.job = self.defs.resolve_implicit_global_asset_job_def()
        self.added = 0
        self.asked: list[bool] = []
        self.begun: dg.DagsterRun | None = None
        self.start()

    def start(self) -> None:
        """The daemon starts, with nothing in its memory."""
        self.cursor: Any = None

    lose = start

    def tick(self) -> None:
        raise NotImplementedError

    def add(self) -> None:
        rows = {self.added + i: (f"p{self.added + i}", "l") for i in range(2)}
        self.added += 2
        self.store.write("image", images(rows))

    def run(self) -> None:
        self.job.execute_in_process(
            instance=self.instance, asset_selection=[THUMB], raise_on_error=False
        )

    def fail(self) -> None:
        self.repository.fails = "thumb"
        self.run()
        self.repository.fails = None

    def begin(self) -> None:
        self.begun = self.instance.create_run_for_job(
            self.job, asset_selection=frozenset([THUMB]), status=STATUSES.STARTED
        )

    def queue(self) -> None:
        self.begun = self.instance.create_run_for_job(
            self.job, asset_selection=frozenset([THUMB]), status=STATUSES.NOT_STARTED
        )

    def vanish(self) -> None:
        assert self.begun is not None
        self.instance.delete_run(self.begun.run_id)

    def cancel(self) -> None:
        assert self.begun is not None
        self.instance.report_run_canceled(self.begun)

    def die(self) -> None:
        assert self.begun is not None
        self.instance.report_run_failed(self.begun)

    def leave(self) -> None:
        """From now on two samples are left out of what the asset returns."""
        self.repository.leave_out = {0, 1}

    def quarantine(self) -> None:
        for _ in range(3):
            increment = self.store.resolve_update("thumb")
            failed = [{"id": 0}, {"id": 1}]
            self.store.record_failures("thumb", failed, "torn", increment=increment)

    def retry(self) -> None:
        self.store.retry("thumb")

    def forget(self) -> None:
        """Two rows of the asset itself are deleted."""
        self.store.delete("thumb", filters=f"id >= {self.added - 2}")

    def backup(self) -> None:
        shutil.copy(self.store.path, self.store.path.with_suffix(".backup"))

    def restore(self) -> None:
        shutil.copy(self.store.path.with_suffix(".backup"), self.store.path)

    def live(self, history: str) -> list[bool]:
        for word in history.split():
            getattr(self, word)()
        return self.asked


class SensorWorld(World):
    def start(self) -> None:
        self.cursor = None
        self.sensor = mxd.build_pending_sensor(self.defs.assets, **self.patience)

    lose = start

    def restart(self) -> None:
        cursor = self.cursor
        self.start()
        self.cursor = cursor

    def tick(self) -> None:
        context = dg.build_sensor_context(
            instance=self.instance, cursor=self.cursor, resources={"store": self.store}
        )
        found = self.sensor.evaluate_tick(context)
        self.cursor = found.cursor
        self.asked.append(bool(found.run_requests))


class ConditionWorld(World):
    def start(self) -> None:
        self.cursor = None
        condition = mxd.pending_samples(once=True, **self.patience)
        assets = [
            each.map_asset_specs(lambda s: s.replace_attributes(automation_condition=condition))
            if each.key == THUMB
            else each
            for each in self.defs.assets
        ]
        self.watched = dg.Definitions(assets=assets, resources=self.defs.resources)

    lose = start

    def restart(self) -> None:
        self.cursor = dg.deserialize_value(dg.serialize_value(self.cursor))

    def tick(self) -> None:
        found = dg.evaluate_automation_conditions(
            self.watched, instance=self.instance, cursor=self.cursor
        )
        self.cursor = found.cursor
        self.asked.append(found.total_requested > 0)


@pytest.fixture
def instance() -> Iterator[dg.DagsterInstance]:
    """One of its own for each history."""
    with dg.DagsterInstance.ephemeral() as made:
        yield made


WORLDS = [SensorWorld, ConditionWorld]
HISTORIES = {
    "as many new samples as were just computed": ("add tick run add tick", "+ +"),
    "nothing to do": ("tick add run tick", "- -"),
    "a run that failed, up to the limit": (
        "add tick fail tick fail tick fail tick tick add tick",
        "+ + + - - +",
    ),
    "a run that died without an event": ("add tick begin tick vanish tick run tick", "+ - + -"),
    "a run that waits to be started": ("add tick queue tick tick die tick", "+ - - +"),
    "a run that was cancelled": ("add tick begin cancel tick begin tick", "+ + -"),
    "a run that never came to be": ("add tick tick tick tick", "+ + + -"),
    "the daemon restarts": ("add tick begin restart tick die restart tick", "+ - +"),
    "the daemon restarts after a run": ("add tick run restart tick add tick", "+ - +"),
    "its memory is lost while a run goes on": ("add tick begin lose tick vanish tick", "+ - +"),
    "its memory is lost after a failure": ("add tick fail lose tick run tick", "+ + -"),
    "commits while a run goes on": ("add tick begin add tick die tick", "+ - +"),
    "commits after a failure": ("add tick fail fail add tick fail tick", "+ + +"),
    "samples that are left out": ("leave add add tick run tick run tick tick", "+ + - -"),
    "samples that are left out, and new ones": (
        "leave add add tick run tick run tick add tick run tick run tick",
        "+ + - + + -",
    ),
    "quarantined samples": ("add add tick quarantine run tick tick", "+ - -"),
    "quarantined samples that are tried again": (
        "add quarantine tick retry tick run tick",
        "- + -",
    ),
    "as many samples are deleted": ("add tick run forget tick", "+ +"),
    "the store is put back": ("add backup tick run tick restore tick run tick", "+ - + -"),
    "the store is put back, and its memory lost": (
        "add backup tick run restore lose tick run tick",
        "+ + -",
    ),
    "the store is put back and goes on": (
        "add tick run backup add tick run restore add tick",
        "+ + +",
    ),
}


@pytest.mark.parametrize("history", HISTORIES)
@pytest.mark.parametrize("kind", WORLDS)
def test_what_is_asked_for(
    store: mxd.DuckDBMetadataStore,
    resources: dict[str, Any],
    instance: dg.DagsterInstance,
    kind: Callable[..., World],
    history: str,
) -> None:
    words, wanted = HISTORIES[history]
    world = kind(store, resources, instance)
    assert world.live(words) == [one == "+" for one in wanted.split()]


@pytest.mark.parametrize("kind", WORLDS)
def test_with_an_instance_on_disk(
    store: mxd.DuckDBMetadataStore,
    resources: dict[str, Any],
    tmp_path: Path,
    kind: Callable[..., World],
) -> None:
    """As a daemon has it: what a run was planned for is found in its event log."""
    (tmp_path / "dagster").mkdir()
    with dg.DagsterInstance.local_temp(str(tmp_path / "dagster")) as instance:
        world = kind(store, resources, instance)
        history = "add tick begin tick vanish tick fail restart tick run tick add tick"
        wanted = [True, False, True, True, False, True]
        assert world.live(history) == wanted


@pytest.mark.parametrize("kind", WORLDS)
def test_after_a_failure_it_waits(
    store: mxd.DuckDBMetadataStore,
    resources: dict[str, Any],
    instance: dg.DagsterInstance,
    kind: Callable[..., World],
) -> None:
    world = kind(store, resources, instance, backoff_seconds=10_000)
    assert world.live("add tick fail tick add tick") == [True, False, True]


@pytest.mark.parametrize("kind", WORLDS)
def test_how_often(
    store: mxd.DuckDBMetadataStore,
    resources: dict[str, Any],
    instance: dg.DagsterInstance,
    kind: Callable[..., World],
) -> None:
    world = kind(store, resources, instance, max_attempts=1)
    assert world.live("add tick fail tick") == [True, False]


@pytest.mark.parametrize(
    "patience",
    [
        {"max_attempts": 0},
        {"max_attempts": True},
        {"max_attempts": "3"},
        {"backoff_seconds": -1},
        {"backoff_seconds": float("nan")},
    ],
    ids=str,
)
def test_patience_that_makes_no_sense_is_refused(patience: dict[str, Any]) -> None:
    asset = dg.AssetSpec("thumb", metadata={"metaxy/feature": "thumb"})
    for make in (
        lambda: mxd.build_pending_sensor([asset], **patience),
        lambda: mxd.pending_samples(**patience),
    ):
        with pytest.raises(mxd.DefinitionsError, match=next(iter(patience))):
            make()


@pytest.mark.parametrize(
    "cursor",
    [
        '{"next": 0, "seen": {"thumb": [2, 0, 0]}}',
        '{"next": "x", "seen": []}',
        '{"next": -7}',
        "[]",
        "null",
        "set by hand",
    ],
)
def test_a_cursor_of_an_older_release_or_of_somebody_else_is_forgotten(
    store: mxd.DuckDBMetadataStore,
    resources: dict[str, Any],
    instance: dg.DagsterInstance,
    cursor: str,
) -> None:
    world = SensorWorld(store, resources, instance)
    world.cursor = cursor
    assert world.live("add tick run tick") == [True, False]


def test_a_tick_says_that_an_upstream_was_never_written_here(
    store: mxd.DuckDBMetadataStore, resources: dict[str, Any], instance: dg.DagsterInstance
) -> None:
    instance.report_runless_asset_event(dg.AssetMaterialization("image"))
    world = SensorWorld(store, resources, instance)
    context = dg.build_sensor_context(instance=instance, resources={"store": store})
    said = world.sensor.evaluate_tick(context).skip_message
    assert "Feature image was never written to this store" in str(said)
