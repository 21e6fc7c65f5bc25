from __future__ import annotations

import dataclasses
import importlib.metadata
import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
from dagster.components.testing.utils import component_defs, create_defs_folder_sandbox
from dagster_shared.libraries import DagsterLibraryRegistry
from patience import patient

import metaxy_dagster as mxd
from metaxy_dagster.components import MetaxyComponent
from metaxy_dagster.components.metaxy.models import FeatureModel, SettingsModel
from metaxy_dagster.definitions.record import recorded_plans

pytestmark = [
    # Dagster parses YAML with a function that pydantic is going to drop.
    pytest.mark.filterwarnings("ignore:.parse_obj_as. is deprecated"),
    # It notes the YAML file on all definitions, and takes that for its users' doing.
    pytest.mark.filterwarnings("ignore::dagster.BetaWarning"),
]

TYPE = "metaxy_dagster.components.MetaxyComponent"
REPOSITORY = """
import dagster as dg
import pandas as pd

@dg.asset(metadata={"metaxy/feature": "numbers"})
def raw_numbers() -> pd.DataFrame:
    return pd.DataFrame({"id": [1, 2], "n": [10, 20]})

@dg.asset(metadata={"metaxy/feature": "squares", "metaxy/input": "increment"})
def squares(raw_numbers: pd.DataFrame) -> pd.DataFrame:
    return raw_numbers[["id"]].assign(square=raw_numbers["n"] ** 2)

@dg.asset
def plain(): ...

@dg.asset_check(asset=squares)
def positive():
    return dg.AssetCheckResult(passed=True)

everything = dg.define_asset_job("everything", selection="*")
nightly = dg.ScheduleDefinition(name="nightly", job=everything, cron_schedule="0 3 * * *")
hourly = dg.ScheduleDefinition(name="hourly", target=[squares], cron_schedule="0 * * * *")

@dg.sensor(job=everything)
def watch(context): ...

defs = dg.Definitions(
    assets=[raw_numbers, squares, plain],
    asset_checks=[positive],
    jobs=[everything],
    schedules=[nightly, hourly],
    sensors=[watch],
)

def made():
    return defs

@dg.definitions
def lazy(context: dg.ComponentLoadContext):
    return defs

number = 1
"""
NUMBERS: dict[str, Any] = {"key": "numbers", "id_columns": ["id"], "description": "numbers"}
SQUARES: dict[str, Any] = {
    "key": "squares",
    "id_columns": ["id"],
    "fields": {"square": {"code_version": "2"}},
    "deps": ["numbers"],
}
ATTRIBUTES: dict[str, Any] = {"target": ".repository:defs", "features": [NUMBERS, SQUARES]}


@contextmanager
def loaded(
    attributes: dict[str, Any], code: str = REPOSITORY, component: type = MetaxyComponent
) -> Iterator[dg.Definitions]:
    with create_defs_folder_sandbox() as sandbox:
        path = sandbox.scaffold_component(
            component_cls=component,
            defs_path="features",
            defs_yaml_contents={"type": TYPE, "attributes": attributes},
        )
        (path / "repository.py").write_text(code)
        with sandbox.load_component_and_build_defs(defs_path=path) as (made, defs):
            assert isinstance(made, component)
            yield defs


def test_a_repository_is_loaded_and_tied(tmp_path: Path) -> None:
    store = str(tmp_path / "m.duckdb")
    with loaded({**ATTRIBUTES, "store": store}) as defs:
        dg.Definitions.validate_loadable(defs)
        graph = defs.resolve_asset_graph()
        assert graph.get(dg.AssetKey("squares")).kinds == {"metaxy"}
        assert graph.get(dg.AssetKey("raw_numbers")).description == "numbers"
        assert graph.get(dg.AssetKey("plain")).kinds == set()
        assert {each.name for each in defs.schedules or ()} == {"nightly", "hourly"}
        assert [each.name for each in defs.sensors or ()] == ["watch"]
        assert list(graph.asset_check_keys) == [
            dg.AssetCheckKey(dg.AssetKey("squares"), "positive")
        ]
        written = [materialize(defs) for _ in range(2)]
    assert written == [{"raw_numbers": 2, "squares": 2}, {"raw_numbers": 0, "squares": 0}]


def materialize(defs: dg.Definitions) -> dict[str, int]:
    """Rows written of each feature by the job of the schedule."""
    with dg.DagsterInstance.ephemeral() as instance:
        result = defs.resolve_job_def("everything").execute_in_process(instance=instance)
    found = [
        event.step_materialization_data.materialization
        for event in result.all_events
        if event.is_step_materialization
    ]
    return {
        each.asset_key.to_user_string(): int(str(each.metadata["metaxy/written"].value))
        for each in found
        if "metaxy/written" in each.metadata
    }


def test_a_schedule_runs_what_it_ran() -> None:
    with loaded(ATTRIBUTES) as defs:
        schedule = defs.resolve_schedule_def("hourly")
        keys = defs.resolve_job_def(schedule.job_name).asset_layer.executable_asset_keys
        assert {each.to_user_string() for each in keys} == {"squares"}
        schedule = defs.resolve_schedule_def("nightly")
        context = dg.build_schedule_context()
        assert schedule.evaluate_tick(context).run_requests


@pytest.mark.parametrize("name", ["defs", "made", "lazy"])
def test_targets(name: str) -> None:
    with loaded({**ATTRIBUTES, "target": f".repository:{name}"}) as defs:
        assert defs.get_assets_def("squares").get_asset_spec().kinds == {"metaxy"}


def test_a_target_elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "legacy_elsewhere.py").write_text(REPOSITORY)
    monkeypatch.syspath_prepend(tmp_path)
    with loaded({**ATTRIBUTES, "target": "legacy_elsewhere:defs"}, code="") as defs:
        assert defs.get_assets_def("squares").get_asset_spec().kinds == {"metaxy"}


def test_options_reach_the_pass() -> None:
    attributes = {
        **ATTRIBUTES,
        "asset_keys": "feature",
        "inject_code_version": False,
        "settings": {"enable_kinds": False, "project": "robots"},
    }
    with loaded(attributes) as defs:
        spec = defs.get_assets_def("numbers").get_asset_spec()
    assert (spec.code_version, spec.kinds) == (None, set())
    assert spec.tags["metaxy/project"] == "robots"


def test_checks_and_a_sensor_from_yaml() -> None:
    settings = {
        "checks": ["schema"],
        "pending_sensor": {"minimum_interval_seconds": 300, "default_status": "RUNNING"},
        "pending_condition": True,
    }
    with loaded({**ATTRIBUTES, "settings": settings}) as defs:
        checks = {key.name for key in defs.resolve_asset_graph().asset_check_keys}
        sensors = {each.name: each for each in defs.sensors or ()}
    assert "schema" in checks
    assert sensors["metaxy_pending"].minimum_interval_seconds == 300
    assert "metaxy_conditions" in sensors


def test_a_configured_store() -> None:
    with loaded({**ATTRIBUTES, "store_name": "dev"}) as defs:
        assert (defs.resources or {})["store"].name == "dev"


def test_templates_are_rendered(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ID_COLUMN", "id")
    features = [{**NUMBERS, "id_columns": ["{{ env.ID_COLUMN }}"]}, SQUARES]
    with loaded({**ATTRIBUTES, "features": features}) as defs:
        info = defs.get_assets_def("raw_numbers").get_asset_spec().metadata["metaxy/info"]
    assert info["feature"]["id_columns"] == ["id"]


def test_the_plan_of_a_component_is_recorded() -> None:
    with recorded_plans() as plans, loaded(ATTRIBUTES):
        pass
    assert [str(asset.feature) for asset in plans[0].assets if asset.feature] == [
        "numbers",
        "squares",
    ]


def test_a_subclass_says_what_features_bring() -> None:
    code = """
from metaxy_dagster.components import MetaxyComponent

class Grouped(MetaxyComponent):
    def get_asset_spec(self, data):
        return super().get_asset_spec(data).replace_attributes(group_name="chosen")
"""
    with create_defs_folder_sandbox() as sandbox:
        path = sandbox.scaffold_component(component_cls=MetaxyComponent, defs_path="features")
        (path / "repository.py").write_text(REPOSITORY)
        (path / "grouped.py").write_text(code)
        name = f"{sandbox.project_name}.defs.features.grouped.Grouped"
        attributes = {**ATTRIBUTES, "settings": {"enable_tags": False}}
        yaml = {"type": name, "attributes": attributes}
        (path / "defs.yaml").write_text(json.dumps(yaml))
        with sandbox.load_component_and_build_defs(defs_path=path) as (_, defs):
            spec = defs.get_assets_def("squares").get_asset_spec()
    assert spec.group_name == "chosen"
    assert spec.tags == {"dagster/kind/metaxy": ""}


@pytest.mark.parametrize(
    ("attributes", "said"),
    [
        ({"target": "repository"}, "package.module:name"),
        ({"target": ".repository:nothing"}, "no 'nothing' in"),
        ({"target": ".repository:number"}, "is no Definitions"),
        ({"store": "a", "store_name": "b"}, "names two stores"),
        ({"features": [{"key": "numbers", "id_columns": []}]}, "id_columns is empty"),
        ({"features": [{**NUMBERS, "fields": {"x": 2}}, SQUARES]}, "valid string"),
        ({"features": [NUMBERS]}, "squares"),
        ({"features": [NUMBERS, {**NUMBERS, "id_columns": ["n"]}]}, "numbers"),
        ({"asset_keys": "other"}, "other"),
        ({"settings": {"io_routing": "sideways"}}, "io_routing"),
        ({"surprise": 1}, "surprise"),
    ],
)
def test_what_is_wrong_is_said(attributes: dict[str, Any], said: str) -> None:
    with pytest.raises(Exception) as caught, loaded({**ATTRIBUTES, **attributes}):  # noqa: PT011
        pass
    assert said in told(caught.value)


def told(error: BaseException | None) -> str:
    """All that the person at the terminal reads."""
    texts = []
    while error is not None:
        texts.append(str(error))
        error = error.__cause__ or error.__context__
    return "\n".join(texts)


def test_all_faults_of_the_features_at_once() -> None:
    features = [{"key": "a b", "id_columns": ["id"]}, {"key": "c", "id_columns": []}]
    with pytest.raises(Exception) as caught, loaded({**ATTRIBUTES, "features": features}):  # noqa: PT011
        pass
    text = told(caught.value)
    assert "2 features in YAML cannot be read" in text
    assert "a b" in text
    assert "feature 'c'" in text


# -------------------------------------------------------------------------------- scaffolding
@pytest.mark.parametrize("scaffold_format", ["yaml", "python"])
def test_what_is_scaffolded(scaffold_format: Any) -> None:
    with create_defs_folder_sandbox() as sandbox:
        path = sandbox.scaffold_component(MetaxyComponent, scaffold_format=scaffold_format)
        assert (path / "repository.py").is_file()
        if scaffold_format == "yaml":
            with sandbox.load_component_and_build_defs(defs_path=path) as (_, defs):
                dg.Definitions.validate_loadable(defs)
                spec = defs.get_assets_def("numbers").get_asset_spec()
            assert spec.kinds == {"metaxy"}
            with sandbox.build_all_defs() as defs:
                assert len(list(defs.resolve_all_asset_specs())) == 1
        else:
            assert "import MetaxyComponent" in (path / "component.py").read_text()


def test_scaffolding_for_a_target() -> None:
    with create_defs_folder_sandbox() as sandbox:
        path = sandbox.scaffold_component(
            MetaxyComponent, scaffold_params={"target": "my_project.repository:defs"}
        )
        assert not (path / "repository.py").exists()
        assert "target: my_project.repository:defs" in (path / "defs.yaml").read_text()


# --------------------------------------------------------------------------------- discovery
def test_dg_finds_the_component_through_the_entry_point() -> None:
    found = importlib.metadata.entry_points(group="dagster_dg_cli.registry_modules")
    module = next(each for each in found if each.name == "metaxy_dagster").load()
    assert module.MetaxyComponent is MetaxyComponent


def test_dg_lists_the_component(tmp_path: Path) -> None:
    command = Path(sys.executable).parent / "dg"
    if not command.is_file():
        pytest.skip("dagster-dg-cli is not installed")
    done = subprocess.run(  # noqa: S603 (an installed command)
        [str(command), "list", "components", "--json", "--package", "metaxy_dagster.components"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=patient(120),
        check=True,
    )
    assert f'"{TYPE}"' in done.stdout


def test_the_library_is_registered() -> None:
    assert DagsterLibraryRegistry.get()["metaxy-dagster"] == mxd.__version__


@pytest.mark.parametrize("model", [MetaxyComponent.model(), FeatureModel, SettingsModel])
def test_every_field_is_described(model: Any) -> None:
    assert model.model_fields
    assert [name for name, field in model.model_fields.items() if not field.description] == []


def test_yaml_has_every_setting() -> None:
    settings = {each.name: each.default for each in dataclasses.fields(mxd.MetaxifySettings)}
    assert {name: each.default for name, each in SettingsModel.model_fields.items()} == settings


def test_yaml_has_everything_of_a_feature() -> None:
    assert set(FeatureModel.model_fields) == set(mxd.FeatureSpec.model_fields)


def test_in_python() -> None:
    component = MetaxyComponent(
        target="dagster:Definitions", features=[mxd.FeatureSpec("a", id_columns=["id"])]
    )
    assert isinstance(component_defs(component=component), dg.Definitions)
