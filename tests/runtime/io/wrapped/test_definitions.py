"""A wrapped IO manager is made as Dagster makes the one that it wraps, of whatever kind that is."""

import contextlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import dagster as dg
import pytest

import metaxy_dagster as mxd
from metaxy_dagster.runtime.io.wrapped import wrapped

SAID: list[str] = []


class Folder(dg.IOManager):
    """Text files in a folder."""

    def __init__(self, path: str, mark: str = "") -> None:
        self.path, self.mark = path, mark

    def handle_output(self, context: dg.OutputContext, obj: object) -> None:
        assert context.resource_config is None or isinstance(context.resource_config, dict)
        Path(self.path, context.asset_key.path[-1]).write_text(f"{obj}{self.mark}")

    def load_input(self, context: dg.InputContext) -> str:
        return Path(self.path, context.asset_key.path[-1]).read_text()

    def files(self) -> list[str]:
        return sorted(path.name for path in Path(self.path).iterdir())


class Configured(dg.ConfigurableIOManager, Folder):
    path: str
    mark: str = "c"


class Disk(dg.ConfigurableResource[Any]):
    path: str


class Nesting(dg.ConfigurableIOManager):
    disk: dg.ResourceDependency[Disk]

    def handle_output(self, context: dg.OutputContext, obj: object) -> None:
        Folder(self.disk.path, "n").handle_output(context, obj)

    def load_input(self, context: dg.InputContext) -> str:
        return Folder(self.disk.path).load_input(context)

    def files(self) -> list[str]:
        return Folder(self.disk.path).files()


class Factory(dg.ConfigurableIOManagerFactory[Folder]):
    path: str

    def create_io_manager(self, context: dg.InitResourceContext) -> Folder:
        return Folder(self.path, "f")


class Closing(dg.ConfigurableIOManager, Folder):
    path: str
    mark: str = "x"

    @contextlib.contextmanager
    def yield_for_execution(self, context: dg.InitResourceContext) -> Iterator[Folder]:
        SAID.append("opened")
        yield Folder(self.path, self.mark)
        SAID.append("closed")


@dg.io_manager(config_schema={"path": str})
def legacy(context: dg.InitResourceContext) -> Folder:
    return Folder(context.resource_config["path"], "l")


@dg.io_manager(required_resource_keys={"disk"})
def needing(context: dg.InitResourceContext) -> Folder:
    return Folder(context.resources.disk.path, "r")


@dg.io_manager(config_schema={"path": dg.Field(str, default_value="nowhere")})
def yielding(context: dg.InitResourceContext) -> Iterator[Folder]:
    SAID.append("opened")
    yield Folder(context.resource_config["path"], "y")
    SAID.append("closed")


KINDS: dict[str, tuple[Callable[[str], Any], bool]] = {
    "object": (Folder, False),
    "configurable": (lambda path: Configured(path=path), False),
    "at launch": (lambda path: Configured.configure_at_launch(), True),
    "nested": (lambda path: Nesting(disk=Disk(path=path)), False),
    "factory": (lambda path: Factory(path=path), False),
    "factory at launch": (lambda path: Factory.configure_at_launch(), True),
    "context manager": (lambda path: Closing(path=path), False),
    "legacy": (lambda path: legacy, True),
    "legacy, configured": (lambda path: legacy.configured({"path": path}), False),
    "needs another": (lambda path: needing, False),
    "generator": (lambda path: yielding, True),
    "definition of an object": (
        lambda path: dg.IOManagerDefinition.hardcoded_io_manager(Folder(path)),
        False,
    ),
}


@dg.asset
def up() -> str:
    return "up"


@dg.asset(required_resource_keys={"io_manager"})
def down(context: dg.AssetExecutionContext, up: str) -> str:
    SAID.append(",".join(context.resources.io_manager.files()))
    return f"{up}-down"


def ours(folder: Path) -> mxd.MetaxyIOManager:
    return mxd.MetaxyIOManager(store=mxd.DuckDBMetadataStore(folder / "m.duckdb"))


@pytest.mark.parametrize("kind", KINDS)
def test_what_is_no_feature_is_stored_and_loaded_as_without(kind: str, tmp_path: Path) -> None:
    make, launched = KINDS[kind]
    results = []
    for place in (tmp_path / "alone", tmp_path / "wrapped"):
        place.mkdir()
        SAID.clear()
        inner = make(str(place))
        manager = inner if place.name == "alone" else wrapped(inner)
        disk = Disk(path=str(place))
        more = {} if place.name == "alone" else {"metaxy_io_manager": ours(tmp_path)}
        resources = {"io_manager": manager, "disk": disk, **more}
        config = {"resources": {"io_manager": {"config": {"path": str(place)}}}}
        defs = dg.Definitions(assets=[up, down], resources=resources)
        dg.Definitions.validate_loadable(defs)
        with dg.DagsterInstance.ephemeral() as instance:
            job = defs.resolve_implicit_global_asset_job_def()
            job.execute_in_process(instance=instance, run_config=config if launched else None)
        texts = {path.name: path.read_text() for path in place.iterdir()}
        results.append(
            (texts, list(SAID), defs.get_repository_def().get_top_level_resources().keys())
        )
    (alone, said, keys), (around, also, more_keys) = results
    assert (alone, said) == (around, also)
    assert more_keys - keys == {"metaxy_io_manager"}
