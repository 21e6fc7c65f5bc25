"""Two repositories as teams have them, retrofitted by metadata keys and one line."""

from __future__ import annotations

import importlib
import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType

import dagster as dg
import pytest
from patience import patient

import metaxy_dagster as mxd

FOLDER = Path(__file__).parent
NAMES = ("shop_elt", "vision_ml")

pytestmark = [
    # Old code uses what is beta, superseded or deprecated by now: that is the point of it.
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
    pytest.mark.filterwarnings("ignore::dagster.BetaWarning"),
    pytest.mark.filterwarnings("ignore::dagster.PreviewWarning"),
    pytest.mark.filterwarnings("ignore::dagster.SupersessionWarning"),
]


@dataclass(frozen=True)
class Repository:
    """A repository before and after the one line."""

    name: str
    module: ModuleType
    legacy: dg.Definitions
    defs: dg.Definitions
    store: mxd.DuckDBMetadataStore

    def rows(self, feature: str) -> int:
        """How many samples are stored."""
        bound = self.store.with_graph(self.defs.resources["metaxy_io_manager"].store.graph)
        return bound.count(feature)


@pytest.fixture(params=NAMES)
def repository(
    request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Repository]:
    yield from open_repository(request.param, tmp_path, monkeypatch)


@pytest.fixture
def shop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Repository]:
    yield from open_repository("shop_elt", tmp_path, monkeypatch)


@pytest.fixture
def vision(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Repository]:
    yield from open_repository("vision_ml", tmp_path, monkeypatch)


def open_repository(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Repository]:
    for variable in ("SHOP_WAREHOUSE", "VISION_FOLDER"):
        monkeypatch.setenv(variable, str(tmp_path / "data"))
    for variable in ("SHOP_STORE", "VISION_STORE"):
        monkeypatch.setenv(variable, str(tmp_path / "metaxy.duckdb"))
    monkeypatch.syspath_prepend(FOLDER)
    module = importlib.import_module(f"{name}.definitions")
    defs = module.defs if isinstance(module.defs, dg.Definitions) else module.defs()
    store = mxd.DuckDBMetadataStore(tmp_path / "metaxy.duckdb")
    yield Repository(name, module, module.legacy(), defs, store)
    for loaded in [each for each in sys.modules if each.split(".")[0] == name]:
        del sys.modules[loaded]


def selected(defs: dg.Definitions) -> dict[str, tuple[list[str], list[str]]]:
    """What every job executes, those of schedules' targets included: assets, ops and checks."""
    return {
        job.name: (
            sorted(key.to_user_string() for key in job.asset_layer.executable_asset_keys),
            sorted(job.graph.node_dict),
        )
        for job in defs.resolve_all_job_defs()
    }


def test_both_are_loadable(repository: Repository) -> None:
    dg.Definitions.validate_loadable(repository.legacy)
    dg.Definitions.validate_loadable(repository.defs)


def test_every_job_selects_what_it_did(repository: Repository) -> None:
    before = selected(repository.legacy)
    assert len(before) > 8
    assert selected(repository.defs) == before


def test_schedules_and_sensors_stay(repository: Repository) -> None:
    legacy, defs = repository.legacy, repository.defs
    assert [each.name for each in defs.schedules] == [each.name for each in legacy.schedules]
    assert [each.name for each in defs.sensors] == [each.name for each in legacy.sensors]
    for schedule in legacy.schedules:
        old, new = (one.resolve_schedule_def(schedule.name).cron_schedule for one in (legacy, defs))
        assert new == old


def test_plain_assets_are_the_same_objects(repository: Repository) -> None:
    mine = {id(each) for each in repository.defs.assets}
    untouched = [
        each
        for each in repository.module.legacy().assets
        if isinstance(each, dg.AssetsDefinition)
        and not any("metaxy/feature" in spec.metadata for spec in each.specs)
        and each.node_def.name != "labels"  # rebuilt by with_resources at each call
    ]
    assert len(untouched) > 3
    assert [each.node_def.name for each in untouched if id(each) not in mine] == []


def test_the_pass_twice_is_the_pass_once(repository: Repository) -> None:
    assert mxd.metaxify_definitions(repository.defs) is repository.defs


def test_attributes_of_the_user_stay(repository: Repository) -> None:
    before = {spec.key: spec for spec in repository.legacy.resolve_all_asset_specs()}
    after = {spec.key: spec for spec in repository.defs.resolve_all_asset_specs()}
    assert set(after) == set(before)
    for key, old in before.items():
        new = after[key]
        assert old.tags.items() <= new.tags.items()
        assert old.kinds <= new.kinds
        assert {dep.asset_key for dep in old.deps} <= {dep.asset_key for dep in new.deps}
        assert (new.group_name, new.owners, new.partitions_def) == (
            old.group_name,
            old.owners,
            old.partitions_def,
        )
        assert new.automation_condition == old.automation_condition
        assert old.code_version in (None, new.code_version)
        for name, value in old.metadata.items():
            assert new.metadata[name] == value


def test_dbt_s_own_metadata_is_untouched(shop: Repository) -> None:
    def of_dbt(defs: dg.Definitions) -> dict[str, dict[str, object]]:
        return {
            spec.key.to_user_string(): {
                name: value
                for name, value in spec.metadata.items()
                if name.startswith("dagster_dbt/") or name == "dagster/table_name"
            }
            for spec in defs.resolve_all_asset_specs()
            if "dbt" in spec.kinds
        }

    assert of_dbt(shop.defs) == of_dbt(shop.legacy)
    assert len(of_dbt(shop.defs)) == 5


@pytest.mark.parametrize("name", NAMES)
def test_dagster_validates_them(name: str, tmp_path: Path) -> None:
    environment = {key: value for key, value in os.environ.items() if key != "DAGSTER_HOME"}
    done = subprocess.run(  # noqa: S603 (our own interpreter)
        [
            *(sys.executable, "-m", "dagster", "definitions", "validate"),
            *("-m", f"{name}.definitions", "-d", str(FOLDER)),
        ],
        cwd=tmp_path,
        env={**environment, "DAGSTER_DISABLE_TELEMETRY": "yes"},
        capture_output=True,
        text=True,
        timeout=patient(180),
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "Validation successful" in done.stdout + done.stderr


# --------------------------------------------------------------------------------- execution
def run(
    defs: dg.Definitions, job: str, instance: dg.DagsterInstance, partition: str | None = None
) -> dict[str, int | None]:
    """Run a job; the assets that materialized, with the rows that were written to the store."""
    result = defs.resolve_job_def(job).execute_in_process(
        instance=instance, partition_key=partition
    )
    assert result.success
    events = [
        event.step_materialization_data.materialization
        for event in result.all_events
        if event.is_step_materialization
    ]
    written = [each.metadata.get("metaxy/written") for each in events]
    return {
        event.asset_key.to_user_string(): None if number is None else int(str(number.value))
        for event, number in zip(events, written, strict=True)
    }


def test_the_shop_runs(shop: Repository, instance: dg.DagsterInstance) -> None:
    first = run(shop.defs, "all_but_exports", instance)
    again = run(shop.defs, "all_but_exports", instance)
    assert first["raw/orders"] == 6
    assert first["order_scores"] == 6
    assert first["marts/fct_orders"] is None  # dbt writes its own tables
    assert (again["raw/orders"], again["order_scores"]) == (0, 0)
    assert set(first) == set(again) == set(selected(shop.legacy)["all_but_exports"][0])
    assert shop.rows("shop/orders") == shop.rows("shop/order_scores") == 6


def test_every_job_of_the_shop_runs(shop: Repository, instance: dg.DagsterInstance) -> None:
    run(shop.defs, "all_but_exports", instance)
    observed = {"web/clickstream"}
    for name, (assets, _) in selected(shop.legacy).items():
        assert set(run(shop.defs, name, instance)) == set(assets) - observed, name


def test_a_change_of_one_row_reaches_one_row(
    shop: Repository, instance: dg.DagsterInstance, monkeypatch: pytest.MonkeyPatch
) -> None:
    run(shop.defs, "all_but_exports", instance)
    api = importlib.import_module("shop_elt.resources").Api
    rows = api(token="").orders()
    monkeypatch.setattr(
        api,
        "orders",
        lambda self: [{**row, "amount": 999} if row["order_id"] == 3 else row for row in rows],
    )
    assert run(shop.defs, "ingest", instance)["raw/orders"] == 1
    assert run(shop.defs, "scores_and_on", instance)["order_scores"] == 1
    # The score does not depend on the status of an order.
    monkeypatch.setattr(
        api,
        "orders",
        lambda self: [
            {**row, "amount": 999 if row["order_id"] == 3 else row["amount"], "status": "lost"}
            for row in rows
        ],
    )
    assert run(shop.defs, "ingest", instance)["raw/orders"] == 6
    assert run(shop.defs, "scores_and_on", instance)["order_scores"] == 0


DAYS = ("2024-05-01", "2024-05-02")


def test_vision_runs(vision: Repository, instance: dg.DagsterInstance) -> None:
    defs = vision.defs
    for number, day in enumerate(DAYS, start=1):
        made = run(defs, "intake", instance, day)
        assert made == {"frames": 3, "quality": 3, "crops": None, "rejects": None}
        assert vision.rows("vision/quality") == 3 * number
    assert run(defs, "intake", instance, DAYS[0])["quality"] == 0
    first, again = (run(defs, "embed_all", instance) for _ in range(2))
    assert (first["embeddings"], first["predictions"]) == (6, 6)
    assert (again["embeddings"], again["predictions"]) == (0, 0)
    assert first["embedding_stats"] is None
    assert run(defs, "train", instance) == {"model": None, "train_set": None, "test_set": None}
    for name in ("wild", "not_after_embeddings", "housekeeping"):
        assert set(run(defs, name, instance)) == set(selected(vision.legacy)[name][0])


def test_jobs_with_other_partitions(vision: Repository, instance: dg.DagsterInstance) -> None:
    assert run(vision.defs, "per_site", instance, "harbour") == {"cameras": None}
    instance.add_dynamic_partitions("labellers", ["ann"])
    assert run(vision.defs, "relabel", instance, "ann") == {"labels": None}


def test_what_is_not_an_attribute_survives(vision: Repository) -> None:
    """Retry policies, hooks, pools, config of ops, backfill policies, checks, code versions."""
    old, new = vision.legacy, vision.defs
    for name in ("frames", "model", "predictions"):
        before, after = (each.resolve_assets_def(name) for each in (old, new))
        assert after.op.retry_policy == before.op.retry_policy
        assert after.op.pool == before.op.pool
        assert after.op.tags == before.op.tags
        assert after.backfill_policy == before.backfill_policy
        assert before.get_asset_spec().code_version in (None, after.get_asset_spec().code_version)
    assert {str(hook.name) for hook in new.resolve_job_def("intake").hook_defs} == {"tell", "cry"}
    inner = new.resolve_assets_def("embeddings").node_def
    assert [node.name for node in inner.nodes] == ["first_pass"]
    checks = {str(key) for key in new.resolve_asset_graph().asset_check_keys}
    assert checks == {str(key) for key in old.resolve_asset_graph().asset_check_keys}


def test_injected_deps_order_the_run(vision: Repository) -> None:
    graph = vision.defs.resolve_asset_graph()
    assert dg.AssetKey("quality") in graph.get(dg.AssetKey("embeddings")).parent_keys
    tags = dg.AssetKey(["moderation", "tags"])
    assert tags in graph.get(dg.AssetKey("predictions")).parent_keys
